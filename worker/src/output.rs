//! One destination: its state, queue, FFmpeg and back-off.
//!
//! A task per destination owns all of it; [`Output`] is the handle playout holds.

mod air;
mod behind;
pub mod connection;
pub mod delivery;
pub mod failure;
pub mod feed;
pub mod knock;
pub mod observation;
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
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use storage::model::report::DestinationState;
use storage::model::{DestinationConfig, DestinationReport, ErrorReport, RetryConfig};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::flv::Headers;
use crate::journal::Journal;
use air::DeliveryLog;
use connection::FrozenConnection;
use queue::{Backlog, Queue};
use sink::FrozenSink;
pub use sink::Publisher;
use state::{FrozenMachine, Machine, Moment};
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
    freeze: CancellationToken,
    ending: Arc<AtomicBool>,
    task: JoinHandle<task::Frozen>,
}

/// A destination on its way to the next image of this process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FrozenOutput {
    config: DestinationConfig,
    retry: RetryConfig,
    report: DestinationReport,
    /// `None`: it is to be connected afresh.
    machine: Option<FrozenMachine>,
    backlog: Backlog,
    connection: Option<FrozenConnection>,
}

impl FrozenOutput {
    /// Its FFmpeg, when it is connected.
    pub fn sink(&self) -> Option<&FrozenSink> {
        self.connection.as_ref().map(|connection| &connection.sink)
    }
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
        let status = Status::new(&config, retry, queue.clone(), air, told.changes);
        Self::run(config, retry, publisher, queue, status, predecessors, None)
    }

    /// Goes on with a destination of an earlier image of this process.
    pub fn resume(frozen: FrozenOutput, publisher: &Arc<Publisher>, told: Told) -> Self {
        let queue = Queue::resume(frozen.backlog);
        let machine = match frozen.machine {
            Some(machine) => Machine::resume(machine, frozen.retry),
            None => Machine::new(frozen.retry, Moment::now()),
        };
        if frozen.connection.is_none() {
            queue.hold();
        }
        let air = DeliveryLog::new(told.journal, frozen.config.name.clone());
        let changes = told.changes;
        let status = Status::resumed(machine, frozen.report, queue.clone(), air, changes);
        Self::run(
            frozen.config,
            frozen.retry,
            publisher,
            queue,
            status,
            Vec::new(),
            frozen.connection,
        )
    }

    fn run(
        config: DestinationConfig,
        retry: RetryConfig,
        publisher: &Arc<Publisher>,
        queue: Queue,
        (status, report): (Status, watch::Receiver<DestinationReport>),
        predecessors: Vec<CancellationToken>,
        resumed: Option<FrozenConnection>,
    ) -> Self {
        let (retry, retry_wanted) = watch::channel(retry);
        let (close, ended) = (CancellationToken::new(), CancellationToken::new());
        let (freeze, ending) = (CancellationToken::new(), Arc::default());
        let task = Task {
            config: config.clone(),
            publisher: Arc::clone(publisher),
            queue: queue.clone(),
            retry: retry_wanted,
            close: close.clone(),
            freeze: freeze.clone(),
            ending: Arc::clone(&ending),
            resumed,
            status,
            lost_at_once: false,
        };
        let guard = ended.clone().drop_guard();
        let task = tokio::spawn(async move {
            let frozen = task.run(predecessors).await;
            drop(guard);
            frozen
        });
        Self {
            config,
            queue,
            report,
            retry,
            close,
            ended,
            freeze,
            ending,
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

    /// The failure for which it was given up, if it was: in the words of the stream, which that ends.
    pub fn given_up(&self) -> Option<ErrorReport> {
        let report = self.report.borrow();
        let error = match report.state {
            DestinationState::Stopped => report.error.as_ref()?,
            _ => return None,
        };
        Some(ErrorReport {
            error_type: error.error_type.clone(),
            message: format!("{} was given up: {}", report.name, error.message),
            hint: format!(
                "{}; then start the stream again",
                error.hint.trim_end_matches('.')
            ),
        })
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

    /// Whether it can be frozen at once: it is not ending a connection.
    pub fn can_freeze(&self) -> bool {
        !self.ending.load(Ordering::Relaxed)
    }

    /// What it is and holds, without its connection: for a rehearsal.
    pub fn snapshot(&self) -> FrozenOutput {
        FrozenOutput {
            config: self.config.clone(),
            retry: *self.retry.borrow(),
            report: self.report(),
            machine: None,
            backlog: self.queue.snapshot(),
            connection: None,
        }
    }

    /// Lets go of everything, as it is, for the next image of this process.
    pub async fn freeze(self) -> FrozenOutput {
        self.freeze.cancel();
        let snapshot = self.snapshot();
        let (report, queue) = (self.report.clone(), self.queue.clone());
        let frozen = self.task.await;
        let (machine, connection) = match frozen {
            Ok(task::Frozen {
                machine,
                connection,
            }) => (Some(machine), connection),
            // Its end was reported by the runtime; the destination is connected afresh.
            Err(_) => (None, None),
        };
        FrozenOutput {
            report: report.borrow().clone(),
            machine,
            backlog: queue.snapshot(),
            connection,
            ..snapshot
        }
    }

    /// Ends it: FFmpeg unpublishes properly, or is killed within seconds.
    pub async fn stop(self) {
        self.close.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(destination = self.config.name, %error, "the output's task failed");
        }
    }
}
