//! Whether a destination takes the stream as fast as it comes. Pure.

use std::time::Duration;

use super::connection::Observation;
use super::stall::Look;

/// This far behind, it is slow.
const SLOW_FROM: Duration = Duration::from_secs(3);
/// This little behind, it is not any more.
const SLOW_UNTIL: Duration = Duration::from_secs(1);

/// Watches one connection. What makes no progress at all is not slow but held up, and told so soon.
#[derive(Debug, Default)]
pub(super) struct Slow {
    is_slow: bool,
    dropped_frames: Option<u64>,
}

impl Slow {
    /// Judges a look; `dropped_frames` only grows.
    pub(super) fn look(&mut self, seen: &Observation, dropped_frames: u64) {
        let dropped = self.dropped_frames.replace(dropped_frames);
        let drops = dropped.is_some_and(|before| before < dropped_frames);
        if seen.behind <= SLOW_UNTIL && !drops {
            self.is_slow = false;
        } else if seen.look == Look::Delivering && (drops || seen.behind >= SLOW_FROM) {
            self.is_slow = true;
        }
    }

    pub(super) fn is_slow(&self) -> bool {
        self.is_slow
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn seen(look: Look, behind_ms: u64) -> Observation {
        Observation {
            look,
            media_ms: 10_000,
            delivery: None,
            stood_still_since: None,
            delivered_at: Instant::now(),
            behind: Duration::from_millis(behind_ms),
            bitrate_kbps: 3_000,
        }
    }

    #[test]
    fn a_destination_is_slow_from_three_seconds_behind_until_it_has_caught_up() {
        let mut slow = Slow::default();
        for (behind_ms, is_slow) in [
            (200, false),
            (2_900, false),
            (3_000, true),
            (1_100, true),
            (900, false),
        ] {
            slow.look(&seen(Look::Delivering, behind_ms), 0);
            assert_eq!(slow.is_slow(), is_slow, "{behind_ms}");
        }
    }

    #[test]
    fn drops_say_so_too_and_silence_does_not() {
        let mut slow = Slow::default();
        slow.look(&seen(Look::Delivering, 100), 40);
        assert!(!slow.is_slow(), "those of an earlier connection");
        slow.look(&seen(Look::Quiet, 4_000), 40);
        assert!(!slow.is_slow());
        slow.look(&seen(Look::Delivering, 2_000), 70);
        assert!(slow.is_slow());
    }
}
