//! The first thing a driver does: find out what its stream's earlier worker is up to.

use jiff::Timestamp;
use storage::model::DesiredState;

use super::Driver;
use super::worker::Identity;
use crate::stream::adopt::{self, Adoptable, Found};
use crate::stream::process::Process;
use crate::stream::state::{Configured, Life};

impl Driver {
    /// Adopts a proven worker of a wanted stream, ends whatever else is there, and starts what is
    /// wanted and missing. `known`: the state file has a record of the stream.
    pub(super) async fn recover(&mut self, known: bool, boot: bool) {
        let remembered = self.record.nonce.clone();
        let found = adopt::look(&self.settings.layout, &self.id, remembered.as_deref()).await;
        let autostart = boot && self.stream_config.borrow().autostart;
        if autostart {
            self.record.desired = DesiredState::Running;
        }
        match found {
            Found::Nothing => self.worker_gone(),
            Found::Worker(worker) => {
                if !known {
                    // Nobody remembers what was wanted of it: it is on air, so it stays.
                    self.record.desired = DesiredState::Running;
                }
                return self.adopt(*worker);
            }
            Found::Foreign { processes, reason } => {
                let pids: Vec<_> = processes.iter().map(|process| process.pid()).collect();
                tracing::warn!(stream_id = %self.id, ?pids, reason, "ending a worker that cannot be adopted");
                adopt::end(processes).await;
                self.worker_gone();
            }
        }
        if self.record.desired == DesiredState::Running {
            self.want(DesiredState::Running).await;
            self.start_worker_first().await;
        }
    }

    fn worker_gone(&mut self) {
        self.record.pid = None;
        self.record.started_at = None;
    }

    fn adopt(&mut self, found: Adoptable) {
        let Adoptable {
            watched,
            report,
            job,
        } = found;
        let pid = watched.pid();
        let identity = Identity {
            generation: report.generation,
            nonce: report.nonce.clone(),
            started_at: report.started_at,
            keys: job
                .iter()
                .flat_map(|job| &job.config.destinations)
                .filter_map(|destination| destination.key_env.clone())
                .collect(),
        };
        let generation = report.generation;
        self.record.last_health_check = Some(Timestamp::now());
        let mut worker = self.look_after(Process::Adopted(watched), identity);
        // What it was started with may have been edited since.
        worker.configured = Configured::Pending;
        if self.record.desired == DesiredState::Running {
            tracing::info!(stream_id = %self.id, generation, pid, "worker adopted");
            self.life = Life::Starting(worker);
        } else {
            tracing::info!(stream_id = %self.id, generation, pid, "ending a worker that is not wanted");
            worker.attended.terminate();
            self.life = Life::Stopping(worker);
        }
    }
}
