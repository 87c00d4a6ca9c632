//! What everyone outside sees of a stream.

use jiff::Timestamp;
use programme::StreamFormat;
use serde::Serialize;
use storage::model::report::{CacheReport, ItemProblem, PreviewState, UpgradeReport};
use storage::model::{
    DesiredState, DestinationReport, ErrorReport, LiveInputReport, ObservedState, OnAir,
    PreflightReport, StreamId, StreamRecord,
};

/// A stream as the API shows it; published by its driver whenever it changes.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct StreamStatus {
    /// The stream.
    pub stream_id: StreamId,
    /// What is going on.
    pub state: ObservedState,
    /// Since when.
    pub since: Timestamp,
    /// What the operator asked for last.
    pub desired: DesiredState,
    /// The worker's process, while there is one.
    pub pid: Option<u32>,
    /// When that worker started.
    pub started_at: Option<Timestamp>,
    /// When it last answered.
    pub last_health_check: Option<Timestamp>,
    /// Restarts since the operator's last start.
    pub restarts: u32,
    /// When the next worker is started, in `backoff`.
    pub next_restart_at: Option<Timestamp>,
    /// Exit code of the last worker that ended; `null` when a signal ended it.
    pub exit_code: Option<i32>,
    /// Why the stream is not as wanted, or was not.
    pub error: Option<ErrorReport>,
    /// What was found before the last start; `null` before the first.
    pub preflight: Option<PreflightReport>,
    /// What the viewer sees.
    pub on_air: Option<OnAir>,
    /// The shape on air.
    pub format: Option<StreamFormat>,
    /// Each destination's own state.
    pub destinations: Vec<DestinationReport>,
    /// The programme as the worker found it.
    pub programme: ProgrammeStatus,
    /// Each live input's own state.
    pub live_inputs: Vec<LiveInputReport>,
    /// Whether the preview is being written.
    pub preview: PreviewState,
    /// The configuration has changed in a way that only a restart of the stream applies.
    pub restart_needed: bool,
    /// What is not as it should be though nothing is down: destinations that drop more than 1 % of the
    /// frames.
    pub warnings: Vec<ErrorReport>,
    /// Version of the running worker.
    pub worker_version: Option<String>,
    /// Another worker is installed than the one that runs: `POST /streams/{id}/upgrade` puts it in.
    pub upgrade_available: bool,
    /// How the last upgrade of the running worker went.
    pub upgrade: Option<UpgradeReport>,
}

/// How the programme stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ProgrammeStatus {
    /// Playable items in a round; `null` without a worker.
    pub items: Option<usize>,
    /// When the bucket was last listed with success.
    pub listed_at: Option<Timestamp>,
    /// Items that were skipped, and why.
    pub problems: Vec<ItemProblem>,
    /// Why the bucket could not be listed, or that it is empty.
    pub error: Option<ErrorReport>,
    /// Why the media store cannot be read from at present; the programme stays where it is.
    pub storage: Option<ErrorReport>,
    /// What is kept of the bucket on this machine; `null` when the cache is off.
    pub cache: Option<CacheReport>,
}

// === impl StreamStatus ===

impl StreamStatus {
    /// A stream as it is remembered, before its worker has been looked for: one that is wanted is
    /// never shown as running, nor as stopped, on a memory.
    pub fn remembered(stream_id: StreamId, record: &StreamRecord) -> Self {
        Self {
            stream_id,
            state: match record.desired {
                DesiredState::Running => ObservedState::Starting,
                DesiredState::Stopped => ObservedState::Stopped,
            },
            since: record.since,
            desired: record.desired,
            pid: None,
            started_at: None,
            last_health_check: record.last_health_check,
            restarts: record.restarts,
            next_restart_at: None,
            exit_code: record.exit_code,
            error: record.error.clone(),
            preflight: record.preflight.clone(),
            on_air: None,
            format: None,
            destinations: Vec::new(),
            programme: ProgrammeStatus::default(),
            live_inputs: Vec::new(),
            preview: PreviewState::Idle,
            restart_needed: false,
            warnings: Vec::new(),
            worker_version: None,
            upgrade_available: false,
            upgrade: None,
        }
    }
}
