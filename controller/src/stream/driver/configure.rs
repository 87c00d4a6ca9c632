//! Putting a saved configuration into force.
//!
//! A running worker is told in a task of its own: one that hangs holds up who saved the configuration,
//! for two seconds, and nobody else.

use storage::model::StreamConfig;
use tokio_util::task::AbortOnDropHandle;

use super::{Driver, Event, answer, destination_names};
use crate::history::What;
use crate::stream::handle::Reply;
use crate::stream::request::Applied;
use crate::stream::spawn;
use crate::stream::state::{Configured, Life, Worker};
use crate::stream::worker_link::{LinkError, WorkerLink};

impl Driver {
    /// Puts `config` into force; answered when the worker has taken it or will not.
    pub(super) fn configure(&mut self, config: StreamConfig, reply: Reply<Applied>) {
        let destinations = destination_names(&config);
        self.machine
            .history
            .saw(&self.id, What::Configured { destinations });
        self.machine.history.saw(&self.id, What::Act);
        self.stream_config.send_replace(config.into());
        match &mut self.life {
            // The worker that is being made has the configuration before.
            Life::Launching(launch) => {
                launch.configured = Configured::Pending;
                return answer(reply, Ok(Applied::Live));
            }
            life => match life.worker_mut() {
                Some(worker) => {
                    worker.configured = Configured::Pending;
                    worker.configuring.push(reply);
                }
                None => return answer(reply, Ok(Applied::Saved)),
            },
        }
        self.push_config();
    }

    /// Tells the worker what it does not know yet, once it answers. A stream key or password that it was not
    /// given at its start cannot reach it later; one that nobody has set, no restart would bring.
    pub(super) fn push_config(&mut self) {
        let config = self.stream_config.borrow().clone();
        let link = WorkerLink::new(self.machine.settings.layout.socket(&self.id));
        let tell = self.tell.clone();
        let Some(worker) = self.life.worker_mut() else {
            return;
        };
        if worker.telling.is_some() {
            return;
        }
        if worker.configured != Configured::Pending || worker.report.is_none() {
            return answer_configuring(worker);
        }
        let keyring = &self.machine.settings.keyring;
        let is_missing = |name: &str| !worker.keys.contains(name) && keyring.secret(name).is_some();
        if spawn::named_keys(&config).any(|(_, name)| is_missing(name)) {
            worker.configured = Configured::NeedsRestart;
            return answer_configuring(worker);
        }
        worker.configured = Configured::Current;
        let generation = worker.generation;
        worker.telling = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let outcome = link.configure(&config).await;
            let told = Event::Told {
                generation,
                outcome,
            };
            // Without a driver there is nobody left to tell.
            let _ = tell.send(told).await;
        })));
    }

    /// The worker has been told a configuration, or could not be.
    pub(super) fn told(&mut self, outcome: Result<(), LinkError>) {
        let Some(worker) = self.life.worker_mut() else {
            return;
        };
        worker.telling = None;
        // There is a newer one already: what becomes of that is the answer.
        if worker.configured == Configured::Pending {
            return self.push_config();
        }
        match outcome {
            Ok(()) => {}
            Err(error) if error.is_conflict() => worker.configured = Configured::NeedsRestart,
            // It is tried again at the next answer.
            Err(error) => {
                tracing::warn!(stream_id = %self.id, %error, "worker has not taken its configuration");
                worker.configured = Configured::Pending;
            }
        }
        answer_configuring(worker);
    }
}

/// Tells those who saved a configuration what became of it.
pub(super) fn answer_configuring(worker: &mut Worker) {
    let applied = match worker.configured {
        Configured::NeedsRestart => Applied::RestartNeeded,
        Configured::Current | Configured::Pending => Applied::Live,
    };
    for reply in worker.configuring.drain(..) {
        answer(reply, Ok(applied));
    }
}
