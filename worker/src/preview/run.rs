//! The task that writes a preview while it is watched.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use supervise::backoff::{Backoff, Next, Policy};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ffmpeg::publish;
use crate::ffmpeg::redact::Redactor;
use crate::ffmpeg::run::Speaker;
use crate::flv::Headers;
use crate::flv::{Metadata, Packet};
use crate::output::failure::{Failure, FailureKind};
use crate::output::feed::{Feed, ParameterSets};
use crate::output::queue::{Beginning, Entry, Queue};
use crate::output::sink::Sink;

/// Files that belong to the playlist, by the end of their name.
const OURS: [&str; 3] = [".m3u8", ".ts", ".tmp"];

/// What the task owns.
pub(super) struct Writer {
    pub(super) ffmpeg: PathBuf,
    pub(super) directory: PathBuf,
    pub(super) metadata: Metadata,
    pub(super) queue: Queue,
    pub(super) watched: watch::Receiver<Instant>,
    pub(super) close: CancellationToken,
}

/// How one FFmpeg run ended.
enum End {
    /// Nobody watches any more, or the stream ends.
    Over,
    /// The headers changed.
    NextRun,
    Failed(Failure),
}

impl Writer {
    /// Writes until nobody watches, then removes what was written.
    pub(super) async fn run(mut self) {
        tracing::info!("preview started");
        let mut backoff = Backoff::new(Policy {
            max: Duration::from_secs(10),
            ..Policy::default()
        });
        clean_or_report(&self.directory);
        loop {
            match self.run_once().await {
                End::Over => break,
                End::NextRun => {}
                End::Failed(failure) => {
                    // One process on one machine: nothing to be spread by jitter.
                    let Next::Retry { after, attempt } = backoff.failed(Instant::now(), 0.5) else {
                        break;
                    };
                    tracing::warn!(
                        error_type = failure.kind.error_type(),
                        retry_count = attempt,
                        will_retry = true,
                        retry_in_ms = after.as_millis() as u64,
                        "preview: {failure}"
                    );
                    tokio::select! {
                        () = tokio::time::sleep(after) => {}
                        () = over(&self.close, &mut self.watched) => break,
                    }
                }
            }
        }
        // From here on it counts as idle: whoever asks for it again gets a new one.
        drop(self.watched);
        clean_or_report(&self.directory);
        tracing::info!("preview ended");
    }

    async fn run_once(&mut self) -> End {
        let beginning = tokio::select! {
            beginning = self.queue.keyframe() => beginning,
            () = over(&self.close, &mut self.watched) => return End::Over,
        };
        let mut sink = match self.start() {
            Ok(sink) => sink,
            Err(failure) => return End::Failed(failure),
        };
        match self.write(&mut sink, beginning).await {
            Ok(end) => {
                sink.close().await;
                end
            }
            Err(Ended) => End::Failed(sink.ended("the preview").await),
        }
    }

    fn start(&self) -> Result<Sink, Failure> {
        // What was there stays: the playlist goes on behind it.
        std::fs::create_dir_all(&self.directory).map_err(|error| {
            let message = format!("cannot make {}: {error}", self.directory.display());
            Failure::new(FailureKind::FfmpegUnusable, message)
        })?;
        let speaker = Speaker {
            role: "preview",
            subject: "preview".to_owned(),
        };
        // It is given no secret, so there is none to take out.
        let spec = publish::to_preview(&self.ffmpeg, &self.directory);
        Sink::spawn(spec, speaker, Redactor::default())
    }

    async fn write(&mut self, sink: &mut Sink, beginning: Beginning) -> Result<End, Ended> {
        let Beginning { headers, origin_ms } = beginning;
        let sets = ParameterSets::Header;
        let mut feed = Feed::new(&self.metadata, &headers, sets, origin_ms);
        loop {
            let queue = &self.queue;
            let untaken = !feed.is_taken();
            tokio::select! {
                biased;
                () = over(&self.close, &mut self.watched) => return Ok(End::Over),
                written = sink.write(feed.untaken()), if untaken => {
                    written.map_err(|_| Ended)?;
                }
                () = queue.arrived(), if !untaken => {
                    if !fill(queue, &headers, &mut feed) {
                        return Ok(End::NextRun);
                    }
                }
            }
        }
    }
}

/// FFmpeg does not read any more.
struct Ended;

/// Moves what is queued into `feed`; false when what follows needs other headers than `headers`.
fn fill(queue: &Queue, headers: &Headers, feed: &mut Feed) -> bool {
    let other = |entry: &Entry| match &entry.packet {
        Packet::VideoHeader(header) => headers.video.as_ref() != Some(header),
        Packet::AudioHeader(header) => headers.audio.as_ref() != Some(header),
        Packet::Video(_) | Packet::Audio(_) => false,
    };
    let mut same = true;
    let taken = queue.take_while(|entry| {
        same &= !other(entry);
        same
    });
    for entry in &taken {
        // Headers that had been dropped in the queue come with what is taken.
        if other(entry) {
            return false;
        }
        feed.add(&entry.packet);
    }
    same
}

/// Returns when nobody has asked for the preview in time, or the stream ends. Cancel-safe.
async fn over(close: &CancellationToken, watched: &mut watch::Receiver<Instant>) {
    loop {
        let until = *watched.borrow_and_update();
        tokio::select! {
            () = close.cancelled() => return,
            () = tokio::time::sleep_until(until) => return,
            changed = watched.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

fn clean_or_report(directory: &Path) {
    if let Err(error) = clean(directory) {
        tracing::warn!(
            directory = %directory.display(), %error,
            "old files of the preview cannot be removed; check the permissions of RUNTIME_DIR"
        );
    }
}

/// Removes the playlist and its segments, and nothing else.
fn clean(directory: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let ours = OURS.iter().any(|end| name.to_string_lossy().ends_with(end));
        if ours {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
