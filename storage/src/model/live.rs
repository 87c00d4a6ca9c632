//! Live inputs: what an operator writes of them, and what a worker says of them.
//!
//! What each setting does is in `docs/design/live-takeover.md`.

use jiff::Timestamp;
pub use programme::Resume;
use serde::{Deserialize, Serialize};

use super::{ErrorReport, SlateConfig};

/// A feed that may take the air: pulled from `url`, or pushed to the built-in ingest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LiveInputConfig {
    /// Unique in the stream.
    pub name: String,
    /// `rtmp`, `rtmps`, `rtsp`, `srt`, `http` or `https` URL to pull from, without credentials; absent with `ingest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// It is pushed to `INGEST_BIND`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ingest: bool,
    /// User name for `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Variable that holds the password for `url` (with `srt`: the passphrase).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    /// When it is wanted.
    #[serde(default)]
    pub take: LiveTake,
    /// What follows its loss.
    #[serde(default)]
    pub on_loss: OnLoss,
    /// For how long after a loss it is taken back when it returns, seconds (0–3600).
    #[serde(default = "d_grace")]
    pub grace_s: u32,
}

/// When a live input is wanted on air.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LiveTake {
    /// Whenever it is ready.
    #[default]
    Auto,
    /// When it is asked for.
    Manual,
}

/// What viewers see when a live input is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnLoss {
    /// The programme, at once.
    #[default]
    Programme,
    /// The slate for the time of grace, then the programme.
    Slate,
}

/// How a stream takes live inputs and gives the air back.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LiveConfig {
    /// Where the programme goes on afterwards.
    #[serde(default)]
    pub resume: Resume,
    /// What a change looks like that is asked for: between programme, live, slate and card.
    #[serde(default)]
    pub transition: TransitionConfig,
    /// Shown when a live feed is announced and does not come; one that says so when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<SlateConfig>,
}

/// A change between programme, live, slate and card. One that cannot be made in time is a cut, and so is
/// every change from one item of the programme to the next, and whatever follows a loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TransitionConfig {
    /// What it looks like.
    #[serde(default)]
    pub kind: TransitionKind,
    /// How long it takes, seconds (0.1–1).
    #[serde(default = "d_seconds")]
    pub seconds: f64,
}

/// Kinds of change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TransitionKind {
    /// From one frame to the next.
    #[default]
    Cut,
    /// A cut in the picture; the old sound fades out, then the new one in.
    Fade,
    /// The picture through black, the sound as in `fade`.
    Dip,
    /// Picture and sound from one into the other.
    Crossfade,
}

impl LiveInputConfig {
    /// One that is pushed to the built-in ingest, with everything else as by default.
    pub fn ingest(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            url: None,
            ingest: true,
            user: None,
            password_env: None,
            take: LiveTake::default(),
            on_loss: OnLoss::default(),
            grace_s: d_grace(),
        }
    }
}

impl LiveConfig {
    /// Whether nothing was chosen.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for TransitionConfig {
    fn default() -> Self {
        Self {
            kind: TransitionKind::default(),
            seconds: d_seconds(),
        }
    }
}

fn d_grace() -> u32 {
    30
}

fn d_seconds() -> f64 {
    0.5
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde gives a reference to what it asks about"
)]
fn is_false(value: &bool) -> bool {
    !value
}

/// One live input as the worker sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LiveInputReport {
    /// From the configuration.
    pub name: String,
    /// See [`LiveInputState`].
    pub state: LiveInputState,
    /// Since when.
    pub since: Timestamp,
    /// Somebody asks for it on air, or it is `auto`.
    pub wanted: bool,
    /// It is on air.
    pub on_air: bool,
    /// Where the feed comes from, without credentials.
    #[serde(default)]
    pub from: Option<String>,
    /// What arrives: `h264 1280x720 30 fps, aac 48000 Hz 2 ch`.
    #[serde(default)]
    pub media: Option<String>,
    /// Whether it goes out as it is.
    #[serde(default)]
    pub copied: Option<bool>,
    /// Failed tries since it was last ready.
    #[serde(default)]
    pub retry_count: u32,
    /// Why it is not ready, when that is not just that nobody sends.
    #[serde(default)]
    pub error: Option<ErrorReport>,
}

/// States of a live input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LiveInputState {
    /// Nothing arrives; pulled inputs are tried again.
    Waiting,
    /// A connection is being made, or its first keyframe is awaited.
    Connecting,
    /// It can take the air, or has it.
    Ready,
    /// It was ready and stopped; it is taken back within its grace.
    Lost,
}
