//! RTMP messages with media: the bodies of FLV tags, without the tags.

use bytes::Bytes;

use super::packet::Packet;
use super::tag::{self, ForeignCodec, TagFault};

/// Why a message cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Well-formed, but neither H.264 nor AAC.
    #[error("it carries {0}; only H.264 and AAC can go on air")]
    UnsupportedCodec(ForeignCodec),
    /// No message an encoder sends.
    #[error("a damaged message: {0}")]
    Damaged(&'static str),
}

/// A video message; `None` for one without media.
pub fn video(dts_ms: i64, body: Bytes) -> Result<Option<Packet>, MessageError> {
    check_size(&body)?;
    tag::video(dts_ms, body).map_err(MessageError::from)
}

/// An audio message; `None` for one without media.
pub fn audio(ts_ms: i64, body: Bytes) -> Result<Option<Packet>, MessageError> {
    check_size(&body)?;
    tag::audio(ts_ms, body).map_err(MessageError::from)
}

/// The same limit as for tags: those have to be made of it.
fn check_size(body: &Bytes) -> Result<(), MessageError> {
    match body.len() > tag::MAX_BODY_BYTES {
        true => Err(MessageError::Damaged("larger than any picture")),
        false => Ok(()),
    }
}

impl From<TagFault> for MessageError {
    fn from(fault: TagFault) -> Self {
        match fault {
            TagFault::Foreign(codec) => Self::UnsupportedCodec(codec),
            TagFault::Malformed(what) => Self::Damaged(what),
        }
    }
}
