//! What a destination is in, and what comes next. Pure: the clock and the dice are arguments.
//!
//! ```text
//!            connecting()                delivering()
//!  Waiting ──────────────► Connecting ─────────────────► Live
//!     ▲                        │  failed() / renewed()     │
//!     └────────────────────────┴───────────────────────────┘
//!  Waiting is shown as `connecting` (at once), `backoff`, or `rejected`: refused three times in a
//!  row. Where the server said so the wait is the longest one. It may end early: knocked(). stopped() ends it from anywhere; failed() does when a retry
//!  cannot help or all allowed ones were made.
//! ```

use serde::{Deserialize, Serialize};
use std::time::Duration;

use jiff::Timestamp;
use storage::model::RetryConfig;
use storage::model::report::DestinationState;
use supervise::backoff::{Backoff, Next, Policy};
use tokio::time::Instant;

use super::failure::{Failure, FailureKind};
use super::knock::Knock;
use crate::ffmpeg::classify::Complaint;

/// Refusals in a row after which the key is taken for wrong.
const REJECTIONS: u32 = 3;
/// While a destination is waited for, it is asked this often whether it is there.
const KNOCK_EVERY: Duration = Duration::from_millis(1_500);
/// Each answer that was followed by a failure all the same doubles that, up to here.
const KNOCK_EVERY_AT_MOST: Duration = Duration::from_secs(60);
/// Health of this length forgets all failures.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// One moment on both clocks: the one decisions are made by, and the one people read.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Monotonic.
    pub now: Instant,
    /// Of the wall.
    pub wall: Timestamp,
}

/// A destination's life.
#[derive(Debug)]
pub struct Machine {
    phase: Phase,
    since: Timestamp,
    policy: Policy,
    backoff: Backoff,
    rejections: u32,
    /// Knocks that were answered and followed by a failure all the same.
    knocks_in_vain: u32,
    knocked: bool,
    connections: u64,
    failure: Option<Failure>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// For the next try.
    Waiting {
        #[serde(with = "crate::handover::instant")]
        until: Instant,
        shown: Waiting,
    },
    Connecting,
    Live,
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Waiting {
    Connecting,
    Backoff,
    Rejected,
}

/// What the owner of the machine has to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Make a connection.
    Connect,
    /// Ask again then, or when a knock was answered.
    Wait {
        /// Then.
        until: Instant,
        /// How to knock, and how often.
        knock: Option<(Knock, Duration)>,
    },
    /// Nothing any more.
    Rest,
}

/// How a failure was answered.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Failures since the last minute of health, this one included.
    pub retry_count: u32,
    /// The wait before the next try; `None`: there is none.
    pub retry_in: Option<Duration>,
}

/// A machine on its way to the next image of this process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FrozenMachine {
    phase: Phase,
    since: Timestamp,
    attempts: u32,
    #[serde(with = "crate::handover::instant::option")]
    healthy_since: Option<Instant>,
    rejections: u32,
    knocks_in_vain: u32,
    knocked: bool,
    connections: u64,
    failure: Option<Failure>,
}

// === impl Moment ===

impl Moment {
    /// Now.
    pub fn now() -> Self {
        Self {
            now: Instant::now(),
            wall: Timestamp::now(),
        }
    }

    fn wall_at(&self, instant: Instant) -> Timestamp {
        let ahead = instant.saturating_duration_since(self.now);
        self.wall.saturating_add(ahead).unwrap_or(Timestamp::MAX)
    }
}

// === impl Machine ===

impl Machine {
    /// A destination that is to be connected at once.
    pub fn new(retry: RetryConfig, at: Moment) -> Self {
        let policy = policy(retry);
        Self {
            phase: Phase::Waiting {
                until: at.now,
                shown: Waiting::Connecting,
            },
            since: at.wall,
            policy,
            backoff: Backoff::new(policy),
            rejections: 0,
            knocks_in_vain: 0,
            knocked: false,
            connections: 0,
            failure: None,
        }
    }

    /// One that goes on where another stood.
    pub fn resume(frozen: FrozenMachine, retry: RetryConfig) -> Self {
        let policy = policy(retry);
        Self {
            phase: frozen.phase,
            since: frozen.since,
            policy,
            backoff: Backoff::restored(policy, frozen.attempts, frozen.healthy_since),
            rejections: frozen.rejections,
            knocks_in_vain: frozen.knocks_in_vain,
            knocked: frozen.knocked,
            connections: frozen.connections,
            failure: frozen.failure,
        }
    }

    /// Where it stands, for another to go on from.
    pub fn freeze(&self) -> FrozenMachine {
        FrozenMachine {
            phase: self.phase,
            since: self.since,
            attempts: self.backoff.attempts(),
            healthy_since: self.backoff.health(),
            rejections: self.rejections,
            knocks_in_vain: self.knocks_in_vain,
            knocked: self.knocked,
            connections: self.connections,
            failure: self.failure.clone(),
        }
    }

    /// What to do now.
    pub fn step(&self, now: Instant) -> Step {
        match self.phase {
            Phase::Waiting { until, .. } if until > now => Step::Wait {
                until,
                knock: self.knock(),
            },
            Phase::Waiting { .. } | Phase::Connecting | Phase::Live => Step::Connect,
            Phase::Stopped => Step::Rest,
        }
    }

    /// A connection is being made.
    pub fn connecting(&mut self, at: Moment) {
        self.enter(Phase::Connecting, at);
        self.connections += 1;
    }

    /// Media is reaching the peer. May be told as often as it is seen.
    pub fn delivering(&mut self, at: Moment) {
        if self.phase != Phase::Live {
            self.enter(Phase::Live, at);
            self.knocks_in_vain = 0;
            self.knocked = false;
            if !self.was_closed_at_publish() {
                self.rejections = 0;
            }
        }
        self.backoff.healthy_since(at.now);
        if self.backoff.attempts() == 0 {
            self.failure = None;
            self.rejections = 0;
        }
    }

    /// The destination answered while it was waited for: the next try is now.
    pub fn knocked(&mut self, at: Moment) {
        if let Phase::Waiting { until, .. } = &mut self.phase {
            *until = at.now;
            self.knocked = true;
        }
    }

    /// Media is not reaching the peer at present.
    pub fn held_up(&mut self) {
        self.backoff.unhealthy();
    }

    /// The connection was ended so that a new one begins at once.
    pub fn renewed(&mut self, at: Moment) {
        let shown = Waiting::Connecting;
        let until = at.now;
        self.enter(Phase::Waiting { until, shown }, at);
    }

    /// A try or a connection failed; `random` is a number in 0..1 for the jitter of the wait.
    pub fn failed(&mut self, failure: Failure, at: Moment, random: f64) -> Verdict {
        let said = failure.kind == FailureKind::Peer(Complaint::Rejected);
        let rejected = said || failure.kind == FailureKind::Peer(Complaint::ClosedAtPublish);
        self.rejections = if rejected { self.rejections + 1 } else { 0 };
        let next = if failure.kind.is_final() {
            None
        } else {
            match self.backoff.failed(at.now, random) {
                Next::Retry { after, .. } if self.rejections < REJECTIONS => {
                    Some((after, Waiting::Backoff))
                }
                Next::Retry { .. } if said => Some((self.policy.max, Waiting::Rejected)),
                // A server that is being restarted closes connections, too: the ladder goes on.
                Next::Retry { after, .. } => Some((after, Waiting::Rejected)),
                Next::GiveUp { .. } => None,
            }
        };
        self.failure = Some(failure);
        if std::mem::take(&mut self.knocked) {
            self.knocks_in_vain += 1;
        }
        self.enter(
            match next {
                Some((after, shown)) => Phase::Waiting {
                    until: at.now + after,
                    shown,
                },
                None => Phase::Stopped,
            },
            at,
        );
        Verdict {
            retry_count: self.backoff.attempts(),
            retry_in: next.map(|(after, _)| after),
        }
    }

    /// It is not wanted any more.
    pub fn stopped(&mut self, at: Moment) {
        self.failure = None;
        self.enter(Phase::Stopped, at);
    }

    /// Another ladder, from the next failure on; what failed before is forgotten.
    pub fn set_retry(&mut self, retry: RetryConfig) {
        if self.policy != policy(retry) {
            self.policy = policy(retry);
            self.backoff = Backoff::new(self.policy);
        }
    }

    /// The failure for which it was given up, if it was.
    pub fn given_up(&self) -> Option<&Failure> {
        match self.phase {
            Phase::Stopped => self.failure.as_ref(),
            Phase::Waiting { .. } | Phase::Connecting | Phase::Live => None,
        }
    }

    /// As it is shown.
    pub fn state(&self) -> DestinationState {
        match self.phase {
            Phase::Waiting { shown, .. } => match shown {
                Waiting::Connecting => DestinationState::Connecting,
                Waiting::Backoff => DestinationState::Backoff,
                Waiting::Rejected => DestinationState::Rejected,
            },
            Phase::Connecting => DestinationState::Connecting,
            Phase::Live => DestinationState::Live,
            Phase::Stopped => DestinationState::Stopped,
        }
    }

    /// Since when [`Self::state`] holds.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// When the next try is, while one is waited for.
    pub fn next_retry_at(&self, at: Moment) -> Option<Timestamp> {
        match (self.state(), self.phase) {
            (
                DestinationState::Backoff | DestinationState::Rejected,
                Phase::Waiting { until, .. },
            ) => Some(at.wall_at(until)),
            _ => None,
        }
    }

    /// Failures since the last minute of health.
    pub fn retry_count(&self) -> u32 {
        self.backoff.attempts()
    }

    /// Connections begun.
    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// The last failure, until a minute of health has passed over it.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Some platforms take media for a second before they refuse its key.
    fn was_closed_at_publish(&self) -> bool {
        let kind = self.failure.as_ref().map(|failure| failure.kind);
        kind == Some(FailureKind::Peer(Complaint::ClosedAtPublish))
    }

    fn knock(&self) -> Option<(Knock, Duration)> {
        let knock = self.failure.as_ref()?.kind.knock()?;
        let every = KNOCK_EVERY.saturating_mul(1 << self.knocks_in_vain.min(10));
        Some((knock, every.min(KNOCK_EVERY_AT_MOST)))
    }

    fn enter(&mut self, phase: Phase, at: Moment) {
        let shown = self.state();
        self.phase = phase;
        if self.state() != shown {
            self.since = at.wall;
        }
    }
}

fn policy(retry: RetryConfig) -> Policy {
    // The configuration was checked where it came in; what a job file of another version may hold
    // beyond that must not become a panic here.
    let secs = |s: f64| Duration::try_from_secs_f64(s).unwrap_or(Duration::from_secs(120));
    Policy {
        initial: secs(retry.initial_s),
        factor: retry.factor,
        max: secs(retry.max_s),
        jitter: 0.2,
        healthy_after: HEALTHY_AFTER,
        max_attempts: retry.max_attempts,
    }
}

#[cfg(test)]
mod tests;
