//! The picture: where a source is joined, and strictly increasing decode times.
//!
//! FLV's milliseconds are too coarse to count with: a loop of 2 s that is wrong by half a
//! millisecond is wrong by twenty seconds a day. So the end of a source is counted in whole frames
//! of its exact rate, in nanoseconds, and rounded once, when it becomes the next one's join.

use super::{JUMP_MS, NS_PER_MS, rounded_ms};
use crate::flv::{Packet, VideoPacket};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Steps looked at to tell a source's real frame duration from its nominal one.
const STEPS: usize = 15;

/// Where a picture is to stand: exactly, and in the milliseconds it gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JoinPoint {
    ns: i64,
    pub(super) ms: i64,
}

/// The video track as released so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct PictureTrack {
    released: Option<Released>,
    /// Where the source on air was joined.
    joined: JoinPoint,
    /// Pictures of the source on air that present before this are not shown.
    floor_ms: i64,
    cadence: Cadence,
    /// That of the source that is to be joined next.
    expected: Option<Cadence>,
    #[serde(with = "crate::handover::blob::option")]
    header: Option<Bytes>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Released {
    last_dts_ms: i64,
    max_pts_ms: i64,
}

/// How far apart a source's pictures are.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Cadence {
    frame_ns: i64,
    last_dts_ms: Option<i64>,
    steps_ms: [i64; STEPS],
    steps_seen: usize,
}

// === impl PictureTrack ===

impl PictureTrack {
    /// The next join is that of a source with this nominal frame duration.
    pub(super) fn expect(&mut self, frame_us: u64) {
        self.expected = Some(Cadence::new(exact_frame_ns(frame_us)));
    }

    /// Frame duration of the source on air, rounded up.
    pub(super) fn frame_ms(&self) -> i64 {
        (self.cadence.frame_ns + NS_PER_MS - 1) / NS_PER_MS
    }

    /// The end of the last picture; `None` before the first.
    ///
    /// Rounding never makes the last picture longer than a frame and 1 ms. Where that bound and
    /// the exact place are more than 1 ms apart (a file with uneven times), the place gives way.
    pub(super) fn end(&self) -> Option<JoinPoint> {
        let last_ms = self.released?.max_pts_ms;
        let frame_ns = self.cadence.frame_ns;
        let shown_ns = (last_ms - self.joined.ms) * NS_PER_MS;
        let whole_ns = (shown_ns + frame_ns / 2).div_euclid(frame_ns) * frame_ns;
        let even = (whole_ns - shown_ns).abs() <= NS_PER_MS;
        let exact_ns = self.joined.ns + if even { whole_ns } else { shown_ns } + frame_ns;
        let ms = rounded_ms(exact_ns).clamp(
            last_ms + (frame_ns / NS_PER_MS - 1).max(1),
            last_ms + frame_ns / NS_PER_MS + 1,
        );
        let kept = (ms * NS_PER_MS - exact_ns).abs() <= NS_PER_MS;
        Some(JoinPoint {
            ns: if kept { exact_ns } else { ms * NS_PER_MS },
            ms,
        })
    }

    /// Where a source that begins with this packet is joined.
    pub(super) fn join_point(&self, first: &VideoPacket) -> JoinPoint {
        match (self.end(), self.released) {
            (Some(end), Some(_)) if first.keyframe => end,
            // A clock that jumped between two pictures of one sequence: decoding goes on, so the
            // decode time does too, and the picture keeps its distance from it.
            (_, Some(released)) => {
                let depth_ms = first.pts_ms - first.dts_ms;
                JoinPoint::at(released.last_dts_ms + self.frame_ms() + depth_ms)
            }
            // The stream's first packet is decoded at air time 0.
            (_, None) => JoinPoint::at(first.pts_ms - first.dts_ms),
        }
    }

    /// Fixes the join of the source whose first packet this is.
    pub(super) fn start(&mut self, first: &VideoPacket, at: JoinPoint) {
        self.joined = at;
        self.floor_ms = if first.keyframe { at.ms } else { i64::MIN };
        if let Some(cadence) = self.expected.take() {
            self.cadence = cadence;
        }
    }

    /// Decode time of the next picture that would like this one.
    pub(super) fn decode_ms(&self, wished_ms: i64) -> i64 {
        self.released.map_or(wished_ms, |released| {
            wished_ms.max(released.last_dts_ms + 1)
        })
    }

    /// Presents after everything released so far.
    pub(super) fn is_after_released(&self, pts_ms: i64) -> bool {
        self.released
            .is_none_or(|released| pts_ms > released.max_pts_ms)
    }

    /// A leading picture of an open GOP: it refers to pictures before the join.
    pub(super) fn leads(&self, pts_ms: i64) -> bool {
        pts_ms < self.floor_ms
    }

    /// Puts a picture on air, behind its header when that is not the last one sent.
    pub(super) fn release(
        &mut self,
        video: VideoPacket,
        shift_ms: i64,
        header: Option<&Bytes>,
        out: &mut Vec<Packet>,
    ) {
        if header.is_some() && self.header.as_ref() != header {
            self.header = header.cloned();
            out.extend(header.cloned().map(Packet::VideoHeader));
        }
        self.cadence.see(video.dts_ms);
        let dts_ms = self.decode_ms(video.dts_ms + shift_ms);
        // Only a source whose times are damaged comes to the `max`: a picture after everything
        // released has at least a frame's room for its squeezed decode time.
        let pts_ms = (video.pts_ms + shift_ms).max(dts_ms);
        let max_pts_ms = self
            .released
            .map_or(pts_ms, |released| released.max_pts_ms.max(pts_ms));
        self.released = Some(Released {
            last_dts_ms: dts_ms,
            max_pts_ms,
        });
        out.push(Packet::Video(VideoPacket {
            dts_ms,
            pts_ms,
            ..video
        }));
    }
}

// === impl JoinPoint ===

impl JoinPoint {
    fn at(ms: i64) -> Self {
        Self {
            ns: ms * NS_PER_MS,
            ms,
        }
    }
}

// === impl Cadence ===

impl Default for Cadence {
    fn default() -> Self {
        Self::new(40 * NS_PER_MS)
    }
}

impl Cadence {
    fn new(nominal_ns: i64) -> Self {
        Self {
            frame_ns: nominal_ns,
            last_dts_ms: None,
            steps_ms: [0; STEPS],
            steps_seen: 0,
        }
    }

    /// Every so many steps: if their median is not the duration we go by, it is now.
    fn see(&mut self, dts_ms: i64) {
        let step_ms = self
            .last_dts_ms
            .replace(dts_ms)
            .map(|last_ms| dts_ms - last_ms);
        let Some(step_ms) = step_ms.filter(|step_ms| (1..=JUMP_MS).contains(step_ms)) else {
            return;
        };
        self.steps_ms[self.steps_seen] = step_ms;
        self.steps_seen += 1;
        if self.steps_seen == STEPS {
            self.steps_seen = 0;
            let (_, median_ms, _) = self.steps_ms.select_nth_unstable(STEPS / 2);
            let median_ns = *median_ms * NS_PER_MS;
            if (median_ns - self.frame_ns).abs() > NS_PER_MS {
                self.frame_ns = median_ns;
            }
        }
    }
}

/// The duration that a rate of N or N·1000/1001 frames a second has, where microseconds are a
/// rounding of one; kept between 1 ms and 10 s.
fn exact_frame_ns(frame_us: u64) -> i64 {
    let frame_us = frame_us.clamp(1_000, 10_000_000) as i64;
    [1_000_000_000, 1_001_000_000]
        .into_iter()
        .map(|second_ns: i64| {
            let frames = (second_ns / 1_000 + frame_us / 2) / frame_us;
            (second_ns + frames / 2) / frames.max(1)
        })
        .find(|exact_ns| (exact_ns - frame_us * 1_000).abs() <= 1_000)
        .unwrap_or(frame_us * 1_000)
}
