//! A running child.
//!
//! It is not reaped before its exit was seen through the pidfd *and* its group was killed: while the
//! leader is a zombie its number stays taken, so a signal to the group cannot hit a stranger.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::sys::signal::killpg;
use nix::unistd::Pid;
use rustix::process::Signal;
use tokio::io::AsyncRead;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::command::{SpawnError, Spec};
use crate::fork::Forked;
use crate::spawner;
use crate::terminate::{self, Ended, Grace, Terminated};
use crate::unreaped::Unreaped;
use crate::watch::{WatchError, Watched};

/// A child process, leader of its own group.
///
/// Dropped while it runs, it and its group are killed, unless [`Spec::dies_with_parent`] is off:
/// then it is left alone.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    watched: Watched,
    /// `None` once reaped, or handed to the spawner to be.
    process: Option<Unreaped>,
    exit: Option<ExitReason>,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    dies_with_parent: bool,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitReason {
    /// It returned this.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// Someone else collected its status.
    Unknown,
}

/// Starts `spec` and returns when it runs (`execve` has succeeded). Must be called inside the
/// runtime; blocks for the millisecond that takes.
///
/// # Errors
/// When the program is missing or the machine is out of something.
pub fn spawn(spec: Spec) -> Result<Child, SpawnError> {
    let program = spec.program.clone();
    let dies_with_parent = spec.dies_with_parent;
    let forked = spawner::spawn(spec)?;
    let pid = forked.pid;
    match adopt(forked) {
        Ok((watched, stdin, stdout, stderr)) => Ok(Child {
            pid,
            watched,
            process: Some(Unreaped::new(pid)),
            exit: None,
            stdin,
            stdout,
            stderr,
            dies_with_parent,
        }),
        Err(source) => {
            // It runs, but cannot be watched: nothing may run unwatched.
            signal_group(pid, Signal::KILL);
            spawner::reap_later(Unreaped::new(pid));
            Err(SpawnError::Refused { program, source })
        }
    }
}

/// Its watch, and its pipes in the runtime.
type Adopted = (
    Watched,
    Option<ChildStdin>,
    Option<ChildStdout>,
    Option<ChildStderr>,
);

fn adopt(forked: Forked) -> io::Result<Adopted> {
    let watched = Watched::open(forked.pid.as_raw()).map_err(|error| match error {
        WatchError::Gone { .. } => io::ErrorKind::NotFound.into(),
        WatchError::Refused { source, .. } => source,
    })?;
    let stdin = forked.stdin.map(|pipe| ChildStdin::from_std(pipe.into()));
    let stdout = forked.stdout.map(|pipe| ChildStdout::from_std(pipe.into()));
    let stderr = forked.stderr.map(|pipe| ChildStderr::from_std(pipe.into()));
    Ok((
        watched,
        stdin.transpose()?,
        stdout.transpose()?,
        stderr.transpose()?,
    ))
}

// === impl Child ===

impl Child {
    /// A child that an earlier image of this process started and handed over ([`crate::reexec`]).
    /// Its pipes come on their own. Must be called inside the runtime.
    ///
    /// # Errors
    /// When it is no child, or cannot be watched.
    pub fn inherited(pid: Pid) -> Result<Self, WatchError> {
        Ok(Self {
            pid,
            // A child's number stays taken until its status is collected, so this is the right one.
            watched: Watched::open(pid.as_raw())?,
            process: Some(Unreaped::new(pid)),
            exit: None,
            stdin: None,
            stdout: None,
            stderr: None,
            dies_with_parent: true,
        })
    }

    /// Lets go of it, so that the next image of this process can take it over; its number.
    pub fn hand_over(mut self) -> Pid {
        self.process = None;
        self.pid
    }

    /// Its number, which is also its group's.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The writing end of a piped standard input, once. Dropping it is the child's end of input.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.stdin.take()
    }

    /// The reading end of a piped standard output, once.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.stdout.take()
    }

    /// The reading end of a piped standard error, once.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.stderr.take()
    }

    /// Waits for its end; what is left of its group is killed then. Cancel-safe; answers the same
    /// again when asked again.
    pub async fn wait(&mut self) -> ExitReason {
        if let Some(exit) = self.exit {
            return exit;
        }
        self.watched.exited().await;
        self.reap()
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Option<ExitReason> {
        if self.exit.is_none() && self.watched.has_exited() {
            return Some(self.reap());
        }
        self.exit
    }

    /// Ends the whole group: TERM, TERM again, KILL. Standard input is closed, and output nobody has
    /// taken is drained meanwhile, so that a child blocked on a full pipe can still end.
    pub async fn terminate(&mut self, grace: Grace) -> Terminated {
        drop(self.stdin.take());
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        let drained = async {
            tokio::join!(drain(stdout), drain(stderr));
            // Output may end before the process does.
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            ended = terminate::escalate(&self.watched, grace, |signal| self.signal_group(signal)) => ended,
            () = drained => unreachable!("draining never returns"),
        };
        let exit = self.wait().await;
        match ended {
            Ended::Itself => Terminated::Exited(exit),
            Ended::Killed => Terminated::Killed(exit),
        }
    }

    /// Kills the whole group at once; [`Self::wait`] still tells the end.
    pub fn kill_now(&mut self) {
        self.signal_group(Signal::KILL);
    }

    fn signal_group(&self, signal: Signal) {
        if self.process.is_some() {
            signal_group(self.pid, signal);
        }
    }

    fn reap(&mut self) -> ExitReason {
        self.signal_group(Signal::KILL);
        let process = self.process.take();
        let exit = process.map_or(ExitReason::Unknown, |process| process.wait());
        self.exit = Some(exit);
        exit
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            if self.dies_with_parent {
                signal_group(self.pid, Signal::KILL);
            }
            spawner::reap_later(process);
        }
    }
}

impl From<ExitStatus> for ExitReason {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Unknown,
        }
    }
}

impl std::fmt::Display for ExitReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => match nix::sys::signal::Signal::try_from(*signal) {
                Ok(name) => write!(f, "signal {name}"),
                Err(_) => write!(f, "signal {signal}"),
            },
            Self::Unknown => f.write_str("unknown exit"),
        }
    }
}

async fn drain(output: Option<impl AsyncRead + Unpin>) {
    if let Some(mut output) = output {
        // A read error is the end of it as well.
        let _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
    }
}

fn signal_group(group: Pid, signal: Signal) {
    let signal = nix::sys::signal::Signal::try_from(signal.as_raw()).ok();
    match killpg(group, signal) {
        // Gone is what was wanted; EPERM is what a group of zombies only answers on some kernels.
        Ok(()) | Err(Errno::ESRCH | Errno::EPERM) => {}
        Err(errno) => tracing::warn!(pid = group.as_raw(), %errno, "cannot signal process group"),
    }
}
