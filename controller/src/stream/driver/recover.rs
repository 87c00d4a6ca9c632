//! The first thing a driver does: find out what its stream's earlier worker is up to.

use std::collections::BTreeSet;

use storage::model::{DesiredState, Job, ObservedState, StreamConfig, StreamRecord};
use supervise::watch::Watched;

use super::Driver;
use super::worker::Identity;
use crate::stream::adopt::{self, Adoptable, Found};
use crate::stream::process::Process;
use crate::stream::spawn;
use crate::stream::state::{Configured, Life};

impl Driver {
    /// Adopts a proven worker of a wanted stream, ends whatever else is there, and starts what is
    /// wanted and missing, after a look at what it cannot do without. `known`: the state file has a
    /// record of the stream; `started`: what runs by a job of it.
    pub(super) async fn recover(&mut self, known: bool, boot: bool, started: Vec<Watched>) {
        let remembered = self.record.nonce.clone();
        let settings = &self.machine.settings;
        let found = adopt::look(settings, &self.id, remembered.as_deref(), started).await;
        let autostart = boot && self.stream_config.borrow().autostart;
        if autostart {
            self.record.desired = DesiredState::Running;
        }
        if matches!(found, Found::Worker(_)) && !known {
            // Nobody remembers what was wanted of it: it is on air, so it stays, and so does the next
            // controller find it.
            self.record.desired = DesiredState::Running;
            self.machine.ledger.remember(&self.id, self.record.clone());
            self.machine.ledger.settle().done().await;
        }
        let alive = !matches!(found, Found::Nothing);
        self.machine
            .history
            .recovered(&self.id, self.wanted(), alive);
        match found {
            Found::Nothing => self.worker_gone(),
            Found::Worker(worker) => {
                return self.adopt(*worker).await;
            }
            Found::Foreign { holders, reason } => {
                let pids = holders.pids();
                tracing::warn!(stream_id = %self.id, ?pids, reason, "ending a worker that cannot be adopted");
                holders.end().await;
                // Whatever it was, it is not on air as the stream's worker any more.
                self.machine
                    .history
                    .recovered(&self.id, self.wanted(), false);
                self.worker_gone();
            }
        }
        if self.record.desired == DesiredState::Running {
            self.want(DesiredState::Running);
            self.machine.ledger.settle().done().await;
            self.check(None);
        }
    }

    fn worker_gone(&mut self) {
        self.record.pid = None;
        self.record.started_at = None;
    }

    async fn adopt(&mut self, found: Adoptable) {
        let Adoptable {
            watched,
            report,
            job,
            group,
            others,
        } = found;
        let pid = watched.pid();
        let identity = Identity {
            generation: report.generation,
            nonce: report.nonce.clone(),
            started_at: report.started_at,
            keys: self.keys_given(job),
            group,
        };
        let generation = report.generation;
        let mut worker = self.look_after(Process::Adopted(watched), identity);
        // What it was started with may have been edited since.
        worker.configured = Configured::Pending;
        if self.record.desired == DesiredState::Running {
            self.machine.governor.wants(&self.id, true);
            tracing::info!(stream_id = %self.id, generation, pid, "worker adopted");
            self.life = Life::Starting(worker);
            // It is on air: that is what is shown first, since when it was.
            self.worker_answered(Box::new(report));
        } else {
            tracing::info!(stream_id = %self.id, generation, pid, "ending a worker that is not wanted");
            worker.attended.terminate(self.machine.ledger.settle());
            self.life = Life::Stopping(worker);
        }
        let pids = others.pids();
        if !pids.is_empty() {
            tracing::warn!(stream_id = %self.id, ?pids, "ending what an earlier worker has left");
        }
        others.end().await;
    }

    /// The variables whose secrets a worker was given. Where its job does not say, or is gone, it is taken to have
    /// those that are named.
    fn keys_given(&self, job: Option<Job>) -> BTreeSet<String> {
        let named = |config: &StreamConfig| {
            let named = spawn::named_keys(config);
            named.map(|(_, name)| name.to_owned()).collect()
        };
        match job {
            Some(Job { keys, config, .. }) => keys.unwrap_or_else(|| named(&config)),
            None => named(&self.stream_config.borrow()),
        }
    }
}

/// The record of a stream of which nothing is remembered.
pub(super) fn unknown() -> StreamRecord {
    StreamRecord {
        desired: DesiredState::Stopped,
        observed: ObservedState::Stopped,
        since: jiff::Timestamp::now(),
        generation: 0,
        nonce: None,
        pid: None,
        started_at: None,
        last_health_check: None,
        restarts: 0,
        failures: 0,
        exit_code: None,
        error: None,
        preflight: None,
    }
}
