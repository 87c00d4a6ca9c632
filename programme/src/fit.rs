//! What a file is, and whether it can go on air as it is.
//!
//! [`probe`] reads what `ffprobe` says; [`fit`] decides, track by track, and names each reason: the
//! operator sees them in `GET /media` and in the log.

pub mod probe;
mod rules;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use probe::{ProbeError, ffprobe_args, parse_ffprobe};
pub use rules::fit;
pub(crate) use rules::is_copyable_in_some_format;

/// Containers that may be opened, for FFmpeg's `-format_whitelist` on every input: whole files that
/// refer to no other. A text that calls itself `.mp4` would otherwise be followed as a playlist, to
/// files of this machine and addresses of its network.
pub const FORMAT_WHITELIST: &str = "mov,matroska,mpegts,flv,avi,mp3,aac,wav,flac,ogg";
/// Containers an image for a slate may have, as [`FORMAT_WHITELIST`].
pub const IMAGE_FORMATS: &str = "png_pipe,jpeg_pipe,webp_pipe,gif,bmp_pipe";
/// How their names end.
const IMAGE_EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "webp", "gif", "bmp"];

/// Whether `key` is called as an image is; what is not may be a clip.
pub fn is_image(key: &str) -> bool {
    let extension = key.rsplit('.').next().unwrap_or_default();
    let mut known = IMAGE_EXTENSIONS.iter();
    known.any(|known| extension.eq_ignore_ascii_case(known))
}

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

// === impl Fit ===

impl Fit {
    /// The picture is spliced as it is.
    pub fn copies_video(&self) -> bool {
        match self {
            Self::Copy => true,
            Self::Transcode { video, .. } => video.is_empty(),
            Self::Unplayable { .. } => false,
        }
    }

    /// The sound is spliced as it is (or there is none).
    pub fn copies_audio(&self) -> bool {
        match self {
            Self::Copy => true,
            Self::Transcode { audio, .. } => audio.is_empty(),
            Self::Unplayable { .. } => false,
        }
    }
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (video, audio) = match self {
            Self::Copy => return f.write_str("copied"),
            Self::Unplayable { reason } => return write!(f, "unplayable: {reason}"),
            Self::Transcode { video, audio } => (video, audio),
        };
        f.write_str("transcoded")?;
        let mut before = ": ";
        for (track, reasons) in [("video", video), ("audio", audio)] {
            for reason in reasons {
                write!(f, "{before}{track} {reason}")?;
                before = "; ";
            }
        }
        Ok(())
    }
}

impl fmt::Display for TranscodeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.what.replace('_', " ");
        write!(f, "{what} is {}, needs {}", self.has, self.needs)
    }
}
