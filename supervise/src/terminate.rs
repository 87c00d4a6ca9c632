//! The one way a process is ended: TERM, TERM again, KILL.

use std::time::Duration;

use rustix::process::Signal;

use crate::child::ExitReason;
use crate::watch::Watched;

/// How patiently a process is ended. Both times count from the first SIGTERM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grace {
    /// When SIGTERM is sent a second time: FFmpeg blocked in a write ignores the first.
    pub again_after: Duration,
    /// When SIGKILL is sent.
    pub kill_after: Duration,
}

/// How a child that was to end did end.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminated {
    /// Within its grace.
    Exited(ExitReason),
    /// Only by SIGKILL.
    Killed(ExitReason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Itself,
    Killed,
}

/// Sends what the grace allows until `process` has ended. SIGCONT goes with every SIGTERM: a stopped
/// process would keep it pending.
pub(crate) async fn escalate(process: &Watched, grace: Grace, send: impl Fn(Signal)) -> Ended {
    let again_after = grace.again_after.min(grace.kill_after);
    for patience in [again_after, grace.kill_after - again_after] {
        if process.has_exited() {
            return Ended::Itself;
        }
        send(Signal::TERM);
        send(Signal::CONT);
        if tokio::time::timeout(patience, process.exited())
            .await
            .is_ok()
        {
            return Ended::Itself;
        }
    }
    send(Signal::KILL);
    // Unbounded on purpose: until the kernel has let go of it, it may still be writing.
    process.exited().await;
    Ended::Killed
}
