//! The desired configuration: what an operator writes.

use std::collections::BTreeMap;

use programme::{FormatChoice, Programme};
use serde::{Deserialize, Serialize};

use super::{LiveConfig, LiveInputConfig, StreamId};

/// Version of [`StreamConfigFile`] this build writes.
pub const CONFIG_VERSION: u32 = 1;

/// `STATE_DIR/stream_config.json`: hand-editable, reloaded on SIGHUP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamConfigFile {
    /// Format version, see [`CONFIG_VERSION`].
    pub version: u32,
    /// Streams by id.
    #[serde(default)]
    pub streams: BTreeMap<StreamId, StreamConfig>,
}

/// One stream as the operator wants it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct StreamConfig {
    /// Start it when the controller starts.
    #[serde(default)]
    pub autostart: bool,
    /// What plays.
    #[serde(default)]
    pub programme: Programme,
    /// The shape on air.
    #[serde(default)]
    pub format: FormatChoice,
    /// What is shown when nothing else can be; a generated card when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slate: Option<SlateConfig>,
    /// Where it goes; empty: preview only.
    #[serde(default)]
    pub destinations: Vec<DestinationConfig>,
    /// Feeds that may take the air, first wanted and healthy wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub live_inputs: Vec<LiveInputConfig>,
    /// How they take the air and give it back.
    // Left out while nobody chose anything, so that the release before still reads the file.
    #[serde(default, skip_serializing_if = "LiveConfig::is_default")]
    pub live: LiveConfig,
    /// How a lost destination is tried again.
    #[serde(default)]
    pub retry: RetryConfig,
}

/// The slate's picture or clip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SlateConfig {
    /// Object key of an image or a clip.
    pub key: String,
}

/// One platform or server the stream is pushed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DestinationConfig {
    /// Unique in the stream; same alphabet as a stream id.
    pub name: String,
    /// `rtmp://`, `rtmps://` or `srt://`; never holds the key when `key_env` is set.
    pub url: String,
    /// Variable that holds the stream key; absent: `url` names the whole path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
    /// A connection this old is made anew at the next join between two items, seconds
    /// (10–2000000); absent: shortly before the platform would end it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_after_s: Option<u32>,
}

/// Back-off of a destination: `initial_s`, then × `factor` up to `max_s`, each ±20 % jitter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RetryConfig {
    /// First delay, seconds (0.1–3600).
    #[serde(default = "d_initial")]
    pub initial_s: f64,
    /// Growth per try (1–10).
    #[serde(default = "d_factor")]
    pub factor: f64,
    /// Largest delay, seconds.
    #[serde(default = "d_max")]
    pub max_s: f64,
    /// Tries before the destination is given up; `null`: never.
    #[serde(default)]
    pub max_attempts: Option<u32>,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            initial_s: d_initial(),
            factor: d_factor(),
            max_s: d_max(),
            max_attempts: None,
        }
    }
}

fn d_initial() -> f64 {
    1.0
}
fn d_factor() -> f64 {
    2.0
}
fn d_max() -> f64 {
    120.0
}
