//! How everyone else talks to a stream's driver.

use std::path::PathBuf;
use std::sync::Arc;

use storage::layout::Layout;
use storage::model::report::UpgradeReport;
use storage::model::{StreamConfig, StreamId, StreamRecord};
use tokio::sync::{mpsc, oneshot, watch};

use super::driver::Request;
use super::request::{Applied, Asker, RequestError, Take};
use super::skips::Skips;
use super::status::StreamStatus;
use super::worker_link::{LinkError, WorkerLink};
use crate::history::{History, What};

/// A stream; clones are the same stream.
#[derive(Debug, Clone)]
pub(crate) struct StreamHandle {
    id: StreamId,
    layout: Layout,
    worker_bin: PathBuf,
    requests: mpsc::Sender<Request>,
    status: watch::Receiver<StreamStatus>,
    config: watch::Receiver<Arc<StreamConfig>>,
    history: History,
    skips: Skips,
}

/// Where the answer to a request goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, RequestError>>;

// === impl StreamHandle ===

impl StreamHandle {
    pub(super) fn new(
        id: StreamId,
        layout: Layout,
        worker_bin: PathBuf,
        requests: mpsc::Sender<Request>,
        status: watch::Receiver<StreamStatus>,
        config: watch::Receiver<Arc<StreamConfig>>,
        history: History,
    ) -> Self {
        Self {
            id,
            layout,
            worker_bin,
            requests,
            status,
            config,
            history,
            skips: Skips::default(),
        }
    }

    /// The newest status.
    pub(crate) fn status(&self) -> StreamStatus {
        self.status.borrow().clone()
    }

    /// Follows the status.
    pub(crate) fn watch(&self) -> watch::Receiver<StreamStatus> {
        self.status.clone()
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> Arc<StreamConfig> {
        self.config.borrow().clone()
    }

    /// See [`crate::registry::Registry::start`].
    ///
    /// # Errors
    /// The same.
    pub(crate) async fn start(&self) -> Result<StreamStatus, RequestError> {
        self.ask(Request::Start).await
    }

    /// See [`crate::registry::Registry::stop`].
    ///
    /// # Errors
    /// The same.
    pub(crate) async fn stop(&self) -> Result<StreamStatus, RequestError> {
        self.ask(Request::Stop).await
    }

    /// See [`crate::registry::Registry::skip`].
    ///
    /// # Errors
    /// The same.
    pub(crate) async fn skip(&self) -> Result<(), RequestError> {
        let link = self.ask(Request::Link).await?;
        let skip = async {
            match link.skip().await {
                Err(error) if error.is_conflict() => {
                    Err(RequestError::NothingToSkip(self.id.clone()))
                }
                outcome => self.acted(outcome),
            }
        };
        self.skips.one(skip).await
    }

    /// See [`crate::registry::Registry::take`].
    ///
    /// # Errors
    /// The same.
    pub(crate) async fn take(&self, what: Take, asker: Asker) -> Result<(), RequestError> {
        let link = self.ask(Request::Link).await?;
        let taking = self.clone().take_by(link, what, asker);
        // Whoever asked may hang up: what became of it is seen, and recorded, all the same.
        let outcome = tokio::spawn(taking).await;
        outcome.unwrap_or(Err(RequestError::ShuttingDown))
    }

    async fn take_by(self, link: WorkerLink, what: Take, asker: Asker) -> Result<(), RequestError> {
        let input = match &what {
            Take::Live(input) => input.clone(),
            Take::Programme | Take::Slate | Take::Card => None,
        };
        // Noted first: a controller that ends before the answer has asked nevertheless.
        let asked = asker.asked(&what);
        if let Some(asked) = &asked {
            self.history.saw_at(&self.id, asker.since, asked.clone());
        }
        let outcome = link.take(what).await;
        if let (Err(error), Some(asked)) = (&outcome, asked)
            && error.is_undone()
        {
            self.history.withdrew(&self.id, asker.since, asked);
        }
        match outcome {
            Err(error) if error.is_conflict() => Err(RequestError::NoLiveInput {
                stream_id: self.id.clone(),
                input,
            }),
            outcome => self.acted(outcome),
        }
    }

    /// See [`crate::registry::Registry::look`].
    ///
    /// # Errors
    /// The same.
    pub(crate) async fn look(&self, input: &str) -> Result<(), RequestError> {
        let link = self.ask(Request::Link).await?;
        self.done(link.look(input).await)
    }

    /// See [`crate::registry::Registry::end_publisher`].
    ///
    /// # Errors
    /// The same.
    pub(crate) async fn end_publisher(&self, key_id: &str) -> Result<(), RequestError> {
        let link = self.ask(Request::Link).await?;
        self.done(link.end_publisher(key_id).await)
    }

    /// See [`crate::registry::Registry::preview_touch`].
    ///
    /// # Errors
    /// The same.
    pub(crate) async fn preview_touch(&self) -> Result<(), RequestError> {
        let link = self.ask(Request::Link).await?;
        self.done(link.preview().await)
    }

    /// See [`crate::registry::Registry::upgrade`].
    ///
    /// # Errors
    /// The same.
    pub(crate) async fn upgrade(&self) -> Result<UpgradeReport, RequestError> {
        let link = self.ask(Request::Link).await?;
        super::upgrade::upgrade(&self.id, &link, &self.worker_bin).await
    }

    /// See [`crate::registry::Registry::logs`].
    pub(crate) async fn logs(&self, lines: usize) -> Vec<String> {
        let link = WorkerLink::new(self.layout.socket(&self.id));
        if let Ok(found) = link.logs(lines).await {
            return found;
        }
        let path = self.layout.log(&self.id);
        tokio::task::spawn_blocking(move || super::log::tail(&path, lines))
            .await
            .expect("reading a log does not panic")
    }

    /// Has a configuration put into force that has been saved; those who save are in the order of their
    /// calls. `reply` is told what became of it, when the worker has taken it or will not; it is dropped
    /// where the driver has ended.
    pub(crate) async fn configure(&self, config: StreamConfig, reply: Reply<Applied>) {
        let request = Request::Configure(Box::new(config), reply);
        // With the request goes the reply, and whoever waits for it sees that.
        let _ = self.requests.send(request).await;
    }

    /// Ends the driver of a stream without a worker, and answers what it remembered.
    ///
    /// # Errors
    /// `StillRunning`, `Stopping`.
    pub(crate) async fn retire(&self) -> Result<StreamRecord, RequestError> {
        self.ask(Request::Retire).await
    }

    /// Ends the worker, keeping the wish, and the driver with it.
    pub(crate) async fn drain(&self) {
        // A driver that has ended has no worker.
        let _ = self.requests.send(Request::Drain).await;
    }

    /// Ends the driver and leaves the worker alone.
    pub(crate) async fn detach(&self) {
        // A driver that has ended has no worker.
        let _ = self.requests.send(Request::Detach).await;
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.requests
            .send(request(reply))
            .await
            .map_err(|_| RequestError::ShuttingDown)?;
        answer.await.unwrap_or(Err(RequestError::ShuttingDown))
    }

    /// What the operator did may be what ends an incident.
    fn acted(&self, outcome: Result<(), LinkError>) -> Result<(), RequestError> {
        if outcome.is_ok() {
            self.history.saw(&self.id, What::Act);
        }
        self.done(outcome)
    }

    fn done(&self, outcome: Result<(), LinkError>) -> Result<(), RequestError> {
        outcome.map_err(|error| RequestError::WorkerUnavailable {
            stream_id: self.id.clone(),
            message: error.to_string(),
        })
    }
}
