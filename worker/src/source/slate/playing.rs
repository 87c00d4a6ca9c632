//! The slate as a source: its loop, over and over.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use bytes::Bytes;
use programme::format::AUDIO_RATE_HZ;

use super::{Coded, FRAME_SAMPLES, Slate};
use crate::flv::{AudioPacket, Packet, VideoPacket};
use crate::source::queue::{Head, HeadKind};

/// The slate as a source: endless, always ready, from its first keyframe and time zero.
#[derive(Debug, Clone)]
pub struct SlateSource {
    slate: Arc<Slate>,
    /// Headers given out.
    pub(super) headers: u8,
    /// Pictures given out.
    pub(super) pictures: u64,
    /// AAC frames given out.
    pub(super) frames: u64,
}

/// A place in the loop, without the slate.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Place {
    headers: u8,
    pictures: u64,
    frames: u64,
}

// === impl SlateSource ===

impl SlateSource {
    /// Begins the loop.
    pub fn new(slate: &Arc<Slate>) -> Self {
        Self {
            slate: Arc::clone(slate),
            headers: 0,
            pictures: 0,
            frames: 0,
        }
    }

    /// Goes on in the loop where another stood.
    pub fn resume(slate: &Arc<Slate>, place: Place) -> Self {
        Self {
            slate: Arc::clone(slate),
            headers: place.headers,
            pictures: place.pictures,
            frames: place.frames,
        }
    }

    /// Where it stands in the loop.
    pub fn place(&self) -> Place {
        Place {
            headers: self.headers,
            pictures: self.pictures,
            frames: self.frames,
        }
    }

    /// The slate itself.
    pub fn slate(&self) -> &Arc<Slate> {
        &self.slate
    }

    /// The next packet's kind and times; there always is one.
    pub fn peek(&self) -> Head {
        let (kind, ms) = match (self.headers, self.picture_ms(), self.frame_ms()) {
            (0 | 1, ..) => (HeadKind::Header, 0),
            (_, picture_ms, frame_ms) if picture_ms <= frame_ms => {
                let keyframe = self.coded().keyframe;
                (HeadKind::Video { keyframe }, picture_ms)
            }
            (_, _, frame_ms) => (HeadKind::Audio, frame_ms),
        };
        Head {
            kind,
            dts_ms: ms,
            pts_ms: ms,
        }
    }

    /// Takes the next packet.
    pub fn pop(&mut self) -> Packet {
        let head = self.peek();
        match head.kind {
            HeadKind::Header => {
                self.headers += 1;
                match self.headers {
                    1 => Packet::VideoHeader(self.slate.video_header.clone()),
                    _ => Packet::AudioHeader(self.slate.audio_header.clone()),
                }
            }
            HeadKind::Video { keyframe } => {
                let payload = self.coded().payload.clone();
                self.pictures += 1;
                Packet::Video(VideoPacket {
                    dts_ms: head.dts_ms,
                    pts_ms: head.pts_ms,
                    keyframe,
                    payload,
                })
            }
            HeadKind::Audio => {
                let payload = self.sound().clone();
                self.frames += 1;
                Packet::Audio(AudioPacket {
                    ts_ms: head.dts_ms,
                    payload,
                })
            }
        }
    }

    /// The loop it is in from its beginning, without the headers, and how many packets of that it has
    /// given out.
    pub fn from_loop_start(&self) -> (Self, usize) {
        let mut start = Self::new(&self.slate);
        start.headers = 2;
        let len = self.slate.pictures.len() as u64;
        // The loop of the picture given out last.
        let loops_before = self.pictures.saturating_sub(1) / len;
        start.pictures = loops_before * len;
        // Estimated first: a slate may be on for weeks.
        start.frames = match self.slate.sound.len() as u64 {
            0 => {
                let samples = start.picture_ms().unsigned_abs() * u64::from(AUDIO_RATE_HZ) / 1_000;
                (samples / FRAME_SAMPLES).saturating_sub(1)
            }
            len => loops_before * len,
        };
        while start.frame_ms() < start.picture_ms() {
            start.frames += 1;
        }
        let (mut replayed, mut given_out) = (start.clone(), 0);
        while replayed.pictures < self.pictures || replayed.frames < self.frames {
            replayed.pop();
            given_out += 1;
        }
        (start, given_out)
    }

    fn coded(&self) -> &Coded {
        let at = self.pictures % self.slate.pictures.len() as u64;
        &self.slate.pictures[at as usize]
    }

    fn sound(&self) -> &Bytes {
        match self.slate.sound.len() as u64 {
            0 => &self.slate.silence_frame,
            len => &self.slate.sound[(self.frames % len) as usize],
        }
    }

    /// When the next picture is due, from the start: never a rounded step added to a rounded step.
    pub(super) fn picture_ms(&self) -> i64 {
        at_ms(self.pictures, 1, self.slate.fps)
    }

    pub(super) fn frame_ms(&self) -> i64 {
        let rate = u64::from(AUDIO_RATE_HZ);
        match self.slate.sound.len() as u64 {
            0 => at_ms(self.frames, FRAME_SAMPLES, rate),
            len => {
                let loops_before = self.frames / len;
                let begin = loops_before * self.slate.pictures.len() as u64;
                at_ms(begin, 1, self.slate.fps) + at_ms(self.frames % len, FRAME_SAMPLES, rate)
            }
        }
    }
}

/// `count` steps of `units` at `per_s`, to the nearest ms.
fn at_ms(count: u64, units: u64, per_s: u64) -> i64 {
    let ms =
        (u128::from(count) * u128::from(units) * 1_000 + u128::from(per_s) / 2) / u128::from(per_s);
    i64::try_from(ms).unwrap_or(i64::MAX)
}
