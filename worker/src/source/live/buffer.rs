//! What has arrived of a live feed and was not aired: a jitter buffer that never makes anybody wait.
//!
//! The feed's task fills it, playout empties it. Off air only what a cut would begin with is kept:
//! from the newest keyframe that has [`Depth::jitter_ms`] behind it. On air the oldest whole GOP goes
//! when more than [`MOST_AIRED_MS`] wait. Both by media time; arrival is only asked for to see silence.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

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
    bytes: usize,
    pictures: usize,
    /// In force at the front.
    video_header: Option<Bytes>,
    audio_header: Option<Bytes>,
    /// In force at the back.
    newest_audio_header: bool,
    newest_ms: Option<i64>,
    arrived: Option<Instant>,
    picture_arrived: Option<Instant>,
    feeds: u64,
    has_feed: bool,
    on_air: bool,
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
        self.lock().packets.front().map(look)
    }

    /// Takes the next packet.
    pub fn pop(&self) -> Option<Packet> {
        self.lock().pop()
    }

    /// Where the feed stands; `late` is how overdue its next packet is, if it is on air.
    pub fn standing(&self, late: Duration, dry_after: Duration, now: Instant) -> Standing {
        let inner = self.lock();
        let quiet_for = |since: Option<Instant>| {
            since.map_or(Duration::MAX, |since| now.saturating_duration_since(since))
        };
        let blind = inner.pictures == 0
            && (!inner.has_feed || quiet_for(inner.picture_arrived) >= BLIND_AFTER);
        let dry = inner.packets.is_empty() && (!inner.has_feed || late >= dry_after);
        Standing {
            feed: inner.has_feed.then_some(inner.feeds),
            ready: inner.has_feed
                && quiet_for(inner.arrived) < SILENT_AFTER
                && inner.is_ready(self.depth),
            carrying: inner.on_air && !blind && !dry,
        }
    }

    /// Playout: it takes the air. The headers its first picture needs, in order.
    pub fn take_the_air(&self) -> Vec<Packet> {
        let mut inner = self.lock();
        inner.keep_fresh(self.depth);
        inner.on_air = true;
        inner.most_ms = inner.held_ms() + MOST_AIRED_MS;
        let video = inner.video_header.clone().map(Packet::VideoHeader);
        let audio = inner.audio_header.clone().map(Packet::AudioHeader);
        video.into_iter().chain(audio).collect()
    }

    /// Playout: something else has the air.
    pub fn leave_the_air(&self) {
        let mut inner = self.lock();
        inner.on_air = false;
        if !inner.has_feed {
            inner.clear();
        }
    }

    /// Whether another picture is in hand or may still come.
    pub fn has_picture_left(&self) -> bool {
        let inner = self.lock();
        inner.pictures > 0 || inner.has_feed
    }

    /// Feed: a new one begins.
    pub(super) fn begin(&self) {
        let mut inner = self.lock();
        inner.clear();
        inner.has_feed = true;
        inner.feeds += 1;
    }

    /// Feed: what was there belongs to another shape; it begins again at the next keyframe.
    pub(super) fn restart(&self) {
        self.lock().clear();
    }

    /// Feed: it is over. What it left is aired to its end.
    pub(super) fn end(&self) {
        let mut inner = self.lock();
        inner.has_feed = false;
        if !inner.on_air {
            inner.clear();
        }
    }

    /// Feed: adds what arrived.
    pub(super) fn push_all(&self, packets: impl IntoIterator<Item = Packet>, now: Instant) {
        let mut inner = self.lock();
        for packet in packets {
            inner.arrived = Some(now);
            if matches!(packet, Packet::Video(_)) {
                inner.picture_arrived = Some(now);
            }
            inner.push(packet);
        }
        if inner.on_air {
            inner.keep_up();
        } else {
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
        self.packets.clear();
        (self.bytes, self.pictures) = (0, 0);
        (self.video_header, self.audio_header) = (None, None);
        self.newest_audio_header = false;
        self.newest_ms = None;
        (self.arrived, self.picture_arrived) = (None, None);
    }

    fn push(&mut self, packet: Packet) {
        match &packet {
            Packet::AudioHeader(_) => self.newest_audio_header = true,
            Packet::Video(_) => self.pictures += 1,
            Packet::VideoHeader(_) | Packet::Audio(_) => {}
        }
        // The feed's clock may have jumped back: the newest is the last, not the largest.
        self.newest_ms = packet.dts_ms().or(self.newest_ms);
        self.bytes += packet.payload_bytes();
        self.packets.push_back(packet);
    }

    fn pop(&mut self) -> Option<Packet> {
        let packet = self.packets.pop_front()?;
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
        let (Some(first_ms), Some(newest_ms)) = (first, self.newest_ms) else {
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
        let Some(newest_ms) = self.newest_ms else {
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
mod tests {
    use super::*;
    use crate::flv::{AudioPacket, VideoPacket};

    const DEPTH: Depth = Depth { jitter_ms: 300 };
    const DRY: Duration = Duration::from_millis(400);

    /// 25 pictures a second from `from_ms`, a keyframe each second, sound beside them.
    fn media(from_ms: i64, until_ms: i64) -> Vec<Packet> {
        let mut packets = Vec::new();
        for ms in (from_ms..until_ms).step_by(40) {
            packets.push(Packet::Video(VideoPacket {
                dts_ms: ms,
                pts_ms: ms,
                keyframe: ms % 1_000 == 0,
                payload: Bytes::from_static(b"picture"),
            }));
            packets.push(Packet::Audio(AudioPacket {
                ts_ms: ms + 20,
                payload: Bytes::from_static(b"sound"),
            }));
        }
        packets
    }

    fn begun() -> (LiveBuffer, Instant) {
        let buffer = LiveBuffer::new(DEPTH);
        let now = Instant::now();
        buffer.begin();
        let headers = [
            Packet::VideoHeader(Bytes::from_static(b"v")),
            Packet::AudioHeader(Bytes::from_static(b"a")),
        ];
        buffer.push_all(headers, now);
        (buffer, now)
    }

    fn standing(buffer: &LiveBuffer, now: Instant) -> Standing {
        buffer.standing(Duration::ZERO, DRY, now)
    }

    fn front_ms(buffer: &LiveBuffer) -> Option<i64> {
        buffer.with_front(|packet| packet.dts_ms()).flatten()
    }

    #[test]
    fn a_feed_is_ready_with_a_keyframe_and_what_jitter_needs_behind_it() {
        let (buffer, now) = begun();
        buffer.push_all(media(200, 1_000), now);
        assert!(!standing(&buffer, now).ready, "no keyframe");
        buffer.push_all(media(1_000, 1_280), now);
        assert!(!standing(&buffer, now).ready, "260 ms");
        buffer.push_all(media(1_280, 1_320), now);
        assert!(standing(&buffer, now).ready);
        assert!(!standing(&buffer, now + SILENT_AFTER).ready, "silent");
    }

    #[test]
    fn off_air_a_cut_begins_with_the_newest_keyframe_that_has_enough_behind_it() {
        let (buffer, now) = begun();
        buffer.push_all(media(0, 3_200), now);
        assert_eq!(front_ms(&buffer), Some(2_000), "3 s has only 200 ms");
        buffer.push_all(media(3_200, 3_400), now);
        assert_eq!(front_ms(&buffer), Some(3_000));
        let headers = buffer.take_the_air();
        assert!(matches!(
            headers[..],
            [Packet::VideoHeader(_), Packet::AudioHeader(_)]
        ));
    }

    #[test]
    fn on_air_the_oldest_whole_gop_goes_when_too_much_waits() {
        let (buffer, now) = begun();
        buffer.push_all(media(0, 400), now);
        buffer.take_the_air();
        buffer.push_all(media(400, 4_300), now);
        assert_eq!(front_ms(&buffer), Some(0));
        buffer.push_all(media(4_300, 5_000), now);
        assert_eq!(front_ms(&buffer), Some(1_000));
    }

    #[test]
    fn what_a_feed_left_is_aired_to_its_end() {
        let (buffer, now) = begun();
        buffer.push_all(media(0, 400), now);
        buffer.take_the_air();
        buffer.end();
        assert!(standing(&buffer, now).carrying && standing(&buffer, now).feed.is_none());
        while buffer.pop().is_some() {}
        assert!(!standing(&buffer, now).carrying);
    }

    #[test]
    fn a_feed_that_is_silent_for_too_long_carries_no_more() {
        let (buffer, now) = begun();
        buffer.push_all(media(0, 400), now);
        buffer.take_the_air();
        while buffer.pop().is_some() {}
        assert!(buffer.standing(DRY / 2, DRY, now).carrying);
        assert!(!buffer.standing(DRY, DRY, now).carrying);
    }

    #[test]
    fn sound_alone_is_a_picture_that_is_lost() {
        let (buffer, now) = begun();
        buffer.push_all(media(0, 400), now);
        buffer.take_the_air();
        while buffer.pop().is_some() {}
        let sound = media(400, 440)
            .into_iter()
            .filter(|packet| !packet.is_video());
        buffer.push_all(sound, now + BLIND_AFTER);
        assert!(!standing(&buffer, now + BLIND_AFTER).carrying);
    }

    #[test]
    fn a_picture_without_sound_is_ready_after_a_second() {
        let buffer = LiveBuffer::new(DEPTH);
        let now = Instant::now();
        buffer.begin();
        buffer.push_all([Packet::VideoHeader(Bytes::from_static(b"v"))], now);
        let silent = |from, until| media(from, until).into_iter().filter(Packet::is_video);
        buffer.push_all(silent(0, 900), now);
        assert!(!standing(&buffer, now).ready);
        buffer.push_all(silent(900, 1_080), now);
        assert!(standing(&buffer, now).ready);
    }
}
