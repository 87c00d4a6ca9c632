//! Where the programme stands, written so that a new worker resumes there.
//!
//! Losing the position costs a viewer the rest of an item; losing the stream over it would cost
//! more. So nothing here is an error to its caller: a file that cannot be read is a start from the
//! beginning, one that cannot be written is logged once and tried again at the next occasion.

use std::path::{Path, PathBuf};

use storage::document::{self, Document, Opened};
use storage::model::PositionFile;

/// Version of [`PositionFile`] this build writes and reads.
pub const POSITION_VERSION: u32 = 1;

/// Where a stream's position file is read and written.
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

    /// Where the programme stood, if that is known: of a damaged file, the last good copy.
    pub async fn load(&self) -> Option<PositionFile> {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || document::read::<PositionFile>(&path)).await;
        let position = match read.expect("reading a position does not panic") {
            Ok(Opened::Absent) => None,
            Ok(Opened::Loaded { value, .. }) => Some(value),
            Ok(Opened::Corrupt(corrupt)) => {
                tracing::warn!(
                    path = %self.path.display(), flaw = %corrupt.flaw,
                    "the stored position is damaged; its last good copy is used, if there is one"
                );
                corrupt.last_good.map(|copy| copy.value)
            }
            Err(error) => {
                tracing::warn!(
                    path = %self.path.display(), %error,
                    "the stored position cannot be read; the programme starts from its beginning"
                );
                None
            }
        };
        position.filter(|position| position.item_s.is_finite() && position.item_s >= 0.0)
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

/// A damaged position is worth nothing to anybody, so it is written over.
fn write(path: &Path, position: &PositionFile) -> anyhow::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let (mut document, opened) = Document::<PositionFile>::open(path)?;
    match opened {
        Opened::Absent | Opened::Loaded { .. } => document.save(position)?,
        Opened::Corrupt(_) => document.save_over(position)?,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use programme::Position;

    use super::*;

    fn position(item_s: f64) -> PositionFile {
        PositionFile {
            version: POSITION_VERSION,
            position: Position::default(),
            item_s,
            block: None,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn a_new_worker_reads_what_the_last_one_wrote() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let path = dir
            .path()
            .join("streams")
            .join("main")
            .join("position.json");
        let mut store = PositionStore::new(&path);
        assert_eq!(store.load().await, None, "nothing was written yet");
        store.save(position(1.5)).await;
        store.save(position(2.5)).await;
        assert_eq!(PositionStore::new(&path).load().await, Some(position(2.5)));
    }

    #[tokio::test]
    async fn what_cannot_be_a_position_is_a_start_from_the_beginning() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let path = dir.path().join("position.json");
        let good = serde_json::to_string(&position(1.0)).expect("JSON");
        for text in [
            "",
            "{",
            "[]",
            &good[..good.len() / 2],
            &good.replace("\"version\":1", "\"version\":2"),
            &good.replace("\"item_s\":1.0", "\"item_s\":-1.0"),
        ] {
            storage::atomic::write(&path, text.as_bytes()).expect("written");
            assert_eq!(PositionStore::new(&path).load().await, None, "{text}");
        }
    }

    #[tokio::test]
    async fn a_position_that_cannot_be_written_is_written_later() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let in_the_way = dir.path().join("streams");
        storage::atomic::write(&in_the_way, b"a file").expect("written");
        let path = in_the_way.join("position.json");
        let mut store = PositionStore::new(&path);
        store.save(position(1.0)).await;
        assert!(store.failing);
        std::fs::remove_file(&in_the_way).expect("there");
        store.save(position(2.0)).await;
        assert!(!store.failing);
        assert_eq!(store.load().await, Some(position(2.0)));
    }
}
