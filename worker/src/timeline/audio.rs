//! The sound: what of it goes out, and silence where there is none.
//!
//! Real frames keep their source's times (a shift is added, nothing is moved onto a sample grid),
//! so nothing accumulates. Silence counts on in nanoseconds from where sound ended.

use super::{NS_PER_MS, rounded_ms};
use crate::flv::{AudioPacket, Packet};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The most silence put in at once by [`SoundTrack::fill_until`].
const FILL_NS: i64 = 1_000 * NS_PER_MS;
/// The most silence put in before one frame. Only a hole that nobody filled as it went by (a
/// picture less often than once a second, and a clock that did not run) is longer, and stays one.
const MAX_SILENT_FRAMES: i64 = 500;

/// One AAC frame that sounds of nothing, from the slate's encoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its `AudioSpecificConfig`.
    #[serde(with = "crate::handover::blob")]
    pub header: Bytes,
    /// The frame.
    #[serde(with = "crate::handover::blob")]
    pub frame: Bytes,
    /// Sample rate, Hz.
    pub rate_hz: u32,
    /// Samples per channel in it, at that rate.
    pub frame_samples: u32,
}

/// The audio track as released so far.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SoundTrack {
    silence: Silence,
    /// End of what was released, exact; `None` before anything is on air.
    end_ns: Option<i64>,
    /// How long the last frame released sounds.
    last_frame_ns: i64,
    #[serde(with = "crate::handover::blob::option")]
    header: Option<Bytes>,
    /// The next real frame does not go on from one of its own source: a join, or silence between.
    resumes: bool,
}

// === impl SoundTrack ===

impl SoundTrack {
    pub(super) fn new(silence: Silence) -> Self {
        Self {
            last_frame_ns: silence.frame_ns(),
            silence,
            end_ns: None,
            header: None,
            resumes: true,
        }
    }

    pub(super) fn expect_new_source(&mut self) {
        self.resumes = true;
    }

    /// The first picture of the stream stands here; sound begins with it.
    pub(super) fn start_no_later_than(&mut self, at_ms: i64) {
        self.end_ns.get_or_insert(at_ms * NS_PER_MS);
    }

    pub(super) fn end_ms(&self) -> i64 {
        self.end_ns.map_or(0, rounded_ms)
    }

    /// A frame at this air time goes out: it overlaps what was released by at most half a frame
    /// (the shorter one, so that it begins after the last), and at most half of it sounds after
    /// `until_ms`.
    pub(super) fn follows(&self, air_ms: i64, frame_ns: Option<i64>, until_ms: i64) -> bool {
        let frame_ns = self.frame_ns(frame_ns);
        let start_ns = air_ms * NS_PER_MS;
        let overlap_ns = frame_ns.min(self.last_frame_ns) / 2;
        self.end_ns
            .is_some_and(|end_ns| start_ns + overlap_ns >= end_ns)
            && start_ns + frame_ns / 2 <= until_ms.saturating_mul(NS_PER_MS)
    }

    /// Puts a frame on air, behind silence where there is a hole. Returns the silent frames.
    pub(super) fn release(
        &mut self,
        audio: AudioPacket,
        air_ms: i64,
        frame_ns: Option<i64>,
        header: Option<&Bytes>,
        out: &mut Vec<Packet>,
    ) -> u64 {
        let frame_ns = self.frame_ns(frame_ns);
        let start_ns = air_ms * NS_PER_MS;
        let silent_frames = self.silent_frames_before(start_ns, frame_ns);
        if silent_frames == MAX_SILENT_FRAMES as u64 {
            self.end_ns = Some(start_ns - MAX_SILENT_FRAMES * self.silence.frame_ns());
        }
        for _ in 0..silent_frames {
            self.release_silence(out);
        }
        self.announce(header.cloned(), out);
        self.resumes = false;
        self.end_ns = Some(start_ns + frame_ns);
        self.last_frame_ns = frame_ns;
        out.push(Packet::Audio(AudioPacket {
            ts_ms: air_ms,
            payload: audio.payload,
        }));
        silent_frames
    }

    /// Silence until sound has come at least this far, a second of it at most. Returns the frames.
    pub(super) fn fill_until(&mut self, until_ns: i64, out: &mut Vec<Packet>) -> u64 {
        let Some(first_end_ns) = self.end_ns else {
            return 0;
        };
        let until_ns = until_ns.min(first_end_ns + FILL_NS);
        let mut frames = 0;
        while self.end_ns.is_some_and(|end_ns| end_ns < until_ns) {
            self.release_silence(out);
            frames += 1;
        }
        frames
    }

    /// Within a source, only a hole of a whole frame is one: sources on a coarse clock are uneven.
    /// Where sound begins anew, the number is rounded, so that less than half a frame is left over
    /// or overlaps.
    fn silent_frames_before(&self, start_ns: i64, frame_ns: i64) -> u64 {
        let gap_ns = start_ns - self.end_ns.unwrap_or(start_ns);
        let silence_ns = self.silence.frame_ns();
        if gap_ns < frame_ns && !self.resumes {
            return 0;
        }
        ((gap_ns + silence_ns / 2 - 1) / silence_ns).clamp(0, MAX_SILENT_FRAMES) as u64
    }

    fn release_silence(&mut self, out: &mut Vec<Packet>) {
        let Some(end_ns) = self.end_ns else {
            return;
        };
        self.announce(Some(self.silence.header.clone()), out);
        self.resumes = true;
        let payload = self.silence.frame.clone();
        out.push(Packet::Audio(AudioPacket {
            ts_ms: rounded_ms(end_ns),
            payload,
        }));
        self.last_frame_ns = self.silence.frame_ns();
        self.end_ns = Some(end_ns + self.last_frame_ns);
    }

    fn announce(&mut self, header: Option<Bytes>, out: &mut Vec<Packet>) {
        if header.is_some() && self.header != header {
            self.header = header.clone();
            out.extend(header.map(Packet::AudioHeader));
        }
    }

    fn frame_ns(&self, of_source_ns: Option<i64>) -> i64 {
        of_source_ns.unwrap_or_else(|| self.silence.frame_ns())
    }
}

// === impl Silence ===

impl Silence {
    fn frame_ns(&self) -> i64 {
        let samples = i64::from(self.frame_samples.max(1));
        samples * 1_000 * NS_PER_MS / i64::from(self.rate_hz.max(1))
    }
}
