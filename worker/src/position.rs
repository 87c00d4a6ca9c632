//! Where the programme stands, written so that a new worker resumes there.
//!
//! Losing the position costs a viewer the rest of an item; losing the stream over it would cost
//! more. So nothing here is an error to its caller: a file that cannot be read is a start from the
//! beginning, one that cannot be written is logged once and tried again at the next occasion.
//!
//! There are two files: `position.json`, which outlives a power cut, and the *place* in
//! `RUNTIME_DIR`, which costs no disk anything and so is newer. The newest that can be read counts.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use storage::document::{self, Document, Opened};
use storage::layout::Layout;
use storage::model::{PositionFile, StreamId};

/// Version of [`PositionFile`] this build writes and reads.
pub const POSITION_VERSION: u32 = 1;

/// A place is written in whole pages, so that one write replaces another.
const PAGE_BYTES: usize = 4_096;

/// Where a stream's position is read and written.
#[derive(Debug)]
pub struct PositionStore {
    path: PathBuf,
    place: PathBuf,
    failing: bool,
}

impl PositionStore {
    /// For the stream's files; touches nothing yet.
    pub fn of(layout: &Layout, stream: &StreamId) -> Self {
        Self::new(layout.position(stream), layout.place(stream))
    }

    fn new(path: PathBuf, place: PathBuf) -> Self {
        Self {
            path,
            place,
            failing: false,
        }
    }

    /// Where the programme stood, if that is known.
    pub async fn load(&self) -> Option<PositionFile> {
        let place = self.place.clone();
        let noted = tokio::task::spawn_blocking(move || read_place(&place)).await;
        let noted = noted.expect("reading a place does not panic");
        let makes_sense =
            |position: &PositionFile| position.item_s.is_finite() && position.item_s >= 0.0;
        let known = [self.load_durable().await, noted].into_iter().flatten();
        known.filter(makes_sense).max_by_key(|position| position.at)
    }

    /// Of a damaged file, the last good copy.
    async fn load_durable(&self) -> Option<PositionFile> {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || document::read::<PositionFile>(&path)).await;
        match read.expect("reading a position does not panic") {
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
        }
    }

    /// Writes `position` down for as long as the machine runs. Nothing is said where that fails: what
    /// [`Self::save`] wrote is a few seconds older.
    pub async fn note(&self, position: PositionFile) {
        let place = self.place.clone();
        let noted = tokio::task::spawn_blocking(move || write_place(&place, &position)).await;
        if let Err(error) = noted.expect("noting a position does not panic") {
            tracing::debug!(path = %self.place.display(), %error, "the place cannot be noted");
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

/// One write, over all there is: a reader sees the old place or the new one.
fn write_place(path: &Path, position: &PositionFile) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(storage::atomic::PRIVATE)
        .open(path)?;
    let mut json = serde_json::to_vec(position)?;
    let there = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    json.resize(json.len().next_multiple_of(PAGE_BYTES).max(there), b' ');
    file.write_all_at(&json, 0)
}

fn read_place(path: &Path) -> Option<PositionFile> {
    let json = std::fs::read(path).ok()?;
    let position: PositionFile = serde_json::from_slice(&json).ok()?;
    (position.version == POSITION_VERSION).then_some(position)
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

    fn at(path: &Path) -> PositionStore {
        PositionStore::new(path.to_owned(), path.with_extension("place"))
    }

    #[tokio::test]
    async fn the_newest_of_both_files_counts() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let path = dir.path().join("position.json");
        let mut store = at(&path);
        let after = |seconds: i64, item_s| PositionFile {
            at: Timestamp::from_second(seconds).expect("in range"),
            ..position(item_s)
        };
        store.save(after(5, 5.0)).await;
        store.note(after(7, 7.0)).await;
        assert_eq!(store.load().await, Some(after(7, 7.0)));
        let mut long = after(8, 8.0);
        long.position.key = Some("k".repeat(2 * PAGE_BYTES));
        store.note(long.clone()).await;
        assert_eq!(store.load().await, Some(long));
        store.note(after(9, 9.0)).await;
        assert_eq!(store.load().await, Some(after(9, 9.0)), "over a longer one");
        store.save(after(10, 10.0)).await;
        assert_eq!(store.load().await, Some(after(10, 10.0)));
        // After a power cut.
        storage::atomic::write(&store.place, &[0; PAGE_BYTES]).expect("written");
        assert_eq!(store.load().await, Some(after(10, 10.0)));
    }

    #[tokio::test]
    async fn a_new_worker_reads_what_the_last_one_wrote() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let path = dir
            .path()
            .join("streams")
            .join("main")
            .join("position.json");
        let mut store = at(&path);
        assert_eq!(store.load().await, None, "nothing was written yet");
        store.save(position(1.5)).await;
        store.save(position(2.5)).await;
        assert_eq!(at(&path).load().await, Some(position(2.5)));
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
            assert_eq!(at(&path).load().await, None, "{text}");
        }
    }

    #[tokio::test]
    async fn a_position_that_cannot_be_written_is_written_later() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let in_the_way = dir.path().join("streams");
        storage::atomic::write(&in_the_way, b"a file").expect("written");
        let path = in_the_way.join("position.json");
        let mut store = at(&path);
        store.save(position(1.0)).await;
        assert!(store.failing);
        std::fs::remove_file(&in_the_way).expect("there");
        store.save(position(2.0)).await;
        assert!(!store.failing);
        assert_eq!(store.load().await, Some(position(2.0)));
    }
}
