//! Whether the open file still is the one at its path. SQLite goes on with a file that was removed or replaced, and
//! what is written there nobody ever reads.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::{Database, HistoryError, with_suffix};
use crate::atomic;

/// Where the open file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// At its path; or that cannot be seen at the moment.
    There,
    /// Nothing is at its path; or SQLite's log beside it is gone, with what was written last.
    Removed,
    /// Another file is.
    Replaced,
}

/// What tells a file from others, whatever they are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

impl Database {
    /// Looks where the file is.
    pub fn whereabouts(&self) -> Whereabouts {
        match Identity::of(&self.path) {
            Ok(found) if Some(found) != self.file => Whereabouts::Replaced,
            Ok(_) if self.log.is_some() && is_missing(&Identity::of(&self.log_path())) => {
                Whereabouts::Removed
            }
            found if is_missing(&found) => Whereabouts::Removed,
            Ok(_) | Err(_) => Whereabouts::There,
        }
    }

    fn log_path(&self) -> PathBuf {
        with_suffix(&self.path, "-wal")
    }

    /// Writes everything in a file that was removed to its path again, as long as it is still open, and goes on there.
    ///
    /// # Errors
    /// When the disk refuses; then what was in it is lost.
    pub fn restore(self) -> Result<Self, HistoryError> {
        let copy = with_suffix(&self.path, ".restored");
        // Of an earlier try.
        let _none = fs::remove_file(&copy);
        let copied = copy_to(&self.connection, &copy).map_err(|source| HistoryError::Sqlite {
            operation: "restore",
            path: self.path.clone(),
            source,
        });
        let path = self.let_go();
        if let Err(error) = copied {
            let _none = fs::remove_file(&copy);
            return Err(error);
        }
        atomic::set_aside(&copy, &path)?;
        Self::open_whole(&path)
    }

    /// Closes a file that is no longer at its path, and removes what SQLite has left beside that: it would be taken
    /// for the log of whatever is there next. Answers the path.
    pub fn let_go(self) -> PathBuf {
        let Self {
            connection,
            path,
            log,
            ..
        } = self;
        drop(connection);
        let beside = with_suffix(&path, "-wal");
        if log.is_some() && Identity::of(&beside).ok() == log {
            // What cannot be removed is told by whoever opens the next file.
            let _wal = fs::remove_file(beside);
            let _shm = fs::remove_file(with_suffix(&path, "-shm"));
        }
        path
    }
}

fn is_missing(found: &io::Result<Identity>) -> bool {
    matches!(found, Err(error) if error.kind() == io::ErrorKind::NotFound)
}

fn copy_to(connection: &Connection, copy: &Path) -> rusqlite::Result<()> {
    let text = copy.to_str();
    let text = text.ok_or_else(|| rusqlite::Error::InvalidPath(copy.to_owned()))?;
    connection.execute("VACUUM INTO ?1", [text]).map(drop)
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the file is removed and replaced here, past the crate's own writers"
)]
mod tests {
    use jiff::Timestamp;

    use super::super::{Batch, Boot};
    use super::*;

    fn open(path: &Path) -> Database {
        let (database, aside) = Database::open(path, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(aside, None);
        database
    }

    fn write(database: &mut Database, boot_id: &str) {
        let boots = vec![Boot {
            boot_id: boot_id.into(),
            offset_ms: 7,
        }];
        let batch = Batch {
            boots,
            ..Batch::default()
        };
        database.write(&batch).unwrap();
    }

    fn boots(database: &mut Database) -> Vec<String> {
        let boots = database.load().unwrap().boots;
        boots.into_iter().map(|boot| boot.boot_id).collect()
    }

    #[test]
    fn a_file_that_is_removed_is_written_again_and_nothing_is_missing() {
        for gone in [&["", "-wal", "-shm"][..], &[""], &["-wal"]] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("history.db");
            let mut database = open(&path);
            write(&mut database, "before");
            assert_eq!(database.whereabouts(), Whereabouts::There);
            for suffix in gone {
                fs::remove_file(with_suffix(&path, suffix)).unwrap();
            }
            write(&mut database, "meanwhile");
            assert_eq!(database.whereabouts(), Whereabouts::Removed);
            let mut database = database.restore().unwrap();
            assert_eq!(database.whereabouts(), Whereabouts::There);
            write(&mut database, "since");
            drop(database);
            assert_eq!(boots(&mut open(&path)), ["before", "meanwhile", "since"]);
            let left = fs::read_dir(dir.path()).unwrap().count();
            assert_eq!(left, 1, "closed, it is one file");
        }
    }

    #[test]
    fn a_file_in_its_place_is_not_mixed_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.db");
        let kept = dir.path().join("kept.db");
        let mut other = open(&kept);
        write(&mut other, "other");
        drop(other);
        let mut database = open(&path);
        write(&mut database, "before");
        fs::rename(&kept, &path).unwrap();
        write(&mut database, "meanwhile");
        assert_eq!(database.whereabouts(), Whereabouts::Replaced);
        assert_eq!(database.let_go(), path);
        assert_eq!(boots(&mut open(&path)), ["other"]);
    }

    #[test]
    fn without_its_directory_it_cannot_be_restored_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("below");
        fs::create_dir(&below).unwrap();
        let database = open(&below.join("history.db"));
        fs::remove_dir_all(&below).unwrap();
        assert_eq!(database.whereabouts(), Whereabouts::Removed);
        assert!(database.restore().is_err());
        assert!(!below.exists());
    }
}
