//! The HLS preview: an output that exists while someone watches.
//!
//! ```text
//!  Idle ── touch() ──► Running ── a minute without touch() ──► Idle
//! ```
//!
//! While idle there is no queue, no task and no file. Running, a task owns one FFmpeg after the
//! other: MPEG-TS cannot change its parameter sets within a run, so each change of sequence headers
//! ends one and begins the next in the same playlist, behind a discontinuity.

mod run;

use std::path::PathBuf;
use std::time::Duration;

use storage::layout::Layout;
use storage::model::Job;
use storage::model::report::PreviewState;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::flv::Headers;
use crate::flv::{Metadata, Packet};
use crate::output::queue::Queue;
use run::Writer;

/// How long a preview lives on after it was last asked for.
const WATCHED_FOR: Duration = Duration::from_secs(60);

/// The preview of one stream. Owned by the fanout.
#[derive(Debug)]
pub struct Preview {
    ffmpeg: PathBuf,
    directory: PathBuf,
    metadata: Metadata,
    running: Option<Running>,
}

/// A preview that is being written.
#[derive(Debug)]
struct Running {
    queue: Queue,
    watched_until: watch::Sender<Instant>,
    close: CancellationToken,
    task: JoinHandle<()>,
}

impl Preview {
    /// An idle one.
    pub fn new(job: &Job, metadata: Metadata) -> Self {
        let layout = Layout {
            state_dir: job.state_dir.clone(),
            runtime_dir: job.runtime_dir.clone(),
            cache_dir: job.cache_dir.clone(),
        };
        Self {
            ffmpeg: job.ffmpeg_bin.clone(),
            directory: layout.preview_dir(&job.stream_id),
            metadata,
            running: None,
        }
    }

    /// Hands over packets; does nothing while idle.
    pub fn push(&mut self, packets: &[Packet]) {
        match &self.running {
            Some(running) if running.is_over() => self.running = None,
            Some(running) => running.queue.push(packets),
            None => {}
        }
    }

    /// Starts it, or keeps it for another minute. `headers` are in force before the next packet.
    pub fn touch(&mut self, headers: &Headers, changes: watch::Sender<()>) {
        let until = Instant::now() + WATCHED_FOR;
        // One that has just run out does not hear it any more, and is replaced.
        if let Some(running) = &self.running
            && running.watched_until.send(until).is_ok()
        {
            return;
        }
        let queue = Queue::new(headers.clone());
        queue.flow();
        let (watched_until, watched) = watch::channel(until);
        let close = CancellationToken::new();
        let writer = Writer {
            ffmpeg: self.ffmpeg.clone(),
            directory: self.directory.clone(),
            metadata: self.metadata,
            queue: queue.clone(),
            watched,
            close: close.clone(),
        };
        changes.send_replace(());
        let predecessor = self.running.take().map(|running| running.task);
        let task = tokio::spawn(async move {
            if let Some(predecessor) = predecessor {
                // It is removing its files; a failure of it was reported by the runtime.
                drop(predecessor.await);
            }
            writer.run().await;
            changes.send_replace(());
        });
        self.running = Some(Running {
            queue,
            watched_until,
            close,
            task,
        });
    }

    /// Whether it is being written.
    pub fn state(&self) -> PreviewState {
        match &self.running {
            Some(running) if !running.is_over() => PreviewState::Running,
            Some(_) | None => PreviewState::Idle,
        }
    }

    /// Asks it to end.
    pub fn close(&self) {
        if let Some(running) = &self.running {
            running.close.cancel();
        }
    }

    /// Ends it and removes its files.
    pub async fn stop(self) {
        if let Some(running) = self.running {
            running.close.cancel();
            if let Err(error) = running.task.await {
                tracing::error!(%error, "the preview's task failed");
            }
        }
    }
}

impl Running {
    fn is_over(&self) -> bool {
        self.watched_until.is_closed()
    }
}
