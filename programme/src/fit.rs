//! What a file is, and whether it can go on air as it is.

use serde::{Deserialize, Serialize};

/// What `ffprobe` says of one file, reduced to what the on-air chain decides by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MediaInfo {
    /// Container as FFmpeg names it (`mov,mp4,m4a,3gp,3g2,mj2`).
    pub container: String,
    /// Length in seconds; `None` when the container does not say.
    pub duration_s: Option<f64>,
    /// The first video track that is not an attached picture.
    pub video: Option<VideoInfo>,
    /// The first audio track.
    pub audio: Option<AudioInfo>,
}

/// A video track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VideoInfo {
    /// FFmpeg's codec name (`h264`, `hevc`, …).
    pub codec: String,
    /// Profile as FFmpeg names it (`High`, `Main`, `High 10`).
    pub profile: Option<String>,
    /// Coded width in pixels, before rotation.
    pub width: u32,
    /// Coded height in pixels, before rotation.
    pub height: u32,
    /// Pixel format (`yuv420p`).
    pub pix_fmt: Option<String>,
    /// Average frames per second; 0 when unknown.
    pub fps: f64,
    /// Nominal (`r_frame_rate`) frames per second; differs from `fps` when the rate varies.
    pub nominal_fps: f64,
    /// Sample (pixel) aspect ratio is 1:1 or unstated.
    pub square_pixels: bool,
    /// Clockwise rotation the player should apply, degrees.
    pub rotation_deg: i32,
    /// Interlaced (`field_order` other than progressive or unstated).
    pub interlaced: bool,
    /// Bit rate in kbit/s, when stated.
    pub kbps: Option<u32>,
}

/// An audio track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AudioInfo {
    /// FFmpeg's codec name (`aac`, `mp3`, …).
    pub codec: String,
    /// Profile as FFmpeg names it (`LC`, `HE-AAC`).
    pub profile: Option<String>,
    /// Sample rate, Hz.
    pub rate_hz: u32,
    /// Channels.
    pub channels: u32,
}

/// How a file reaches the air in a given stream format.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum Fit {
    /// Nothing is decoded.
    Copy,
    /// Each track with at least one reason is transcoded; a track without one is copied.
    Transcode {
        /// Why the picture must be re-encoded; empty: it is copied.
        video: Vec<TranscodeReason>,
        /// Why the sound must be re-encoded; empty: it is copied, or there is none.
        audio: Vec<TranscodeReason>,
    },
    /// Neither picture nor sound: cannot be played.
    Unplayable {
        /// For the operator.
        reason: String,
    },
}

/// One reason why a track cannot be copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TranscodeReason {
    /// What differs (`codec`, `size`, `frame_rate`, …).
    pub what: String,
    /// What the file has.
    pub has: String,
    /// What the stream needs.
    pub needs: String,
}
