//! Whether a connection is getting anywhere. Pure.
//!
//! FFmpeg says nothing when it hangs, or when its peer does. What is looked at instead:
//!
//! | seen | is | after |
//! | --- | --- | --- |
//! | the connection is not answered | [`Held::Unanswered`] | 4 s |
//! | unacknowledged data, and not one acknowledgement | [`Held::HalfOpen`] | 6 s |
//! | the end of the peer's window stays where it is while data waits for it or fills it | [`Held::PeerStalled`] | 4 s |
//! | every acknowledgement narrows the window, and its end hardly moves | [`Held::PeerStalled`] | 4 s |
//! | before any media: the peer neither answers nor acknowledges | [`Held::PeerStalled`] | 4 s |
//! | FFmpeg takes nothing, and nothing waits for the peer | [`Held::FfmpegStalled`] | 4 s |
//!
//! A peer that is merely slow widens its window with each read, however little that is. The kernel of one that
//! does not read takes 70–140 KB more, and moves the end of its window on by 5–30 % of what it takes: its
//! accounts are of memory, not of bytes. Meanwhile the window narrows from look to look.

use std::time::Duration;

use tokio::time::Instant;

use super::delivery::Delivery;

/// How long a hang may take.
pub const STALLED_AFTER: Duration = Duration::from_secs(4);
/// The end of a narrowing window that moves on by less than this share of what is acknowledged, hardly moves:
/// nobody reads, or a third of what is sent at most.
const HARDLY: u64 = 3;
/// What is worth a suspicion; a second without data, or without a look, tells nothing of the peer.
const SUSPECT_AFTER: Duration = Duration::from_secs(1);
/// How long the network may be silent: it comes back by itself more often than a process does.
pub const HALF_OPEN_AFTER: Duration = Duration::from_secs(6);
/// Until there is a connection to look at. FFmpeg has to be loaded and has to find the host.
const NO_CONNECTION_AFTER: Duration = Duration::from_secs(7);
/// Bytes acknowledged before any media can have been: RTMP's handshake and commands (3.5 KiB)
/// and TLS's (about 1 KiB).
const PREAMBLE_BYTES: u64 = 5 * 1024;
/// Where acknowledgements cannot be read, media FFmpeg has to take before it counts as delivered.
const TAKEN_FOR: Duration = Duration::from_secs(2);
/// An acknowledgement this much newer than the last progress is an answer to something later.
const ANSWER_MARGIN: Duration = Duration::from_millis(500);
/// Of a connection that delivered this lately, the end is the end of the delivery: closer than
/// this, looks and acknowledgements do not tell.
const CURRENT: Duration = Duration::from_millis(300);

/// Watches one connection.
#[derive(Debug)]
pub struct Progress {
    looked: Instant,
    taken_since: Option<Instant>,
    /// Since when FFmpeg has not taken what there is to take.
    blocked_since: Option<Instant>,
    /// What the last look found, where there was a connection to look at.
    last: Option<Delivery>,
    /// It has delivered, as far as that can be told.
    delivered: bool,
    /// Whether what FFmpeg takes may be on its way to the peer, where that cannot be asked.
    may_deliver: bool,
    /// When something was last acknowledged.
    acked_at: Option<Instant>,
    /// When the peer last did anything.
    active_at: Instant,
    /// Since when nothing was acknowledged although something is unacknowledged.
    silent_since: Option<Instant>,
    /// Since when the peer's window has not moved on although it was to.
    stuck_since: Option<Instant>,
    /// Since when the window has been narrowing.
    narrowing: Option<Narrowing>,
    /// When there was last something to acknowledge.
    busy_at: Instant,
}

/// A window that no look has found wider than the one before.
#[derive(Debug, Clone, Copy)]
struct Narrowing {
    since: Instant,
    /// What was acknowledged then.
    acked_bytes: u64,
    /// Where the window ended then.
    end_bytes: u64,
}

/// What a look at the connection says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Media was delivered and goes on being.
    Delivering,
    /// Nothing wrong, nothing delivered since the last look.
    Quiet,
    /// It has been held up for too long.
    Held(Held),
}

/// What holds a connection up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// There is no connection.
    Unanswered,
    /// The network is silent.
    HalfOpen,
    /// The peer's machine answers, the peer takes nothing.
    PeerStalled,
    /// FFmpeg takes nothing.
    FfmpegStalled,
}

impl Progress {
    /// Of an FFmpeg that was started at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            looked: now,
            taken_since: None,
            blocked_since: None,
            last: None,
            delivered: false,
            may_deliver: true,
            acked_at: None,
            active_at: now,
            silent_since: None,
            stuck_since: None,
            narrowing: None,
            busy_at: now,
        }
    }

    /// FFmpeg took something.
    pub fn taken(&mut self, now: Instant) {
        self.taken_since.get_or_insert(now);
        self.blocked_since = None;
    }

    /// There is something FFmpeg could take; called as often as it is seen.
    pub fn offered(&mut self, now: Instant) {
        self.blocked_since.get_or_insert(now);
    }

    /// Whether FFmpeg may be connected: what it takes before, it keeps.
    pub fn may_deliver(&mut self, may: bool) {
        self.may_deliver = may;
    }

    /// Judges, given what is known of the peer.
    pub fn look(&mut self, delivery: Option<Delivery>, now: Instant) -> Look {
        let mut looked = std::mem::replace(&mut self.looked, now);
        if now.saturating_duration_since(looked) >= SUSPECT_AFTER {
            // This process was stopped: what happened meanwhile, and for how long, nobody knows.
            looked = now;
            self.begin_anew(now);
        }
        let Some(delivery) = delivery else {
            return self.look_without(now);
        };
        if self.last.is_none() {
            self.active_at = now;
        }
        let last = self.last.replace(delivery).unwrap_or_default();
        let grew = delivery.acked_bytes > last.acked_bytes;
        if grew {
            let at = now.checked_sub(delivery.acked_ago).unwrap_or(looked);
            self.acked_at = Some(at.max(looked));
        }
        if grew || delivery.received_bytes > last.received_bytes {
            self.active_at = now;
        }
        let has_media = delivery.acked_bytes >= PREAMBLE_BYTES;
        let pending = delivery.unacked_bytes > 0;
        let moved = delivery.window_end_bytes > last.window_end_bytes;
        self.watch_window(&last, &delivery, looked, now);
        since(&mut self.silent_since, pending && !grew, looked);
        since(&mut self.stuck_since, (pending || grew) && !moved, looked);
        match self.held(&delivery, has_media, now) {
            Some(held) => Look::Held(held),
            None if grew && has_media => {
                self.delivered = true;
                Look::Delivering
            }
            None => Look::Quiet,
        }
    }

    /// When media was last acknowledged, or taken where that cannot be read.
    pub fn delivered_at(&self, now: Instant) -> Instant {
        self.acked_at.unwrap_or(now)
    }

    /// The instant after which nothing was delivered, of a connection that ends `now`.
    pub fn dark_since(&self, now: Instant) -> Instant {
        let is_old = |at: &Instant| now.saturating_duration_since(*at) > CURRENT;
        // What a peer's kernel acknowledged after the peer had stopped reading reached nobody.
        let stuck_since = self.stuck_since.filter(is_old);
        let narrowing_since = self.narrowing.map(|narrowing| narrowing.since);
        let unread_since = match stuck_since {
            Some(stuck) => Some(narrowing_since.map_or(stuck, |since| since.min(stuck))),
            None => narrowing_since.filter(|_| self.hardly_reads(now, SUSPECT_AFTER)),
        };
        unread_since.or(self.acked_at.filter(is_old)).unwrap_or(now)
    }

    /// Whether nothing has come of what was sent for long enough to think that nothing will: what is
    /// unsent is not to be sent by a kernel whose FFmpeg has ended.
    pub fn is_suspect(&self, now: Instant) -> bool {
        let is_over = |since: Instant| now.saturating_duration_since(since) >= SUSPECT_AFTER;
        self.stuck_since.is_some_and(is_over)
            || self.silent_since.is_some_and(is_over)
            || self.hardly_reads(now, SUSPECT_AFTER)
    }

    fn watch_window(&mut self, last: &Delivery, seen: &Delivery, looked: Instant, now: Instant) {
        let width = |of: &Delivery| of.window_end_bytes.saturating_sub(of.acked_bytes);
        let grew = seen.acked_bytes > last.acked_bytes;
        if grew || seen.unacked_bytes > 0 {
            self.busy_at = now;
        }
        let idle = now.saturating_duration_since(self.busy_at) >= SUSPECT_AFTER;
        if idle || width(seen) > width(last) || (width(seen) == width(last) && grew) {
            self.narrowing = None;
        } else if width(seen) < width(last) {
            self.narrowing.get_or_insert(Narrowing {
                since: looked,
                acked_bytes: last.acked_bytes,
                end_bytes: last.window_end_bytes,
            });
        }
    }

    /// Whether the window has been narrowing for so long, and its end hardly moved.
    fn hardly_reads(&self, now: Instant, patience: Duration) -> bool {
        let (Some(narrowing), Some(last)) = (&self.narrowing, &self.last) else {
            return false;
        };
        let taken = last.acked_bytes.saturating_sub(narrowing.acked_bytes);
        let moved = last.window_end_bytes.saturating_sub(narrowing.end_bytes);
        now.saturating_duration_since(narrowing.since) >= patience && moved * HARDLY <= taken
    }

    fn begin_anew(&mut self, now: Instant) {
        self.active_at = now;
        self.blocked_since = None;
        self.silent_since = None;
        self.stuck_since = None;
        self.narrowing = None;
    }

    fn held(&self, delivery: &Delivery, has_media: bool, now: Instant) -> Option<Held> {
        let is_over = |since: Option<Instant>, patience: Duration| {
            since.is_some_and(|since| now.saturating_duration_since(since) >= patience)
        };
        if !has_media {
            let held = match delivery.established {
                true => Held::PeerStalled,
                false => Held::Unanswered,
            };
            return is_over(Some(self.active_at), STALLED_AFTER).then_some(held);
        }
        if let Some(silent_since) = self.silent_since {
            let silent_for = now.saturating_duration_since(silent_since);
            let answered = delivery.acked_ago + ANSWER_MARGIN < silent_for;
            if !answered {
                return (silent_for >= HALF_OPEN_AFTER).then_some(Held::HalfOpen);
            }
        }
        if is_over(self.stuck_since, STALLED_AFTER)
            || is_over(self.silent_since, STALLED_AFTER)
            || self.hardly_reads(now, STALLED_AFTER)
        {
            return Some(Held::PeerStalled);
        }
        let idle = delivery.unacked_bytes == 0;
        (idle && is_over(self.blocked_since, STALLED_AFTER)).then_some(Held::FfmpegStalled)
    }

    /// Judges by FFmpeg alone.
    fn look_without(&mut self, now: Instant) -> Look {
        let lasts = |since: Option<Instant>, limit: Duration| {
            since.is_some_and(|since| now.saturating_duration_since(since) >= limit)
        };
        // What it took last may have been enough to connect with, and no more.
        let (patience, held) = match self.delivered {
            true => (STALLED_AFTER, Held::FfmpegStalled),
            false => (NO_CONNECTION_AFTER, Held::Unanswered),
        };
        if lasts(self.blocked_since, patience) {
            return Look::Held(held);
        }
        let taken = lasts(self.taken_since, TAKEN_FOR) && self.blocked_since.is_none();
        if taken && self.may_deliver {
            self.delivered = true;
            return Look::Delivering;
        }
        Look::Quiet
    }
}

/// Keeps when `holds` began to; it cannot have been before the last look.
fn since(mark: &mut Option<Instant>, holds: bool, looked: Instant) {
    if holds {
        mark.get_or_insert(looked);
    } else {
        *mark = None;
    }
}

#[cfg(test)]
mod tests;
