//! The documents controller, worker and operator meet in.
//!
//! | module | document | written by |
//! | --- | --- | --- |
//! | [`config`] | `STATE_DIR/stream_config.json` | operator, controller (REST) |
//! | [`state`], in it [`preflight`] | `STATE_DIR/stream_state.json` | controller |
//! | [`ingest`] | `STATE_DIR/ingest_keys.json` | controller |
//! | [`job`] | `RUNTIME_DIR/<id>.job.json`, and the secrets handed over on standard input | controller |
//! | [`report`] | answers of the worker's control socket; `RUNTIME_DIR/<id>.exit.json` | worker |
//! | [`air`] | `STATE_DIR/streams/<id>/air/*.jsonl` | worker |
//! | [`position`] | `STATE_DIR/streams/<id>/position.json` | worker |

pub mod air;
pub mod config;
mod contents;
pub mod id;
pub mod ingest;
pub mod job;
pub mod live;
pub mod position;
pub mod preflight;
pub mod problems;
pub mod report;
pub mod state;

pub use air::{AirEntry, AirEvent, AirPart, DarkCause};
pub use config::{DestinationConfig, RetryConfig, SlateConfig, StreamConfig, StreamConfigFile};
pub use id::StreamId;
pub use ingest::{IngestKey, IngestKeysFile};
pub use job::{Job, JobSecrets, StorageSettings};
pub use live::{LiveConfig, LiveInputConfig, LiveInputReport, LiveInputState, LiveTake, OnLoss};
pub use position::PositionFile;
pub use preflight::{Check, CheckOutcome, PreflightReport};
pub use report::{DestinationReport, ErrorReport, OnAir, WorkerExit, WorkerReport};
pub use state::{DesiredState, ObsRecord, ObservedState, StreamRecord, StreamStateFile};
