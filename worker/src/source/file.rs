//! One item of the programme, read through FFmpeg.
//!
//! One task per source: it probes, decides the fit, starts FFmpeg and reads it into the queue; it
//! ends with the file, or when the source is closed. Whoever holds the [`FileSource`] owns the
//! task; dropping it kills FFmpeg, [`FileSource::close`] ends it in order.
//!
//! Times in the queue are milliseconds from the first packet FFmpeg wrote: for a source that began
//! within the file, from [`FileSource::start_s`] (or from the keyframe before, when the picture is
//! copied).

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::BytesMut;
use programme::{Fit, ListedObject, MediaInfo, StreamFormat};
use rustix::pipe::fcntl_setpipe_size;
use storage::media::server::Origin;
use storage::model::ErrorReport;
use supervise::lines::Tail;
use supervise::{Child, ExitReason, Output, Spec};
use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::queue::{QueueBounds, SourceEnd, SourceQueue, Tracks};
use super::{SourceContext, Unread, fault};
use crate::ffmpeg::input::FileInput;
use crate::ffmpeg::run::{self, Speaker};
use crate::flv::FlvReader;

/// Asked of the kernel for FFmpeg's output: with the default of 64 KiB the two processes would wake
/// each other for every few pictures.
const PIPE_BYTES: usize = 1 << 20;
/// Memory is taken in pieces of this size, and the pipe is read into them.
const READ_BYTES: usize = 256 << 10;
/// How long FFmpeg may take to end after its output has.
const EXIT_LIMIT: Duration = Duration::from_secs(2);
/// Politeness of an FFmpeg that encodes: what is on air goes first.
const NICE: i32 = 5;

/// A file that is being read.
#[derive(Debug)]
pub struct FileSource {
    object: ListedObject,
    start_s: f64,
    queue: Arc<SourceQueue>,
    facts: Arc<OnceLock<Facts>>,
    origin: Arc<OnceLock<Origin>>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

/// What is known of the file once it was probed.
#[derive(Debug)]
struct Facts {
    info: MediaInfo,
    fit: Fit,
}

/// What the reading task works on.
struct Job {
    context: Arc<SourceContext>,
    object: ListedObject,
    start_s: f64,
    format: StreamFormat,
    queue: Arc<SourceQueue>,
    facts: Arc<OnceLock<Facts>>,
    origin: Arc<OnceLock<Origin>>,
    stop: CancellationToken,
}

/// How reading FFmpeg's output ended.
enum Read {
    /// FFmpeg closed it.
    ToTheEnd,
    /// What came is no FLV of H.264 and AAC, or the pipe broke.
    Broken(String),
    /// The source was closed.
    Stopped,
}

/// Opens `object` at `start_s`. Returns at once; the queue says when it is ready or has failed.
pub fn open(
    context: &Arc<SourceContext>,
    object: &ListedObject,
    start_s: f64,
    format: StreamFormat,
) -> FileSource {
    let queue = Arc::new(SourceQueue::new(QueueBounds::default()));
    let facts = Arc::new(OnceLock::new());
    let origin = Arc::new(OnceLock::new());
    let stop = CancellationToken::new();
    let job = Job {
        context: Arc::clone(context),
        object: object.clone(),
        start_s,
        format,
        queue: Arc::clone(&queue),
        facts: Arc::clone(&facts),
        origin: Arc::clone(&origin),
        stop: stop.clone(),
    };
    FileSource {
        object: object.clone(),
        start_s,
        queue,
        facts,
        origin,
        task: tokio::spawn(job.run()),
        stop: stop.drop_guard(),
    }
}

// === impl FileSource ===

impl FileSource {
    /// Key of the object.
    pub fn key(&self) -> &str {
        &self.object.key
    }

    /// Version of the object, as listed.
    pub fn version(&self) -> &str {
        &self.object.version
    }

    /// Where in the file it was opened, seconds.
    pub fn start_s(&self) -> f64 {
        self.start_s
    }

    /// Seconds into the file of a time in the queue.
    pub fn position_s(&self, ms: i64) -> f64 {
        self.start_s + ms as f64 / 1_000.0
    }

    /// What the file is; `None` until it was probed.
    pub fn info(&self) -> Option<&MediaInfo> {
        self.facts.get().map(|facts| &facts.info)
    }

    /// How it is fed; `None` until it was probed.
    pub fn fit(&self) -> Option<&Fit> {
        self.facts.get().map(|facts| &facts.fit)
    }

    /// Whether it is read from the media cache.
    pub fn is_from_cache(&self) -> bool {
        self.origin.get().is_some_and(Origin::is_cache)
    }

    /// Stated length of the whole file, seconds.
    pub fn duration_s(&self) -> Option<f64> {
        self.info()?.duration_s
    }

    /// What was read and not yet taken.
    pub fn queue(&self) -> &Arc<SourceQueue> {
        &self.queue
    }

    /// Ends FFmpeg; what is in the queue may still be taken.
    pub async fn close(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::error!(key = self.object.key, "the reader of a source: {error}");
        }
    }
}

// === impl Job ===

impl Job {
    async fn run(self) {
        let end = match self.read_file().await {
            Ok(end) => end,
            Err(Unread::Bad(report)) => SourceEnd::Failed(report),
            Err(Unread::Interrupted(report)) => SourceEnd::Interrupted(report),
        };
        self.drop_what_is_damaged(&end).await;
        self.queue.finish(end);
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

    async fn read_file(&self) -> Result<SourceEnd, Unread> {
        if self.object.size_bytes == 0 {
            return Err(fault::empty(&self.object).into());
        }
        let context = &self.context;
        if !context.can_be_had(&self.object)
            && let Some(unread) = fault::away(context.reach(), &self.object.key)
        {
            return Err(unread);
        }
        let facts = tokio::select! {
            facts = self.look() => facts?,
            () = self.stop.cancelled() => return Ok(SourceEnd::Complete),
        };
        let ticket = self.context.ticket_for(&self.object)?;
        self.origin.get_or_init(|| ticket.origin());
        let (child, mut stdout, log) = self.start(facts, ticket.url())?;
        let read = self.fill(&mut stdout).await;
        let (exit, tail) = finish(child, log, &read).await;
        // Held until FFmpeg has ended: a broken pipe would be an error in its log.
        drop(stdout);
        let origin = ticket.origin();
        drop(ticket);
        match read {
            Read::Stopped => Ok(SourceEnd::Complete),
            Read::Broken(why) => {
                let key = &self.object.key;
                tracing::error!(
                    key,
                    error_type = "source_unreadable",
                    "reading FFmpeg: {why}"
                );
                self.judge(facts, exit, &tail, &origin).await
            }
            Read::ToTheEnd => self.judge(facts, exit, &tail, &origin).await,
        }
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

    fn start(
        &self,
        facts: &Facts,
        url: &str,
    ) -> Result<(Child, ChildStdout, JoinHandle<Tail>), ErrorReport> {
        let input = FileInput {
            url,
            start_s: self.start_s,
            info: &facts.info,
            fit: &facts.fit,
            format: self.format,
        };
        let spec = Spec::new(&self.context.ffmpeg)
            .args(input.args())
            .stdout(Output::Piped);
        let mut child = supervise::spawn(spec).map_err(|error| fault::not_started(&error))?;
        if input.encodes() {
            be_nice(&child);
        }
        let stdout = child.take_stdout().expect("standard output is piped above");
        let stderr = child
            .take_stderr()
            .expect("standard error is piped unless told otherwise");
        // Best effort: an unprivileged user may have used up what pipes it can have.
        let _default_size_remains = fcntl_setpipe_size(&stdout, PIPE_BYTES);
        let speaker = Speaker {
            role: "source",
            subject: self.object.key.clone(),
        };
        let redactor = self.context.redactor.clone();
        let log = tokio::spawn(run::follow(stderr, speaker, redactor, |_| ()));
        Ok((child, stdout, log))
    }

    /// Reads until the end, never past the queue's bound.
    async fn fill(&self, stdout: &mut ChildStdout) -> Read {
        let mut reader = FlvReader::new();
        let mut buffer = BytesMut::new();
        loop {
            let read = async {
                self.queue.room().await;
                // What is left of the last piece first: a packet keeps the whole piece alive.
                if buffer.capacity() < READ_BYTES / 8 {
                    buffer.reserve(READ_BYTES);
                }
                stdout.read_buf(&mut buffer).await
            };
            let read = tokio::select! {
                read = read => read,
                () = self.stop.cancelled() => return Read::Stopped,
            };
            match read {
                Ok(0) => return Read::ToTheEnd,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Read::Broken(error.to_string()),
            }
            reader.push(buffer.split().freeze());
            if let Err(error) = self.hand_over(&mut reader) {
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

    /// What an FFmpeg that has ended leaves: its exit code says nothing, the media time does.
    async fn judge(
        &self,
        facts: &Facts,
        exit: ExitReason,
        tail: &Tail,
        origin: &Origin,
    ) -> Result<SourceEnd, Unread> {
        let (reach, key) = (self.context.reach(), &self.object.key);
        let newest_ms = self.queue.newest_ms();
        let expected_s = stated_length_s(&facts.info);
        if let (Some(ms), None) = (newest_ms, expected_s) {
            let read_s = self.start_s + ms as f64 / 1_000.0;
            tracing::debug!(key = self.object.key, read_s, "ended; no length is stated");
            return Ok(SourceEnd::Complete);
        }
        let media_s = self.start_s + newest_ms.unwrap_or(0) as f64 / 1_000.0;
        match expected_s {
            Some(expected_s) if is_complete(media_s, expected_s) => Ok(SourceEnd::Complete),
            Some(expected_s) if newest_ms.is_some() => {
                match fault::interruption(reach, key, origin).await {
                    Some(error) => Err(Unread::Interrupted(error)),
                    None => Ok(SourceEnd::Short {
                        media_s,
                        expected_s,
                    }),
                }
            }
            _ if is_crash(exit) => Err(fault::crashed(key, exit).into()),
            _ => Err(fault::unreadable(reach, key, origin, tail.iter()).await),
        }
    }
}

/// Waits for FFmpeg and its last lines.
async fn finish(mut child: Child, log: JoinHandle<Tail>, read: &Read) -> (ExitReason, Tail) {
    let by_itself = match read {
        Read::ToTheEnd => tokio::time::timeout(EXIT_LIMIT, child.wait()).await.ok(),
        Read::Broken(_) | Read::Stopped => None,
    };
    let exit = match by_itself {
        Some(exit) => exit,
        None => {
            // An FFmpeg that reads has nothing to save.
            child.kill_now();
            child.wait().await;
            // How it ended says nothing of the file: the signal was ours.
            ExitReason::Unknown
        }
    };
    // The stream ends with the process; a task that failed has no lines to tell.
    let tail = log.await.unwrap_or_else(|_| Tail::new(0));
    (exit, tail)
}

/// Ended by a signal that nobody sent.
fn is_crash(exit: ExitReason) -> bool {
    matches!(exit, ExitReason::Signal(_))
}

fn be_nice(child: &Child) {
    let pid = rustix::process::Pid::from_raw(child.pid().as_raw());
    // It may have ended already, and nothing depends on it.
    let _unchanged = rustix::process::setpriority_process(pid, NICE);
}

/// Raw streams of sound state no length; FFmpeg guesses it from the first frames.
fn stated_length_s(info: &MediaInfo) -> Option<f64> {
    let guessed = matches!(info.container.as_str(), "mp3" | "aac");
    info.duration_s.filter(|_| !guessed)
}

/// Within 2 s or 2 % of the length, and never less than half of it.
fn is_complete(media_s: f64, expected_s: f64) -> bool {
    let tolerance_s = (expected_s * 0.02).max(2.0).min(expected_s / 2.0);
    media_s >= expected_s - tolerance_s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_is_within_two_seconds_or_two_percent_but_not_half() {
        for (media_s, expected_s, complete) in [
            (10.0, 10.0, true),
            (8.1, 10.0, true),
            (7.9, 10.0, false),
            (3_540.0, 3_600.0, true),
            (3_520.0, 3_600.0, false),
            (1.2, 2.0, true),
            (0.9, 2.0, false),
            (0.0, 1.0, false),
            (12.0, 10.0, true),
        ] {
            assert_eq!(
                is_complete(media_s, expected_s),
                complete,
                "{media_s} of {expected_s}"
            );
        }
    }
}
