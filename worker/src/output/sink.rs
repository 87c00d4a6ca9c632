//! A sink is a process that reads FLV and publishes it; here it is an FFmpeg.
//!
//! Owner: the task of the output it belongs to. It is written to, asked whether it still runs, and
//! closed; everything it says goes into the log, and what it says about its end is kept. Whatever
//! takes FFmpeg's place one day has to offer no more than this.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Buf, Bytes};
use programme::StreamFormat;
use serde::{Deserialize, Serialize};
use storage::model::{DestinationConfig, Job, JobSecrets};
use storage::secret::Secret;
use supervise::lines::{LineReader, Tail};
use supervise::reexec::PassedFd;
use supervise::{Child, ExitReason, Grace, Pid, Spec, Terminated};
use tokio::io::AsyncWrite;
use tokio::process::{ChildStderr, ChildStdin};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::failure::{Failure, FailureKind};
use super::target::{KeyPassing, Target};
use crate::ffmpeg::classify::Listener;
use crate::ffmpeg::publish;
use crate::ffmpeg::redact::Redactor;
use crate::ffmpeg::run::{self, Heard, Line, Speaker};
use crate::flv::Metadata;

/// How long FFmpeg may take to end its session after its input has ended.
const FAREWELL: Duration = Duration::from_secs(1);
/// After that.
const GRACE: Grace = Grace {
    again_after: Duration::from_millis(500),
    kill_after: Duration::from_secs(1),
};
/// For one that hangs: there is nothing to save, and the sooner it is gone the sooner the next one
/// connects. Blocked in a write, it ignores the first TERM.
const GRACE_HANGING: Grace = Grace {
    again_after: Duration::from_millis(250),
    kill_after: Duration::from_millis(500),
};
/// Pieces handed to one write: the kernel takes no more than 1024, some tens are a batch.
const PIECES: usize = 128;

/// What every sink of a stream is made with.
#[derive(Debug)]
pub struct Publisher {
    ffmpeg: PathBuf,
    keys: BTreeMap<String, Secret>,
    passing: KeyPassing,
    redactor: Redactor,
    metadata: Metadata,
}

/// A running FFmpeg that publishes.
#[derive(Debug)]
pub struct Sink {
    child: Child,
    stdin: Option<ChildStdin>,
    /// Reads what FFmpeg says until it ends, or until it is handed over.
    said: Option<JoinHandle<Said>>,
    hand_over: CancellationToken,
    /// FFmpeg writes there from when it is connected on; not where its socket is asked.
    report: Option<OwnedFd>,
    /// It has, or is not asked to.
    may_be_connected: bool,
}

/// A sink on its way to the next image of this process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FrozenSink {
    pid: i32,
    #[serde(with = "crate::handover::passed")]
    stdin: PassedFd,
    #[serde(with = "crate::handover::passed")]
    stderr: PassedFd,
    /// Read from `stderr`, and no whole line yet.
    #[serde(with = "crate::handover::blob")]
    rest: Bytes,
    listener: Listener,
    tail: Vec<String>,
}

/// What FFmpeg said.
#[derive(Debug)]
struct Said {
    listener: Listener,
    tail: Tail,
    /// Where more would come from.
    more: Option<LineReader<ChildStderr>>,
}

// === impl Publisher ===

impl Publisher {
    /// For the destinations of `job`, with pictures of `format`. Asks this FFmpeg once whether it
    /// can be given a key outside its arguments.
    pub async fn new(job: &Job, secrets: &JobSecrets, format: StreamFormat) -> Self {
        let keyed = |destination: &DestinationConfig| destination.key_env.is_some();
        // Destinations that come later may have a key though none has now; keys come only at start.
        let asked = job.config.destinations.iter().any(keyed) || !secrets.stream_keys.is_empty();
        let passing = if asked && publish::presets_reach_the_muxer(&job.ffmpeg_bin).await {
            KeyPassing::Preset
        } else if job.allow_argv_secrets {
            KeyPassing::Argument
        } else {
            KeyPassing::Refused
        };
        if asked && passing == KeyPassing::Argument {
            tracing::warn!(
                "this FFmpeg takes stream keys only in its arguments: every user of this machine \
                 can read them (ALLOW_ARGV_SECRETS=true)"
            );
        }
        Self::resumed(job, secrets, format, passing)
    }

    /// The same where FFmpeg has been asked.
    pub fn resumed(
        job: &Job,
        secrets: &JobSecrets,
        format: StreamFormat,
        passing: KeyPassing,
    ) -> Self {
        Self {
            ffmpeg: job.ffmpeg_bin.clone(),
            keys: secrets.stream_keys.clone(),
            passing,
            redactor: Redactor::new(secrets.stream_keys.values()),
            metadata: Metadata {
                width: format.width,
                height: format.height,
                fps: f64::from(format.fps),
            },
        }
    }

    /// Resolves a destination.
    ///
    /// # Errors
    /// What no retry can fix.
    pub fn target(&self, config: &DestinationConfig) -> Result<Target, Failure> {
        let key = config.key_env.as_ref().and_then(|name| self.keys.get(name));
        Target::new(config, key, self.passing)
    }

    /// How FFmpeg is given keys.
    pub fn passing(&self) -> KeyPassing {
        self.passing
    }

    /// What is published, in the words of FLV.
    pub fn metadata(&self) -> Metadata {
        self.metadata
    }

    /// Starts publishing to `target` for the destination called `name`.
    ///
    /// # Errors
    /// When FFmpeg cannot be started.
    pub fn publish(&self, name: &str, target: &Target) -> Result<Sink, Failure> {
        let address = target.address.expose();
        let (spec, report) =
            publish::to_server(&self.ffmpeg, target.protocol, address, &target.preset)
                .map_err(|error| unusable(&error))?;
        let sink = Sink::spawn(spec, speaker(name), self.redactor.clone())?;
        Ok(Sink {
            may_be_connected: report.is_none(),
            report,
            ..sink
        })
    }

    /// Goes on with what an earlier image of this process published for the destination `name`.
    ///
    /// # Errors
    /// When FFmpeg is not this process's any more.
    pub fn resume(&self, name: &str, frozen: FrozenSink) -> Result<Sink, Failure> {
        Sink::resume(frozen, speaker(name), self.redactor.clone()).map_err(|error| {
            let message = format!("FFmpeg was lost in the upgrade of the worker: {error}");
            Failure::new(FailureKind::FfmpegExited, message)
        })
    }
}

fn speaker(name: &str) -> Speaker {
    Speaker {
        role: "output",
        subject: name.to_owned(),
    }
}

fn unusable(error: &dyn std::error::Error) -> Failure {
    let mut message = format!("FFmpeg cannot be started: {error}");
    if let Some(source) = error.source() {
        message = format!("{message}: {source}");
    }
    Failure::new(FailureKind::FfmpegUnusable, message)
}

// === impl Sink ===

impl Sink {
    /// Starts `spec`, which reads FLV on its standard input.
    ///
    /// # Errors
    /// When FFmpeg cannot be started.
    pub fn spawn(spec: Spec, speaker: Speaker, redactor: Redactor) -> Result<Self, Failure> {
        let mut child = supervise::spawn(spec).map_err(|error| unusable(&error))?;
        let stdin = child.take_stdin();
        let hand_over = CancellationToken::new();
        let said = child.take_stderr().map(|stderr| {
            let lines = LineReader::new(stderr);
            let nothing = (Listener::default(), run::tail([]));
            tokio::spawn(listen(lines, nothing, speaker, redactor, hand_over.clone()))
        });
        Ok(Self {
            child,
            stdin,
            said,
            hand_over,
            report: None,
            may_be_connected: true,
        })
    }

    /// Goes on with an FFmpeg of an earlier image of this process.
    fn resume(frozen: FrozenSink, speaker: Speaker, redactor: Redactor) -> io::Result<Self> {
        let child = Child::inherited(Pid::from_raw(frozen.pid)).map_err(io::Error::other)?;
        let stdin = std::process::ChildStdin::from(frozen.stdin.take()?);
        let stderr = std::process::ChildStderr::from(frozen.stderr.take()?);
        let lines = LineReader::resumed(ChildStderr::from_std(stderr)?, &frozen.rest);
        let heard = (frozen.listener, run::tail(frozen.tail));
        let hand_over = CancellationToken::new();
        let listening = listen(lines, heard, speaker, redactor, hand_over.clone());
        Ok(Self {
            child,
            stdin: Some(ChildStdin::from_std(stdin)?),
            said: Some(tokio::spawn(listening)),
            hand_over,
            // It lives well without somebody who reads it, and has most likely been read.
            report: None,
            may_be_connected: true,
        })
    }

    /// Lets go of FFmpeg for the next image of this process; `None` when it has just ended.
    pub async fn freeze(mut self) -> Option<FrozenSink> {
        self.hand_over.cancel();
        let Said {
            listener,
            tail,
            more,
        } = self.said().await;
        let (stderr, rest) = more?.into_parts();
        let stdin = self.stdin.take()?.into_owned_fd().ok()?;
        let stderr = stderr.into_owned_fd().ok()?;
        Some(FrozenSink {
            pid: self.child.hand_over().as_raw(),
            stdin: PassedFd::new(stdin),
            stderr: PassedFd::new(stderr),
            rest: rest.freeze(),
            listener,
            tail: tail.iter().map(str::to_owned).collect(),
        })
    }

    /// FFmpeg's process id.
    pub fn pid(&self) -> supervise::Pid {
        self.child.pid()
    }

    /// Whether FFmpeg may be connected: where its socket cannot be asked, it says so itself. Reads what it has said,
    /// so that it never waits to say more.
    pub fn may_be_connected(&mut self) -> bool {
        let Some(report) = &self.report else {
            return self.may_be_connected;
        };
        if rustix::io::ioctl_fionread(report).is_ok_and(|bytes| bytes > 0) {
            // What it says besides is of no interest.
            let _bytes = rustix::io::read(report, &mut [0_u8; 4096]);
            self.may_be_connected = true;
        }
        self.may_be_connected
    }

    /// Gives FFmpeg what it takes of `pieces`, in one write, and waits until it takes something.
    /// What was taken is gone from `pieces`. Cancel-safe.
    ///
    /// # Errors
    /// When FFmpeg does not read any more; [`Self::ended`] tells why.
    pub async fn write(&mut self, pieces: &mut VecDeque<Bytes>) -> io::Result<usize> {
        let Some(stdin) = self.stdin.as_mut() else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let taken = {
            let mut slices = [IoSlice::new(&[]); PIECES];
            let count = pieces.len().min(PIECES);
            for (slice, piece) in slices.iter_mut().zip(pieces.iter()) {
                *slice = IoSlice::new(piece);
            }
            let mut stdin = std::pin::Pin::new(stdin);
            std::future::poll_fn(|cx| stdin.as_mut().poll_write_vectored(cx, &slices[..count]))
                .await?
        };
        forget_taken(pieces, taken);
        Ok(taken)
    }

    /// Waits until FFmpeg has ended by itself. Cancel-safe.
    pub async fn exited(&mut self) -> ExitReason {
        self.child.wait().await
    }

    /// Tells why FFmpeg, which was not asked to, ended its session with `url`.
    pub async fn ended(mut self, url: &str) -> Failure {
        // It may have closed its input before it ends: what it says until then is the reason.
        drop(self.stdin.take());
        let exit = match tokio::time::timeout(FAREWELL, self.child.wait()).await {
            Ok(exit) => exit,
            Err(_) => self.terminate(GRACE_HANGING).await,
        };
        let Said { listener, tail, .. } = self.said().await;
        match (listener.into_heard(), tail.newest()) {
            (Some((complaint, line)), _) => Failure::peer(complaint, url, &line),
            (None, Some(line)) => Failure::new(
                FailureKind::FfmpegExited,
                format!("FFmpeg ended ({exit}) while publishing to {url}: {line}"),
            ),
            (None, None) => Failure::new(
                FailureKind::FfmpegExited,
                format!("FFmpeg ended ({exit}) while publishing to {url}"),
            ),
        }
    }

    /// Ends the session as the protocol wants it, within two seconds.
    pub async fn close(mut self) {
        drop(self.stdin.take());
        if tokio::time::timeout(FAREWELL, self.child.wait())
            .await
            .is_err()
        {
            self.terminate(GRACE).await;
        }
        self.said().await;
    }

    /// Ends an FFmpeg that hangs, within half a second.
    pub async fn tear_down(mut self) {
        self.terminate(GRACE_HANGING).await;
        self.said().await;
    }

    async fn terminate(&mut self, grace: Grace) -> ExitReason {
        match self.child.terminate(grace).await {
            Terminated::Exited(exit) | Terminated::Killed(exit) => exit,
        }
    }

    /// The end of its words comes with the end of the process, whose whole group is gone then.
    async fn said(&mut self) -> Said {
        let nothing = Said {
            listener: Listener::default(),
            tail: Tail::new(0),
            more: None,
        };
        match self.said.take() {
            Some(said) => said.await.unwrap_or(nothing),
            None => nothing,
        }
    }
}

/// Follows what FFmpeg says, going on from what was heard.
async fn listen(
    lines: LineReader<ChildStderr>,
    (mut listener, tail): (Listener, Tail),
    speaker: Speaker,
    redactor: Redactor,
    hand_over: CancellationToken,
) -> Said {
    let each = |line: &Line| {
        listener.hear(line);
        true
    };
    let follow = run::follow(lines, tail, speaker, redactor, hand_over, each);
    let Heard { tail, more } = follow.await;
    Said {
        listener,
        tail,
        more,
    }
}

// === impl FrozenSink ===

impl FrozenSink {
    /// The FFmpeg's process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.pid)
    }

    /// What has to stay open.
    pub fn descriptors(&self) -> [i32; 2] {
        [self.stdin.number(), self.stderr.number()]
    }
}

/// Drops the first `taken` bytes of `pieces`.
fn forget_taken(pieces: &mut VecDeque<Bytes>, mut taken: usize) {
    while let Some(first) = pieces.front_mut() {
        if taken < first.len() {
            first.advance(taken);
            return;
        }
        taken -= first.len();
        pieces.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However a write is cut, what remains is exactly what was not taken.
        #[test]
        fn what_was_not_taken_remains(
            lengths in prop::collection::vec(0usize..5, 0..20), share in 0.0f64..=1.0,
        ) {
            let mut next = 0u8;
            let mut pieces: VecDeque<Bytes> = VecDeque::new();
            for length in lengths {
                pieces.push_back((next..).take(length).collect());
                next += length as u8;
            }
            let taken = (f64::from(next) * share) as usize;
            forget_taken(&mut pieces, taken);
            let left: Vec<u8> = pieces.iter().flatten().copied().collect();
            prop_assert_eq!(left, (taken as u8..next).collect::<Vec<_>>());
        }
    }
}
