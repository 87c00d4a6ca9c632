//! Whether a destination takes the stream as fast as it comes. Pure.
//!
//! Two signs, either is enough: the [`Line`] takes less than it is given, which shows within five seconds of a
//! shortfall of a quarter; or the destination is three seconds behind, or so far that pictures were dropped, which
//! is all that shows where the socket cannot be asked (SRT). What makes no progress at all is not slow but held up
//! ([`super::stall`]), and told so soon.
//!
//! It is over after ten seconds in which it kept up: else a stream whose bit rate swings around what the line carries
//! would be told at every swing.

use std::time::Duration;

use tokio::time::Instant;

use self::line::Line;
pub(super) use self::line::Shortfall;
use super::observation::Observation;
use super::stall::Look;

mod line;

/// This far behind, it is slow.
const SLOW_FROM: Duration = Duration::from_secs(3);
/// This little behind, and its line idle now and then, it keeps up.
const KEEPS_UP_UNTIL: Duration = Duration::from_secs(1);
/// It is not slow any more when it has kept up for so long.
const OVER_AFTER: Duration = Duration::from_secs(10);

/// Watches one connection.
#[derive(Debug, Default)]
pub(super) struct Slow {
    is_slow: bool,
    keeps_up_since: Option<Instant>,
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
            self.keeps_up_since = None;
            self.shortfall = shortfall.or(self.shortfall);
        } else if drops || seen.behind > KEEPS_UP_UNTIL {
            self.keeps_up_since = None;
        } else if !self.line.is_busy() {
            self.keeps_up_since.get_or_insert(now);
        }
        if self.keeps_up_since.is_some_and(|at| now - at >= OVER_AFTER) {
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
