//! What follows the end of a worker. Pure: clock and dice are arguments.
//!
//! A wanted stream is tried for ever: 1 s doubling to 60 s, ±20 %, from the start again after 60 s
//! as wanted. Only what no retry can fix ends in *failed*.

use std::collections::VecDeque;
use std::time::Duration;

use storage::model::report::{ErrorReport, WorkerExit, exit_code};
use supervise::ExitReason;
use supervise::backoff::{Backoff, Next, Policy};
use tokio::time::Instant;

const POLICY: Policy = Policy {
    initial: Duration::from_secs(1),
    factor: 2.0,
    max: Duration::from_secs(60),
    jitter: 0.2,
    healthy_after: Duration::from_secs(60),
    max_attempts: None,
};
/// More restarts than this within [`CRASH_LOOP_WINDOW`] are told to the operator as a loop.
const CRASH_LOOP: usize = 10;
const CRASH_LOOP_WINDOW: Duration = Duration::from_secs(600);

/// How a worker ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ended {
    /// As the kernel says, or as the worker wrote down where only a parent may ask.
    pub(super) exit: ExitReason,
    /// What it wrote down, if this worker did.
    pub(super) last_words: Option<WorkerExit>,
}

/// What follows.
#[must_use]
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Start another.
    Restart {
        /// After this long.
        after: Duration,
        /// Why it ended.
        error: ErrorReport,
    },
    /// No other would fare better.
    GiveUp(ErrorReport),
}

/// The restarts of one stream.
#[derive(Debug)]
pub(super) struct Restarts {
    backoff: Backoff,
    recent: VecDeque<Instant>,
}

// === impl Restarts ===

impl Restarts {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            backoff: Backoff::new(POLICY),
            recent: VecDeque::new(),
        }
    }

    /// The operator asks for a fresh start.
    pub(super) fn reset(&mut self) {
        self.backoff.reset();
        self.recent.clear();
    }

    /// The stream is on air at `now`.
    pub(super) fn healthy(&mut self, now: Instant) {
        self.backoff.healthy_since(now);
    }

    /// The stream is not on air, though its worker runs.
    pub(super) fn unhealthy(&mut self) {
        self.backoff.unhealthy();
    }

    /// Decides after the end of a worker that was wanted; `random` is in 0..1.
    pub(super) fn after(&mut self, ended: &Ended, now: Instant, random: f64) -> Verdict {
        let error = ended.error();
        if ended.is_final() {
            return Verdict::GiveUp(error);
        }
        self.retry(error, now, random)
    }

    /// Decides after a start that failed before there was a worker.
    pub(super) fn retry(&mut self, error: ErrorReport, now: Instant, random: f64) -> Verdict {
        let Next::Retry { after, .. } = self.backoff.failed(now, random) else {
            unreachable!("the policy has no max_attempts");
        };
        Verdict::Restart {
            after,
            error: self.with_loop_hint(error, now),
        }
    }

    fn with_loop_hint(&mut self, error: ErrorReport, now: Instant) -> ErrorReport {
        self.recent.push_back(now);
        while self
            .recent
            .front()
            .is_some_and(|first| now.duration_since(*first) > CRASH_LOOP_WINDOW)
        {
            self.recent.pop_front();
        }
        if self.recent.len() <= CRASH_LOOP {
            return error;
        }
        ErrorReport {
            hint: format!(
                "{}. It has ended {} times within ten minutes; retries go on once a minute. The \
                 stream's log says what it did last",
                error.hint.trim_end_matches('.'),
                self.recent.len()
            ),
            ..error
        }
    }
}

impl Default for Restarts {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Ended ===

impl Ended {
    /// The exit code, from whoever knows it.
    pub(super) fn code(&self) -> Option<i32> {
        match self.exit {
            ExitReason::Code(code) => Some(code),
            ExitReason::Signal(_) => None,
            ExitReason::Unknown => self.last_words.as_ref().map(|words| words.code),
        }
    }

    fn is_final(&self) -> bool {
        matches!(
            self.code(),
            Some(exit_code::USAGE | exit_code::CONFIG | exit_code::DESTINATIONS_EXHAUSTED)
        )
    }

    /// Why, as an operator should read it.
    pub(super) fn error(&self) -> ErrorReport {
        if let Some(error) = self
            .last_words
            .as_ref()
            .and_then(|words| words.error.clone())
        {
            return error;
        }
        let (error_type, message, hint) = match (self.exit, self.code()) {
            (ExitReason::Signal(_), _) => (
                "worker_killed",
                format!("the worker was ended by {}", self.exit),
                "it is started again by itself. SIGKILL is often the kernel's, for want of memory: \
                 see `journalctl -k`",
            ),
            (_, Some(exit_code::STOPPED)) => (
                "worker_stopped",
                "the worker was told to stop by someone else".to_owned(),
                "it is started again by itself; use POST /streams/stop to stop a stream",
            ),
            (_, Some(exit_code::USAGE)) => (
                "worker_refused_job",
                "the worker did not understand its job".to_owned(),
                "controller and worker are of different releases: install both from one, then start",
            ),
            (_, Some(exit_code::CONFIG)) => (
                "worker_cannot_run",
                "FFmpeg is missing or unusable, or the slate cannot be rendered".to_owned(),
                "run `stream-controller check`, then start the stream again",
            ),
            (_, Some(exit_code::DESTINATIONS_EXHAUSTED)) => (
                "destinations_exhausted",
                "every destination has used up its tries".to_owned(),
                "check keys and platforms, then start the stream again; without \
                 retry.max_attempts it would go on for ever",
            ),
            (_, Some(code)) => (
                "worker_failed",
                format!("the worker ended with exit code {code}"),
                "it is started again by itself; the stream's log says why it ended",
            ),
            (_, None) => (
                "worker_lost",
                "the worker ended and left no word of why".to_owned(),
                "it is started again by itself; the stream's log may say more",
            ),
        };
        ErrorReport {
            error_type: error_type.into(),
            message,
            hint: hint.into(),
        }
    }
}
