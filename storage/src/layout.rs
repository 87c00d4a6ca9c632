//! Where every file is.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::model::StreamId;

/// The three directories of an installation and what lies in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// `STATE_DIR`: survives a reboot.
    pub state_dir: PathBuf,
    /// `RUNTIME_DIR`: is gone after a reboot.
    pub runtime_dir: PathBuf,
    /// `CACHE_DIR`: may be emptied at any time.
    pub cache_dir: PathBuf,
}

impl Layout {
    /// Desired configuration, hand-editable.
    pub fn config_file(&self) -> PathBuf {
        self.state_dir.join("stream_config.json")
    }

    /// Desired and observed state, written only by the controller.
    pub fn state_file(&self) -> PathBuf {
        self.state_dir.join("stream_state.json")
    }

    /// Held by the one controller of this state directory.
    pub fn lock_file(&self) -> PathBuf {
        self.state_dir.join(".lock")
    }

    /// Who may publish to the built-in ingest.
    pub fn ingest_keys_file(&self) -> PathBuf {
        self.state_dir.join("ingest_keys.json")
    }

    /// Where a worker takes over publishers' connections.
    pub fn ingest_socket(&self, id: &StreamId) -> PathBuf {
        self.runtime_dir.join(format!("{id}.rtmp"))
    }

    /// The key that signs addresses of local media.
    pub fn local_media_key(&self) -> PathBuf {
        self.state_dir.join("local-media.key")
    }

    /// What a stream remembers.
    pub fn stream_dir(&self, id: &StreamId) -> PathBuf {
        self.state_dir.join("streams").join(id.as_str())
    }

    /// Where a stream's programme stood.
    pub fn position(&self, id: &StreamId) -> PathBuf {
        self.stream_dir(id).join("position.json")
    }

    /// The same a moment ago, for a worker that follows one that was killed.
    pub fn place(&self, id: &StreamId) -> PathBuf {
        self.runtime_dir.join(format!("{id}.place"))
    }

    /// The parts of a stream's air journal.
    pub fn air_dir(&self, id: &StreamId) -> PathBuf {
        self.stream_dir(id).join("air")
    }

    /// The instant at which the worker was last seen alive, by itself.
    pub fn pulse(&self, id: &StreamId) -> PathBuf {
        self.runtime_dir.join(format!("{id}.pulse"))
    }

    /// On-air intervals, gaps and samples, written only by the controller.
    pub fn history_file(&self) -> PathBuf {
        self.state_dir.join("history.db")
    }

    /// Logs of all workers.
    pub fn logs_dir(&self) -> PathBuf {
        self.state_dir.join("logs")
    }

    /// A worker's log.
    pub fn log(&self, id: &StreamId) -> PathBuf {
        self.logs_dir().join(format!("{id}.log"))
    }

    /// What the worker was started with, without secrets.
    pub fn job(&self, id: &StreamId) -> PathBuf {
        self.runtime_dir.join(format!("{id}.job.json"))
    }

    /// The worker's control socket.
    pub fn socket(&self, id: &StreamId) -> PathBuf {
        self.runtime_dir.join(format!("{id}.sock"))
    }

    /// Locked by the worker's process for as long as it lives, whatever else it has made or not.
    pub fn lease(&self, id: &StreamId) -> PathBuf {
        self.runtime_dir.join(format!("{id}.lease"))
    }

    /// How the worker ended.
    pub fn exit(&self, id: &StreamId) -> PathBuf {
        self.runtime_dir.join(format!("{id}.exit.json"))
    }

    /// The preview's playlist and segments.
    pub fn preview_dir(&self, id: &StreamId) -> PathBuf {
        self.runtime_dir.join(id.as_str()).join("preview")
    }

    /// Rendered slates.
    pub fn slates_dir(&self) -> PathBuf {
        self.cache_dir.join("slates")
    }

    /// What `ffprobe` said of each version of each object.
    pub fn probes_dir(&self) -> PathBuf {
        self.cache_dir.join("probes")
    }

    /// Whole objects of the bucket, of all streams.
    pub fn objects_dir(&self) -> PathBuf {
        self.cache_dir.join("objects")
    }

    /// What a stream's bucket held when it was last listed.
    pub fn listing(&self, id: &StreamId) -> PathBuf {
        self.stream_dir(id).join("listing.json")
    }

    /// Makes the directories that do not belong to one stream. Idempotent.
    ///
    /// # Errors
    /// The path that could not be made, and why.
    pub fn create(&self) -> Result<(), LayoutError> {
        create_dir(&self.state_dir)?;
        create_dir(&self.logs_dir())?;
        create_dir(&self.runtime_dir)?;
        create_dir(&self.slates_dir())?;
        create_dir(&self.probes_dir())
    }

    /// Makes a stream's own directories. Idempotent.
    ///
    /// # Errors
    /// The path that could not be made, and why.
    pub fn create_stream(&self, id: &StreamId) -> Result<(), LayoutError> {
        create_dir(&self.stream_dir(id))?;
        create_dir(&self.air_dir(id))
    }
}

/// A directory that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot create the directory {}", path.display())]
pub struct LayoutError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Group-readable, so that an operator in the service's group can look; never for the world.
fn create_dir(path: &Path) -> Result<(), LayoutError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(path)
        .map_err(|source| LayoutError {
            path: path.to_owned(),
            source,
        })
}
