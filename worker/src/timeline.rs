//! Source time into air time: joins, holes, decode order. Pure.
//!
//! One timeline per stream, owned by playout. Packets of the source on air are pushed in file
//! order; what comes out goes to every output. Air time is in milliseconds since the first packet
//! of the stream, 64 bits wide; the rules are in `docs/design/on-air-chain.md`.
//!
//! ```text
//!            join            first keyframe: the shift is fixed
//!   Idle ──────────► Waiting ──────────────────► Running ─┐ source's clock jumps: shift fixed anew
//!                     ▲   ▲                      │ │   ▲──┘
//!                     │   └────── join ──────────┘ │ close
//!                     └────────── join ── Closed ◄─┘
//! ```

mod audio;
mod join;
mod pace;

pub use audio::Silence;
pub use pace::Pacer;

use crate::flv::{AudioConfig, AudioPacket, Packet, VideoPacket};
use audio::SoundTrack;
use bytes::Bytes;
use join::{JoinPoint, PictureTrack};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// A source whose clock moves further than this between two packets has been cut in itself.
const JUMP_MS: i64 = 1_000;
/// Sound that comes before the first keyframe in file order is kept this far back.
const HELD_MS: i64 = 2_000;
/// Silence steps in when sound is this far behind the picture.
pub const SOUND_LAG_MS: i64 = 100;
/// Even if nobody asks for silence, sound is never further behind the picture.
const MAX_SOUND_LAG_MS: i64 = 1_000;

const NS_PER_MS: i64 = 1_000_000;

/// What playout knows of a source before its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceShape {
    /// Nominal duration of one picture, µs.
    pub frame_us: u64,
}

/// What a timeline has done so far, for the status and the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Changes from one source to another.
    pub joins: u64,
    /// Joins within one source, whose clock jumped.
    pub jumps: u64,
    /// AAC frames of silence put in.
    pub silent_frames: u64,
    /// Pictures that did not go out: before the first keyframe, or leading pictures of an open GOP.
    pub dropped_pictures: u64,
    /// AAC frames that did not go out: they overlapped what was released, or ran past the picture.
    pub dropped_sounds: u64,
}

/// The on-air timeline of one stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Timeline {
    course: Course,
    source: Source,
    picture: PictureTrack,
    sound: SoundTrack,
    counters: Counters,
}

/// Where the source on air stands; see the module's diagram.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Course {
    Idle,
    Waiting { held: VecDeque<AudioPacket> },
    Running { shift_ms: i64 },
    Closed { shift_ms: i64 },
}

/// What is remembered of the source on air, in its own time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Source {
    #[serde(with = "crate::handover::blob::option")]
    video_header: Option<Bytes>,
    #[serde(with = "crate::handover::blob::option")]
    audio_header: Option<Bytes>,
    audio_frame_ns: Option<i64>,
    last_video_ms: Option<i64>,
    last_audio_ms: Option<i64>,
}

/// What becomes of a video packet.
#[derive(Debug, Clone, Copy)]
enum Entry {
    Dropped,
    Follows { shift_ms: i64 },
    Joins { at: JoinPoint, shift_ms: i64 },
}

// === impl Timeline ===

impl Timeline {
    /// A timeline at air time 0, with nothing on air.
    pub fn new(silence: Silence) -> Self {
        Self {
            course: Course::Idle,
            source: Source::default(),
            picture: PictureTrack::default(),
            sound: SoundTrack::new(silence),
            counters: Counters::default(),
        }
    }

    /// What is pushed from now on belongs to a new source. Its shift is fixed at its first
    /// keyframe; until then sound is held, and other pictures are dropped.
    pub fn join(&mut self, shape: SourceShape) {
        self.course = Course::Waiting {
            held: VecDeque::new(),
        };
        self.source = Source::default();
        self.picture.expect(shape.frame_us);
        self.sound.expect_new_source();
    }

    /// The running source shows no further picture: of what is still pushed only sound up to
    /// [`video_end_ms`](Self::video_end_ms) goes out. To be called when a cut is decided or the
    /// last picture of a file is out, so that sound outliving its picture does not go on.
    pub fn close(&mut self) {
        if let Course::Running { shift_ms } = self.course {
            self.course = Course::Closed { shift_ms };
        }
    }

    /// Air time at which this packet is to go out if it is pushed next. `None`: nothing of it would
    /// go out now (a header, something held or dropped), so it may be pushed at once.
    pub fn release_at(&self, packet: &Packet) -> Option<i64> {
        match packet {
            Packet::VideoHeader(_) | Packet::AudioHeader(_) => None,
            Packet::Video(video) => match self.entry(video) {
                Entry::Dropped => None,
                Entry::Follows { shift_ms } | Entry::Joins { shift_ms, .. } => {
                    Some(self.picture.decode_ms(video.dts_ms + shift_ms))
                }
            },
            Packet::Audio(audio) => self.sound_at(audio),
        }
    }

    /// Restamps a packet into air time and appends to `out` what goes out now: changed headers
    /// first, silence where there is a hole, then the packet.
    pub fn push(&mut self, packet: Packet, out: &mut Vec<Packet>) {
        match packet {
            Packet::VideoHeader(header) => self.source.video_header = Some(header),
            Packet::AudioHeader(header) => self.source.set_audio_header(header),
            Packet::Video(video) => self.push_video(video, out),
            Packet::Audio(audio) => self.push_audio(audio, out),
        }
    }

    /// Before this next video packet of the running source a cut loses no picture: everything
    /// released so far presents earlier.
    pub fn is_clean_point(&self, next: &VideoPacket) -> bool {
        match self.course {
            Course::Running { shift_ms } => self.picture.is_after_released(next.pts_ms + shift_ms),
            Course::Idle | Course::Waiting { .. } | Course::Closed { .. } => true,
        }
    }

    /// Puts in silence where sound is more than [`SOUND_LAG_MS`] behind a picture shown at
    /// `picture_ms` (the clock's air time), never past the end of the picture. At most a second per
    /// call: a long hole is filled as time goes on.
    pub fn fill_silence(&mut self, picture_ms: i64, out: &mut Vec<Packet>) {
        let Some(video_end) = self.picture.end() else {
            return;
        };
        let until_ms = (picture_ms - SOUND_LAG_MS).min(video_end.ms);
        self.counters.silent_frames += self.sound.fill_until(until_ms * NS_PER_MS, out);
    }

    /// Where the next source's first picture would stand: the end of the last picture released.
    pub fn video_end_ms(&self) -> i64 {
        self.picture.end().map_or(0, |end| end.ms)
    }

    /// End of the sound released so far.
    pub fn audio_end_ms(&self) -> i64 {
        self.sound.end_ms()
    }

    /// Air time minus source time; `None` before the source's first keyframe.
    pub fn shift_ms(&self) -> Option<i64> {
        match self.course {
            Course::Idle | Course::Waiting { .. } => None,
            Course::Running { shift_ms } | Course::Closed { shift_ms } => Some(shift_ms),
        }
    }

    /// Where in the source on air this air time lies, on the source's own clock.
    pub fn source_time_ms(&self, air_ms: i64) -> Option<i64> {
        self.shift_ms().map(|shift_ms| air_ms - shift_ms)
    }

    /// What has been done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn entry(&self, video: &VideoPacket) -> Entry {
        match self.course {
            Course::Idle | Course::Closed { .. } => Entry::Dropped,
            Course::Waiting { .. } if !video.keyframe => Entry::Dropped,
            Course::Waiting { .. } => self.joining(video),
            Course::Running { shift_ms } if self.jumps(video, shift_ms) => self.joining(video),
            Course::Running { shift_ms } if self.picture.leads(video.pts_ms + shift_ms) => {
                Entry::Dropped
            }
            Course::Running { shift_ms } => Entry::Follows { shift_ms },
        }
    }

    fn joining(&self, video: &VideoPacket) -> Entry {
        let at = self.picture.join_point(video);
        Entry::Joins {
            at,
            shift_ms: at.ms - video.pts_ms,
        }
    }

    /// The running source's clock has jumped: backwards, or forwards on both tracks (a long still
    /// picture under sound is none).
    fn jumps(&self, video: &VideoPacket, shift_ms: i64) -> bool {
        let Some(last_video_ms) = self.source.last_video_ms else {
            return false;
        };
        let frame_ms = self.picture.frame_ms();
        let last_ms = self
            .source
            .last_audio_ms
            .map_or(last_video_ms, |ms| ms.max(last_video_ms));
        video.dts_ms > last_ms + JUMP_MS.max(3 * frame_ms)
            || video.dts_ms < last_video_ms - frame_ms
            || (video.keyframe && !self.picture.is_after_released(video.pts_ms + shift_ms))
    }

    fn push_video(&mut self, video: VideoPacket, out: &mut Vec<Packet>) {
        let (shift_ms, held) = match self.entry(&video) {
            Entry::Dropped => {
                self.counters.dropped_pictures += 1;
                return;
            }
            Entry::Follows { shift_ms } => (shift_ms, VecDeque::new()),
            Entry::Joins { at, shift_ms } => (shift_ms, self.start(&video, at, shift_ms)),
        };
        self.source.last_video_ms = Some(video.dts_ms);
        let decode_ms = self.picture.decode_ms(video.dts_ms + shift_ms);
        let (before, after): (Vec<_>, Vec<_>) = held
            .into_iter()
            .partition(|audio| audio.ts_ms + shift_ms <= decode_ms);
        for audio in before {
            self.push_audio(audio, out);
        }
        self.picture
            .release(video, shift_ms, self.source.video_header.as_ref(), out);
        for audio in after {
            self.push_audio(audio, out);
        }
        let lag_end_ns = (decode_ms - MAX_SOUND_LAG_MS) * NS_PER_MS;
        self.counters.silent_frames += self.sound.fill_until(lag_end_ns, out);
    }

    /// Fixes the shift; returns the sound that waited for it.
    fn start(
        &mut self,
        video: &VideoPacket,
        at: JoinPoint,
        shift_ms: i64,
    ) -> VecDeque<AudioPacket> {
        self.picture.start(video, at);
        self.sound.start_no_later_than(at.ms);
        // Sound of the clock before a jump must not pass for sound of the new one.
        self.source.last_audio_ms = None;
        match std::mem::replace(&mut self.course, Course::Running { shift_ms }) {
            Course::Waiting { held } => {
                self.counters.joins += 1;
                held
            }
            Course::Idle | Course::Running { .. } | Course::Closed { .. } => {
                self.counters.jumps += 1;
                VecDeque::new()
            }
        }
    }

    fn push_audio(&mut self, audio: AudioPacket, out: &mut Vec<Packet>) {
        if let Course::Waiting { held } = &mut self.course {
            held.push_back(audio);
            self.counters.dropped_sounds += forget_old(held);
            return;
        }
        let Some(air_ms) = self.sound_at(&audio) else {
            self.counters.dropped_sounds += 1;
            return;
        };
        self.source.last_audio_ms = Some(audio.ts_ms);
        let frame_ns = self.source.audio_frame_ns;
        let header = self.source.audio_header.as_ref();
        self.counters.silent_frames += self.sound.release(audio, air_ms, frame_ns, header, out);
    }

    /// Air time of this frame; `None` when it is held or dropped.
    fn sound_at(&self, audio: &AudioPacket) -> Option<i64> {
        let (shift_ms, until_ms) = match self.course {
            Course::Idle | Course::Waiting { .. } => return None,
            Course::Running { shift_ms } => (shift_ms, i64::MAX),
            Course::Closed { shift_ms } => (shift_ms, self.video_end_ms()),
        };
        let air_ms = audio.ts_ms + shift_ms;
        let fits = self.source.is_plausible(audio.ts_ms)
            && self
                .sound
                .follows(air_ms, self.source.audio_frame_ns, until_ms);
        fits.then_some(air_ms)
    }
}

// === impl Source ===

impl Source {
    fn set_audio_header(&mut self, header: Bytes) {
        // A header that cannot be read is passed on; its frames are taken to be as long as ours.
        self.audio_frame_ns = AudioConfig::parse(&header)
            .ok()
            .map(|config| config.frame_ns());
        self.audio_header = Some(header);
    }

    /// Near the picture, or going on from the last sound. What is neither belongs to another clock:
    /// before or after a jump that the picture has already, or not yet, made.
    fn is_plausible(&self, ts_ms: i64) -> bool {
        [self.last_video_ms, self.last_audio_ms]
            .into_iter()
            .flatten()
            .any(|last_ms| (ts_ms - last_ms).abs() <= JUMP_MS)
    }
}

/// Keeps the last two seconds (or 512 frames, should the times be nonsense); returns how many went.
fn forget_old(held: &mut VecDeque<AudioPacket>) -> u64 {
    let mut forgotten = 0;
    while let (Some(first), Some(last)) = (held.front(), held.back())
        && ((last.ts_ms - first.ts_ms).abs() > HELD_MS || held.len() > 512)
    {
        held.pop_front();
        forgotten += 1;
    }
    forgotten
}

fn rounded_ms(ns: i64) -> i64 {
    (ns + NS_PER_MS / 2).div_euclid(NS_PER_MS)
}

#[cfg(test)]
mod tests;
