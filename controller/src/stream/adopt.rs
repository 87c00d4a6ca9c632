//! Finding the worker that an earlier controller left behind.
//!
//! A process is *the* worker when it answers on the stream's socket with the nonce of its job (or of
//! the remembered state), and is the one the kernel names as the socket's maker. It is asked twice,
//! the second time with its pidfd already open: so the pidfd is that process's and not of a later one
//! with the same number. Whoever holds the stream's lease or socket without that proof is ended, and
//! so is whatever is left in the control group of any other of the stream's workers, and a worker that was
//! robbed of both ([`by_job`](super::by_job)).

use std::time::Duration;

use futures_util::future::join_all;
use storage::layout::Layout;
use storage::model::report::CONTROL_PROTOCOL;
use storage::model::{Job, StreamId, WorkerReport};
use supervise::cgroup::Cgroup;
use supervise::watch::Watched;
use tokio::time::{Instant, sleep};

use super::group;
use super::lease::{self, Lease};
use super::process::Process;
use super::worker_link::{Status, WorkerLink};
use crate::config::Config;

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
    /// What holds the stream and cannot be adopted.
    Foreign {
        /// All of it.
        holders: Holders,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Whatever keeps a stream from having a new worker.
#[derive(Debug, Default)]
pub(super) struct Holders {
    processes: Vec<Watched>,
    /// Control groups of the stream's workers, empty ones among them.
    groups: Vec<Cgroup>,
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
    /// Its control group, if it was started in one.
    pub(super) group: Option<Cgroup>,
    /// What other workers of the stream have left.
    pub(super) others: Holders,
}

enum Proof {
    Proven(Watched, Box<WorkerReport>),
    Silent,
    Wrong(&'static str),
}

/// Looks for the worker of `id`; `remembered` is the nonce in the state file, `started` what runs by a job of the
/// stream, be that the worker or not.
pub(super) async fn look(
    settings: &Config,
    id: &StreamId,
    remembered: Option<&str>,
    started: Vec<Watched>,
) -> Found {
    match look_at_files(settings, id, remembered, &started).await {
        Found::Nothing => Found::Nothing,
        Found::Worker(mut worker) => {
            let pid = worker.watched.pid();
            let others = started.into_iter().filter(|other| other.pid() != pid);
            worker.others.add(others);
            Found::Worker(worker)
        }
        Found::Foreign {
            mut holders,
            reason,
        } => {
            holders.add(started);
            Found::Foreign { holders, reason }
        }
    }
}

async fn look_at_files(
    settings: &Config,
    id: &StreamId,
    remembered: Option<&str>,
    started: &[Watched],
) -> Found {
    let layout = &settings.layout;
    let job = read_job(layout, id);
    let link = WorkerLink::new(layout.socket(id));
    let deadline = Instant::now() + PATIENCE;
    loop {
        match prove(&link, id, job.as_ref(), remembered).await {
            Proof::Proven(watched, report) => {
                let (own, others) = group::of(settings.cgroup.as_ref(), id)
                    .into_iter()
                    .partition::<Vec<_>, _>(|group| group.holds(watched.pid()));
                return Found::Worker(Box::new(Adoptable {
                    watched,
                    report: *report,
                    job,
                    group: own.into_iter().next(),
                    others: Holders::of_groups(others),
                }));
            }
            Proof::Wrong(reason) => return foreign(settings, id, &link, reason).await,
            // A worker that was robbed of its socket makes another: it is waited for like one that has not come
            // to making it yet.
            Proof::Silent
                if is_free(settings, id)
                    && started.iter().all(Watched::has_exited)
                    && link.listener().await.is_none() =>
            {
                return Found::Nothing;
            }
            Proof::Silent if Instant::now() >= deadline => {
                return foreign(settings, id, &link, "it does not answer").await;
            }
            Proof::Silent => sleep(POLL).await,
        }
    }
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

async fn foreign(
    settings: &Config,
    id: &StreamId,
    link: &WorkerLink,
    reason: &'static str,
) -> Found {
    let mut holders = Holders::find(settings, id);
    if let Some(listener) = link.listener().await
        && !holders.pids().contains(&listener)
        && let Ok(watched) = Watched::open(listener)
        // Asked again with the process pinned, as in the proof above.
        && link.listener().await == Some(listener)
    {
        holders.processes.push(watched);
    }
    Found::Foreign { holders, reason }
}

/// Whether neither the lease nor a control group of the stream has a process.
fn is_free(settings: &Config, id: &StreamId) -> bool {
    let groups = group::of(settings.cgroup.as_ref(), id);
    // Where the lease cannot even be tried, a start will fail and say why.
    !matches!(Lease::acquire(&settings.layout.lease(id)), Ok(None))
        && !groups.iter().any(Cgroup::is_populated)
}

fn read_job(layout: &Layout, id: &StreamId) -> Option<Job> {
    let text = std::fs::read(layout.job(id)).ok()?;
    serde_json::from_slice(&text)
        .inspect_err(|error| tracing::warn!(stream_id = %id, %error, "job file cannot be read"))
        .ok()
}

// === impl Holders ===

impl Holders {
    /// The holder of the stream's lease and the control groups of its workers.
    pub(super) fn find(settings: &Config, id: &StreamId) -> Self {
        let mut holders = Self::of_groups(group::of(settings.cgroup.as_ref(), id));
        holders.add(lease::holders(&settings.layout.lease(id)));
        holders
    }

    /// Adds those that still run and are not among them.
    pub(super) fn add(&mut self, processes: impl IntoIterator<Item = Watched>) {
        for process in processes {
            if !process.has_exited() && !self.pids().contains(&process.pid()) {
                self.processes.push(process);
            }
        }
    }

    /// Without the groups, which are found again by their names.
    pub(super) fn into_processes(self) -> Vec<Watched> {
        self.processes
    }

    fn of_groups(groups: Vec<Cgroup>) -> Self {
        Self {
            processes: groups.iter().flat_map(Cgroup::members).collect(),
            groups,
        }
    }

    /// The numbers of its processes, for people.
    pub(super) fn pids(&self) -> Vec<i32> {
        self.processes.iter().map(Watched::pid).collect()
    }

    /// Ends all of it at once: TERM, TERM again at 5 s, KILL at 10 s, then what the groups still
    /// have; returns when it is gone.
    pub(super) async fn end(self) {
        let ends = self
            .processes
            .into_iter()
            .map(|watched| async move { Process::Adopted(watched).terminate().await });
        join_all(ends).await;
        join_all(self.groups.into_iter().map(group::clear)).await;
    }
}
