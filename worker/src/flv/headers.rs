//! What a decoder must have before the next packet.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The headers in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headers {
    /// `AVCDecoderConfigurationRecord`.
    #[serde(with = "crate::handover::blob::option")]
    pub video: Option<Bytes>,
    /// `AudioSpecificConfig`.
    #[serde(with = "crate::handover::blob::option")]
    pub audio: Option<Bytes>,
}
