//! What a worker says of itself, on its control socket and when it ends.

use jiff::Timestamp;
use programme::{Fit, StreamFormat};
use serde::{Deserialize, Serialize};

use super::{LiveInputReport, StreamId};

/// Version of the control protocol this build speaks; the previous one is understood too.
pub const CONTROL_PROTOCOL: u32 = 1;

/// `GET /v1/status` on the control socket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerReport {
    /// See [`CONTROL_PROTOCOL`].
    pub protocol: u32,
    /// Crate version of the worker.
    pub version: String,
    /// The stream.
    pub stream_id: StreamId,
    /// From the job.
    pub generation: u64,
    /// From the job.
    pub nonce: String,
    /// The worker's process id in its own namespace.
    pub pid: u32,
    /// When the worker started.
    pub started_at: Timestamp,
    /// The shape on air; `None` until `"auto"` has been resolved.
    pub format: Option<StreamFormat>,
    /// What is on air now; `None` until the first media was released.
    pub on_air: Option<OnAir>,
    /// One entry per configured destination, in that order.
    pub destinations: Vec<DestinationReport>,
    /// The programme as resolved.
    pub programme: ProgrammeReport,
    /// One entry per live input, in the order of the configuration.
    #[serde(default)]
    pub live_inputs: Vec<LiveInputReport>,
    /// Whether the preview is being written.
    pub preview: PreviewState,
    /// Counters since the worker started.
    pub counters: AirCounters,
    /// The last time this process was told to become another program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<UpgradeReport>,
}

/// How the upgrade of a running worker went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpgradeReport {
    /// Counts them, from 1.
    pub number: u64,
    /// Version that handed over.
    pub from: String,
    /// Version that is running now.
    pub to: String,
    /// When.
    pub at: Timestamp,
    /// See [`UpgradeOutcome`].
    pub outcome: UpgradeOutcome,
    /// From the last packet before to the first one after, ms.
    pub took_ms: u64,
    /// What went wrong; the stream has gone on as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What became of an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum UpgradeOutcome {
    /// The new program goes on.
    Done,
    /// The old program goes on.
    FellBack,
}

/// What the viewer sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OnAir {
    /// Programme, live or slate.
    pub kind: OnAirKind,
    /// Object key, live input name, or `None` for the slate.
    pub item: Option<String>,
    /// Block of the schedule whose item or filler it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<String>,
    /// Seconds into the item; since a live input took the air.
    pub position_s: f64,
    /// Length of the item, when known.
    pub duration_s: Option<f64>,
    /// Key of the item that follows.
    pub next: Option<String>,
    /// How the item is fed.
    #[serde(default)]
    pub fit: Option<Fit>,
    /// The item is read from the media cache, not from the store.
    #[serde(default)]
    pub from_cache: bool,
    /// Why the slate is on; `None` when it is not.
    #[serde(default)]
    pub slate: Option<SlateCause>,
    /// The same in words.
    #[serde(default)]
    pub reason: Option<String>,
    /// Since when this kind and item are on air.
    pub since: Timestamp,
}

/// Kinds of source that can be on air.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnAirKind {
    /// A file of the programme.
    Programme,
    /// A live input.
    Live,
    /// The slate.
    Slate,
}

/// Why the slate is on air.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SlateCause {
    /// The first item is not ready yet.
    Starting,
    /// The operator asked for it.
    Operator,
    /// The item on air delivers nothing.
    Stalled,
    /// The item on air ended and the next is not ready.
    NextNotReady,
    /// The media store cannot be read from, and nothing that is left is in the cache.
    StorageUnreachable,
    /// A live input was lost, and the programme is not ready or not wanted before its grace is over.
    LiveLost,
    /// The *going live soon* card: the operator asked for it, or a feed that was announced did not come.
    Card,
}

/// One destination's state and what was delivered to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DestinationReport {
    /// From the configuration.
    pub name: String,
    /// Without the key.
    pub url: String,
    /// See [`DestinationState`].
    pub state: DestinationState,
    /// Since when.
    pub since: Timestamp,
    /// Failed tries since the last 60 s of health.
    pub retry_count: u32,
    /// Whether another try follows the current failure.
    pub will_retry: bool,
    /// When, if it is waiting.
    pub next_retry_at: Option<Timestamp>,
    /// Media seconds handed over in this connection.
    pub sent_media_s: f64,
    /// Bytes the peer acknowledged in this connection; `None` where it cannot be read.
    pub bytes_acked: Option<u64>,
    /// Bytes written to the connection that the peer has not acknowledged; `None` where it cannot be
    /// read.
    #[serde(default)]
    pub unacked_bytes: Option<u64>,
    /// Smoothed round trip to the peer, milliseconds; `None` where it cannot be read.
    #[serde(default)]
    pub rtt_ms: Option<f64>,
    /// Segments sent again in this connection; `None` where it cannot be read.
    #[serde(default)]
    pub retransmits: Option<u64>,
    /// Seconds of media that have come and that the peer has not acknowledged, beyond the distance
    /// the connection began with: more than 3 is `slow`.
    #[serde(default)]
    pub behind_s: f64,
    /// Mean of the last seconds.
    pub bitrate_kbps: u32,
    /// Video frames dropped because the destination was too slow, since the worker started.
    pub dropped_frames: u64,
    /// Connections made since the worker started.
    pub connections: u64,
    /// The last failure, redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorReport>,
}

/// States of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DestinationState {
    /// A connection is being made; nothing was delivered in it yet.
    Connecting,
    /// Media is being delivered.
    Live,
    /// Waiting for the next try.
    Backoff,
    /// The platform refused the key or the name.
    Rejected,
    /// Not wanted any more, or given up.
    Stopped,
}

/// A failure as an operator should read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorReport {
    /// Stable, snake case (`connection_refused`, `key_rejected`, `no_such_bucket`).
    #[serde(rename = "type")]
    pub error_type: String,
    /// What happened, to what.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// The programme as the worker resolved it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProgrammeReport {
    /// Playable items in a round.
    pub items: usize,
    /// When the bucket was last listed with success.
    pub listed_at: Option<Timestamp>,
    /// Items that were skipped and why; each item once.
    pub problems: Vec<ItemProblem>,
    /// Why the bucket could not be listed, or that it is empty.
    pub error: Option<ErrorReport>,
    /// Why the media store cannot be read from at present; the programme stays where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<ErrorReport>,
    /// What is kept of the bucket on this machine; `None` when the cache is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheReport>,
}

/// The media cache, as one stream sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CacheReport {
    /// Whole objects kept, of all streams.
    pub objects: u64,
    /// Their bytes, and those of objects that are being fetched.
    pub bytes: u64,
    /// `CACHE_MAX_BYTES`.
    pub max_bytes: u64,
    /// Times an item of this stream was opened from the cache.
    pub hits: u64,
    /// Times it was opened from the store.
    pub misses: u64,
}

/// One item that could not be played.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ItemProblem {
    /// Object key.
    pub key: String,
    /// What happened and what to do.
    pub error: ErrorReport,
    /// When it was last seen.
    pub at: Timestamp,
}

/// Whether the preview runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PreviewState {
    /// Nobody watches.
    #[default]
    Idle,
    /// The playlist is being written.
    Running,
}

/// Counters since the worker started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AirCounters {
    /// Media milliseconds put on air.
    pub air_ms: u64,
    /// Of those, the slate's.
    pub slate_ms: u64,
    /// Joins between sources.
    pub joins: u64,
    /// Silent AAC frames put in to close audio holes.
    pub silence_frames: u64,
    /// Times the running source had nothing when something was due.
    pub dry: u64,
}

/// `RUNTIME_DIR/<id>.exit.json`: how a worker ended, for whoever cannot wait for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerExit {
    /// From the job.
    pub generation: u64,
    /// Exit code about to be returned.
    pub code: i32,
    /// Why, unless it was asked to stop.
    pub error: Option<ErrorReport>,
}

/// Exit codes of `stream-worker`, after sysexits.h where one fits.
pub mod exit_code {
    /// Asked to stop.
    pub const STOPPED: i32 = 0;
    /// The job or the arguments are wrong (`EX_USAGE`).
    pub const USAGE: i32 = 64;
    /// Every destination was given up (`EX_UNAVAILABLE`).
    pub const DESTINATIONS_EXHAUSTED: i32 = 69;
    /// A fault of the worker itself (`EX_SOFTWARE`).
    pub const INTERNAL: i32 = 70;
    /// FFmpeg is missing or unusable, the slate cannot be rendered (`EX_CONFIG`).
    pub const CONFIG: i32 = 78;
}
