//! Clips as FFmpeg's FLV muxer would deliver them, with where they come from in each payload.

use crate::flv::{AudioPacket, Packet, VideoPacket};
use crate::timeline::{Silence, SourceShape};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// AAC-LC 48 kHz stereo, as the slate has it.
pub(super) const SILENCE_HEADER: &[u8] = &[0x11, 0x90];

pub(super) fn silence() -> Silence {
    Silence {
        header: Bytes::from_static(SILENCE_HEADER),
        frame: Bytes::from_static(b"silence"),
        rate_hz: 48_000,
        frame_samples: 1024,
    }
}

/// How a clip is made.
#[derive(Debug, Clone)]
pub(super) struct Clip {
    /// Frames in so many seconds: (30000, 1001).
    pub(super) rate: (i64, i64),
    /// Consecutive B-frames; from 3 on the middle one is a reference (a pyramid).
    pub(super) b_frames: usize,
    pub(super) gop: usize,
    pub(super) pictures: usize,
    /// The file's clock at its first decode time.
    pub(super) origin_ms: i64,
    pub(super) sound: Option<Sound>,
}

#[derive(Debug, Clone)]
pub(super) struct Sound {
    pub(super) rate_hz: i64,
    /// First frame after the first picture, ms; negative: before.
    pub(super) offset_ms: i64,
    pub(super) frames: usize,
}

/// Where a payload comes from: clip number and time on the clip's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) clip: u32,
    pub(super) own_ms: i64,
}

impl Origin {
    fn bytes(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(12);
        bytes.put_u32(self.clip);
        bytes.put_i64(self.own_ms);
        bytes.freeze()
    }

    /// `None`: silence.
    pub(super) fn of(payload: &Bytes) -> Option<Self> {
        let mut payload = payload.clone();
        (payload.len() == 12).then(|| Self {
            clip: payload.get_u32(),
            own_ms: payload.get_i64(),
        })
    }
}

impl Clip {
    /// Of this rate, without B-frames, with sound as long as the picture.
    pub(super) fn new(rate: (i64, i64), pictures: usize) -> Self {
        let frames = pictures as i64 * rate.1 * 48_000 / (rate.0 * 1024);
        let sound = Sound {
            rate_hz: 48_000,
            offset_ms: 0,
            frames: frames as usize,
        };
        Self {
            rate,
            b_frames: 0,
            gop: 30,
            pictures,
            origin_ms: 0,
            sound: Some(sound),
        }
    }

    pub(super) fn shape(&self) -> SourceShape {
        SourceShape {
            frame_us: ((1_000_000 * self.rate.1 + self.rate.0 / 2) / self.rate.0) as u64,
        }
    }

    pub(super) fn frame_ms(&self) -> f64 {
        1000.0 * self.rate.1 as f64 / self.rate.0 as f64
    }

    pub(super) fn aac_frame_ms(&self) -> f64 {
        self.sound
            .as_ref()
            .map_or(0.0, |sound| 1_024_000.0 / sound.rate_hz as f64)
    }

    fn video_header(&self, number: u32) -> Bytes {
        Bytes::from(format!(
            "avcC {} {} {}",
            self.rate.0,
            self.b_frames,
            number % 2
        ))
    }

    fn audio_header(&self) -> Option<Bytes> {
        self.sound.as_ref().map(|sound| match sound.rate_hz {
            48_000 => Bytes::from_static(SILENCE_HEADER),
            44_100 => Bytes::from_static(&[0x12, 0x10]),
            other => panic!("no header for {other} Hz"),
        })
    }

    /// The clip's packets, headers first, in the order of their decode times.
    pub(super) fn packets(&self, number: u32) -> Vec<Packet> {
        let mut media: Vec<(i64, Packet)> = Vec::new();
        let order = self.decode_order();
        let delay = order
            .iter()
            .enumerate()
            .map(|(at, shown)| at as i64 - *shown as i64)
            .max();
        let delay = delay.unwrap_or(0);
        let at_ms =
            |picture: i64| self.origin_ms + rounded(picture * 1000 * self.rate.1, self.rate.0);
        for (at, shown) in order.iter().enumerate() {
            let (dts_ms, pts_ms) = (at_ms(at as i64), at_ms(*shown as i64 + delay));
            let keyframe = shown % self.gop == 0;
            let payload = Origin {
                clip: number,
                own_ms: pts_ms,
            }
            .bytes();
            media.push((
                dts_ms,
                Packet::Video(VideoPacket {
                    dts_ms,
                    pts_ms,
                    keyframe,
                    payload,
                }),
            ));
        }
        for (frame, sound) in self
            .sound
            .iter()
            .flat_map(|sound| (0..sound.frames).map(move |n| (n as i64, sound)))
        {
            let ts_ms = at_ms(delay) + sound.offset_ms + rounded(frame * 1_024_000, sound.rate_hz);
            let payload = Origin {
                clip: number,
                own_ms: ts_ms,
            }
            .bytes();
            media.push((ts_ms, Packet::Audio(AudioPacket { ts_ms, payload })));
        }
        media.sort_by_key(|(ms, _)| *ms);
        let headers = [
            Some(Packet::VideoHeader(self.video_header(number))),
            self.audio_header().map(Packet::AudioHeader),
        ];
        headers
            .into_iter()
            .flatten()
            .chain(media.into_iter().map(|(_, packet)| packet))
            .collect()
    }

    /// Presentation number of each picture in decode order.
    fn decode_order(&self) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.pictures);
        for key in (0..self.pictures).step_by(self.gop) {
            let end = (key + self.gop).min(self.pictures);
            order.push(key);
            let mut anchor = key;
            while anchor + 1 < end {
                let next = (anchor + 1 + self.b_frames).min(end - 1);
                order.push(next);
                between(anchor, next, self.b_frames >= 3, &mut order);
                anchor = next;
            }
        }
        order
    }
}

/// The B-frames between two anchors.
fn between(before: usize, after: usize, pyramid: bool, order: &mut Vec<usize>) {
    if pyramid && after - before > 2 {
        let middle = (before + after) / 2;
        order.push(middle);
        between(before, middle, pyramid, order);
        between(middle, after, pyramid, order);
    } else {
        order.extend(before + 1..after);
    }
}

fn rounded(numerator: i64, denominator: i64) -> i64 {
    (numerator + denominator / 2).div_euclid(denominator)
}
