//! Looking at what a stream needs, and waiting for one's turn, before a worker is started.
//!
//! A start that an operator asks for is made at once, and the look goes on beside it. Before every
//! other first start the *ground* is looked at: without it a worker would only fail, so the look is
//! made again every minute until it is there, whoever puts it there.

use std::time::Duration;

use jiff::Timestamp;
use storage::model::{Check, DarkCause, ErrorReport, PreflightReport};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::Driver;
use crate::history::What;
use crate::preflight::{FRESH_FOR, Finding};
use crate::stream::state::{Life, Look, Next};

/// How often a start that failed its check is tried again.
const CHECK_EVERY: Duration = Duration::from_secs(60);
/// A look reads with the same programs what the worker reads, and who is to be on air goes first.
const BESIDE_AFTER: Duration = Duration::from_secs(4);

/// What the looks at a stream's needs tell; those begun before the newest mean nothing.
#[derive(Debug)]
pub(super) struct Looked {
    number: u64,
    part: Part,
    findings: Vec<Finding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Ground,
    Bucket,
    Surroundings,
}

impl Driver {
    /// Looks at the ground before a worker is started. `failed`: what became of a worker that could
    /// not run here.
    pub(super) fn check(&mut self, failed: Option<ErrorReport>) {
        let task = self.look(&[Part::Ground], std::future::ready(()));
        self.life = Life::Checking(Look {
            failed,
            _task: task,
        });
    }

    /// Looks at ground and bucket a moment after a worker was started: by then it is on air, or wants for
    /// what the look will name. How the destinations are, it finds out by itself, and better. What was found a moment ago holds
    /// still: a stream that is stopped and started again and again is not to be slowed down by being
    /// looked at.
    pub(super) fn look_beside(&mut self) {
        let fresh = |at: Instant| at.elapsed() < FRESH_FOR;
        if self.looked_at.is_some_and(fresh) {
            return;
        }
        self.looked_at = Some(Instant::now());
        let parts = &[Part::Ground, Part::Bucket];
        self.surroundings = Some(self.look(parts, tokio::time::sleep(BESIDE_AFTER)));
    }

    /// Starts a task that looks at `parts` after `first`, one after the other.
    fn look(
        &mut self,
        parts: &'static [Part],
        first: impl Future<Output = ()> + Send + 'static,
    ) -> AbortOnDropHandle<()> {
        self.look = (self.look.0 + 1, Vec::new());
        self.look_on(parts, first)
    }

    fn look_on(
        &self,
        parts: &'static [Part],
        first: impl Future<Output = ()> + Send + 'static,
    ) -> AbortOnDropHandle<()> {
        let number = self.look.0;
        let config = self.stream_config.borrow().clone();
        let preflight = self.machine.preflight.clone();
        let tell = self.tell_looked.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            first.await;
            for part in parts {
                let findings = match part {
                    Part::Ground => preflight.ground(&config).await,
                    Part::Bucket => preflight.bucket(&config).await,
                    Part::Surroundings => preflight.surroundings(&config).await,
                };
                let looked = Looked {
                    number,
                    part: *part,
                    findings,
                };
                // Without a driver there is nobody left to tell.
                let _ = tell.send(looked).await;
            }
        }))
    }

    /// Notes what was found, and starts the worker if that is what it was looked at for.
    pub(super) fn looked(&mut self, looked: Looked) {
        if looked.number != self.look.0 {
            return;
        }
        self.look
            .1
            .extend(looked.findings.into_iter().map(Check::from));
        let report = PreflightReport::new(Timestamp::now(), self.look.1.clone());
        let failures: Vec<String> = report
            .failed()
            .map(|check| format!("{}: {}", check.name, check.message))
            .collect();
        self.record.preflight = Some(report);
        if looked.part != Part::Ground || !matches!(self.life, Life::Checking(_)) {
            return;
        }
        let Life::Checking(look) = self.life.take() else {
            return;
        };
        if !failures.is_empty() {
            return self.cannot_start(&failures.join("; "));
        }
        // The ground is there, and yet the worker could not stand on it: only a person can tell why.
        if let Some(error) = look.failed {
            self.life = Life::Failed(error);
            return;
        }
        self.surroundings = Some(self.look_on(&[Part::Surroundings], std::future::ready(())));
        self.start_in_turn();
    }

    fn cannot_start(&mut self, failures: &str) {
        let error = ErrorReport {
            error_type: "preflight_failed".into(),
            message: failures.to_owned(),
            hint: "put right what is named; the start is tried again every minute, POST \
                   /streams/start tries it now"
                .into(),
        };
        tracing::error!(
            stream_id = %self.id,
            error_type = %error.error_type,
            will_retry = true,
            retry_in_ms = CHECK_EVERY.as_millis(),
            "cannot start: {failures}"
        );
        let what = What::NotStarted {
            cause: DarkCause::PreflightFailed,
            error_type: Some(error.error_type.clone()),
        };
        self.machine.history.saw(&self.id, what);
        self.last_error = Some(error.clone());
        self.wait(CHECK_EVERY, error, Next::Check);
    }

    /// A first start, among those of other streams.
    fn start_in_turn(&mut self) {
        let now = Instant::now();
        let turn = self.machine.governor.turn(now);
        if turn <= now {
            return self.start_worker_first();
        }
        self.wait(turn - now, queued(), Next::StartInTurn);
    }

    /// What a wait was for is due.
    pub(super) fn wait_is_over(&mut self) {
        let Life::Backoff(wait) = &mut self.life else {
            return;
        };
        match wait.next {
            Next::Check => self.check(None),
            Next::StartInTurn => self.start_worker_first(),
            Next::RestartInTurn => self.start_worker(),
            Next::Restart => {
                let now = Instant::now();
                let turn = self.machine.governor.turn(now);
                if turn <= now {
                    return self.start_worker();
                }
                wait.until = turn;
                wait.next_restart_at = Timestamp::now() + (turn - now);
                wait.next = Next::RestartInTurn;
            }
        }
    }
}

fn queued() -> ErrorReport {
    ErrorReport {
        error_type: "start_queued".into(),
        message: "many streams start at once, and this one waits for its turn".into(),
        hint: "nothing: a few are started each second".into(),
    }
}
