//! What the operator set of the programs that feeds come from.

use std::path::PathBuf;
use std::time::Duration;

use storage::model::StreamId;
use storage::secret::Secret;

/// What the operator set of MediaMTX.
#[derive(Debug, Clone)]
pub struct MediaMtxConfig {
    /// `MEDIAMTX_API_URL`.
    pub api_url: String,
    /// `MEDIAMTX_API_USER` and `MEDIAMTX_API_PASSWORD`.
    pub credentials: Option<(String, Secret)>,
}

/// What the operator set of OBS.
#[derive(Debug, Clone)]
pub struct ObsConfig {
    /// `OBS_WEBSOCKET_URL`.
    pub url: String,
    /// `OBS_WEBSOCKET_PASSWORD`.
    pub password: Option<Secret>,
    /// `OBS_OWNER_SOURCES`: whose being on asks for the air.
    pub owner_sources: Vec<String>,
    /// `OBS_STREAM`; `None`: the only one there is.
    pub stream: Option<StreamId>,
    /// `OBS_INPUT`: the live input OBS streams to.
    pub input: String,
    /// `OBS_DEBOUNCE_S`.
    pub debounce: Duration,
    /// `OBS_INGEST_URL` and `OBS_INGEST_KEY`: where OBS is told to stream to; `None`: where it is set to.
    pub ingest: Option<(String, Option<Secret>)>,
    /// `OBS_SWITCH_SCENES`: OBS's own programme follows the owner's sources.
    pub switch_scenes: bool,
    /// `OBS_RESTART_COMMAND`: program and arguments.
    pub restart: Option<(PathBuf, Vec<String>)>,
}
