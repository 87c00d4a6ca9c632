//! The tag: eleven bytes of header, a body, and its length once more.
//!
//! ```text
//! 0      1          4           7        8           11        11+n      15+n
//! │ type │ n (u24) │ time (u24)│ time>>24│ stream=0 │ body (n) │ 11+n u32 │
//! ```

use super::packet::{AudioPacket, Packet, VideoPacket};
use bytes::{Buf, Bytes};

/// Bytes before the body.
pub(super) const HEADER_BYTES: usize = 11;
/// `PreviousTagSize` behind the body.
pub(super) const TRAILER_BYTES: usize = 4;
/// The largest body accepted. The wire allows 16 MiB; a keyframe of 8 MiB would be 2 s of 32 Mb/s
/// in one picture, and what is larger is far more likely a damaged length.
pub(super) const MAX_BODY_BYTES: usize = 8 << 20;

pub(super) const TYPE_AUDIO: u8 = 8;
pub(super) const TYPE_VIDEO: u8 = 9;
pub(super) const TYPE_SCRIPT: u8 = 18;

pub(super) const CODEC_AVC: u8 = 7;
pub(super) const CODEC_AAC: u8 = 10;
pub(super) const FRAME_KEY: u8 = 1;
pub(super) const FRAME_INTER: u8 = 2;
/// "Video info or command frame": seeks of a Flash server, no picture.
const FRAME_COMMAND: u8 = 5;

/// Second byte of an AVC or AAC body.
pub(super) const KIND_HEADER: u8 = 0;
pub(super) const KIND_MEDIA: u8 = 1;
/// AVC only; FFmpeg writes it at the end of a file.
const KIND_END: u8 = 2;

/// Sound is AAC, "44 kHz, 16 bit, stereo": for AAC these are constants, the truth is in the header.
pub(super) const AAC_FLAGS: u8 = (CODEC_AAC << 4) | 0x0f;

/// A codec that FLV can carry and the on-air chain cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignCodec {
    /// A video codec by its FLV number.
    Video(u8),
    /// An audio codec by its FLV number.
    Audio(u8),
    /// Enhanced RTMP, which names codecs by four characters.
    FourCc([u8; 4]),
}

impl std::fmt::Display for ForeignCodec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Video(2) => f.write_str("Sorenson H.263 video"),
            Self::Video(3 | 6) => f.write_str("screen video"),
            Self::Video(4 | 5) => f.write_str("VP6 video"),
            Self::Video(12) => f.write_str("HEVC video (non-standard number 12)"),
            Self::Video(number) => write!(f, "video codec {number}"),
            Self::Audio(0 | 3) => f.write_str("PCM audio"),
            Self::Audio(1) => f.write_str("ADPCM audio"),
            Self::Audio(2 | 14) => f.write_str("MP3 audio"),
            Self::Audio(4..=6) => f.write_str("Nellymoser audio"),
            Self::Audio(7 | 8) => f.write_str("G.711 audio"),
            Self::Audio(11) => f.write_str("Speex audio"),
            Self::Audio(number) => write!(f, "audio codec {number}"),
            Self::FourCc([b'h', b'v', b'c', b'1'] | [b'h', b'e', b'v', b'1']) => {
                f.write_str("HEVC video")
            }
            Self::FourCc([b'a', b'v', b'0', b'1']) => f.write_str("AV1 video"),
            Self::FourCc([b'v', b'p', b'0', b'8' | b'9']) => f.write_str("VP8 or VP9 video"),
            Self::FourCc(name) => write!(f, "enhanced-RTMP codec \"{}\"", name.escape_ascii()),
        }
    }
}

/// What is wrong with a tag; the reader adds where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TagFault {
    Foreign(ForeignCodec),
    Malformed(&'static str),
}

/// The fixed part of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TagHeader {
    pub(super) kind: u8,
    pub(super) body_bytes: usize,
    /// As on the wire: 32 bits, of which FFmpeg writes 31.
    pub(super) timestamp: u32,
}

impl TagHeader {
    /// Reads the fixed part, or says why this cannot be a tag.
    pub(super) fn parse(raw: [u8; HEADER_BYTES]) -> Result<Self, TagFault> {
        let [kind, n2, n1, n0, t2, t1, t0, t3, stream @ ..] = raw;
        if !matches!(kind, TYPE_AUDIO | TYPE_VIDEO | TYPE_SCRIPT) {
            return Err(TagFault::Malformed("no such tag type"));
        }
        if stream != [0; 3] {
            return Err(TagFault::Malformed("stream number is not 0"));
        }
        Ok(Self {
            kind,
            body_bytes: u32::from_be_bytes([0, n2, n1, n0]) as usize,
            timestamp: u32::from_be_bytes([t3, t2, t1, t0]),
        })
    }

    /// Everything from the type byte to the end of `PreviousTagSize`.
    pub(super) fn whole_bytes(self) -> usize {
        HEADER_BYTES + self.body_bytes + TRAILER_BYTES
    }
}

/// What a video body holds; `None` for what carries no media.
pub(super) fn video(dts_ms: i64, mut body: Bytes) -> Result<Option<Packet>, TagFault> {
    let Some(&first) = body.first() else {
        return Ok(None);
    };
    if first & 0x80 != 0 {
        return Err(TagFault::Foreign(four_cc(&body)?));
    }
    let (frame, codec) = (first >> 4, first & 0x0f);
    if frame == FRAME_COMMAND {
        return Ok(None);
    }
    if codec != CODEC_AVC {
        return Err(TagFault::Foreign(ForeignCodec::Video(codec)));
    }
    if body.len() < 5 {
        return Err(TagFault::Malformed("AVC body of less than 5 bytes"));
    }
    let offset_ms = i64::from(i32::from_be_bytes([body[2], body[3], body[4], 0]) >> 8);
    let kind = body[1];
    body.advance(5);
    match kind {
        KIND_HEADER | KIND_MEDIA if body.is_empty() => Ok(None),
        KIND_HEADER => Ok(Some(Packet::VideoHeader(body))),
        KIND_MEDIA => Ok(Some(Packet::Video(VideoPacket {
            dts_ms,
            // A picture cannot be shown before it is decoded, whatever the file says.
            pts_ms: dts_ms + offset_ms.max(0),
            keyframe: frame == FRAME_KEY,
            payload: body,
        }))),
        KIND_END => Ok(None),
        _ => Err(TagFault::Malformed("no such AVC packet type")),
    }
}

/// What an audio body holds; `None` for what carries no media.
pub(super) fn audio(ts_ms: i64, mut body: Bytes) -> Result<Option<Packet>, TagFault> {
    let Some(&first) = body.first() else {
        return Ok(None);
    };
    let codec = first >> 4;
    if codec == 9 {
        return Err(TagFault::Foreign(four_cc(&body)?));
    }
    if codec != CODEC_AAC {
        return Err(TagFault::Foreign(ForeignCodec::Audio(codec)));
    }
    if body.len() < 2 {
        return Err(TagFault::Malformed("AAC body of less than 2 bytes"));
    }
    let kind = body[1];
    body.advance(2);
    match kind {
        KIND_HEADER | KIND_MEDIA if body.is_empty() => Ok(None),
        KIND_HEADER => Ok(Some(Packet::AudioHeader(body))),
        KIND_MEDIA => Ok(Some(Packet::Audio(AudioPacket {
            ts_ms,
            payload: body,
        }))),
        _ => Err(TagFault::Malformed("no such AAC packet type")),
    }
}

fn four_cc(body: &[u8]) -> Result<ForeignCodec, TagFault> {
    match body {
        [_, a, b, c, d, ..] => Ok(ForeignCodec::FourCc([*a, *b, *c, *d])),
        _ => Err(TagFault::Malformed(
            "enhanced-RTMP body without a codec name",
        )),
    }
}
