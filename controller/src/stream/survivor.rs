//! Workers that run while there is no controller, for whoever has to find and end them by hand.

use storage::layout::Layout;
use storage::model::{StreamId, WorkerReport};
use supervise::watch::Watched;

use super::orphan;
use super::process::Process;
use super::worker_link::WorkerLink;
use super::{by_job, lease};

/// What runs for a stream.
#[derive(Debug)]
pub(crate) struct Survivor {
    /// The stream.
    pub(crate) id: StreamId,
    /// What the worker says; `None` when it does not answer.
    pub(crate) report: Option<WorkerReport>,
    /// The holders of its lease, and what was started for it and has lost that.
    processes: Vec<Watched>,
}

// === impl Survivor ===

impl Survivor {
    /// All of this runtime directory, found by their leases, or where those are gone by their arguments.
    pub(crate) async fn find(layout: &Layout) -> Vec<Self> {
        let mut found = Vec::new();
        let mut workers = by_job::workers(layout);
        let mut ids = orphan::traces(&layout.runtime_dir);
        ids.extend(workers.keys().cloned());
        for id in ids {
            let mut processes = lease::holders(&layout.lease(&id));
            for worker in workers.remove(&id).unwrap_or_default() {
                if processes.iter().all(|held| held.pid() != worker.pid()) {
                    processes.push(worker);
                }
            }
            if processes.is_empty() {
                continue;
            }
            let status = WorkerLink::new(layout.socket(&id)).status().await;
            found.push(Self {
                id,
                report: status.ok().map(|status| status.report),
                processes,
            });
        }
        found
    }

    /// The numbers of its processes, for people.
    pub(crate) fn pids(&self) -> Vec<i32> {
        self.processes.iter().map(Watched::pid).collect()
    }

    /// Ends it: TERM, TERM again at 5 s, KILL at 10 s.
    pub(crate) async fn end(self) {
        let ends = self
            .processes
            .into_iter()
            .map(|watched| async move { Process::Adopted(watched).terminate().await });
        futures_util::future::join_all(ends).await;
    }
}
