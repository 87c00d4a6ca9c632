//! Where the reading of a file stands, in this image of the process and on the way to the next.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use programme::ListedObject;
use serde::{Deserialize, Serialize};
use storage::media::server::Ticket;
use supervise::lines::{LineReader, Tail};
use supervise::reexec::PassedFd;
use supervise::{Child, ExitReason, Pid};
use tokio::process::{ChildStderr, ChildStdout};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::queue::Held;
use super::Facts;
use super::job::{Halt, Job};
use crate::ffmpeg::run::{self, Heard};
use crate::flv::FlvReader;

/// How long FFmpeg may take to end after its output has.
const EXIT_LIMIT: Duration = Duration::from_secs(2);

/// What a reading task that was frozen leaves.
#[derive(Debug)]
pub(super) enum Stage {
    /// FFmpeg was not started.
    Unopened,
    /// FFmpeg runs, or has just closed its output.
    Reading(Box<Reading>),
    /// FFmpeg is gone, and what that means was being asked.
    Ended { tail: Tail },
    /// The queue knows its end.
    Finished,
}

/// An FFmpeg that is being read.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) child: Child,
    pub(super) stdout: ChildStdout,
    pub(super) log: Log,
    pub(super) flv: FlvReader,
    pub(super) ticket: Ticket,
}

/// The task that follows what an FFmpeg says.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) task: JoinHandle<Heard<ChildStderr>>,
    pub(super) hand_over: CancellationToken,
}

/// A source on its way to the next image of this process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FrozenSource {
    pub(super) object: ListedObject,
    pub(super) start_s: f64,
    pub(super) held: Held,
    pub(super) facts: Option<Facts>,
    pub(super) from_cache: bool,
    pub(super) stage: FrozenStage,
}

/// See [`Stage`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum FrozenStage {
    Unopened,
    Reading(Box<FrozenReading>),
    Ended { tail: Vec<String> },
    Finished,
}

/// See [`Reading`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FrozenReading {
    pid: i32,
    #[serde(with = "crate::handover::passed")]
    stdout: PassedFd,
    /// Until it has ended, which may be long before all of `stdout` was read.
    stderr: Option<FrozenStderr>,
    tail: Vec<String>,
    flv: FlvReader,
    /// Its number in two halves: not every reader knows one of 128 bits.
    ticket: (u64, u64),
    /// Its last answer came from the cache.
    from_cache: bool,
}

/// What an FFmpeg says.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct FrozenStderr {
    #[serde(with = "crate::handover::passed")]
    from: PassedFd,
    /// Read, and no whole line yet.
    #[serde(with = "crate::handover::blob")]
    rest: Bytes,
}

// === impl Reading ===

impl Reading {
    /// Goes on with an FFmpeg of an earlier image of this process.
    pub(super) fn resume(frozen: FrozenReading, job: &Job) -> io::Result<Self> {
        let (high, low) = frozen.ticket;
        let id = u128::from(high) << 64 | u128::from(low);
        let server = &job.context.server;
        let ticket = server.resume_ticket(id, &job.object, frozen.from_cache);
        job.origin.get_or_init(|| ticket.origin());
        let child = Child::inherited(Pid::from_raw(frozen.pid)).map_err(io::Error::other)?;
        let stdout = std::process::ChildStdout::from(frozen.stdout.take()?);
        let tail = run::tail(frozen.tail);
        let log = match frozen.stderr {
            Some(stderr) => {
                let from = std::process::ChildStderr::from(stderr.from.take()?);
                let lines = LineReader::resumed(ChildStderr::from_std(from)?, &stderr.rest);
                job.follow(lines, tail)
            }
            None => Log::ended(tail),
        };
        Ok(Self {
            child,
            stdout: ChildStdout::from_std(stdout)?,
            log,
            flv: frozen.flv,
            ticket,
        })
    }

    /// Waits for an FFmpeg that has closed its output, and for its last lines.
    pub(super) async fn finish(
        mut self,
        freeze: &CancellationToken,
    ) -> Result<(ExitReason, Tail), Halt> {
        let exit = tokio::select! {
            exit = tokio::time::timeout(EXIT_LIMIT, self.child.wait()) => exit,
            () = freeze.cancelled() => {
                return Err(Halt::Frozen(Stage::Reading(Box::new(self))));
            }
        };
        match exit {
            Ok(exit) => Ok((exit, self.log.tail().await)),
            Err(_) => Ok(self.end().await),
        }
    }

    /// Ends an FFmpeg that is not to be read any more. How it ends says nothing of the file: the
    /// signal is ours.
    pub(super) async fn end(mut self) -> (ExitReason, Tail) {
        // One that reads has nothing to save.
        self.child.kill_now();
        self.child.wait().await;
        // Its output and its ticket were held until here: a broken pipe would be an error in its log.
        (ExitReason::Unknown, self.log.tail().await)
    }

    async fn freeze(self) -> Option<FrozenReading> {
        self.log.hand_over.cancel();
        let Heard { tail, more } = self.log.task.await.ok()?;
        let stderr = more.and_then(|lines| {
            let (from, rest) = lines.into_parts();
            Some(FrozenStderr {
                from: PassedFd::new(from.into_owned_fd().ok()?),
                rest: rest.freeze(),
            })
        });
        let stdout = self.stdout.into_owned_fd().ok()?;
        let id = self.ticket.id();
        Some(FrozenReading {
            pid: self.child.hand_over().as_raw(),
            stdout: PassedFd::new(stdout),
            stderr,
            tail: tail.iter().map(str::to_owned).collect(),
            flv: self.flv,
            ticket: ((id >> 64) as u64, id as u64),
            from_cache: self.ticket.origin().is_cache(),
        })
    }
}

// === impl Log ===

impl Log {
    /// Of an FFmpeg that has said all it will.
    fn ended(tail: Tail) -> Self {
        Self {
            task: tokio::spawn(async { Heard { tail, more: None } }),
            hand_over: CancellationToken::new(),
        }
    }

    /// The last lines: the stream ends with the process; a task that failed has none to tell.
    async fn tail(self) -> Tail {
        let heard = self.task.await;
        heard.map_or_else(|_| Tail::new(0), |heard| heard.tail)
    }
}

// === impl Stage ===

impl Stage {
    pub(super) async fn freeze(self) -> FrozenStage {
        match self {
            Self::Unopened => FrozenStage::Unopened,
            Self::Reading(reading) => match reading.freeze().await {
                Some(frozen) => FrozenStage::Reading(Box::new(frozen)),
                None => FrozenStage::Ended { tail: Vec::new() },
            },
            Self::Ended { tail } => FrozenStage::Ended {
                tail: tail.iter().map(str::to_owned).collect(),
            },
            Self::Finished => FrozenStage::Finished,
        }
    }
}

// === impl FrozenStage ===

impl FrozenStage {
    /// Nothing will be read any more.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Ended { .. } | Self::Finished => true,
            Self::Unopened | Self::Reading(_) => false,
        }
    }
}

// === impl FrozenSource ===

impl FrozenSource {
    /// One that is to be opened at `start_s`.
    pub(super) fn unopened(object: ListedObject, start_s: f64) -> Self {
        Self {
            object,
            start_s,
            held: Held::default(),
            facts: None,
            from_cache: false,
            stage: FrozenStage::Unopened,
        }
    }

    /// Its FFmpeg, when there is one.
    pub fn pid(&self) -> Option<Pid> {
        self.reading().map(|reading| Pid::from_raw(reading.pid))
    }

    /// What has to stay open.
    pub fn descriptors(&self) -> Vec<i32> {
        let Some(reading) = self.reading() else {
            return Vec::new();
        };
        let stderr = reading.stderr.iter().map(|stderr| stderr.from.number());
        stderr.chain([reading.stdout.number()]).collect()
    }

    fn reading(&self) -> Option<&FrozenReading> {
        match &self.stage {
            FrozenStage::Reading(reading) => Some(reading),
            FrozenStage::Unopened | FrozenStage::Ended { .. } | FrozenStage::Finished => None,
        }
    }
}
