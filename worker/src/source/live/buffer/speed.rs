//! Whether a feed comes as fast as it plays. Pure.
//!
//! On air, each moment that it is late makes the whole stream late: what such a feed lacks is taken from
//! the viewers' own buffers, until those are empty. What stops altogether is another's business: it runs dry.

use std::time::Duration;

use tokio::time::Instant;

/// Pictures further apart than this were held up, or did not come; afterwards they are usually made up for.
const HELD_UP: Duration = Duration::from_millis(600);
/// A feed's clock that moves further between two pictures has jumped, ms.
const JUMP_MS: f64 = 1_000.0;
/// The part of the time that is forgiven: no encoder's clock is that wrong, and jitter is forgotten by it.
const FORGIVEN: f64 = 0.03;
/// So far behind is slow, ms.
const SLOW_MS: f64 = 2_000.0;
/// It is no longer slow when it has fallen behind by less than this, ms …
const STEADY_MS: f64 = 400.0;
/// … in so much time.
const STEADY_FOR: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Speed {
    /// When the last picture came, and its decode time.
    last: Option<(Instant, i64)>,
    behind_ms: f64,
    /// It is slow; since when it might be no longer.
    slow_since: Option<Instant>,
}

// === impl Speed ===

impl Speed {
    /// A picture of this decode time has come.
    pub(super) fn note(&mut self, dts_ms: i64, now: Instant) {
        let Some((before, before_ms)) = self.last.replace((now, dts_ms)) else {
            return;
        };
        let waited = now.saturating_duration_since(before);
        let played_ms = (dts_ms - before_ms) as f64;
        if waited < HELD_UP && played_ms.abs() <= JUMP_MS {
            let waited_ms = waited.as_secs_f64() * 1_000.0;
            self.behind_ms += waited_ms * (1.0 - FORGIVEN) - played_ms;
            self.behind_ms = self.behind_ms.max(0.0);
        }
        let limit_ms = self.slow_since.map_or(SLOW_MS, |_| STEADY_MS);
        if self.behind_ms >= limit_ms {
            self.behind_ms = 0.0;
            self.slow_since = Some(now);
        } else if self.slow_since.is_some_and(|at| now >= at + STEADY_FOR) {
            self.slow_since = None;
            self.behind_ms = 0.0;
        }
    }

    /// Whether it comes slower than it plays.
    pub(super) fn is_slow(&self) -> bool {
        self.slow_since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A feed of 25 pictures a second that comes at `speed` for so long; when it became slow.
    fn play(
        speed: &mut Speed,
        at: &mut Instant,
        ms: &mut i64,
        pace: f64,
        seconds: u64,
    ) -> Option<f64> {
        let begun = *at;
        let mut slow_at = None;
        while *at < begun + Duration::from_secs(seconds) {
            speed.note(*ms, *at);
            if speed.is_slow() && slow_at.is_none() {
                slow_at = Some((*at - begun).as_secs_f64());
            }
            *ms += 40;
            *at += Duration::from_millis(40).div_f64(pace);
        }
        slow_at
    }

    #[test]
    fn half_speed_is_slow_within_seconds_and_its_own_speed_is_not_again_after_ten() {
        let (mut speed, mut at, mut ms) = (Speed::default(), Instant::now(), 0);
        assert_eq!(play(&mut speed, &mut at, &mut ms, 1.0, 60), None);
        let slow_at = play(&mut speed, &mut at, &mut ms, 0.5, 20).expect("slow");
        assert!((3.9..5.0).contains(&slow_at), "{slow_at}");
        assert!(speed.is_slow(), "for as long as it is");
        play(&mut speed, &mut at, &mut ms, 1.0, 9);
        assert!(speed.is_slow(), "not at once");
        play(&mut speed, &mut at, &mut ms, 1.0, 2);
        assert!(!speed.is_slow());
    }

    #[test]
    fn a_slow_clock_jitter_and_what_is_made_up_for_are_not() {
        let (mut speed, mut at, mut ms) = (Speed::default(), Instant::now(), 0);
        assert_eq!(play(&mut speed, &mut at, &mut ms, 0.98, 300), None);
        for _ in 0..20 {
            // Held up for longer and longer, and then all at once.
            for (waits, pictures) in [(300, 7), (550, 14), (3_000, 75)] {
                at += Duration::from_millis(waits);
                for _ in 0..pictures {
                    speed.note(ms, at);
                    ms += 40;
                }
                assert!(!speed.is_slow());
            }
        }
        // Its clock jumps, either way.
        for to_ms in [ms + 400_000, ms] {
            ms = to_ms;
            assert_eq!(play(&mut speed, &mut at, &mut ms, 1.0, 5), None);
        }
    }
}
