//! The life of a stream.
//!
//! ```text
//!                start                     media on air
//!   Stopped ──(Checking)─► Launching ► Starting ──────────► OnAir  (running ⇄ degraded)
//!      ▲  ▲                   │  ▲  │                        │  │
//!      │  │ gone              │  │  └── stop ──┐    ┌─ stop ─┘  │
//!      │  └───────────────────┼──┼─────── Stopping              │
//!      │ stop                 │  │ time is up                   │
//!      ├──────────────── Backoff ◄──── worker ended, or was ────┤
//!      │ stop                 │        silent and replaced      │
//!      └──────────────── Failed ◄──── what no retry can fix ────┘
//! ```
//!
//! *Replacing* (ending a silent worker to start another) lies between OnAir or Starting and Backoff.
//! *Checking* goes before a start that nobody asked for just now (boot, a retry after a failed check),
//! and after a worker that could not run here. *Launching* takes as long as disk and kernel do; a stop
//! meanwhile is kept for the worker it makes. A worker exists in Starting, OnAir, Stopping and
//! Replacing, perhaps in Launching, and nowhere else; the next one is started only from a state
//! without one.

use std::collections::BTreeSet;

use jiff::Timestamp;
use storage::model::report::ErrorReport;
use storage::model::{ObservedState, WorkerReport};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::admission::Phase;
use super::follow::Follower;
use super::handle::Reply;
use super::health::{Health, Shortfall};
use super::process::Attended;
use super::request::Applied;
use crate::ledger::Settling;

/// Where a stream is, with what exists only there.
#[derive(Debug)]
pub(super) enum Life {
    /// No worker, none wanted.
    Stopped,
    /// What a worker cannot do without is being looked at.
    Checking(Look),
    /// A worker is being made; whether there is one already is not known until that has ended.
    Launching(Launch),
    /// A worker was spawned or adopted and has not been on air yet.
    Starting(Worker),
    /// A worker that is or was on air.
    OnAir(Worker, Shortfall),
    /// A worker is being ended, and then nothing follows.
    Stopping(Worker),
    /// A silent worker is being ended, and another follows.
    Replacing(Worker, ErrorReport),
    /// Waiting to start a worker again.
    Backoff(Wait),
    /// Given up, and why.
    Failed(ErrorReport),
}

/// A worker and what is known of it.
#[derive(Debug)]
pub(super) struct Worker {
    /// Counts the workers of the stream.
    pub(super) generation: u64,
    /// Its process.
    pub(super) attended: Attended,
    /// What asks it how it does, for as long as this is kept.
    pub(super) _follower: Follower,
    /// When it was started.
    pub(super) started_at: Timestamp,
    /// The variables of the stream keys and passwords it was given.
    pub(super) keys: BTreeSet<String>,
    /// Whether it answers.
    pub(super) health: Health,
    /// What it said last.
    pub(super) report: Option<Box<WorkerReport>>,
    /// Whether it plays by the present configuration.
    pub(super) configured: Configured,
    /// It is being told a configuration.
    pub(super) telling: Option<AbortOnDropHandle<()>>,
    /// Those who wait for what becomes of a configuration.
    pub(super) configuring: Vec<Reply<Applied>>,
    /// Another program is installed than the one it executes.
    pub(super) upgrade_available: bool,
}

/// How far a worker has taken the stream's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Configured {
    /// Wholly, unless it is just being told.
    Current,
    /// It is to be told, as soon as it answers.
    Pending,
    /// It cannot without a restart.
    NeedsRestart,
}

/// The start of a worker under way, from its lease to its secrets; it is never broken off.
#[derive(Debug)]
pub(super) struct Launch {
    /// Which worker.
    pub(super) generation: u64,
    /// Whether the stream was configured anew meanwhile.
    pub(super) configured: Configured,
    /// It is to be ended as soon as it is there and this is on disk.
    pub(super) unwanted: Option<Settling>,
}

/// A look at what a worker cannot do without, under way.
#[derive(Debug)]
pub(super) struct Look {
    /// What became of the worker before, if this machine could not run it: the error unless the look
    /// finds out better.
    pub(super) failed: Option<ErrorReport>,
    /// Ends with this.
    pub(super) _task: AbortOnDropHandle<()>,
}

/// What a wait is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// A start after a failure; when it is due, its turn among the other streams is asked for.
    Restart,
    /// The same, and it is its turn.
    RestartInTurn,
    /// A first start, and it is its turn.
    StartInTurn,
    /// Another look at what a worker cannot do without.
    Check,
}

/// A wait before the next start.
#[derive(Debug, Clone)]
pub(super) struct Wait {
    /// When it ends.
    pub(super) until: Instant,
    /// The same for people.
    pub(super) next_restart_at: Timestamp,
    /// Why there is no worker.
    pub(super) error: ErrorReport,
    /// What follows.
    pub(super) next: Next,
}

// === impl Life ===

impl Life {
    /// This state without its data.
    pub(super) fn phase(&self) -> Phase {
        match self {
            Self::Stopped => Phase::Stopped,
            Self::Checking(_) => Phase::Checking,
            Self::Launching(launch) if launch.unwanted.is_some() => Phase::Stopping,
            Self::Launching(_) => Phase::Launching,
            Self::Starting(worker) if worker.report.is_none() => Phase::Launching,
            Self::Starting(_) => Phase::Starting,
            Self::OnAir(..) => Phase::OnAir,
            Self::Stopping(_) => Phase::Stopping,
            Self::Replacing(..) => Phase::Replacing,
            Self::Backoff(_) => Phase::Backoff,
            Self::Failed(_) => Phase::Failed,
        }
    }

    /// This state as a person sees it.
    pub(super) fn observed(&self) -> ObservedState {
        match self {
            Self::Stopped => ObservedState::Stopped,
            // A start that hangs is shown as what it is about to become.
            Self::Starting(worker) if worker.health.is_unresponsive() => ObservedState::Degraded,
            Self::Launching(launch) if launch.unwanted.is_some() => ObservedState::Stopping,
            Self::Checking(_) | Self::Launching(_) | Self::Starting(_) => ObservedState::Starting,
            Self::OnAir(worker, shortfall) => {
                if shortfall.is_none() && !worker.health.is_unresponsive() {
                    ObservedState::Running
                } else {
                    ObservedState::Degraded
                }
            }
            Self::Stopping(_) | Self::Replacing(..) => ObservedState::Stopping,
            Self::Backoff(_) => ObservedState::Backoff,
            Self::Failed(_) => ObservedState::Error,
        }
    }

    /// The worker, in the states that have one.
    pub(super) fn worker(&self) -> Option<&Worker> {
        match self {
            Self::Starting(worker)
            | Self::OnAir(worker, _)
            | Self::Stopping(worker)
            | Self::Replacing(worker, _) => Some(worker),
            Self::Stopped
            | Self::Checking(_)
            | Self::Launching(_)
            | Self::Backoff(_)
            | Self::Failed(_) => None,
        }
    }

    /// The worker, to be changed.
    pub(super) fn worker_mut(&mut self) -> Option<&mut Worker> {
        match self {
            Self::Starting(worker)
            | Self::OnAir(worker, _)
            | Self::Stopping(worker)
            | Self::Replacing(worker, _) => Some(worker),
            Self::Stopped
            | Self::Checking(_)
            | Self::Launching(_)
            | Self::Backoff(_)
            | Self::Failed(_) => None,
        }
    }

    /// Whether a worker exists, or may.
    pub(super) fn may_have_worker(&self) -> bool {
        matches!(self, Self::Launching(_)) || self.worker().is_some()
    }

    /// Why the stream is not as wanted.
    pub(super) fn error(&self) -> Option<ErrorReport> {
        match self {
            Self::Starting(worker) => worker.health.error(),
            Self::OnAir(worker, shortfall) => {
                worker.health.error().or_else(|| shortfall.error().cloned())
            }
            Self::Backoff(wait) => Some(wait.error.clone()),
            Self::Replacing(_, error) | Self::Failed(error) => Some(error.clone()),
            Self::Stopped | Self::Checking(_) | Self::Launching(_) | Self::Stopping(_) => None,
        }
    }

    /// Takes the state out, leaving *stopped*; every transition puts its successor back.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Stopped)
    }
}
