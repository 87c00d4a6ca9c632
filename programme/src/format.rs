//! The one shape a stream has on air.
//!
//! Platforms tie resolution, frame rate and sample rate to a connection, so a stream has exactly
//! one of each; whatever differs is transcoded to it before it is spliced.

mod auto;

use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use auto::auto;

/// Audio sample rate of every stream, in Hz: what both YouTube and Twitch recommend.
pub const AUDIO_RATE_HZ: u32 = 48_000;
/// Audio channels of every stream.
pub const AUDIO_CHANNELS: u32 = 2;

/// Picture size, rate and bit rates on air. Codecs are always H.264 and AAC-LC 48 kHz stereo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct StreamFormat {
    /// Pixels; even, 160–3840.
    #[serde(default = "d_width")]
    pub width: u32,
    /// Pixels; even, 90–2160.
    #[serde(default = "d_height")]
    pub height: u32,
    /// Frames per second, 1–60. NTSC rates are written as the next whole number (30 covers
    /// 30000/1001); a file within 0.2 % of it fits.
    #[serde(default = "d_fps")]
    pub fps: u32,
    /// Target of transcoded video and, ×2, the ceiling for copied video, in kbit/s.
    #[serde(default = "d_video")]
    pub video_kbps: u32,
    /// Target of transcoded audio, in kbit/s.
    #[serde(default = "d_audio")]
    pub audio_kbps: u32,
}

/// What the configuration says about the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatChoice {
    /// Take the format that most of the programme already has.
    Auto,
    /// Exactly this.
    Fixed(StreamFormat),
}

// === impl StreamFormat ===

impl Default for StreamFormat {
    fn default() -> Self {
        Self {
            width: d_width(),
            height: d_height(),
            fps: d_fps(),
            video_kbps: d_video(),
            audio_kbps: d_audio(),
        }
    }
}

fn d_width() -> u32 {
    1280
}
fn d_height() -> u32 {
    720
}
fn d_fps() -> u32 {
    30
}
fn d_video() -> u32 {
    3000
}
fn d_audio() -> u32 {
    128
}

// === impl FormatChoice ===

impl Default for FormatChoice {
    fn default() -> Self {
        Self::Fixed(StreamFormat::default())
    }
}

impl Serialize for FormatChoice {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => to.serialize_str("auto"),
            Self::Fixed(format) => format.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for FormatChoice {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(FormatVisitor)
    }
}

struct FormatVisitor;

impl<'de> Visitor<'de> for FormatVisitor {
    type Value = FormatChoice;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("\"auto\" or an object with width, height, fps, video_kbps, audio_kbps")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<FormatChoice, E> {
        match text {
            "auto" => Ok(FormatChoice::Auto),
            other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FormatChoice, A::Error> {
        StreamFormat::deserialize(MapAccessDeserializer::new(map)).map(FormatChoice::Fixed)
    }
}

#[cfg(feature = "openapi")]
mod openapi {
    use utoipa::openapi::{ObjectBuilder, OneOfBuilder, RefOr, Schema, Type};
    use utoipa::{PartialSchema, ToSchema};

    use super::{FormatChoice, StreamFormat};

    impl PartialSchema for FormatChoice {
        fn schema() -> RefOr<Schema> {
            let auto = ObjectBuilder::new()
                .schema_type(Type::String)
                .enum_values(Some(["auto"]))
                .description(Some("the format that most of the programme already has"));
            OneOfBuilder::new()
                .item(auto)
                .item(utoipa::schema!(
                    #[inline]
                    StreamFormat
                ))
                .into()
        }
    }

    impl ToSchema for FormatChoice {}
}
