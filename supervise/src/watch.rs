//! A process held by its pidfd: it cannot be mistaken for a later one with the same number.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::terminate::{self, Ended, Grace};

/// Any process of this machine, child or not, alive or just ended.
///
/// Opening one by number proves nothing about who it is: check its identity *after* opening
/// (its answer on a socket, [`Watched::start_ticks`]); from then on the handle cannot drift.
#[derive(Debug)]
pub struct Watched {
    pid: i32,
    pidfd: AsyncFd<OwnedFd>,
}

/// Why a process cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// There is no such process.
    #[error("no process {pid}")]
    Gone {
        /// The number asked for.
        pid: i32,
    },
    /// The kernel refused (descriptors, a kernel without pidfds).
    #[error("cannot watch process {pid}")]
    Refused {
        /// The number asked for.
        pid: i32,
        /// From `pidfd_open` or the runtime's poller.
        source: io::Error,
    },
}

/// How a watched process ended. Its exit code is known to its parent alone.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchedEnd {
    /// By itself, or after SIGTERM.
    Exited,
    /// After SIGKILL.
    Killed,
}

// === impl Watched ===

impl Watched {
    /// Opens process `pid`. Must be called inside the runtime.
    ///
    /// # Errors
    /// [`WatchError::Gone`] when there is none.
    pub fn open(pid: i32) -> Result<Self, WatchError> {
        let refused = |source| WatchError::Refused { pid, source };
        // Zero and below name groups, not processes.
        let raw = Pid::from_raw(pid.max(0)).ok_or(WatchError::Gone { pid })?;
        let pidfd = match rustix::process::pidfd_open(raw, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH) => return Err(WatchError::Gone { pid }),
            Err(errno) => return Err(refused(errno.into())),
        };
        let pidfd = register(pidfd, Interest::READABLE).map_err(refused)?;
        Ok(Self { pid, pidfd })
    }

    /// Its number, for people and for `/proc`.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Returns when the process has ended (a zombie has). Cancel-safe; may be called again.
    pub async fn exited(&self) {
        while !self.has_exited() {
            match self.pidfd.readable().await {
                // The kernel wakes a pidfd once; what it said is asked again above.
                Ok(mut ready) if !self.has_exited() => ready.clear_ready(),
                Ok(_) => return,
                // The runtime is shutting down and this task with it.
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// Whether it has ended.
    pub fn has_exited(&self) -> bool {
        let mut fds = [PollFd::new(self.pidfd.get_ref().as_fd(), PollFlags::POLLIN)];
        nix::poll::poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Sends `signal` to the process. One that has ended is not an error.
    ///
    /// # Errors
    /// When it belongs to another user.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// TERM, TERM again, KILL; returns when the process has ended. Its own children are reached
    /// through their death signal.
    pub async fn terminate(&self, grace: Grace) -> WatchedEnd {
        let send = |signal| {
            // Not ours to signal: then waiting is all that is left, and the log says so.
            if let Err(error) = self.signal(signal) {
                tracing::warn!(pid = self.pid, %error, "cannot signal process");
            }
        };
        match terminate::escalate(self, grace, send).await {
            Ended::Itself => WatchedEnd::Exited,
            Ended::Killed => WatchedEnd::Killed,
        }
    }

    /// When it was started, in clock ticks since boot (`/proc/PID/stat`, field 22). Together with
    /// the pid it tells processes of one boot apart, unless numbers are reused within a tick.
    ///
    /// # Errors
    /// When the process has been reaped, or `/proc` does not show it to this user.
    pub fn start_ticks(&self) -> io::Result<u64> {
        let stat = std::fs::read(format!("/proc/{}/stat", self.pid))?;
        if self.has_exited() {
            // What was read may be another process's.
            return Err(io::ErrorKind::NotFound.into());
        }
        parse_start_ticks(&stat).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

#[expect(unsafe_code, reason = "tokio registers a bare number; proof below")]
pub(crate) fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` stays open, and the same, until it is dropped; it is moved into the
    // `AsyncFd`, which never gives it out mutably here.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// Field 22 of a `stat` line. Counted after the last `)`: the command name before it may hold
/// anything, blanks and parentheses included.
fn parse_start_ticks(stat: &[u8]) -> Option<u64> {
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let fields = std::str::from_utf8(&stat[after_name..]).ok()?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_ticks_are_found_after_any_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21\n";
        for name in ["sh", "a b", "x) S 1 2", "((", "\u{fffd}"] {
            let stat = format!("42 ({name}) {rest}");
            assert_eq!(parse_start_ticks(stat.as_bytes()), Some(4711), "{name}");
        }
        assert_eq!(parse_start_ticks(b"42 (sh) S 1"), None);
        assert_eq!(parse_start_ticks(b""), None);
    }

    #[tokio::test]
    async fn this_process_has_not_ended() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let me = Watched::open(pid).unwrap();
        assert!(!me.has_exited());
        assert_eq!(me.pid(), pid);
        assert_eq!(me.start_ticks().unwrap(), me.start_ticks().unwrap());
    }
}
