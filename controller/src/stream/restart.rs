//! What follows the end of a worker. Pure: clock and dice are arguments.
//!
//! A wanted stream is tried for ever. What was on air and fell is put back at once, five times within
//! ten minutes; everything else climbs a ladder of waits, 1 s doubling to 60 s, ±20 %, which is left
//! by 60 s on air. Only what no retry can fix ends in *failed*.

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
/// The wait before a worker that was on air is replaced: long enough for the kernel to have ended its
/// FFmpegs, short enough to be back within two seconds.
const AT_ONCE: Duration = Duration::from_millis(250);
/// How often that is granted within [`CRASH_LOOP_WINDOW`].
const AT_ONCE_TIMES: usize = 5;
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
    /// Whether this worker had been on air.
    pub(super) was_on_air: bool,
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
    /// Restarts that were granted at once.
    at_once: VecDeque<Instant>,
}

// === impl Restarts ===

impl Restarts {
    /// None yet.
    pub(super) fn new() -> Self {
        Self::after_failures(0)
    }

    /// On the rung of the ladder where an earlier controller stood.
    pub(super) fn after_failures(failures: u32) -> Self {
        Self {
            backoff: Backoff::resumed(POLICY, failures),
            recent: VecDeque::new(),
            at_once: VecDeque::new(),
        }
    }

    /// Failures on the ladder.
    pub(super) fn failures(&self) -> u32 {
        self.backoff.attempts()
    }

    /// The operator asks for a fresh start.
    pub(super) fn reset(&mut self) {
        self.backoff.reset();
        self.recent.clear();
        self.at_once.clear();
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
        if ended.was_on_air && self.grants_at_once(now) {
            return Verdict::Restart {
                after: jittered(AT_ONCE, random),
                error: self.with_loop_hint(error, now),
            };
        }
        self.retry(error, now, random)
    }

    /// Whether a stream that fell off air is put back without a wait. Not on the ladder: what climbs
    /// it has shown that haste does not help.
    fn grants_at_once(&mut self, now: Instant) -> bool {
        forget_before(&mut self.at_once, now, CRASH_LOOP_WINDOW);
        self.backoff.forget_if_healthy(now);
        let granted = self.backoff.attempts() == 0 && self.at_once.len() < AT_ONCE_TIMES;
        if granted {
            self.backoff.unhealthy();
            self.at_once.push_back(now);
        }
        granted
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
        forget_before(&mut self.recent, now, CRASH_LOOP_WINDOW);
        if self.recent.len() <= CRASH_LOOP {
            return error;
        }
        ErrorReport {
            hint: format!(
                "{}. It has ended {} times within ten minutes; retries go on, a minute apart at the \
                 most. The stream's log says what it did last",
                error.hint.trim_end_matches('.'),
                self.recent.len()
            ),
            ..error
        }
    }
}

fn forget_before(times: &mut VecDeque<Instant>, now: Instant, window: Duration) {
    let old = |first: &Instant| now.duration_since(*first) > window;
    while times.front().is_some_and(old) {
        times.pop_front();
    }
}

fn jittered(wait: Duration, random: f64) -> Duration {
    wait.mul_f64(1.0 + POLICY.jitter * (random.clamp(0.0, 1.0) * 2.0 - 1.0))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ended(exit: ExitReason) -> Ended {
        Ended {
            exit,
            last_words: None,
            was_on_air: false,
        }
    }

    fn fell(exit: ExitReason) -> Ended {
        Ended {
            was_on_air: true,
            ..ended(exit)
        }
    }

    fn wait(verdict: &Verdict) -> Duration {
        match verdict {
            Verdict::Restart { after, .. } => *after,
            Verdict::GiveUp(error) => panic!("gave up: {error:?}"),
        }
    }

    /// Jitter's middle: the nominal wait.
    const NO_JITTER: f64 = 0.5;

    #[test]
    fn waits_double_from_one_second_to_a_minute() {
        let mut restarts = Restarts::new();
        let crash = ended(ExitReason::Signal(9));
        let start = Instant::now();
        let waits: Vec<u64> = (0..8)
            .map(|n| {
                let now = start + Duration::from_secs(n * 61);
                wait(&restarts.after(&crash, now, NO_JITTER)).as_secs()
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_minute_on_air_starts_the_ladder_again_but_a_minute_of_starting_does_not() {
        let crash = ended(ExitReason::Code(70));
        let start = Instant::now();
        let mut restarts = Restarts::new();
        for n in 0..4 {
            let _ = restarts.after(&crash, start + Duration::from_secs(n), NO_JITTER);
        }
        let later = start + Duration::from_secs(100);
        assert_eq!(
            wait(&restarts.after(&crash, later, NO_JITTER)).as_secs(),
            16
        );
        restarts.healthy(later);
        restarts.healthy(later + Duration::from_secs(60));
        let end = later + Duration::from_secs(61);
        assert_eq!(wait(&restarts.after(&crash, end, NO_JITTER)).as_secs(), 1);
    }

    #[test]
    fn what_fell_off_air_is_put_back_at_once_five_times_in_ten_minutes() {
        let mut restarts = Restarts::new();
        let crash = fell(ExitReason::Signal(9));
        let start = Instant::now();
        let waits: Vec<u128> = (0..8)
            .map(|n| {
                let now = start + Duration::from_secs(n * 20);
                restarts.healthy(now);
                wait(&restarts.after(&crash, now, NO_JITTER)).as_millis()
            })
            .collect();
        assert_eq!(waits, [250, 250, 250, 250, 250, 1000, 2000, 4000]);

        let later = start + Duration::from_secs(600 + 61);
        restarts.healthy(later);
        let now = later + Duration::from_secs(60);
        let after = wait(&restarts.after(&crash, now, NO_JITTER));
        assert_eq!(after.as_millis(), 250, "a minute on air, ten without falls");
    }

    #[test]
    fn the_next_controller_stands_on_the_same_rung() {
        let crash = fell(ExitReason::Signal(9));
        let mut restarts = Restarts::after_failures(4);
        let now = Instant::now();
        assert_eq!(wait(&restarts.after(&crash, now, NO_JITTER)).as_secs(), 16);
        assert_eq!(restarts.failures(), 5);
        restarts.healthy(now);
        restarts.healthy(now + Duration::from_secs(60));
        assert_eq!(restarts.failures(), 0);
    }

    #[test]
    fn only_what_no_retry_can_fix_is_given_up() {
        for code in 0..=255 {
            let verdict =
                Restarts::new().after(&ended(ExitReason::Code(code)), Instant::now(), NO_JITTER);
            let given_up = matches!(verdict, Verdict::GiveUp(_));
            assert_eq!(given_up, [64, 69, 78].contains(&code), "exit code {code}");
        }
    }

    #[test]
    fn the_end_of_an_adopted_worker_is_judged_by_its_last_words() {
        let ended = Ended {
            exit: ExitReason::Unknown,
            last_words: Some(WorkerExit {
                generation: 3,
                code: exit_code::DESTINATIONS_EXHAUSTED,
                error: Some(ErrorReport {
                    error_type: "key_rejected".into(),
                    message: "youtube refused the key".into(),
                    hint: "check it".into(),
                }),
            }),
            was_on_air: true,
        };
        let verdict = Restarts::new().after(&ended, Instant::now(), NO_JITTER);
        let Verdict::GiveUp(error) = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(error.error_type, "key_rejected");
    }

    #[test]
    fn a_crash_loop_is_named_and_goes_on() {
        let mut restarts = Restarts::new();
        let crash = ended(ExitReason::Signal(11));
        let start = Instant::now();
        let hints: Vec<String> = (0..11)
            .map(|n| {
                let now = start + Duration::from_secs(n * 50);
                match restarts.after(&crash, now, NO_JITTER) {
                    Verdict::Restart { error, .. } => error.hint,
                    Verdict::GiveUp(_) => panic!("gave up"),
                }
            })
            .collect();
        assert!(!hints[9].contains("times within"), "{}", hints[9]);
        assert!(hints[10].contains("11 times within"), "{}", hints[10]);
        let much_later = start + Duration::from_secs(3600);
        let verdict = restarts.after(&crash, much_later, NO_JITTER);
        assert!(!format!("{verdict:?}").contains("times within"));
    }

    proptest! {
        /// Whatever happens to a wanted stream, it is tried again within 72 s (60 s + 20 %), never in a
        /// hot loop, and as a rule at most once a minute once it is known not to help.
        #[test]
        fn a_wanted_stream_is_always_tried_again_soon(
            ends in proptest::collection::vec((1_i32..64, 0_u64..100_000, 0.0..1.0_f64, any::<bool>(), any::<bool>()), 1..200)
        ) {
            let mut restarts = Restarts::new();
            let mut now = Instant::now();
            for (signal, pause_ms, random, healthy, was_on_air) in ends {
                now += Duration::from_millis(pause_ms);
                if healthy {
                    restarts.healthy(now);
                } else {
                    restarts.unhealthy();
                }
                let end = Ended { was_on_air, ..ended(ExitReason::Signal(signal)) };
                let after = wait(&restarts.after(&end, now, random));
                let least = if was_on_air { 200 } else { 800 };
                prop_assert!(after >= Duration::from_millis(least), "{after:?}");
                prop_assert!(after <= Duration::from_secs(72), "{after:?}");
                now += after;
            }
        }
    }
}
