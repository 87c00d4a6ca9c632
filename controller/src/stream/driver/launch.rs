//! Starting a worker, in a task of its own.
//!
//! Lease, disk and kernel take their time. The driver waits for none of it: in *launching* it answers
//! whoever asks, and notes what is to become of the worker that is being made. A launch is never broken
//! off, so in the end there is a worker with its secrets, or none.

use std::sync::Arc;

use jiff::Timestamp;
use storage::model::DarkCause;
use tokio::time::Instant;

use super::worker::{Identity, random};
use super::{Driver, Event};
use crate::history::What;
use crate::stream::adopt::Holders;
use crate::stream::process::Process;
use crate::stream::spawn::{self, Order, StartError, Started};
use crate::stream::state::{Configured, Launch, Life};

impl Driver {
    /// Starts a worker after the wait of *backoff*: it counts as a restart.
    pub(super) fn start_worker(&mut self) {
        self.record.restarts = self.record.restarts.saturating_add(1);
        self.start_worker_first();
    }

    /// Starts a worker.
    pub(super) fn start_worker_first(&mut self) {
        let order = self.launching();
        self.launch(order, std::future::ready(()));
    }

    /// Enters *launching*. There is no worker: each caller comes from a state without one.
    pub(super) fn launching(&mut self) -> Order {
        let generation = self.record.generation + 1;
        self.record.generation = generation;
        self.life = Life::Launching(Launch {
            generation,
            configured: Configured::Current,
            unwanted: None,
        });
        Order {
            id: self.id.clone(),
            config: self.stream_config.borrow().as_ref().clone(),
            generation,
        }
    }

    /// Makes a worker after `first`, in a task: disk and kernel take their time, and whoever asks
    /// meanwhile is answered at once. Its end is told as an event.
    pub(super) fn launch(&self, order: Order, first: impl Future<Output = ()> + Send + 'static) {
        let settings = Arc::clone(&self.machine.settings);
        let tell = self.tell.clone();
        tokio::spawn(async move {
            first.await;
            let id = order.id.clone();
            let outcome = spawn::start(order, &settings).await;
            if let Err(StartError::Held(_)) = &outcome {
                Holders::find(&settings, &id).end().await;
            }
            // Without a driver the worker stays, and the next controller finds it.
            let _ = tell.send(Event::Launched(Box::new(outcome))).await;
        });
    }

    pub(super) fn launched(&mut self, outcome: Result<Started, StartError>) {
        let launch = match self.life.take() {
            Life::Launching(launch) => launch,
            // Only this ends a launch, and there is one at a time.
            other => return self.life = other,
        };
        let generation = launch.generation;
        let started = match (outcome, &launch.unwanted) {
            (Ok(started), _) => started,
            (Err(error), None) => return self.start_failed(error),
            (Err(error), Some(_)) => {
                tracing::info!(stream_id = %self.id, generation, %error, "no worker was started, none is wanted any more");
                return self.tell_stopped();
            }
        };
        let identity = Identity {
            generation,
            nonce: started.nonce,
            started_at: Timestamp::now(),
            keys: started.keys,
            group: started.group,
        };
        let mut worker = self.look_after(Process::Child(started.child), identity);
        worker.configured = launch.configured;
        tracing::info!(stream_id = %self.id, generation, pid = worker.attended.pid(), "worker started");
        self.life = match launch.unwanted {
            None => Life::Starting(worker),
            Some(wish) => {
                worker.attended.terminate(wish);
                Life::Stopping(worker)
            }
        };
    }

    fn start_failed(&mut self, error: StartError) {
        let report = error.report();
        tracing::error!(
            stream_id = %self.id,
            error_type = %report.error_type,
            retry_count = self.record.restarts,
            will_retry = !error.is_final(),
            "cannot start the worker: {}", report.message
        );
        let what = What::NotStarted {
            cause: DarkCause::GivenUp,
            error_type: Some(report.error_type.clone()),
        };
        self.machine.history.saw(&self.id, what);
        if error.is_final() {
            self.life = Life::Failed(report);
            return;
        }
        let verdict = self.restarts.retry(report, Instant::now(), random());
        self.follow_verdict(verdict);
    }
}
