//! The unit the on-air chain works in.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One elementary-stream packet or header. The same type before and after the timeline: only the
/// clock its times are on differs (the source's own, or air time).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Packet {
    /// `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §5.3.3.1).
    VideoHeader(#[serde(with = "crate::handover::blob")] Bytes),
    /// `AudioSpecificConfig` (ISO/IEC 14496-3 §1.6.2.1).
    AudioHeader(#[serde(with = "crate::handover::blob")] Bytes),
    /// One coded picture.
    Video(VideoPacket),
    /// One AAC frame.
    Audio(AudioPacket),
}

/// One coded picture, as length-prefixed NAL units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoPacket {
    /// Decode time, ms.
    pub dts_ms: i64,
    /// Presentation time, ms; never before `dts_ms`.
    pub pts_ms: i64,
    /// An IDR picture.
    pub keyframe: bool,
    /// NAL units, each behind its length; without FLV's five bytes of tag header.
    #[serde(with = "crate::handover::blob")]
    pub payload: Bytes,
}

/// One raw AAC frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioPacket {
    /// Presentation time, ms.
    pub ts_ms: i64,
    /// The frame, without FLV's two bytes of tag header.
    #[serde(with = "crate::handover::blob")]
    pub payload: Bytes,
}

impl Packet {
    /// When a decoder must have it, ms; `None` for headers, which go with what follows them.
    pub fn dts_ms(&self) -> Option<i64> {
        match self {
            Self::VideoHeader(_) | Self::AudioHeader(_) => None,
            Self::Video(video) => Some(video.dts_ms),
            Self::Audio(audio) => Some(audio.ts_ms),
        }
    }

    /// Picture, or the header of it; otherwise sound.
    pub fn is_video(&self) -> bool {
        matches!(self, Self::VideoHeader(_) | Self::Video(_))
    }

    /// The picture, if it is one.
    pub fn video(&self) -> Option<&VideoPacket> {
        match self {
            Self::Video(video) => Some(video),
            Self::VideoHeader(_) | Self::AudioHeader(_) | Self::Audio(_) => None,
        }
    }

    /// What it weighs in a queue.
    pub fn payload_bytes(&self) -> usize {
        match self {
            Self::VideoHeader(payload) | Self::AudioHeader(payload) => payload.len(),
            Self::Video(video) => video.payload.len(),
            Self::Audio(audio) => audio.payload.len(),
        }
    }
}
