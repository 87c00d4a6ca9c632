//! The transitions of a stream with a worker: hearing of it, ending it.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use jiff::Timestamp;
use storage::journal;
use storage::model::report::{WorkerExit, exit_code};
use storage::model::{DarkCause, ErrorReport, WorkerReport};
use supervise::ExitReason;
use supervise::cgroup::Cgroup;
use tokio::time::Instant;

use super::configure::answer_configuring;
use super::{Driver, Event, answer};
use crate::history::{Moment, What};
use crate::stream::follow::Follower;
use crate::stream::health::{Health, Shortfall, is_on_air};
use crate::stream::process::{Attended, Process};
use crate::stream::restart::{Ended, Verdict};
use crate::stream::state::{Configured, Life, Next, Wait, Worker};
use crate::stream::upgrade;
use crate::stream::worker_link::WorkerLink;

/// A pulse that has stopped for so long was not merely late.
const SILENT: Duration = Duration::from_secs(1);

/// Which worker is to be looked after.
pub(super) struct Identity {
    pub(super) generation: u64,
    pub(super) nonce: String,
    pub(super) started_at: Timestamp,
    /// The variables of the stream keys and passwords it has.
    pub(super) keys: BTreeSet<String>,
    /// Its control group, if it has one.
    pub(super) group: Option<Cgroup>,
}

impl Driver {
    /// Gives `process` its attendant and its follower.
    pub(super) fn look_after(&mut self, process: Process, identity: Identity) -> Worker {
        let link = WorkerLink::new(self.machine.settings.layout.socket(&self.id));
        let Identity {
            generation,
            nonce,
            started_at,
            keys,
            group,
        } = identity;
        let attended = Attended::new(process, group, generation, self.tell.clone());
        self.record.generation = generation;
        self.record.nonce = Some(nonce.clone());
        self.record.pid = Some(attended.pid());
        self.record.started_at = Some(started_at);
        Worker {
            generation,
            attended,
            _follower: Follower::new(link, generation, nonce, self.tell.clone()),
            started_at,
            keys,
            health: Health::new(Instant::now()),
            report: None,
            configured: Configured::Current,
            telling: None,
            configuring: Vec::new(),
            upgrade_available: false,
        }
    }

    pub(super) async fn event(&mut self, event: Event) {
        let present = self.life.worker().map(|worker| worker.generation);
        let is_present = |generation| present == Some(generation);
        match event {
            Event::Launched(outcome) => self.launched(*outcome),
            Event::Ended {
                generation,
                exit,
                moment,
            } if is_present(generation) => self.worker_ended(exit, moment).await,
            Event::Report { generation, report } if is_present(generation) => {
                self.worker_answered(report);
            }
            Event::Told {
                generation,
                outcome,
            } if is_present(generation) => self.told(outcome),
            Event::Silent { generation, reason } if is_present(generation) => {
                self.worker_silent(&reason);
            }
            Event::Ended { .. }
            | Event::Report { .. }
            | Event::Told { .. }
            | Event::Silent { .. } => {}
        }
    }

    pub(super) fn worker_answered(&mut self, report: Box<WorkerReport>) {
        let now = Instant::now();
        self.record.last_health_check = Some(Timestamp::now());
        let before: Vec<String> = self.drops.warnings().keys().cloned().collect();
        let shortfall = Shortfall::of(&report, &mut self.drops, now);
        self.log_drops(&before);
        let on_air = is_on_air(&report);
        let Some(worker) = self.life.worker_mut() else {
            return;
        };
        worker.health.answered(now);
        worker.report = Some(report);
        worker.upgrade_available =
            upgrade::is_available(&self.machine.settings.worker_bin, worker.attended.pid());
        self.life = match self.life.take() {
            Life::Starting(worker) if on_air => {
                tracing::info!(stream_id = %self.id, generation = worker.generation, "on air");
                Life::OnAir(worker, shortfall)
            }
            Life::OnAir(worker, _) => Life::OnAir(worker, shortfall),
            other => other,
        };
        if matches!(self.life, Life::OnAir(..)) {
            self.restarts.healthy(now);
            self.last_error = None;
        }
        self.push_config();
    }

    /// Once when a destination begins to lose too many frames, and once when it has stopped to.
    fn log_drops(&self, before: &[String]) {
        let now = self.drops.warnings();
        for (destination, error) in now.iter().filter(|(name, _)| !before.contains(name)) {
            tracing::warn!(stream_id = %self.id, destination, error_type = %error.error_type, "{}", error.message);
        }
        for destination in before.iter().filter(|name| !now.contains_key(*name)) {
            tracing::info!(stream_id = %self.id, destination, "hardly any frames are dropped any more");
        }
    }

    fn worker_silent(&mut self, reason: &str) {
        let now = Instant::now();
        let Some(worker) = self.life.worker_mut() else {
            return;
        };
        worker.health.silent(now);
        let lost = worker.health.is_lost(now);
        let error = worker.health.error();
        if error.is_some() {
            self.restarts.unhealthy();
        }
        tracing::warn!(stream_id = %self.id, reason, lost, "worker did not answer its health check");
        self.life = match (self.life.take(), error) {
            (Life::Starting(mut worker) | Life::OnAir(mut worker, _), Some(error)) if lost => {
                tracing::error!(stream_id = %self.id, error_type = %error.error_type, will_retry = true, "worker is replaced");
                worker.attended.terminate(self.machine.ledger.settle());
                Life::Replacing(worker, error)
            }
            (other, _) => other,
        };
    }

    /// When a worker that ended, at `moment` as seen from here, was last alive: it may have hung before, and this
    /// process may have stood still since.
    fn last_alive(&self, moment: Moment) -> Moment {
        let pulse = journal::read_pulse(&self.machine.settings.layout.pulse(&self.id));
        let silent = pulse.and_then(|pulse| moment.boot_ms.checked_sub(pulse));
        let started = self.record.started_at;
        match (silent.map(Duration::from_millis), started) {
            // An older one is of an earlier worker: this one could not write it.
            (Some(silent), Some(started))
                if silent >= SILENT && moment.before(silent).at > started =>
            {
                moment.before(silent)
            }
            _ => moment,
        }
    }

    /// The worker is gone for certain; what follows depends on why.
    async fn worker_ended(&mut self, exit: ExitReason, moment: Moment) {
        let Some(worker) = self.life.worker() else {
            return;
        };
        let generation = worker.generation;
        let was_on_air = matches!(self.life, Life::OnAir(..));
        let ended = Ended {
            exit,
            last_words: self.last_words(generation).await,
            was_on_air,
        };
        let alive = self.last_alive(moment);
        self.record.exit_code = ended.code();
        self.record.pid = None;
        self.record.started_at = None;
        self.clear_leftovers().await;
        if let Some(worker) = self.life.worker_mut() {
            answer_configuring(worker);
        }
        match self.life.take() {
            Life::Stopping(_) => {
                tracing::info!(stream_id = %self.id, generation, %exit, "worker stopped");
                self.saw_gone(moment, DarkCause::Operator, None);
                self.life = Life::Stopped;
                self.tell_stopped();
            }
            Life::Replacing(_, error) => {
                self.saw_gone(alive, DarkCause::WorkerUnresponsive, Some(&error));
                let verdict = self.restarts.retry(error, Instant::now(), random());
                self.follow_verdict(verdict);
            }
            _ => {
                let verdict = self.restarts.after(&ended, Instant::now(), random());
                self.log_end(generation, exit, &verdict);
                match &verdict {
                    Verdict::Restart { error, .. } => {
                        self.saw_gone(alive, DarkCause::WorkerCrashed, Some(error));
                    }
                    Verdict::GiveUp(error) => {
                        self.saw_gone(alive, DarkCause::GivenUp, Some(error));
                    }
                }
                match verdict {
                    // What is missing here may be a thing that comes back.
                    Verdict::GiveUp(error) if ended.code() == Some(exit_code::CONFIG) => {
                        self.check(Some(error));
                    }
                    verdict => self.follow_verdict(verdict),
                }
            }
        }
    }

    /// Tells the history that the worker that was remembered last is gone.
    fn saw_gone(&self, moment: Moment, cause: DarkCause, error: Option<&ErrorReport>) {
        let Some(worker) = self.record.nonce.clone() else {
            return;
        };
        let what = What::Gone {
            worker,
            cause,
            error_type: error.map(|error| error.error_type.clone()),
        };
        self.machine.history.saw_at(&self.id, moment, what);
    }

    pub(super) fn follow_verdict(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Restart { after, error } => {
                self.machine.governor.failed(&self.id, Instant::now());
                self.last_error = Some(error.clone());
                self.wait(after, error, Next::Restart);
            }
            Verdict::GiveUp(error) => self.life = Life::Failed(error),
        }
    }

    pub(super) fn wait(&mut self, after: Duration, error: ErrorReport, next: Next) {
        self.life = Life::Backoff(Wait {
            until: Instant::now() + after,
            next_restart_at: Timestamp::now() + after,
            error,
            next,
        });
    }

    fn log_end(&self, generation: u64, exit: ExitReason, verdict: &Verdict) {
        let (error, retry_in_ms) = match verdict {
            Verdict::Restart { after, error } => (error, Some(after.as_millis())),
            Verdict::GiveUp(error) => (error, None),
        };
        tracing::error!(
            stream_id = %self.id,
            generation,
            %exit,
            error_type = %error.error_type,
            retry_count = self.record.restarts,
            will_retry = retry_in_ms.is_some(),
            retry_in_ms,
            "worker ended: {}", error.message
        );
    }

    /// Ends what there is and leaves nothing to follow.
    pub(super) fn end_worker(&mut self) {
        self.life = match self.life.take() {
            Life::Starting(mut worker)
            | Life::OnAir(mut worker, _)
            | Life::Stopping(mut worker)
            | Life::Replacing(mut worker, _) => {
                worker.attended.terminate(self.machine.ledger.settle());
                Life::Stopping(worker)
            }
            Life::Launching(mut launch) => {
                launch.unwanted = Some(self.machine.ledger.settle());
                Life::Launching(launch)
            }
            Life::Stopped | Life::Checking(_) | Life::Backoff(_) | Life::Failed(_) => Life::Stopped,
        };
    }

    pub(super) fn tell_stopped(&mut self) {
        self.publish();
        for reply in std::mem::take(&mut self.stopping) {
            answer(reply, Ok(self.status.borrow().clone()));
        }
    }

    /// A worker that was killed could not remove its socket and job; a later controller would ask
    /// them in vain.
    async fn clear_leftovers(&self) {
        let leftovers = [
            self.machine.settings.layout.socket(&self.id),
            self.machine.settings.layout.job(&self.id),
        ];
        for path in leftovers {
            match tokio::fs::remove_file(&path).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "cannot remove what a worker left");
                }
                _ => {}
            }
        }
    }

    async fn last_words(&self, generation: u64) -> Option<WorkerExit> {
        let path = self.machine.settings.layout.exit(&self.id);
        let text = tokio::fs::read(path).await.ok()?;
        let words: WorkerExit = serde_json::from_slice(&text).ok()?;
        (words.generation == generation).then_some(words)
    }
}

/// 0..1, for the jitter of a wait.
pub(super) fn random() -> f64 {
    let mut bytes = [0_u8; 4];
    getrandom::fill(&mut bytes).expect("the kernel's random numbers do not run out");
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}
