//! One item of the programme, read through FFmpeg.
//!
//! One task per source: it probes, decides the fit, starts FFmpeg and reads it into the queue; it
//! ends with the file, or when the source is closed. Whoever holds the [`FileSource`] owns the
//! task; dropping it kills FFmpeg, [`FileSource::close`] ends it in order.
//!
//! Times in the queue are milliseconds from the first packet FFmpeg wrote: for a source that began
//! within the file, from [`FileSource::start_s`] (or from the keyframe before, when the picture is
//! copied).

mod job;
mod judge;
mod reading;

use std::sync::{Arc, OnceLock};

use programme::{Fit, ListedObject, MediaInfo, StreamFormat};
use serde::{Deserialize, Serialize};
use storage::media::server::Origin;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::SourceContext;
use super::queue::{QueueBounds, SourceQueue};
use job::Job;
pub use reading::FrozenSource;
use reading::{FrozenStage, Stage};

/// A file that is being read.
#[derive(Debug)]
pub struct FileSource {
    object: ListedObject,
    start_s: f64,
    queue: Arc<SourceQueue>,
    facts: Arc<OnceLock<Facts>>,
    origin: Arc<OnceLock<Origin>>,
    task: JoinHandle<Stage>,
    stop: DropGuard,
    freeze: CancellationToken,
}

/// What is known of the file once it was probed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Facts {
    info: MediaInfo,
    fit: Fit,
}

/// Opens `object` at `start_s`. Returns at once; the queue says when it is ready or has failed.
pub fn open(
    context: &Arc<SourceContext>,
    object: &ListedObject,
    start_s: f64,
    format: StreamFormat,
) -> FileSource {
    let beginning = FrozenSource::unopened(object.clone(), start_s);
    resume(context, beginning, format)
}

/// Goes on with a file that an earlier image of this process was reading.
pub fn resume(
    context: &Arc<SourceContext>,
    frozen: FrozenSource,
    format: StreamFormat,
) -> FileSource {
    let FrozenSource {
        object,
        start_s,
        held,
        facts,
        from_cache,
        stage,
    } = frozen;
    let queue = Arc::new(SourceQueue::resume(QueueBounds::default(), held));
    let facts = Arc::new(facts.map_or_else(OnceLock::new, OnceLock::from));
    let origin = Arc::new(OnceLock::new());
    if stage.is_over() {
        origin.get_or_init(|| Origin::known(&object.key, from_cache));
    }
    let (stop, freeze) = (CancellationToken::new(), CancellationToken::new());
    let job = Job {
        context: Arc::clone(context),
        object: object.clone(),
        start_s,
        format,
        queue: Arc::clone(&queue),
        facts: Arc::clone(&facts),
        origin: Arc::clone(&origin),
        stop: stop.clone(),
        freeze: freeze.clone(),
    };
    FileSource {
        object,
        start_s,
        queue,
        facts,
        origin,
        task: tokio::spawn(job.run(stage)),
        stop: stop.drop_guard(),
        freeze,
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

    /// What it is and has in hand, without its FFmpeg: for a rehearsal.
    pub fn snapshot(&self) -> FrozenSource {
        FrozenSource {
            object: self.object.clone(),
            start_s: self.start_s,
            held: self.queue.snapshot(),
            facts: self.facts.get().cloned(),
            from_cache: self.is_from_cache(),
            stage: FrozenStage::Unopened,
        }
    }

    /// Lets go of everything, as it is, for the next image of this process.
    pub async fn freeze(self) -> FrozenSource {
        self.freeze.cancel();
        let stage = match self.task.await {
            Ok(stage) => stage.freeze().await,
            // Its end was reported by the runtime, and nothing is read any more.
            Err(_) => FrozenStage::Finished,
        };
        FrozenSource {
            stage,
            from_cache: self.origin.get().is_some_and(Origin::is_cache),
            held: self.queue.snapshot(),
            facts: self.facts.get().cloned(),
            object: self.object,
            start_s: self.start_s,
        }
    }

    /// Ends FFmpeg; what is in the queue may still be taken.
    pub async fn close(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::error!(key = self.object.key, "the reader of a source: {error}");
        }
    }
}
