//! A worker's process in the hands of its attendant: the task that sees its end and brings it about.
//!
//! The attendant lives as long as the process; the driver has a handle. Dropping the handle lets go
//! of the process without ending it: that is how a controller detaches.

use std::time::Duration;

use supervise::cgroup::Cgroup;
use supervise::watch::{Watched, WatchedEnd};
use supervise::{Child, ExitReason, Grace, Terminated};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::driver::Event;
use super::group;
use crate::history::Moment;
use crate::ledger::Settling;

/// Of a worker that is asked to stop: it ends its FFmpegs within two seconds when nothing hangs.
const GRACE: Grace = Grace {
    again_after: Duration::from_secs(5),
    kill_after: Duration::from_secs(10),
};

/// A worker's process.
#[derive(Debug)]
pub(super) enum Process {
    /// Started by this controller.
    Child(Child),
    /// Started by one before it.
    Adopted(Watched),
}

/// A process with its attendant.
#[derive(Debug)]
pub(super) struct Attended {
    pid: u32,
    stop: Option<oneshot::Sender<Settling>>,
    _attendant: AbortOnDropHandle<()>,
}

// === impl Process ===

impl Process {
    fn pid(&self) -> u32 {
        let pid = match self {
            Self::Child(child) => child.pid().as_raw(),
            Self::Adopted(watched) => watched.pid(),
        };
        u32::try_from(pid).expect("processes have positive numbers")
    }

    async fn ended(&mut self) -> ExitReason {
        match self {
            Self::Child(child) => child.wait().await,
            Self::Adopted(watched) => {
                watched.exited().await;
                ExitReason::Unknown
            }
        }
    }

    /// Ends it: TERM, TERM again at 5 s, KILL at 10 s, a child's whole group.
    pub(super) async fn terminate(&mut self) -> ExitReason {
        let (exit, killed) = match self {
            Self::Child(child) => match child.terminate(GRACE).await {
                Terminated::Exited(exit) => (exit, false),
                Terminated::Killed(exit) => (exit, true),
            },
            Self::Adopted(watched) => {
                let end = watched.terminate(GRACE).await;
                (ExitReason::Unknown, end == WatchedEnd::Killed)
            }
        };
        if killed {
            tracing::warn!(
                pid = self.pid(),
                "worker did not end within {} s and was killed",
                GRACE.kill_after.as_secs()
            );
        }
        exit
    }
}

// === impl Attended ===

impl Attended {
    /// Looks after `process`; its end, and with it that of all in its control group, is told as an
    /// event of `generation`.
    pub(super) fn new(
        mut process: Process,
        group: Option<Cgroup>,
        generation: u64,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self {
            pid: process.pid(),
            stop: Some(stop),
            _attendant: AbortOnDropHandle::new(tokio::spawn(async move {
                let exit = tokio::select! {
                    exit = process.ended() => exit,
                    Ok(wish) = stopped => {
                        wish.done().await;
                        process.terminate().await
                    }
                };
                let moment = Moment::now();
                if let Some(group) = group {
                    group::clear(group).await;
                }
                let ended = Event::Ended {
                    generation,
                    exit,
                    moment,
                };
                // Without a driver there is nobody left to tell.
                let _ = events.send(ended).await;
            })),
        }
    }

    /// Its number, for people.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Has it ended, once the `wish` that it be is on disk; its end is told as an event. Asking again
    /// changes nothing.
    pub(super) fn terminate(&mut self, wish: Settling) {
        if let Some(stop) = self.stop.take() {
            // It has ended by itself when nobody listens any more.
            let _ = stop.send(wish);
        }
    }
}
