//! What a receiver would say of what it got; panics at the first thing it would complain of.

use super::clip::{Clip, Origin, SILENCE_HEADER};
use crate::flv::Packet;
use bytes::Bytes;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

const SILENT_FRAME_MS: f64 = 1024.0 / 48.0;
/// Two roundings to the millisecond.
const ROUNDING_MS: f64 = 1.01;

/// Watches one connection.
#[derive(Debug, Default)]
pub(super) struct Viewer {
    clips: Vec<Clip>,
    last_dts_ms: Option<i64>,
    /// Decoded pictures that nobody has seen yet, as (presentation time, clip).
    decoded: BinaryHeap<Reverse<(i64, u32)>>,
    last_shown: Option<(i64, u32)>,
    sound_at_ms: Option<i64>,
    sound_end_ms: f64,
    /// The clip last heard; `None`: silence.
    heard: Option<u32>,
    video_header: Option<Bytes>,
    audio_header: Option<Bytes>,
    /// Air time minus own time, per clip; the same for picture and sound.
    shifts_ms: BTreeMap<u32, i64>,
    pub(super) pictures: usize,
    pub(super) sounds: BTreeMap<u32, usize>,
    pub(super) silent_frames: u64,
    pub(super) longest_step_over_ms: f64,
    pub(super) longest_hole_ms: f64,
    pub(super) longest_overlap_ms: f64,
}

impl Viewer {
    pub(super) fn expect(&mut self, clip: &Clip) {
        self.clips.push(clip.clone());
    }

    pub(super) fn watch(&mut self, packets: &mut Vec<Packet>) {
        for packet in packets.drain(..) {
            match packet {
                Packet::VideoHeader(header) => {
                    assert_ne!(self.video_header.replace(header.clone()), Some(header));
                }
                Packet::AudioHeader(header) => {
                    assert_ne!(self.audio_header.replace(header.clone()), Some(header));
                }
                Packet::Video(video) => {
                    let origin = Origin::of(&video.payload).expect("pictures are of a clip");
                    assert!(
                        self.last_dts_ms < Some(video.dts_ms),
                        "dts {} after {:?}",
                        video.dts_ms,
                        self.last_dts_ms
                    );
                    assert!(video.pts_ms >= video.dts_ms);
                    self.last_dts_ms = Some(video.dts_ms);
                    self.check_shift(origin, video.pts_ms);
                    self.decoded.push(Reverse((video.pts_ms, origin.clip)));
                    self.show_until(video.dts_ms);
                    self.pictures += 1;
                }
                Packet::Audio(audio) => self.hear(audio.ts_ms, &audio.payload),
            }
        }
    }

    /// The connection has ended: what is decoded is shown.
    pub(super) fn finish(&mut self) {
        self.show_until(i64::MAX);
    }

    fn show_until(&mut self, now_ms: i64) {
        while let Some(Reverse((pts_ms, clip))) = self.decoded.peek().copied()
            && pts_ms <= now_ms
        {
            self.decoded.pop();
            if let Some((before_ms, before_clip)) = self.last_shown {
                let frame_ms = self.clips[before_clip as usize].frame_ms();
                let over_ms = (pts_ms - before_ms) as f64 - frame_ms;
                assert!(
                    over_ms <= 1.0,
                    "a step of {} ms at {before_ms}, clips {before_clip} {clip}",
                    pts_ms - before_ms
                );
                assert!(
                    pts_ms > before_ms,
                    "two pictures at {pts_ms}, clips {before_clip} {clip}"
                );
                self.longest_step_over_ms = self.longest_step_over_ms.max(over_ms);
            }
            self.last_shown = Some((pts_ms, clip));
        }
    }

    fn hear(&mut self, ts_ms: i64, payload: &Bytes) {
        let origin = Origin::of(payload);
        let frame_ms = match origin {
            Some(origin) => {
                self.check_shift(origin, ts_ms);
                *self.sounds.entry(origin.clip).or_default() += 1;
                self.clips[origin.clip as usize].aac_frame_ms()
            }
            None => {
                self.silent_frames += 1;
                assert_eq!(self.audio_header.as_deref(), Some(SILENCE_HEADER));
                SILENT_FRAME_MS
            }
        };
        assert!(
            self.sound_at_ms < Some(ts_ms),
            "sound at {ts_ms} after {:?}",
            self.sound_at_ms
        );
        if self.sound_at_ms.is_some() {
            let hole_ms = ts_ms as f64 - self.sound_end_ms;
            let resumes = self.heard != origin.map(|origin| origin.clip) || origin.is_none();
            let frames = if resumes { 0.5 } else { 1.0 };
            assert!(
                hole_ms < frames * frame_ms.max(SILENT_FRAME_MS) + ROUNDING_MS,
                "a hole of {hole_ms} ms before {ts_ms} {origin:?}"
            );
            assert!(
                -hole_ms <= frame_ms / 2.0 + ROUNDING_MS,
                "{hole_ms} ms of overlap at {ts_ms} {origin:?}"
            );
            self.longest_hole_ms = self.longest_hole_ms.max(hole_ms);
            self.longest_overlap_ms = self.longest_overlap_ms.max(-hole_ms);
        }
        self.heard = origin.map(|origin| origin.clip);
        self.sound_at_ms = Some(ts_ms);
        self.sound_end_ms = ts_ms as f64 + frame_ms;
    }

    /// Picture and sound of a clip are as far apart as in its file, to the millisecond.
    fn check_shift(&mut self, origin: Origin, air_ms: i64) {
        let shift_ms = air_ms - origin.own_ms;
        let first = *self.shifts_ms.entry(origin.clip).or_insert(shift_ms);
        assert_eq!(shift_ms, first, "clip {} lost its sync", origin.clip);
    }
}
