//! The task of a source: probes, decides the fit, starts FFmpeg and reads it into the queue.

use std::io;
use std::sync::{Arc, OnceLock};

use bytes::BytesMut;
use programme::{Fit, ListedObject, StreamFormat};
use rustix::pipe::fcntl_setpipe_size;
use storage::media::server::Origin;
use storage::model::ErrorReport;
use supervise::lines::{LineReader, Tail};
use supervise::{ExitReason, Output, Priority, Spec};
use tokio::io::AsyncReadExt;
use tokio::process::ChildStderr;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::queue::{SourceEnd, SourceQueue, Tracks};
use super::super::{SourceContext, Unread, fault};
use super::Facts;
use super::reading::{FrozenStage, Log, Reading, Stage};
use crate::ffmpeg::input::FileInput;
use crate::ffmpeg::run::{self, Speaker};
use crate::flv::FlvReader;

/// Asked of the kernel for FFmpeg's output: with the default of 64 KiB the two processes would wake
/// each other for every few pictures.
const PIPE_BYTES: usize = 1 << 20;
/// Memory is taken in pieces of this size, and the pipe is read into them.
const READ_BYTES: usize = 256 << 10;

/// What the reading task works on.
pub(super) struct Job {
    pub(super) context: Arc<SourceContext>,
    pub(super) object: ListedObject,
    pub(super) start_s: f64,
    pub(super) format: StreamFormat,
    pub(super) queue: Arc<SourceQueue>,
    pub(super) facts: Arc<OnceLock<Facts>>,
    pub(super) origin: Arc<OnceLock<Origin>>,
    pub(super) stop: CancellationToken,
    pub(super) freeze: CancellationToken,
}

/// Why reading a source ended without an end of the source.
pub(super) enum Halt {
    Unread(Unread),
    /// Another task goes on from here.
    Frozen(Stage),
}

/// How reading FFmpeg's output ended.
enum Read {
    /// FFmpeg closed it.
    ToTheEnd,
    /// What came is no FLV of H.264 and AAC, or the pipe broke.
    Broken(String),
    /// The source was closed.
    Stopped,
    /// The source goes on in other hands.
    Frozen,
}

// === impl Job ===

impl Job {
    /// Reads to the end of the file, or until it is frozen: then it answers where it stands.
    pub(super) async fn run(self, from: FrozenStage) -> Stage {
        let end = match self.read_from(from).await {
            Ok(end) => end,
            Err(Halt::Unread(Unread::Bad(report))) => SourceEnd::Failed(report),
            Err(Halt::Unread(Unread::Interrupted(report))) => SourceEnd::Interrupted(report),
            Err(Halt::Frozen(stage)) => return stage,
        };
        self.drop_what_is_damaged(&end).await;
        self.queue.finish(end);
        Stage::Finished
    }

    /// A kept object that does not play is read from the store the next time.
    async fn drop_what_is_damaged(&self, end: &SourceEnd) {
        let damaged = matches!(end, SourceEnd::Failed(_) | SourceEnd::Short { .. });
        let from_cache = self.origin.get().is_some_and(Origin::is_cache);
        if let Some(fetcher) = self.context.fetcher().filter(|_| damaged && from_cache) {
            let (cache, object) = (fetcher.cache().clone(), self.object.clone());
            // What could not be removed is said by the cache.
            let _done = spawn_blocking(move || cache.forget(&object)).await;
        }
    }

    async fn read_from(&self, from: FrozenStage) -> Result<SourceEnd, Halt> {
        match from {
            FrozenStage::Unopened => self.read_file().await,
            FrozenStage::Reading(frozen) => {
                match (Reading::resume(*frozen, self), self.facts.get()) {
                    (Ok(reading), Some(facts)) => self.read(facts, reading).await,
                    (Err(error), _) => Ok(self.lost(&error.to_string())),
                    (Ok(_), None) => Ok(self.lost("nothing is known of the file")),
                }
            }
            FrozenStage::Ended { tail } => match self.facts.get() {
                Some(facts) => {
                    self.judge(facts, ExitReason::Unknown, run::tail(tail))
                        .await
                }
                None => Ok(self.lost("nothing is known of the file")),
            },
            // What it came to stands in the queue.
            FrozenStage::Finished => Ok(self.queue.end().unwrap_or(SourceEnd::Complete)),
        }
    }

    async fn read_file(&self) -> Result<SourceEnd, Halt> {
        if self.object.size_bytes == 0 {
            return Err(Unread::from(fault::empty(&self.object)).into());
        }
        let context = &self.context;
        if !context.can_be_had(&self.object)
            && let Some(unread) = fault::away(context.reach(), &self.object.key)
        {
            return Err(unread.into());
        }
        let facts = tokio::select! {
            facts = self.look() => facts?,
            () = self.stop.cancelled() => return Ok(SourceEnd::Complete),
            () = self.freeze.cancelled() => return Err(Halt::Frozen(Stage::Unopened)),
        };
        let reading = self.start(facts).map_err(Unread::from)?;
        self.origin.get_or_init(|| reading.ticket.origin());
        self.read(facts, reading).await
    }

    async fn read(&self, facts: &Facts, mut reading: Reading) -> Result<SourceEnd, Halt> {
        let read = self.fill(&mut reading).await;
        let (exit, tail) = match read {
            Read::Frozen => return Err(Halt::Frozen(Stage::Reading(Box::new(reading)))),
            Read::ToTheEnd => reading.finish(&self.freeze).await?,
            Read::Broken(_) | Read::Stopped => reading.end().await,
        };
        match read {
            Read::Stopped => Ok(SourceEnd::Complete),
            Read::Broken(why) => {
                let key = &self.object.key;
                tracing::error!(
                    key,
                    error_type = "source_unreadable",
                    "reading FFmpeg: {why}"
                );
                self.judge(facts, exit, tail).await
            }
            Read::ToTheEnd | Read::Frozen => self.judge(facts, exit, tail).await,
        }
    }

    /// The file goes on where what is in the queue ends.
    fn lost(&self, why: &str) -> SourceEnd {
        let key = &self.object.key;
        tracing::error!(key, "FFmpeg was lost in the upgrade of the worker: {why}");
        let expected_s = self.facts.get().and_then(|facts| facts.info.duration_s);
        SourceEnd::Short {
            media_s: self.media_s(),
            expected_s: expected_s.unwrap_or(f64::MAX),
        }
    }

    /// Seconds into the file that were read.
    pub(super) fn media_s(&self) -> f64 {
        self.start_s + self.queue.newest_ms().unwrap_or(0) as f64 / 1_000.0
    }

    /// Probes the file and decides how it is fed.
    async fn look(&self) -> Result<&Facts, Unread> {
        let info = self.context.probe(&self.object).await?;
        let fit = programme::fit::fit(&info, &self.format);
        let key = &self.object.key;
        if let Fit::Unplayable { reason } = &fit {
            return Err(fault::unplayable(key, reason).into());
        }
        tracing::info!(key, start_s = self.start_s, "opened: {fit}");
        self.queue.set_tracks(Tracks {
            video: true,
            audio: info.audio.is_some(),
        });
        Ok(self.facts.get_or_init(|| Facts { info, fit }))
    }

    fn start(&self, facts: &Facts) -> Result<Reading, ErrorReport> {
        let ticket = self.context.ticket_for(&self.object)?;
        let input = FileInput {
            url: ticket.url(),
            start_s: self.start_s,
            info: &facts.info,
            fit: &facts.fit,
            format: self.format,
        };
        let priority = match input.encodes() {
            true => Priority::Background,
            false => Priority::Usual,
        };
        let spec = Spec::new(&self.context.ffmpeg)
            .args(input.args())
            .stdout(Output::Piped)
            .priority(priority);
        let mut child = supervise::spawn(spec).map_err(|error| fault::not_started(&error))?;
        let stdout = child.take_stdout().expect("standard output is piped above");
        let stderr = child
            .take_stderr()
            .expect("standard error is piped unless told otherwise");
        // Best effort: an unprivileged user may have used up what pipes it can have.
        let _default_size_remains = fcntl_setpipe_size(&stdout, PIPE_BYTES);
        let log = self.follow(LineReader::new(stderr), run::tail([]));
        Ok(Reading {
            child,
            stdout,
            log,
            flv: FlvReader::new(),
            ticket,
        })
    }

    /// Follows what FFmpeg says.
    pub(super) fn follow(&self, lines: LineReader<ChildStderr>, tail: Tail) -> Log {
        let speaker = Speaker {
            role: "source",
            subject: self.object.key.clone(),
        };
        let redactor = self.context.redactor.clone();
        let hand_over = CancellationToken::new();
        let follow = run::follow(lines, tail, speaker, redactor, hand_over.clone(), |_| true);
        Log {
            task: tokio::spawn(follow),
            hand_over,
        }
    }

    /// Reads until the end, never past the queue's bound.
    async fn fill(&self, reading: &mut Reading) -> Read {
        let Reading { stdout, flv, .. } = reading;
        let mut buffer = BytesMut::new();
        loop {
            let read = async {
                self.queue.room().await;
                self.queue.waits(Instant::now());
                // What is left of the last piece first: a packet keeps the whole piece alive.
                if buffer.capacity() < READ_BYTES / 8 {
                    buffer.reserve(READ_BYTES);
                }
                stdout.read_buf(&mut buffer).await
            };
            let read = tokio::select! {
                read = read => read,
                () = self.stop.cancelled() => return Read::Stopped,
                () = self.freeze.cancelled() => return Read::Frozen,
            };
            match read {
                Ok(0) => return Read::ToTheEnd,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Read::Broken(error.to_string()),
            }
            flv.push(buffer.split().freeze());
            if let Err(error) = self.hand_over(flv) {
                return Read::Broken(error.to_string());
            }
        }
    }

    /// Queues every whole packet.
    fn hand_over(&self, reader: &mut FlvReader) -> Result<(), crate::flv::FlvError> {
        let mut packets = Vec::new();
        let mut result = Ok(());
        loop {
            match reader.next_packet() {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.queue.push_all(packets);
        result
    }
}

impl From<Unread> for Halt {
    fn from(unread: Unread) -> Self {
        Self::Unread(unread)
    }
}
