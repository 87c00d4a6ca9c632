//! Whether a destination takes the stream as fast as it comes. Pure.
//!
//! Two signs, either is enough: the [`Line`] takes less than it is given, which shows within five seconds of a
//! shortfall of a quarter; or the destination is three seconds behind, or so far that pictures were dropped, which
//! is all that shows where the socket cannot be asked (SRT). What makes no progress at all is not slow but held up
//! ([`super::stall`]), and told so soon.

use std::time::Duration;

use tokio::time::Instant;

use self::line::Line;
pub(super) use self::line::Shortfall;
use super::connection::Observation;
use super::stall::Look;

mod line;

/// This far behind, it is slow.
const SLOW_FROM: Duration = Duration::from_secs(3);
/// This little behind, and its line idle now and then, it is not any more.
const SLOW_UNTIL: Duration = Duration::from_secs(1);

/// Watches one connection.
#[derive(Debug, Default)]
pub(super) struct Slow {
    is_slow: bool,
    dropped_frames: Option<u64>,
    line: Line,
    shortfall: Option<Shortfall>,
}

impl Slow {
    /// Judges a look; `dropped_frames` only grows.
    pub(super) fn look(&mut self, seen: &Observation, dropped_frames: u64, now: Instant) {
        let dropped = self.dropped_frames.replace(dropped_frames);
        let drops = dropped.is_some_and(|before| before < dropped_frames);
        let shortfall = self.line.look(seen, now);
        let late = seen.look == Look::Delivering && (drops || seen.behind >= SLOW_FROM);
        if late || shortfall.is_some() {
            self.is_slow = true;
            self.shortfall = shortfall.or(self.shortfall);
        } else if seen.behind <= SLOW_UNTIL && !drops && !self.line.is_busy() {
            self.is_slow = false;
            self.shortfall = None;
        }
    }

    pub(super) fn is_slow(&self) -> bool {
        self.is_slow
    }

    /// What is known of how slow it is, while it is.
    pub(super) fn shortfall(&self) -> Option<Shortfall> {
        self.shortfall
    }
}

#[cfg(test)]
mod tests;
