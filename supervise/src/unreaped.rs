//! Children of this process whose exit status was not collected yet.
//!
//! The list holds every one of them, whoever has its handle: what is not handed over to the next
//! image of this process is ended by it ([`crate::reexec`]).

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::child::ExitReason;

static CHILDREN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// The right to collect one child's status. Its number stays taken until then.
#[derive(Debug)]
pub(crate) struct Unreaped(Pid);

/// Every child whose status was not collected.
pub(crate) fn all() -> Vec<Pid> {
    children().iter().copied().map(Pid::from_raw).collect()
}

fn children() -> MutexGuard<'static, BTreeSet<i32>> {
    // The set is whole after every single call on it.
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Unreaped ===

impl Unreaped {
    /// Of the child `pid`, which nobody else waits for.
    pub(crate) fn new(pid: Pid) -> Self {
        children().insert(pid.as_raw());
        Self(pid)
    }

    /// Collects the status of one that has ended.
    pub(crate) fn try_wait(&self) -> Option<ExitReason> {
        self.wait_with(Some(WaitPidFlag::WNOHANG))
    }

    /// Waits for its end.
    pub(crate) fn wait(&self) -> ExitReason {
        self.wait_with(None).unwrap_or(ExitReason::Unknown)
    }

    fn wait_with(&self, flags: Option<WaitPidFlag>) -> Option<ExitReason> {
        let exit = loop {
            match waitpid(self.0, flags) {
                Err(nix::errno::Errno::EINTR) => {}
                Ok(WaitStatus::Exited(_, code)) => break ExitReason::Code(code),
                Ok(WaitStatus::Signaled(_, signal, _)) => break ExitReason::Signal(signal as i32),
                Ok(_) => return None,
                // It is not our child any more: somebody else has collected it.
                Err(_) => break ExitReason::Unknown,
            }
        };
        children().remove(&self.0.as_raw());
        Some(exit)
    }
}
