//! Finding the worker that an earlier controller left behind.
//!
//! A process is *the* worker when it answers on the stream's socket with the nonce of its job (or of
//! the remembered state), and is the one the kernel names as the socket's maker. It is asked twice,
//! the second time with its pidfd already open: so the pidfd is that process's and not of a later one
//! with the same number. Whoever holds the stream's lease or socket without that proof is ended.

use std::time::Duration;

use storage::layout::Layout;
use storage::model::report::CONTROL_PROTOCOL;
use storage::model::{Job, StreamId, WorkerReport};
use supervise::watch::Watched;
use tokio::time::{Instant, sleep};

use super::lease::{self, Lease};
use super::process::Process;
use super::worker_link::{Status, WorkerLink};

/// A worker that has just been started may not have made its socket yet.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);

/// What is left of a stream's earlier worker.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing, for certain.
    Nothing,
    /// The worker, proven.
    Worker(Box<Adoptable>),
    /// Processes that hold the stream and cannot be adopted.
    Foreign {
        /// All of them.
        processes: Vec<Watched>,
        /// What is wrong with them.
        reason: &'static str,
    },
}

/// A worker to be adopted.
#[derive(Debug)]
pub(super) struct Adoptable {
    /// Its process.
    pub(super) watched: Watched,
    /// What it said.
    pub(super) report: WorkerReport,
    /// What it was given, unless the file is gone.
    pub(super) job: Option<Job>,
}

enum Proof {
    Proven(Watched, Box<WorkerReport>),
    Silent,
    Wrong(&'static str),
}

/// Looks for the worker of `id`; `remembered` is the nonce in the state file.
pub(super) async fn look(layout: &Layout, id: &StreamId, remembered: Option<&str>) -> Found {
    let job = read_job(layout, id);
    let link = WorkerLink::new(layout.socket(id));
    let deadline = Instant::now() + PATIENCE;
    loop {
        match prove(&link, id, job.as_ref(), remembered).await {
            Proof::Proven(watched, report) => {
                return Found::Worker(Box::new(Adoptable {
                    watched,
                    report: *report,
                    job,
                }));
            }
            Proof::Wrong(reason) => return foreign(layout, id, &link, reason).await,
            Proof::Silent if is_free(layout, id) && link.listener().await.is_none() => {
                return Found::Nothing;
            }
            Proof::Silent if Instant::now() >= deadline => {
                return foreign(layout, id, &link, "it does not answer").await;
            }
            Proof::Silent => sleep(POLL).await,
        }
    }
}

/// Ends `processes`, all at once; returns when they are gone.
pub(super) async fn end(processes: Vec<Watched>) {
    let ends = processes
        .into_iter()
        .map(|watched| async move { Process::Adopted(watched).terminate().await });
    futures_util::future::join_all(ends).await;
}

async fn prove(
    link: &WorkerLink,
    id: &StreamId,
    job: Option<&Job>,
    remembered: Option<&str>,
) -> Proof {
    let Ok(first) = link.status().await else {
        return Proof::Silent;
    };
    let Some(watched) = first.pid.and_then(|pid| Watched::open(pid).ok()) else {
        return Proof::Silent;
    };
    let Ok(Status { report, pid }) = link.status().await else {
        return Proof::Silent;
    };
    let nonces = [job.map(|job| job.nonce.as_str()), remembered];
    if pid != Some(watched.pid()) {
        return Proof::Silent;
    }
    if report.stream_id != *id || !nonces.contains(&Some(report.nonce.as_str())) {
        return Proof::Wrong("its nonce is not the one that was given out");
    }
    if report.protocol > CONTROL_PROTOCOL || report.protocol + 1 < CONTROL_PROTOCOL {
        return Proof::Wrong("it speaks another version of the control protocol");
    }
    Proof::Proven(watched, Box::new(report))
}

async fn foreign(layout: &Layout, id: &StreamId, link: &WorkerLink, reason: &'static str) -> Found {
    let mut processes = lease::holders(&layout.lease(id));
    if let Some(listener) = link.listener().await
        && !processes.iter().any(|held| held.pid() == listener)
        && let Ok(watched) = Watched::open(listener)
        // Asked again with the process pinned, as in the proof above.
        && link.listener().await == Some(listener)
    {
        processes.push(watched);
    }
    Found::Foreign { processes, reason }
}

fn is_free(layout: &Layout, id: &StreamId) -> bool {
    // Where the lease cannot even be tried, a start will fail and say why.
    !matches!(Lease::acquire(&layout.lease(id)), Ok(None))
}

fn read_job(layout: &Layout, id: &StreamId) -> Option<Job> {
    let text = std::fs::read(layout.job(id)).ok()?;
    serde_json::from_slice(&text)
        .inspect_err(|error| tracing::warn!(stream_id = %id, %error, "job file cannot be read"))
        .ok()
}
