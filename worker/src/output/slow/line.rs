//! Whether the line to a destination carries what it is given. Pure.
//!
//! A line that is never idle shows what it can carry: what is acknowledged. That is compared with the media itself,
//! bytes for each second of it, not with what was handed over: FFmpeg and the kernel take less of it once they are
//! full, and a feed that comes late comes in bursts.
//!
//! | the line is busy while at a look | which is |
//! | --- | --- |
//! | a segment waits unsent | the kernel may not send it yet: congestion, or no window |
//! | what was written a round trip and 0.3 s ago is not acknowledged | it waits in a network with deep buffers |
//! | the peer's window is half of what it was or less | its kernel acknowledges more than is read, and fills |
//!
//! It falls short when it has been busy for 2.5 s without a break and took 0.5 s less than these last seconds (4 s
//! at most) of media are long, and in the newer half of 2.5 s took less than 7/8. So a backlog that drains is no
//! shortfall, however large. A machine or an FFmpeg that stands still leaves the line idle.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::output::delivery::Delivery;
use crate::output::observation::Observation;
use crate::output::stall::Look;

/// Looks are remembered for so long; it is also what the rate of the media is the mean of: two groups of pictures.
const KEPT: Duration = Duration::from_secs(5);
/// Less media than this has no rate: it may be one keyframe.
const LEAST_MEDIA_MS: u64 = 1_000;
/// A connection, or one after a silence, finds its pace first: slow start takes some round trips.
const SETTLES: Duration = Duration::from_secs(2);
/// What was written may be on its way for so long beyond the least round trip: acknowledgements are delayed, and
/// looks are far apart.
const ON_ITS_WAY: Duration = Duration::from_millis(300);
/// The least and the most that is judged.
const BUSY_LEAST: Duration = Duration::from_millis(2_500);
const BUSY_MOST: Duration = Duration::from_secs(4);
/// It falls short when it took so much less than was to be taken in that time.
const SHORT_BY: Duration = Duration::from_millis(500);
/// And when it still takes less than this share: else it is catching up, or keeps up.
const KEEPS_UP: f64 = 7.0 / 8.0;
/// Whoever acknowledges nothing for so long is not slow.
const SILENCE: Duration = Duration::from_millis(1_500);
/// Whoever does not look for so long, stood still.
const STOOD_STILL: Duration = Duration::from_secs(1);

/// Watches one connection.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// The newest last.
    points: VecDeque<Point>,
    /// When something was last seen to be acknowledged.
    acked_at: Option<Instant>,
    settled_at: Option<Instant>,
    busy_since: Option<Instant>,
}

/// What a line took of what it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::output) struct Shortfall {
    /// It takes.
    pub(in crate::output) taken_kbps: u32,
    /// The media has.
    pub(in crate::output) given_kbps: u32,
}

/// A look.
#[derive(Debug, Clone, Copy)]
struct Point {
    at: Instant,
    acked_bytes: u64,
    /// Into the socket.
    written_bytes: u64,
    window_bytes: u64,
    /// Media, and what it comes to in bytes.
    media_ms: u64,
    media_bytes: u64,
}

impl Line {
    /// Judges a look.
    pub(super) fn look(&mut self, seen: &Observation, now: Instant) -> Option<Shortfall> {
        let last = self.points.back().copied();
        let stood_still = last.is_some_and(|last| now - last.at >= STOOD_STILL);
        if seen.delivery.is_none() || stood_still {
            *self = Self::default();
        }
        let delivery = seen.delivery?;
        if last.is_none_or(|last| delivery.acked_bytes > last.acked_bytes) {
            self.acked_at = Some(now);
        }
        self.remember(seen, &delivery, now);
        let is_silent = self.acked_at.is_none_or(|at| now - at >= SILENCE);
        if is_silent {
            self.settled_at = None;
        } else if seen.look == Look::Delivering {
            self.settled_at.get_or_insert(now + SETTLES);
        }
        let is_settled = self.settled_at.is_some_and(|at| now >= at);
        let is_busy = is_settled && self.waits(&delivery, now);
        self.busy_since = is_busy.then(|| self.busy_since.unwrap_or(now));
        self.shortfall(now)
    }

    /// Whether at the last look something waited for it.
    pub(super) fn is_busy(&self) -> bool {
        self.busy_since.is_some()
    }

    fn remember(&mut self, seen: &Observation, delivery: &Delivery, now: Instant) {
        self.points.push_back(Point {
            at: now,
            acked_bytes: delivery.acked_bytes,
            written_bytes: delivery.acked_bytes + delivery.unacked_bytes,
            window_bytes: window(delivery),
            media_ms: seen.media_ms,
            media_bytes: seen.media_bytes,
        });
        while self.points.front().is_some_and(|it| now - it.at > KEPT) {
            self.points.pop_front();
        }
    }

    fn waits(&self, delivery: &Delivery, now: Instant) -> bool {
        let widest = self.points.iter().map(|it| it.window_bytes).max();
        let is_narrow = window(delivery) * 2 <= widest.unwrap_or(0);
        let is_unsent = delivery.unsent_bytes >= delivery.segment_bytes.max(1);
        let way = delivery.least_round_trip + ON_ITS_WAY;
        let mut newest_first = self.points.iter().rev();
        let then = newest_first.find(|it| now - it.at >= way);
        let is_late = then.is_some_and(|then| then.written_bytes > delivery.acked_bytes);
        is_narrow || is_unsent || is_late
    }

    fn shortfall(&self, now: Instant) -> Option<Shortfall> {
        let busy_for = now - self.busy_since?;
        if busy_for < BUSY_LEAST {
            return None;
        }
        let per_s = self.media_bytes_per_s()?;
        let taken = |over: Duration| self.taken_per_s(now, over).map(|taken| taken / per_s);
        let (all, newer) = (busy_for.min(BUSY_MOST), BUSY_LEAST / 2);
        let short_s = (1.0 - taken(all)?) * all.as_secs_f64();
        let falls_short = short_s >= SHORT_BY.as_secs_f64() && taken(newer)? <= KEEPS_UP;
        // Saturates.
        let kbps = |bytes_per_s: f64| (bytes_per_s * 8.0 / 1000.0) as u32;
        falls_short.then_some(Shortfall {
            taken_kbps: kbps(taken(all)? * per_s),
            given_kbps: kbps(per_s),
        })
    }

    /// Bytes of a second of the media.
    fn media_bytes_per_s(&self) -> Option<f64> {
        let (oldest, newest) = (self.points.front()?, self.points.back()?);
        let ms = newest.media_ms.saturating_sub(oldest.media_ms);
        let bytes = newest.media_bytes.saturating_sub(oldest.media_bytes);
        (ms >= LEAST_MEDIA_MS && bytes > 0).then(|| bytes as f64 * 1000.0 / ms as f64)
    }

    /// Bytes acknowledged in a second, as the mean of so long.
    fn taken_per_s(&self, now: Instant, over: Duration) -> Option<f64> {
        let mut newest_first = self.points.iter().rev();
        let then = newest_first.find(|it| now - it.at >= over)?;
        let acked_bytes = self.points.back()?.acked_bytes - then.acked_bytes;
        Some(acked_bytes as f64 / (now - then.at).as_secs_f64())
    }
}

/// How much the peer offers to take.
fn window(delivery: &Delivery) -> u64 {
    let end = delivery.window_end_bytes;
    end.saturating_sub(delivery.acked_bytes)
}
