//! Where the programme stands, written so that a new worker resumes there.
//!
//! Losing the position costs a viewer the rest of an item; losing the stream over it would cost
//! more. So nothing here is an error to its caller: a file that cannot be read is a start from the
//! beginning, one that cannot be written is logged once and tried again at the next occasion.

use std::path::{Path, PathBuf};

use storage::model::PositionFile;

/// Version of [`PositionFile`] this build writes and reads.
pub const POSITION_VERSION: u32 = 1;

/// The one writer of a stream's position file.
#[derive(Debug)]
pub struct PositionStore {
    path: PathBuf,
    failing: bool,
}

impl PositionStore {
    /// For the file at `path`; touches nothing yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            failing: false,
        }
    }

    /// Where the programme stood, if that is known.
    pub async fn load(&self) -> Option<PositionFile> {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || read(&path)).await;
        match read.expect("reading a position does not panic") {
            Ok(position) => position,
            Err(error) => {
                tracing::warn!(
                    path = %self.path.display(), error = format!("{error:#}"),
                    "the stored position cannot be used; the programme starts from its beginning"
                );
                None
            }
        }
    }

    /// Writes `position` down, durably, or logs once that it cannot.
    pub async fn save(&mut self, position: PositionFile) {
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || write(&path, &position)).await;
        match written.expect("writing a position does not panic") {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(path = %self.path.display(), "the position is written again");
                }
            }
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::warn!(
                    path = %self.path.display(), error = format!("{error:#}"),
                    "the position cannot be written: streaming goes on, but a restarted worker \
                     resumes at the last one that was; check space and permissions of STATE_DIR"
                );
            }
            Err(_) => {}
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Option<PositionFile>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let file: PositionFile = serde_json::from_slice(&bytes)?;
    anyhow::ensure!(
        file.version == POSITION_VERSION,
        "version {} is not the {POSITION_VERSION} this build reads",
        file.version
    );
    anyhow::ensure!(
        file.item_s.is_finite() && file.item_s >= 0.0,
        "item_s {} is not a time",
        file.item_s
    );
    Ok(Some(file))
}

fn write(path: &Path, position: &PositionFile) -> anyhow::Result<()> {
    let bytes = serde_json::to_vec(position)?;
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    storage::atomic::write(path, &bytes)?;
    Ok(())
}
