//! All streams by id: what the API talks to.

use storage::model::{StreamConfig, StreamId};
use tokio::sync::watch;

use crate::stream::{Applied, RequestError, StreamStatus, Take};

/// Handle to the streams; clones are the same registry.
#[derive(Debug, Clone)]
pub struct Registry {}

impl Registry {
    /// Ids of all streams, sorted.
    pub fn list(&self) -> Vec<StreamId> {
        todo!()
    }

    /// The one stream there is.
    ///
    /// # Errors
    /// `StreamNotNamed` unless there is exactly one.
    pub fn only(&self) -> Result<StreamId, RequestError> {
        todo!()
    }

    /// The status of every stream, sorted by id.
    pub fn statuses(&self) -> Vec<StreamStatus> {
        todo!()
    }

    /// The status of one stream.
    ///
    /// # Errors
    /// `UnknownStream`.
    pub fn status(&self, _id: &StreamId) -> Result<StreamStatus, RequestError> {
        todo!()
    }

    /// Follows the status of one stream; the sender is gone when the stream is deleted.
    ///
    /// # Errors
    /// `UnknownStream`.
    pub fn watch(&self, _id: &StreamId) -> Result<watch::Receiver<StreamStatus>, RequestError> {
        todo!()
    }

    /// Wants the stream on air; answers before the worker is up.
    ///
    /// # Errors
    /// `AlreadyRunning`, `Stopping`, `Invalid` (a stream key is not set), `UnknownStream`.
    pub async fn start(&self, _id: &StreamId) -> Result<StreamStatus, RequestError> {
        todo!()
    }

    /// Takes the stream off air; answers when its worker is gone (10 s at most, then it is killed).
    ///
    /// # Errors
    /// `NotRunning`, `UnknownStream`.
    pub async fn stop(&self, _id: &StreamId) -> Result<StreamStatus, RequestError> {
        todo!()
    }

    /// Goes on with the next item.
    ///
    /// # Errors
    /// `NotRunning`, `NothingToSkip`, `WorkerUnavailable`, `UnknownStream`.
    pub async fn skip(&self, _id: &StreamId) -> Result<(), RequestError> {
        todo!()
    }

    /// Puts something else on air.
    ///
    /// # Errors
    /// `NotRunning`, `WorkerUnavailable`, `UnknownStream`.
    pub async fn take(&self, _id: &StreamId, _what: Take) -> Result<(), RequestError> {
        todo!()
    }

    /// Starts the preview or keeps it for another minute.
    ///
    /// # Errors
    /// `NotRunning`, `WorkerUnavailable`, `UnknownStream`.
    pub async fn preview_touch(&self, _id: &StreamId) -> Result<(), RequestError> {
        todo!()
    }

    /// The last lines of the worker and its FFmpegs, oldest first; from its log file when there is
    /// no worker.
    ///
    /// # Errors
    /// `UnknownStream`.
    pub async fn logs(&self, _id: &StreamId, _lines: usize) -> Result<Vec<String>, RequestError> {
        todo!()
    }

    /// The stream's configuration.
    ///
    /// # Errors
    /// `UnknownStream`.
    pub fn get_config(&self, _id: &StreamId) -> Result<StreamConfig, RequestError> {
        todo!()
    }

    /// Creates or replaces a stream from the JSON text of its configuration: saved first, then
    /// applied.
    ///
    /// # Errors
    /// `Invalid` with every problem, `NotSaved`.
    pub async fn put_config(&self, _id: &StreamId, _text: &[u8]) -> Result<Applied, RequestError> {
        todo!()
    }

    /// Removes a stream that does not run.
    ///
    /// # Errors
    /// `StillRunning`, `NotSaved`, `UnknownStream`.
    pub async fn delete(&self, _id: &StreamId) -> Result<(), RequestError> {
        todo!()
    }

    /// What the disk refuses to take, for `/health`; `None` while all is saved.
    pub fn storage_fault(&self) -> Option<String> {
        todo!()
    }

    /// Whether every stream has been looked after since the controller started (`/health/ready`).
    pub fn is_recovered(&self) -> bool {
        todo!()
    }
}
