//! How long to wait before the next try. Pure: the clock and the dice are arguments.

use std::time::Duration;

use tokio::time::Instant;

/// How failures are answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Before the first retry.
    pub initial: Duration,
    /// What each further wait is multiplied by; below 1 counts as 1.
    pub factor: f64,
    /// Above this the wait does not grow.
    pub max: Duration,
    /// Each wait is stretched or shrunk by up to this share of itself (0.2 is ±20 %), so that many
    /// clients of one server do not come back as one.
    pub jitter: f64,
    /// Health of this length forgets all failures before it.
    pub healthy_after: Duration,
    /// Retries before giving up; `None`: never.
    pub max_attempts: Option<u32>,
}

/// Failures in a row, and the wait they earn.
#[derive(Debug, Clone)]
pub struct Backoff {
    policy: Policy,
    attempts: u32,
    healthy_since: Option<Instant>,
}

/// What to do after a failure.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again.
    Retry {
        /// After this long.
        after: Duration,
        /// Which retry it will be, from 1.
        attempt: u32,
    },
    /// Every allowed retry has failed.
    GiveUp {
        /// How many there were.
        attempts: u32,
    },
}

// === impl Policy ===

impl Default for Policy {
    /// 1 s doubling to 120 s, ±20 %, forgotten after 60 s of health, for ever.
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            factor: 2.0,
            max: Duration::from_secs(120),
            jitter: 0.2,
            healthy_after: Duration::from_secs(60),
            max_attempts: None,
        }
    }
}

impl Policy {
    /// The wait before retry number `attempt` (from 1), without jitter.
    pub fn delay(&self, attempt: u32) -> Duration {
        let steps = f64::from(attempt.saturating_sub(1));
        let grown = self.initial.as_secs_f64() * self.factor.max(1.0).powf(steps);
        // The comparison is made in floats: the power overflows to infinity, never to a panic.
        Duration::from_secs_f64(grown.min(self.max.as_secs_f64()))
    }
}

// === impl Backoff ===

impl Backoff {
    /// No failure yet.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            attempts: 0,
            healthy_since: None,
        }
    }

    /// Counts a failure at `now`; `random` is a number in 0..1 for the jitter.
    pub fn failed(&mut self, now: Instant, random: f64) -> Next {
        self.forget_if_healthy(now);
        self.healthy_since = None;
        if let Some(max) = self.policy.max_attempts
            && self.attempts >= max
        {
            return Next::GiveUp {
                attempts: self.attempts,
            };
        }
        self.attempts = self.attempts.saturating_add(1);
        let jitter = self.policy.jitter.clamp(0.0, 1.0) * (random.clamp(0.0, 1.0) * 2.0 - 1.0);
        Next::Retry {
            after: self.policy.delay(self.attempts).mul_f64(1.0 + jitter),
            attempt: self.attempts,
        }
    }

    /// Tells that it works at `now`. May be told as often as it is seen: the first time starts the
    /// count of health, the first one [`Policy::healthy_after`] later forgets the failures.
    pub fn healthy_since(&mut self, now: Instant) {
        self.healthy_since.get_or_insert(now);
        self.forget_if_healthy(now);
    }

    /// Tells that it does not work at present, though it has not failed either.
    pub fn unhealthy(&mut self) {
        self.healthy_since = None;
    }

    /// Failures since the last proof of health.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Forgets every failure, as when an operator asks for a fresh start.
    pub fn reset(&mut self) {
        self.attempts = 0;
        self.healthy_since = None;
    }

    fn forget_if_healthy(&mut self, now: Instant) {
        let healthy = self
            .healthy_since
            .is_some_and(|since| now.saturating_duration_since(since) >= self.policy.healthy_after);
        if healthy {
            self.attempts = 0;
        }
    }
}
