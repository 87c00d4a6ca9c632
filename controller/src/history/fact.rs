//! What the record is made of: everything that was seen of a stream, each with its instant.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use storage::history::AskedBy;
use storage::model::live::LiveInputState;
use storage::model::report::OnAirKind;
use storage::model::{AirEvent, DarkCause};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Fact {
    /// When, on the record's axis.
    pub(super) ms: i64,
    /// When, for people.
    pub(super) at: Timestamp,
    /// What.
    pub(super) what: What,
}

/// What can happen to a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum What {
    /// The stream is to be on air, at these destinations.
    Wanted {
        /// Their names.
        destinations: Vec<String>,
    },
    /// The destinations are others now; whether it is wanted is not touched.
    Configured {
        /// Their names.
        destinations: Vec<String>,
    },
    /// It is not to be on air any more.
    Unwanted,
    /// The operator did something that may have ended what was wrong.
    Act,
    /// Somebody asked for a live input.
    AskedLive {
        /// Which; `None`: whichever is ready.
        input: Option<String>,
        /// Who.
        by: AskedBy,
    },
    /// Somebody took something else than a live input.
    GaveBack {
        /// Who; never `auto`.
        by: AskedBy,
    },
    /// There is no worker, and why none was started.
    NotStarted {
        /// Why.
        cause: DarkCause,
        /// The exact failure.
        error_type: Option<String>,
    },
    /// A worker's process was seen to be gone.
    Gone {
        /// Its nonce.
        worker: String,
        /// Why.
        cause: DarkCause,
        /// The exact failure.
        error_type: Option<String>,
    },
    /// A worker began, or went on in a newer binary.
    Started {
        /// Its nonce.
        worker: String,
        /// The boot it runs in.
        boot_id: String,
        /// The connections before it are still up.
        takes_over: bool,
    },
    /// Something else is on air.
    OnAir {
        /// Whose word it is.
        worker: String,
        /// Programme, live or slate.
        source: OnAirKind,
        /// Object key or live input's name.
        item: Option<String>,
        /// Why the slate.
        cause: Option<DarkCause>,
    },
    /// A destination takes media.
    Delivering {
        /// Whose word it is.
        worker: String,
        /// The destination.
        destination: String,
        /// Which connection.
        connection: u64,
    },
    /// A destination takes nothing.
    Dark {
        /// Whose word it is.
        worker: String,
        /// The destination.
        destination: String,
        /// Why.
        cause: DarkCause,
        /// The exact failure.
        error_type: Option<String>,
    },
    /// A live input is in another state.
    LiveInput {
        /// Whose word it is.
        worker: String,
        /// The input.
        input: String,
        /// Its state.
        state: LiveInputState,
        /// For how long after a loss it is taken back.
        grace_s: u32,
    },
    /// A worker said that it ends.
    Ended {
        /// Its nonce.
        worker: String,
    },
}

// === impl What ===

impl What {
    /// What the worker `worker` wrote down.
    pub(super) fn of_entry(worker: String, event: AirEvent) -> Self {
        match event {
            AirEvent::Started {
                boot_id,
                takes_over,
                ..
            } => Self::Started {
                worker,
                boot_id: boot_id.unwrap_or_default(),
                takes_over,
            },
            AirEvent::OnAir {
                source,
                item,
                cause,
            } => Self::OnAir {
                worker,
                source,
                item,
                cause,
            },
            AirEvent::Delivering {
                destination,
                connection,
            } => Self::Delivering {
                worker,
                destination,
                connection,
            },
            AirEvent::Dark {
                destination,
                cause,
                error_type,
            } => Self::Dark {
                worker,
                destination,
                cause,
                error_type,
            },
            AirEvent::LiveInput {
                input,
                state,
                grace_s,
            } => Self::LiveInput {
                worker,
                input,
                state,
                grace_s,
            },
            AirEvent::Ended { .. } => Self::Ended { worker },
        }
    }

    /// Decides between facts of one millisecond: an end before the beginning it makes room for.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Ended { .. } => 0,
            Self::Gone { .. } | Self::NotStarted { .. } => 1,
            Self::Wanted { .. }
            | Self::Configured { .. }
            | Self::AskedLive { .. }
            | Self::GaveBack { .. } => 2,
            Self::Started { .. } => 3,
            Self::Dark { .. } | Self::LiveInput { .. } => 4,
            Self::OnAir { .. } | Self::Delivering { .. } => 5,
            Self::Act => 6,
            Self::Unwanted => 7,
        }
    }
}
