//! Desired and observed state, written only by the controller.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ErrorReport, PreflightReport, StreamId};

/// Version of [`StreamStateFile`] this build writes.
pub const STATE_VERSION: u32 = 1;

/// `STATE_DIR/stream_state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamStateFile {
    /// See [`STATE_VERSION`].
    pub version: u32,
    /// Streams by id.
    pub streams: BTreeMap<StreamId, StreamRecord>,
    /// How far OBS's owner was.
    #[serde(default)]
    pub obs: ObsRecord,
}

/// What is remembered of OBS, for a controller that is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObsRecord {
    /// The owner had the air, or was waited for.
    pub wanted: bool,
    /// OBS streamed because it was told to.
    pub told_to_stream: bool,
}

/// What is remembered of one stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamRecord {
    /// What the operator asked for last.
    pub desired: DesiredState,
    /// What was last seen.
    pub observed: ObservedState,
    /// Since when `observed` holds.
    pub since: Timestamp,
    /// Generation of the newest worker ever started.
    pub generation: u64,
    /// Nonce of that worker.
    pub nonce: Option<String>,
    /// The worker, while there is one. For people: identity is never decided by it.
    pub pid: Option<u32>,
    /// When that worker was started.
    pub started_at: Option<Timestamp>,
    /// When it last answered.
    pub last_health_check: Option<Timestamp>,
    /// Restarts since the operator's last start.
    pub restarts: u32,
    /// Failures in a row, which the next wait is reckoned by; forgotten after 60 s on air.
    #[serde(default)]
    pub failures: u32,
    /// Exit code of the last worker that ended.
    pub exit_code: Option<i32>,
    /// The last failure.
    pub error: Option<ErrorReport>,
    /// What was found before the last start.
    #[serde(default)]
    pub preflight: Option<PreflightReport>,
}

/// What the operator wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DesiredState {
    /// Off air.
    #[default]
    Stopped,
    /// On air.
    Running,
}

/// What a person sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ObservedState {
    /// No worker.
    #[default]
    Stopped,
    /// A worker was spawned and is not on air yet.
    Starting,
    /// On air as wanted.
    Running,
    /// On air, not as wanted.
    Degraded,
    /// Being stopped.
    Stopping,
    /// Waiting to start a worker again.
    Backoff,
    /// Given up; the error says what to do.
    Error,
}

impl ObservedState {
    /// Its name, everywhere a person meets it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Degraded => "degraded",
            Self::Stopping => "stopping",
            Self::Backoff => "backoff",
            Self::Error => "error",
        }
    }
}
