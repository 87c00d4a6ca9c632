//! One destination: its state, queue, FFmpeg and back-off.
//!
//! A task per destination owns all of it; [`Output`] is the handle playout holds.

mod air;
pub mod connection;
pub mod delivery;
pub mod failure;
pub mod feed;
pub mod knock;
pub mod pace;
pub mod queue;
pub mod renewal;
pub mod sink;
mod slow;
pub mod stall;
pub mod state;
pub mod target;
mod task;

use std::sync::Arc;

use storage::model::report::DestinationState;
use storage::model::{DestinationConfig, DestinationReport, ErrorReport, RetryConfig};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fanout::Headers;
use crate::journal::Journal;
use air::DeliveryLog;
use queue::Queue;
pub use sink::Publisher;
use task::{Status, Task};

/// The handle of one destination.
#[derive(Debug)]
pub struct Output {
    config: DestinationConfig,
    queue: Queue,
    report: watch::Receiver<DestinationReport>,
    retry: watch::Sender<RetryConfig>,
    close: CancellationToken,
    ended: CancellationToken,
    task: JoinHandle<()>,
}

/// Whom an output tells what happens to it.
#[derive(Debug, Clone)]
pub struct Told {
    /// Of deliveries and darkness.
    pub journal: Journal,
    /// Of every change of state.
    pub changes: watch::Sender<()>,
}

impl Output {
    /// Starts publishing to `config`, as soon as all `predecessors` have ended: one of them may
    /// publish to the same place, and two publishers must never meet there. `headers` are in force
    /// before the first packet.
    pub fn start(
        config: DestinationConfig,
        retry: RetryConfig,
        publisher: &Arc<Publisher>,
        headers: &Headers,
        predecessors: Vec<CancellationToken>,
        told: Told,
    ) -> Self {
        let queue = Queue::new(headers.clone());
        let air = DeliveryLog::new(told.journal, config.name.clone());
        let (status, report) = Status::new(&config, retry, queue.clone(), air, told.changes);
        let (retry, retry_wanted) = watch::channel(retry);
        let (close, ended) = (CancellationToken::new(), CancellationToken::new());
        let task = Task {
            config: config.clone(),
            publisher: Arc::clone(publisher),
            queue: queue.clone(),
            retry: retry_wanted,
            close: close.clone(),
            status,
            lost_at_once: false,
        };
        let guard = ended.clone().drop_guard();
        let task = tokio::spawn(async move {
            task.run(predecessors).await;
            drop(guard);
        });
        Self {
            config,
            queue,
            report,
            retry,
            close,
            ended,
            task,
        }
    }

    /// What it publishes to.
    pub fn config(&self) -> &DestinationConfig {
        &self.config
    }

    /// Where its packets go in.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Its state and counters.
    pub fn report(&self) -> DestinationReport {
        self.report.borrow().clone()
    }

    /// The failure for which it was given up, if it was.
    pub fn given_up(&self) -> Option<ErrorReport> {
        let report = self.report.borrow();
        match report.state {
            DestinationState::Stopped => report.error.clone(),
            _ => None,
        }
    }

    /// Sets the ladder of tries, from the next failure on.
    pub fn set_retry(&self, retry: RetryConfig) {
        self.retry.send_if_modified(|held| {
            let changed = *held != retry;
            *held = retry;
            changed
        });
    }

    /// Asks it to end, see [`Self::ended`].
    pub fn close(&self) {
        self.close.cancel();
    }

    /// Cancelled once its FFmpeg is gone for good.
    pub fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Whether its FFmpeg is gone for good.
    pub fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Ends it: FFmpeg unpublishes properly, or is killed within seconds.
    pub async fn stop(self) {
        self.close.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(destination = self.config.name, %error, "the output's task failed");
        }
    }
}
