//! What has arrived of a live feed and was not aired: a jitter buffer that never makes anybody wait.
//!
//! The feed's task fills it, playout empties it. Off air only what a cut would begin with is kept:
//! from the newest keyframe that has [`Depth::jitter_ms`] behind it. On air the oldest whole GOP goes
//! when more than [`MOST_AIRED_MS`] wait. Both by media time; arrival is only asked for to see silence.
//!
//! Of reordered pictures one that is shown later than others is given out only with those: a feed that
//! breaks off between them would leave a hole.

mod hold;
mod rest;
mod speed;

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use self::speed::Speed;
use crate::flv::Packet;

/// Media waiting for the air beyond what it was cut in with, ms.
const MOST_AIRED_MS: i64 = 4_000;
/// Media kept off air, ms; a feed without a keyframe in so much cannot be cut to.
const MOST_KEPT_MS: i64 = 12_000;
/// Payload kept.
const MOST_BYTES: usize = 32 << 20;
/// Sound from before its keyframe that is kept, ms.
const SOUND_BEFORE_MS: i64 = 1_000;
/// A picture without sound for so long is a feed without sound, ms.
const SOUND_AWAITED_MS: i64 = 1_000;
/// A feed off air that is silent for so long cannot be cut to.
const SILENT_AFTER: Duration = Duration::from_millis(600);
/// Sound alone for so long is a picture that is lost.
const BLIND_AFTER: Duration = Duration::from_millis(1_000);

/// How far behind its newest packet a feed is aired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Arrivals late by less show nowhere, ms.
    pub jitter_ms: i64,
}

/// See the module.
#[derive(Debug)]
pub struct LiveBuffer {
    depth: Depth,
    inner: Mutex<Inner>,
}

/// What playout decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Counts the feeds; `None` while there is none.
    pub feed: Option<u64>,
    /// A cut to it costs nothing.
    pub ready: bool,
    /// It is on air, and something is in hand or may still come in time.
    pub carrying: bool,
}

#[derive(Debug, Default)]
struct Inner {
    packets: VecDeque<Packet>,
    /// Given out before them: what is left of the feed before.
    rest: VecDeque<Packet>,
    /// The latest time of what was given out since it took the air.
    given_ms: Option<i64>,
    bytes: usize,
    pictures: usize,
    /// In force at the front.
    video_header: Option<Bytes>,
    audio_header: Option<Bytes>,
    /// In force at the back.
    newest_audio_header: bool,
    newest_ms: Option<i64>,
    /// Packets at the back that wait for the pictures shown before the first of them.
    open: usize,
    /// Pictures among them.
    open_pictures: usize,
    /// The newest before them.
    closed_ms: Option<i64>,
    /// The latest time a picture is shown at; `None` while they are shown as they come.
    shown_ms: Option<i64>,
    arrived: Option<Instant>,
    picture_arrived: Option<Instant>,
    speed: Speed,
    feeds: u64,
    has_feed: bool,
    on_air: bool,
    /// Off air, and to stay as it is for a while.
    held: bool,
    /// What the next pictures refer to was dropped: none is taken before a keyframe.
    broken: bool,
    /// What may wait on air, ms.
    most_ms: i64,
}

// === impl LiveBuffer ===

impl LiveBuffer {
    /// An empty one, without a feed.
    pub fn new(depth: Depth) -> Self {
        Self {
            depth,
            inner: Mutex::default(),
        }
    }

    /// The next packet, shown without taking it.
    pub fn with_front<R>(&self, look: impl FnOnce(&Packet) -> R) -> Option<R> {
        let inner = self.lock();
        let first = inner.packets.front().filter(|_| inner.closed() > 0);
        inner.rest.front().or(first).map(look)
    }

    /// Takes the next packet.
    pub fn pop(&self) -> Option<Packet> {
        let mut inner = self.lock();
        if let Some(packet) = inner.rest.pop_front() {
            return Some(packet);
        }
        let packet = (inner.closed() > 0).then(|| inner.pop())??;
        if let Some(video) = packet.video() {
            let before_ms = inner.given_ms.filter(|_| !video.keyframe);
            inner.given_ms = before_ms.max(Some(video.pts_ms));
        }
        Some(packet)
    }

    /// Where the feed stands; `late` is how overdue its next packet is, if it is on air.
    pub fn standing(&self, late: Duration, dry_after: Duration, now: Instant) -> Standing {
        let inner = self.lock();
        let quiet_for = |since: Option<Instant>| {
            since.map_or(Duration::MAX, |since| now.saturating_duration_since(since))
        };
        let blind = inner.rest.is_empty()
            && inner.closed_pictures() == 0
            && (!inner.has_feed || quiet_for(inner.picture_arrived) >= BLIND_AFTER);
        let empty = inner.rest.is_empty() && inner.closed() == 0;
        let dry = empty && (!inner.has_feed || late >= dry_after);
        Standing {
            feed: inner.has_feed.then_some(inner.feeds),
            ready: inner.has_feed
                && quiet_for(inner.arrived) < SILENT_AFTER
                && !inner.speed.is_slow()
                && inner.is_ready(self.depth),
            carrying: inner.on_air && !blind && !dry && !inner.speed.is_slow(),
        }
    }

    /// Playout: it takes the air. The headers its first picture needs, in order.
    pub fn take_the_air(&self) -> Vec<Packet> {
        let mut inner = self.lock();
        if !std::mem::take(&mut inner.held) {
            inner.keep_fresh(self.depth);
        }
        inner.on_air = true;
        inner.given_ms = None;
        inner.most_ms = inner.held_ms() + MOST_AIRED_MS;
        let video = inner.video_header.clone().map(Packet::VideoHeader);
        let audio = inner.audio_header.clone().map(Packet::AudioHeader);
        video.into_iter().chain(audio).collect()
    }

    /// Playout: something else has the air.
    pub fn leave_the_air(&self) {
        let mut inner = self.lock();
        inner.on_air = false;
        inner.rest.clear();
        if !inner.has_feed {
            inner.clear();
        }
    }

    /// Whether another picture is in hand or may still come.
    pub fn has_picture_left(&self) -> bool {
        let inner = self.lock();
        !inner.rest.is_empty() || inner.closed_pictures() > 0 || inner.has_feed
    }

    /// Feed: a new one begins.
    pub(super) fn begin(&self) {
        let mut inner = self.lock();
        inner.begin_anew();
        inner.has_feed = true;
        inner.feeds += 1;
    }

    /// Feed: what was there belongs to another shape; it begins again at the next keyframe.
    pub(super) fn restart(&self) {
        self.lock().begin_anew();
    }

    /// Feed: it is over. What it left is aired to its end.
    pub(super) fn end(&self) {
        let mut inner = self.lock();
        inner.has_feed = false;
        match inner.on_air {
            true => inner.forget_open_pictures(),
            false => inner.clear(),
        }
    }

    /// Feed: whether one has begun and is not over.
    pub(super) fn has_feed(&self) -> bool {
        self.lock().has_feed
    }

    /// Feed: whether it comes slower than it plays.
    pub(super) fn is_slow(&self) -> bool {
        self.lock().speed.is_slow()
    }

    /// Feed: adds what arrived.
    pub(super) fn push_all(&self, packets: impl IntoIterator<Item = Packet>, now: Instant) {
        let mut inner = self.lock();
        for packet in packets {
            inner.arrived = Some(now);
            let picture_ms = packet.video().map(|video| video.dts_ms);
            if let Some(ms) = picture_ms {
                inner.speed.note(ms, now);
            }
            if inner.push(packet) && picture_ms.is_some() {
                inner.picture_arrived = Some(now);
            }
        }
        if inner.on_air {
            inner.keep_up();
        } else if !inner.is_held() {
            inner.keep_fresh(self.depth);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics half-way through a change, so a poisoned state is a whole one.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Inner ===

impl Inner {
    fn clear(&mut self) {
        (self.held, self.broken) = (false, false);
        self.given_ms = None;
        self.speed = Speed::default();
        self.packets.clear();
        (self.bytes, self.pictures) = (0, 0);
        (self.open, self.open_pictures) = (0, 0);
        (self.closed_ms, self.shown_ms) = (None, None);
        (self.video_header, self.audio_header) = (None, None);
        self.newest_audio_header = false;
        self.newest_ms = None;
        (self.arrived, self.picture_arrived) = (None, None);
    }

    /// Whether it is taken.
    fn push(&mut self, packet: Packet) -> bool {
        match &packet {
            Packet::AudioHeader(_) => self.newest_audio_header = true,
            Packet::Video(video) if self.broken && !video.keyframe => return false,
            Packet::Video(_) => {
                self.broken = false;
                self.pictures += 1;
            }
            Packet::VideoHeader(_) | Packet::Audio(_) => {}
        }
        self.note_order(&packet);
        // The feed's clock may have jumped back: the newest is the last, not the largest.
        self.newest_ms = packet.dts_ms().or(self.newest_ms);
        self.bytes += packet.payload_bytes();
        self.packets.push_back(packet);
        true
    }

    /// A picture shown after all before it closes what stands before it, and is open itself.
    fn note_order(&mut self, packet: &Packet) {
        let Packet::Video(video) = packet else {
            self.open += usize::from(self.open > 0);
            return;
        };
        if self.shown_ms.is_none() && video.pts_ms == video.dts_ms {
            return;
        }
        let latest = self.shown_ms.is_none_or(|shown_ms| video.pts_ms > shown_ms);
        if latest || video.keyframe {
            (self.open, self.open_pictures) = (0, 0);
            self.closed_ms = self.newest_ms;
            self.shown_ms = Some(video.pts_ms);
        }
        self.open += 1;
        self.open_pictures += 1;
    }

    /// Packets that can be given out.
    fn closed(&self) -> usize {
        self.packets.len() - self.open
    }

    fn closed_pictures(&self) -> usize {
        self.pictures - self.open_pictures
    }

    /// The newest that can be given out.
    fn newest_closed_ms(&self) -> Option<i64> {
        match self.open {
            0 => self.newest_ms,
            _ => self.closed_ms,
        }
    }

    /// What they wait for will not come.
    fn forget_open_pictures(&mut self) {
        let open = self.packets.split_off(self.closed());
        (self.open, self.open_pictures) = (0, 0);
        for packet in open {
            match packet {
                Packet::Video(video) => {
                    self.bytes -= video.payload.len();
                    self.pictures -= 1;
                }
                other => self.packets.push_back(other),
            }
        }
    }

    fn pop(&mut self) -> Option<Packet> {
        let packet = self.packets.pop_front()?;
        if self.open > self.packets.len() {
            self.open -= 1;
            self.open_pictures -= usize::from(matches!(packet, Packet::Video(_)));
        }
        self.bytes -= packet.payload_bytes();
        match &packet {
            Packet::VideoHeader(header) => self.video_header = Some(header.clone()),
            Packet::AudioHeader(header) => self.audio_header = Some(header.clone()),
            Packet::Video(_) => self.pictures -= 1,
            Packet::Audio(_) => {}
        }
        Some(packet)
    }

    fn held_ms(&self) -> i64 {
        let oldest = self.packets.iter().find_map(Packet::dts_ms);
        match (oldest, self.newest_ms) {
            (Some(oldest), Some(newest)) => (newest - oldest).max(0),
            _ => 0,
        }
    }

    fn is_ready(&self, depth: Depth) -> bool {
        let first = self.packets.iter().find_map(keyframe_ms);
        let (Some(first_ms), Some(newest_ms)) = (first, self.newest_closed_ms()) else {
            return false;
        };
        let has_header = self.video_header.is_some()
            || self
                .packets
                .iter()
                .any(|p| matches!(p, Packet::VideoHeader(_)));
        let has_sound = self.newest_audio_header || newest_ms - first_ms >= SOUND_AWAITED_MS;
        has_header && has_sound && newest_ms - first_ms >= depth.jitter_ms
    }

    /// Off air: nothing from before the keyframe a cut would begin with.
    fn keep_fresh(&mut self, depth: Depth) {
        let Some(newest_ms) = self.newest_closed_ms().or(self.newest_ms) else {
            return;
        };
        let mut keyframes = self.packets.iter().enumerate().filter_map(|(at, packet)| {
            let ms = keyframe_ms(packet)?;
            Some((at, ms))
        });
        let first = keyframes.next();
        let fresh = keyframes
            .filter(|(_, ms)| newest_ms - ms >= depth.jitter_ms)
            .last();
        match fresh.or(first) {
            Some((at, ms)) => self.drop_before(at, ms),
            None => self.forget_pictures(newest_ms),
        }
        if self.held_ms() > MOST_KEPT_MS || self.bytes > MOST_BYTES {
            self.drop_before(self.packets.len(), newest_ms);
        }
    }

    /// On air: not further behind than was meant.
    fn keep_up(&mut self) {
        while self.held_ms() > self.most_ms || self.bytes > MOST_BYTES {
            let mut keyframes = self.packets.iter().enumerate().skip(1);
            let next = keyframes.find_map(|(at, packet)| Some((at, keyframe_ms(packet)?)));
            match next {
                Some((at, ms)) => self.drop_before(at, ms),
                // It may be late, but it may not be without end.
                None if self.bytes > MOST_BYTES => {
                    self.drop_before(self.packets.len(), self.newest_ms.unwrap_or(i64::MAX));
                    self.broken = true;
                    return;
                }
                None => return,
            }
        }
    }

    /// Drops what stands before the keyframe at `at`, except the sound that belongs under it.
    fn drop_before(&mut self, at: usize, keyframe_ms: i64) {
        let mut kept = Vec::new();
        for _ in 0..at {
            match self.pop() {
                Some(Packet::Audio(audio)) if audio.ts_ms >= keyframe_ms => kept.push(audio),
                Some(_) | None => {}
            }
        }
        for audio in kept.into_iter().rev() {
            self.bytes += audio.payload.len();
            self.packets.push_front(Packet::Audio(audio));
        }
    }

    /// No keyframe came yet: pictures cannot be shown, and old sound is of no use.
    fn forget_pictures(&mut self, newest_ms: i64) {
        while let Some(front) = self.packets.front() {
            match front {
                Packet::Audio(audio) if newest_ms - audio.ts_ms <= SOUND_BEFORE_MS => break,
                _ => drop(self.pop()),
            }
        }
    }
}

fn keyframe_ms(packet: &Packet) -> Option<i64> {
    match packet {
        Packet::Video(video) if video.keyframe => Some(video.dts_ms),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
