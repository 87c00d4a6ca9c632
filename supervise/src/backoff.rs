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

    /// As it was after `attempts` failures in a row, which someone before has counted.
    pub fn resumed(policy: Policy, attempts: u32) -> Self {
        Self {
            attempts,
            ..Self::new(policy)
        }
    }

    /// As it was, with the health it had.
    pub fn restored(policy: Policy, attempts: u32, healthy_since: Option<Instant>) -> Self {
        Self {
            policy,
            attempts,
            healthy_since,
        }
    }

    /// Since when it has worked, if it does.
    pub fn health(&self) -> Option<Instant> {
        self.healthy_since
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

    /// Forgets the failures if health has lasted for [`Policy::healthy_after`] by `now`.
    pub fn forget_if_healthy(&mut self, now: Instant) {
        let healthy = self
            .healthy_since
            .is_some_and(|since| now.saturating_duration_since(since) >= self.policy.healthy_after);
        if healthy {
            self.attempts = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn waits(policy: Policy, count: usize) -> Vec<u64> {
        let mut backoff = Backoff::new(policy);
        let now = Instant::now();
        (0..count)
            .map(|_| match backoff.failed(now, 0.5) {
                Next::Retry { after, .. } => after.as_secs(),
                Next::GiveUp { .. } => 0,
            })
            .collect()
    }

    #[test]
    fn doubles_from_one_second_to_two_minutes() {
        let expected = [1, 2, 4, 8, 16, 32, 64, 120, 120, 120];
        assert_eq!(waits(Policy::default(), 10), expected);
    }

    #[test]
    fn the_ladder_of_three_tries_gives_up_after_the_third() {
        let policy = Policy {
            initial: 30 * SECOND,
            max_attempts: Some(3),
            ..Policy::default()
        };
        assert_eq!(waits(policy, 4), [30, 60, 120, 0]);

        let mut backoff = Backoff::new(policy);
        let now = Instant::now();
        for attempt in 1..=3 {
            let next = backoff.failed(now, 0.5);
            assert!(matches!(next, Next::Retry { attempt: a, .. } if a == attempt));
        }
        assert_eq!(backoff.failed(now, 0.5), Next::GiveUp { attempts: 3 });
        assert_eq!(backoff.failed(now, 0.5), Next::GiveUp { attempts: 3 });
    }

    #[test]
    fn no_attempt_allowed_gives_up_at_once() {
        let policy = Policy {
            max_attempts: Some(0),
            ..Policy::default()
        };
        let next = Backoff::new(policy).failed(Instant::now(), 0.5);
        assert_eq!(next, Next::GiveUp { attempts: 0 });
    }

    #[test]
    fn sixty_seconds_of_health_forget_and_59_do_not() {
        let mut backoff = Backoff::new(Policy::default());
        let mut now = Instant::now();
        let _ = backoff.failed(now, 0.5);
        let _ = backoff.failed(now, 0.5);

        backoff.healthy_since(now);
        now += 59 * SECOND;
        backoff.healthy_since(now);
        assert_eq!(backoff.attempts(), 2);
        let _ = backoff.failed(now, 0.5);
        assert_eq!(backoff.attempts(), 3);

        backoff.healthy_since(now);
        now += 60 * SECOND;
        backoff.healthy_since(now);
        assert_eq!(backoff.attempts(), 0, "seen while it is healthy");

        let _ = backoff.failed(now, 0.5);
        backoff.healthy_since(now);
        now += 61 * SECOND;
        let next = backoff.failed(now, 0.5);
        let first = Next::Retry {
            after: SECOND,
            attempt: 1,
        };
        assert_eq!(next, first, "seen at the next failure");
    }

    #[test]
    fn interrupted_health_counts_from_its_return() {
        let mut backoff = Backoff::new(Policy::default());
        let start = Instant::now();
        let _ = backoff.failed(start, 0.5);
        backoff.healthy_since(start);
        backoff.unhealthy();
        backoff.healthy_since(start + 50 * SECOND);
        backoff.healthy_since(start + 100 * SECOND);
        assert_eq!(backoff.attempts(), 1);
        backoff.healthy_since(start + 110 * SECOND);
        assert_eq!(backoff.attempts(), 0);
    }

    proptest! {
        #[test]
        fn waits_stay_within_their_bounds(
            initial_ms in 0_u64..10_000,
            factor in 0.0_f64..20.0,
            max_ms in 0_u64..10_000_000,
            failures in 1_usize..200,
            random in 0.0_f64..1.0,
        ) {
            let policy = Policy {
                initial: Duration::from_millis(initial_ms),
                factor,
                max: Duration::from_millis(max_ms),
                ..Policy::default()
            };
            let mut backoff = Backoff::new(policy);
            let now = Instant::now();
            let mut before = Duration::ZERO;
            for attempt in 1..=failures {
                let Next::Retry { after, attempt: told } = backoff.failed(now, random) else {
                    return Err(TestCaseError::fail("gave up without a limit"));
                };
                prop_assert_eq!(told as usize, attempt);
                prop_assert!(after >= before, "the same dice never shorten a later wait");
                prop_assert!(after <= policy.max.mul_f64(1.2) + Duration::from_nanos(1));
                let least = policy.initial.min(policy.max).mul_f64(0.8);
                prop_assert!(after + Duration::from_nanos(1) >= least);
                before = after;
            }
        }

        #[test]
        fn jitter_is_a_fifth_either_way(random in 0.0_f64..1.0) {
            let next = Backoff::new(Policy::default()).failed(Instant::now(), random);
            let Next::Retry { after, .. } = next else {
                return Err(TestCaseError::fail("gave up"));
            };
            let expected = 0.8 + 0.4 * random;
            prop_assert!((after.as_secs_f64() - expected).abs() < 1e-6);
        }
    }
}
