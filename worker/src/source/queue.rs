//! What a reader has in hand for the air: a queue bounded in bytes and media time.
//!
//! One reader fills it, playout empties it; both hold it by `Arc`. Above its bound the reader
//! stops (the pipe fills, FFmpeg blocks) and goes on below three quarters of it, so both processes work in
//! bursts and sleep between them, and a reader that gets nothing any more is known with that in hand. Each side is woken only when something changed for it: the
//! reader when there is room again, playout when the source becomes ready, has something again
//! after it had nothing, or ends.

mod held;

use serde::{Deserialize, Serialize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use storage::model::ErrorReport;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use self::held::Held;
use self::held::{head_of, is_keyframe};
use crate::flv::Packet;

/// Media a source must have in hand before it may go on air, ms.
pub const READY_MS: i64 = 500;

/// An item that comes slower than it plays is given no more than this before it goes on, ms.
const MOST_FILL_MS: i64 = 16_000;

/// How much a queue may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueBounds {
    /// Payload bytes.
    pub bytes: usize,
    /// Media time between its oldest and its newest packet, ms.
    pub media_ms: i64,
}

/// Which tracks a source will deliver; known once it was probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracks {
    /// A picture.
    pub video: bool,
    /// Sound.
    pub audio: bool,
}

/// Why nothing will be added any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum SourceEnd {
    /// The file was read to its end.
    Complete,
    /// The file ended before its stated length.
    Short {
        /// Seconds into the file of the last packet.
        media_s: f64,
        /// Seconds the file should have.
        expected_s: f64,
    },
    /// It could not be opened or read.
    Failed(ErrorReport),
    /// The media store stopped delivering it, and says nothing of the file by that.
    Interrupted(ErrorReport),
}

/// The packet that would be popped next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What it is.
    pub kind: HeadKind,
    /// Decode time on the source's clock, ms; for a header that of the packet it goes with.
    pub dts_ms: i64,
    /// Presentation time on the source's clock, ms.
    pub pts_ms: i64,
}

/// Kinds of packet, as far as the order on air depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadKind {
    /// A sequence header.
    Header,
    /// A picture.
    Video {
        /// Decoding can begin here.
        keyframe: bool,
    },
    /// An AAC frame.
    Audio,
}

/// See the module.
#[derive(Debug)]
pub struct SourceQueue {
    bounds: QueueBounds,
    inner: Mutex<Held>,
    /// Playout waits here; at most one waiter.
    changed: Notify,
    /// The reader waits here; at most one waiter.
    room: Notify,
}

impl Default for QueueBounds {
    fn default() -> Self {
        Self {
            bytes: 4 << 20,
            media_ms: 4_000,
        }
    }
}

// === impl SourceQueue ===

impl SourceQueue {
    /// An empty queue.
    pub fn new(bounds: QueueBounds) -> Self {
        Self {
            bounds,
            inner: Mutex::default(),
            changed: Notify::new(),
            room: Notify::new(),
        }
    }

    /// With what another queue held.
    pub fn resume(bounds: QueueBounds, held: Held) -> Self {
        Self {
            inner: Mutex::new(held),
            ..Self::new(bounds)
        }
    }

    /// What it holds now.
    pub fn snapshot(&self) -> Held {
        self.lock().clone()
    }

    /// The next packet's kind and times; `None` when there is nothing in hand.
    pub fn peek(&self) -> Option<Head> {
        let inner = self.lock();
        let front = inner.packets.front()?;
        Some(match head_of(front) {
            Some(head) => head,
            None => inner.header_head(),
        })
    }

    /// Takes the next packet.
    pub fn pop(&self) -> Option<Packet> {
        let mut inner = self.lock();
        let packet = inner.pop()?;
        self.tell_reader(inner);
        Some(packet)
    }

    /// Shows the next packet to `look` without taking it.
    pub fn with_front<R>(&self, look: impl FnOnce(&Packet) -> R) -> Option<R> {
        self.lock().packets.front().map(look)
    }

    /// Drops everything before the first keyframe in hand, except headers; whether there is one.
    pub fn skip_to_keyframe(&self) -> bool {
        let mut inner = self.lock();
        let Some(at) = inner.packets.iter().position(is_keyframe) else {
            return false;
        };
        let mut headers = Vec::new();
        for _ in 0..at {
            let popped = inner.pop();
            if let Some(Packet::VideoHeader(_) | Packet::AudioHeader(_)) = popped {
                headers.extend(popped);
            }
        }
        for header in headers.into_iter().rev() {
            inner.bytes += header.payload_bytes();
            inner.packets.push_front(header);
        }
        self.tell_reader(inner);
        true
    }

    /// Puts back what was taken last, in its order: it is to be aired again.
    pub fn put_back(&self, packets: Vec<Packet>) {
        let mut inner = self.lock();
        for packet in packets.into_iter().rev() {
            inner.bytes += packet.payload_bytes();
            if matches!(packet, Packet::Video(_)) {
                inner.pictures += 1;
            }
            inner.packets.push_front(packet);
        }
        if inner.is_above(self.bounds) {
            inner.full = true;
        }
    }

    /// Everything in hand, and whether more comes before something is taken.
    pub fn in_hand(&self) -> (Vec<Packet>, bool) {
        let inner = self.lock();
        let packets = inner.packets.iter().cloned().collect();
        (packets, inner.end.is_none() && !inner.full)
    }

    /// Drops `these`, if they are what it holds first; whether they were.
    pub fn drop_first(&self, these: &[Packet]) -> bool {
        let mut inner = self.lock();
        let first = inner.packets.iter().take(these.len());
        if !first.eq(these) {
            return false;
        }
        for _ in these {
            inner.pop();
        }
        self.tell_reader(inner);
        true
    }

    /// Whether a cut to this source costs nothing: it has the headers of its tracks, a keyframe,
    /// and either [`READY_MS`] of media (all it may hold, if it ran dry before) or all there is.
    pub fn is_ready(&self) -> bool {
        self.lock().is_ready()
    }

    /// It ran dry although something came. Before it goes on it is to be full, and holds more each time, so
    /// that what the viewer sees changes seldom.
    pub fn fill_up(&self) {
        let mut inner = self.lock();
        let more_ms = inner.fill_ms.map_or(self.bounds.media_ms, |ms| ms * 2);
        inner.fill_ms = Some(more_ms.min(MOST_FILL_MS));
        inner.full = inner.is_above(self.bounds);
    }

    /// How full it is to be before it goes on, ms, since it ran dry although something came.
    pub fn fill_ms(&self) -> Option<i64> {
        self.lock().fill_ms
    }

    /// Whether it is on its way there.
    pub fn is_filling(&self) -> bool {
        let inner = self.lock();
        inner.fill_ms.is_some() && !inner.full && inner.end.is_none()
    }

    /// How it ended; packets may still be in hand.
    pub fn end(&self) -> Option<SourceEnd> {
        self.lock().end.clone()
    }

    /// Media time in hand, ms.
    pub fn buffered_ms(&self) -> i64 {
        self.lock().buffered_ms()
    }

    /// Whether another picture is in hand or may still come.
    pub fn has_video_left(&self) -> bool {
        let inner = self.lock();
        inner.pictures > 0 || inner.end.is_none()
    }

    /// Presentation time of the first keyframe in hand, ms.
    pub fn first_keyframe_pts_ms(&self) -> Option<i64> {
        self.lock().packets.iter().find_map(|packet| match packet {
            Packet::Video(video) if video.keyframe => Some(video.pts_ms),
            _ => None,
        })
    }

    /// Tracks the source will deliver, once known.
    pub fn tracks(&self) -> Option<Tracks> {
        self.lock().tracks
    }

    /// Waits until the source became ready, has something again, or ended. May also return
    /// without cause: look again. For one waiter at a time.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Reader: what will come.
    pub(super) fn set_tracks(&self, tracks: Tracks) {
        self.lock().tracks = Some(tracks);
    }

    /// Reader: adds what was read.
    pub(super) fn push_all(&self, packets: impl IntoIterator<Item = Packet>) {
        let mut inner = self.lock();
        let was = (inner.packets.is_empty(), inner.is_ready());
        inner.waits_since = None;
        for packet in packets {
            inner.push(packet);
        }
        if inner.is_above(self.bounds) {
            inner.full = true;
        }
        let now = (inner.packets.is_empty(), inner.is_ready());
        drop(inner);
        if was != now {
            self.changed.notify_one();
        }
    }

    /// Reader: nothing will be added any more. Only the first end counts.
    pub(super) fn finish(&self, end: SourceEnd) {
        let mut inner = self.lock();
        inner.waits_since = None;
        inner.end.get_or_insert(end);
        drop(inner);
        self.changed.notify_one();
    }

    /// Reader: waits until it may read on.
    pub(super) async fn room(&self) {
        while self.lock().full {
            self.room.notified().await;
        }
    }

    /// Reader: it has room, and waits for FFmpeg until it adds something.
    pub(super) fn waits(&self, now: Instant) {
        self.lock().waits_since = Some(now);
    }

    /// For how long the reader has had room and got nothing.
    pub fn quiet(&self, now: Instant) -> Duration {
        let since = self.lock().waits_since;
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Reader: largest decode time it ever delivered, ms.
    pub fn newest_ms(&self) -> Option<i64> {
        self.lock().newest_ms
    }

    fn tell_reader(&self, mut inner: MutexGuard<'_, Held>) {
        if inner.full && inner.has_room(self.bounds) {
            inner.full = false;
            drop(inner);
            self.room.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing in here panics half-way through a change, so a poisoned state is a whole one.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
