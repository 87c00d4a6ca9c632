//! All streams by id: what the API talks to.
//!
//! Reads look at what the drivers publish. A request to a stream goes to its driver; a change of the
//! set of streams, or of a configuration, goes to the keeper, the task that owns
//! `stream_config.json`.

mod keeper;
mod start;

use std::collections::BTreeMap;
use std::sync::Arc;

use storage::model::report::UpgradeReport;
use storage::model::{ObsRecord, StreamConfig, StreamId};
use tokio::sync::{mpsc, oneshot, watch};

use crate::ledger::Ledger;
use crate::stream::{Applied, Asker, RequestError, StreamHandle, StreamStatus, Take};

pub use keeper::End;
use keeper::{Change, Streams};
pub(crate) use start::default_config;
pub use start::{OpenError, Opening};

/// Handle to the streams; clones are the same registry.
#[derive(Debug, Clone)]
pub struct Registry {
    streams: watch::Receiver<Streams>,
    changes: mpsc::Sender<Change>,
    ledger: Ledger,
    /// Why the configuration file is not what is in force.
    config_fault: watch::Receiver<Option<String>>,
    /// What the state file could not tell at the start.
    lost: Option<Arc<str>>,
    recovered: watch::Receiver<bool>,
}

// === impl Registry ===

impl Registry {
    /// Ids of all streams, sorted.
    pub fn list(&self) -> Vec<StreamId> {
        self.streams().keys().cloned().collect()
    }

    /// The one stream there is.
    ///
    /// # Errors
    /// `StreamNotNamed` unless there is exactly one.
    pub fn only(&self) -> Result<StreamId, RequestError> {
        let streams = self.streams();
        match (streams.keys().next(), streams.len()) {
            (Some(id), 1) => Ok(id.clone()),
            (_, count) => Err(RequestError::StreamNotNamed(count)),
        }
    }

    /// The destinations of every stream, by name.
    pub(crate) fn configured(&self) -> BTreeMap<StreamId, Vec<String>> {
        let names = |handle: &StreamHandle| {
            let config = handle.config();
            let names = config.destinations.iter().map(|it| it.name.clone());
            names.collect()
        };
        let streams = self.streams();
        streams
            .iter()
            .map(|(id, handle)| (id.clone(), names(handle)))
            .collect()
    }

    /// The status of every stream, sorted by id.
    pub fn statuses(&self) -> Vec<StreamStatus> {
        self.streams().values().map(StreamHandle::status).collect()
    }

    /// The status of one stream.
    ///
    /// # Errors
    /// `UnknownStream`.
    pub fn status(&self, id: &StreamId) -> Result<StreamStatus, RequestError> {
        Ok(self.stream(id)?.status())
    }

    /// Follows the status of one stream; the sender is gone when the stream is deleted.
    ///
    /// # Errors
    /// `UnknownStream`.
    pub fn watch(&self, id: &StreamId) -> Result<watch::Receiver<StreamStatus>, RequestError> {
        Ok(self.stream(id)?.watch())
    }

    /// Wants the stream on air; answers when that is on disk, before there is a worker.
    ///
    /// # Errors
    /// `AlreadyRunning`, `Stopping`, `Invalid` (a stream key is not set), `UnknownStream`.
    pub async fn start(&self, id: &StreamId) -> Result<StreamStatus, RequestError> {
        self.stream(id)?.start().await
    }

    /// Takes the stream off air; answers when its worker is gone (10 s at most, then it is killed).
    ///
    /// # Errors
    /// `NotRunning`, `UnknownStream`.
    pub async fn stop(&self, id: &StreamId) -> Result<StreamStatus, RequestError> {
        self.stream(id)?.stop().await
    }

    /// Goes on with the next item.
    ///
    /// # Errors
    /// `NotRunning`, `Starting`, `NothingToSkip`, `WorkerUnavailable`, `UnknownStream`.
    pub async fn skip(&self, id: &StreamId) -> Result<(), RequestError> {
        self.stream(id)?.skip().await
    }

    /// Puts something else on air.
    ///
    /// # Errors
    /// `NotRunning`, `Starting`, `WorkerUnavailable`, `UnknownStream`.
    pub async fn take(&self, id: &StreamId, what: Take, asker: Asker) -> Result<(), RequestError> {
        self.stream(id)?.take(what, asker).await
    }

    /// Has a live input tried now rather than at its next turn.
    ///
    /// # Errors
    /// `NotRunning`, `Starting`, `WorkerUnavailable`, `UnknownStream`.
    pub async fn look(&self, id: &StreamId, input: &str) -> Result<(), RequestError> {
        self.stream(id)?.look(input).await
    }

    /// Cuts off whoever publishes to the stream with the ingest key of this id.
    ///
    /// # Errors
    /// `NotRunning`, `Starting`, `WorkerUnavailable`, `UnknownStream`.
    pub async fn end_publisher(&self, id: &StreamId, key_id: &str) -> Result<(), RequestError> {
        self.stream(id)?.end_publisher(key_id).await
    }

    /// Starts the preview or keeps it for another minute.
    ///
    /// # Errors
    /// `NotRunning`, `Starting`, `WorkerUnavailable`, `UnknownStream`.
    pub async fn preview_touch(&self, id: &StreamId) -> Result<(), RequestError> {
        self.stream(id)?.preview_touch().await
    }

    /// Puts the installed program into the stream's running worker, which stays on air; answers
    /// when it is done.
    ///
    /// # Errors
    /// `NotRunning`, `Starting`, `NotUpgraded`, `WorkerUnavailable`, `UnknownStream`.
    pub async fn upgrade(&self, id: &StreamId) -> Result<UpgradeReport, RequestError> {
        self.stream(id)?.upgrade().await
    }

    /// The last lines of the worker and its FFmpegs, oldest first; from its log file when there is
    /// no worker.
    ///
    /// # Errors
    /// `UnknownStream`.
    pub async fn logs(&self, id: &StreamId, lines: usize) -> Result<Vec<String>, RequestError> {
        Ok(self.stream(id)?.logs(lines).await)
    }

    /// The stream's configuration.
    ///
    /// # Errors
    /// `UnknownStream`.
    pub fn get_config(&self, id: &StreamId) -> Result<StreamConfig, RequestError> {
        Ok(self.stream(id)?.config().as_ref().clone())
    }

    /// Creates or replaces a stream from the JSON text of its configuration: saved first, then
    /// applied.
    ///
    /// # Errors
    /// `Invalid` with every problem, `NotSaved`.
    pub async fn put_config(&self, id: &StreamId, text: &[u8]) -> Result<Applied, RequestError> {
        self.put(id, text, None).await
    }

    /// The same, as long as `before` is what is in force.
    ///
    /// # Errors
    /// `Superseded`, `Invalid` with every problem, `NotSaved`.
    pub async fn edit_config(
        &self,
        id: &StreamId,
        before: StreamConfig,
        text: &[u8],
    ) -> Result<Applied, RequestError> {
        self.put(id, text, Some(Box::new(before))).await
    }

    async fn put(
        &self,
        id: &StreamId,
        text: &[u8],
        before: Option<Box<StreamConfig>>,
    ) -> Result<Applied, RequestError> {
        let (reply, answer) = oneshot::channel();
        let change = Change::Put {
            id: id.clone(),
            text: text.to_vec(),
            before,
            reply,
        };
        self.change(change).await?;
        answer.await.unwrap_or(Err(RequestError::ShuttingDown))
    }

    /// Removes a stream that does not run.
    ///
    /// # Errors
    /// `StillRunning`, `Stopping`, `NotSaved`, `UnknownStream`.
    pub async fn delete(&self, id: &StreamId) -> Result<(), RequestError> {
        let (reply, answer) = oneshot::channel();
        self.change(Change::Delete(id.clone(), reply)).await?;
        answer.await.unwrap_or(Err(RequestError::ShuttingDown))
    }

    /// Reads `stream_config.json` again (SIGHUP); what became of it is logged.
    pub async fn reload(&self) {
        let (reply, answer) = oneshot::channel();
        if self.change(Change::Reload(reply)).await.is_ok() {
            // Without an answer the controller is going down.
            let _ = answer.await;
        }
    }

    /// Ends every driver; nothing can be asked of the streams afterwards.
    pub async fn end(&self, end: End) {
        let (reply, answer) = oneshot::channel();
        if self.change(Change::End(end, reply)).await.is_ok() {
            // Without an answer it has been ended before.
            let _ = answer.await;
        }
    }

    /// What is wrong with the documents, for `/health`; `None` while all is read and saved.
    pub fn storage_fault(&self) -> Option<String> {
        let config = self.config_fault.borrow().clone();
        let lost = self.lost.as_deref().map(str::to_owned);
        let faults: Vec<_> = [config, self.ledger.fault(), lost]
            .into_iter()
            .flatten()
            .collect();
        (!faults.is_empty()).then(|| faults.join("; "))
    }

    /// Whether every stream has been looked after since the controller started (`/health/ready`).
    pub fn is_recovered(&self) -> bool {
        *self.recovered.borrow()
    }

    /// What the controller before this one remembered of OBS.
    pub(crate) fn obs_before(&self) -> ObsRecord {
        self.ledger.obs_before()
    }

    /// Has it remembered for the next one.
    pub(crate) fn remember_obs(&self, record: ObsRecord) {
        self.ledger.remember_obs(record);
    }

    /// Returns when [`Self::is_recovered`] holds.
    pub async fn recovered(&self) {
        // The sender is gone only when the controller ends before.
        let _ = self.recovered.clone().wait_for(|done| *done).await;
    }

    fn streams(&self) -> Streams {
        Arc::clone(&self.streams.borrow())
    }

    fn stream(&self, id: &StreamId) -> Result<StreamHandle, RequestError> {
        let found = self.streams().get(id).cloned();
        found.ok_or_else(|| RequestError::UnknownStream(id.clone()))
    }

    async fn change(&self, change: Change) -> Result<(), RequestError> {
        let sent = self.changes.send(change).await;
        sent.map_err(|_| RequestError::ShuttingDown)
    }
}
