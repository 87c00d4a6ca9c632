//! What can be asked of a stream, and why it can be refused.

use storage::history::AskedBy;
use storage::model::StreamId;
use storage::model::problems::Problem;
use tokio::time::Instant;

use crate::history::{Moment, What};

/// What to put on air.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Take {
    /// The programme, wherever it stands.
    Programme,
    /// The slate, until something else is taken.
    Slate,
    /// The *going live soon* card, until something else is taken.
    Card,
    /// This live input, or the first that is ready; the programme stays until it is.
    Live(Option<String>),
}

/// Who asks for something to be put on air, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    by: AskedBy,
    pub(super) since: Moment,
}

/// What became of a new configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The stream is new.
    Created,
    /// Nothing runs; the next start uses it.
    Saved,
    /// The running worker has taken it.
    Live,
    /// It is saved, but the running worker goes on with the old format until it is restarted.
    RestartNeeded,
}

// === impl Asker ===

impl Asker {
    /// The operator, now.
    pub fn operator() -> Self {
        Self {
            by: AskedBy::Api,
            since: Moment::now(),
        }
    }

    /// The owner, in OBS.
    pub fn obs(since: Instant) -> Self {
        Self {
            by: AskedBy::Obs,
            since: Moment::now().before(since.elapsed()),
        }
    }

    /// For the record of live sessions. The card that OBS is waited for with gives nothing back.
    pub(super) fn asked(self, what: &Take) -> Option<What> {
        let by = self.by;
        match what {
            Take::Live(input) => Some(What::AskedLive {
                input: input.clone(),
                by,
            }),
            Take::Card if by == AskedBy::Obs => None,
            Take::Programme | Take::Slate | Take::Card => Some(What::GaveBack { by }),
        }
    }
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No stream has this id.
    #[error("there is no stream {0}")]
    UnknownStream(StreamId),
    /// The request left the stream out, and there is not exactly one.
    #[error("there are {0} streams: name one by stream_id")]
    StreamNotNamed(usize),
    /// Start of a stream that is wanted already.
    #[error("stream {0} is already running")]
    AlreadyRunning(StreamId),
    /// The stream is being stopped.
    #[error("stream {0} is being stopped; try again when it is stopped")]
    Stopping(StreamId),
    /// Skip or take before the worker serves.
    #[error("the worker of stream {0} is only just being started; try again when it is there")]
    Starting(StreamId),
    /// Stop, skip or take without a worker.
    #[error("stream {0} is not running")]
    NotRunning(StreamId),
    /// Take of a live input that is not configured.
    #[error("stream {stream_id} has no live input {}", input.as_deref().unwrap_or("at all"))]
    NoLiveInput {
        /// The stream.
        stream_id: StreamId,
        /// Which was asked for.
        input: Option<String>,
    },
    /// Skip while no item is on air.
    #[error("stream {0} has nothing to skip")]
    NothingToSkip(StreamId),
    /// Delete of a stream that runs.
    #[error("stream {0} is running: stop it first")]
    StillRunning(StreamId),
    /// Somebody else changed the configuration at the same moment.
    #[error("the configuration of stream {0} was changed meanwhile; nothing was done, try again")]
    Superseded(StreamId),
    /// The configuration cannot be used.
    #[error("the configuration has {} problem(s)", .0.len())]
    Invalid(Vec<Problem>),
    /// The worker goes on with the program it has.
    #[error("the worker of stream {stream_id} was not upgraded and goes on as it is: {message}")]
    NotUpgraded {
        /// The stream.
        stream_id: StreamId,
        /// It can be asked again as things stand.
        later: bool,
        /// In the worker's words.
        message: String,
    },
    /// The worker did not do it.
    #[error("the worker of stream {stream_id} did not answer: {message}")]
    WorkerUnavailable {
        /// The stream.
        stream_id: StreamId,
        /// What was tried.
        message: String,
    },
    /// The configuration could not be saved, so it was not applied.
    #[error("cannot save the configuration: {message}")]
    NotSaved {
        /// Which file and why.
        message: String,
        /// The disk is full, rather than unwritable.
        disk_full: bool,
    },
    /// The controller is going down.
    #[error("the controller is shutting down")]
    ShuttingDown,
}
