//! Whether the open file still is the one at its path. SQLite goes on with a file that was removed or replaced, and
//! what is written there nobody ever reads.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use nix::unistd::geteuid;

use super::{Database, HistoryError, with_suffix};
use crate::atomic::{self, AtomicError, Operation};

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

    /// Writes everything in a file that was removed to its path again. This one stays open and is to be let go of: what
    /// is at the path now is another.
    ///
    /// # Errors
    /// When the disk refuses: nothing has changed, and as long as this one is open nothing is lost.
    pub fn put_back(&mut self) -> Result<(), HistoryError> {
        self.look_for_room()?;
        let copy = with_suffix(&self.path, ".restored");
        // Of an earlier try.
        let _none = fs::remove_file(&copy);
        let put = self.copy_to(&copy).and_then(|copied| {
            self.remove_log();
            match atomic::complete(&copied, &copy, &self.path) {
                // It is in its place.
                Err(error) if error.operation == Operation::SyncDirectory => Ok(()),
                put => Ok(put?),
            }
        });
        if put.is_err() {
            let _none = fs::remove_file(&copy);
        }
        put
    }

    /// Closes a file that is no longer at its path, and removes what SQLite has left beside that: it would be taken
    /// for the log of whatever is there next.
    pub fn let_go(self) {
        self.remove_log();
        // SQLite, which closes it now, touches nothing at the path of a file that is not there any more.
    }

    /// Removes the log beside the path if it is that of this file, which goes on with it unseen.
    fn remove_log(&self) {
        let beside = self.log_path();
        if self.log.is_some() && Identity::of(&beside).ok() == self.log {
            // What cannot be removed is told by whoever opens the next file.
            let _wal = fs::remove_file(beside);
            let _shm = fs::remove_file(with_suffix(&self.path, "-shm"));
        }
    }

    /// A copy that does not fit is not begun: it would take the last room from everyone else, time and again.
    fn look_for_room(&mut self) -> Result<(), HistoryError> {
        let needed = self.with("restore", |connection| {
            let number =
                |name| connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
            Ok((number("page_count")? - number("freelist_count")?) * number("page_size")?)
        })?;
        let Some(Ok(disk)) = self.path.parent().map(statvfs) else {
            // What is wrong there is found by writing.
            return Ok(());
        };
        let blocks = if geteuid().is_root() {
            disk.blocks_free()
        } else {
            disk.blocks_available()
        };
        let free = blocks.saturating_mul(disk.fragment_size());
        if free < needed {
            let path = self.path.clone();
            return Err(HistoryError::NoRoom { path, needed, free });
        }
        Ok(())
    }

    fn copy_to(&mut self, copy: &Path) -> Result<fs::File, HistoryError> {
        self.with("restore", |connection| {
            let text = copy.to_str();
            let text = text.ok_or_else(|| rusqlite::Error::InvalidPath(copy.to_owned()))?;
            connection.execute("VACUUM INTO ?1", [text]).map(drop)
        })?;
        let copied = fs::File::open(copy);
        Ok(copied.map_err(|source| AtomicError::new(copy, Operation::Sync, source))?)
    }
}

fn is_missing(found: &io::Result<Identity>) -> bool {
    matches!(found, Err(error) if error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the file is removed and replaced here, past the crate's own writers"
)]
mod tests {
    use super::super::{Batch, Boot};
    use super::*;

    fn open(path: &Path) -> Database {
        Database::open(path).unwrap()
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
            database.put_back().unwrap();
            assert_eq!(database.whereabouts(), Whereabouts::Replaced);
            database.let_go();
            let mut database = open(&path);
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
        database.let_go();
        assert_eq!(boots(&mut open(&path)), ["other"]);
    }

    #[test]
    fn without_its_directory_it_stays_open_until_it_can_be_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("below");
        fs::create_dir(&below).unwrap();
        let path = below.join("history.db");
        let mut database = open(&path);
        write(&mut database, "before");
        fs::remove_dir_all(&below).unwrap();
        assert_eq!(database.whereabouts(), Whereabouts::Removed);
        let error = database.put_back().unwrap_err();
        assert!(!error.is_unreadable(), "{error:?}");
        assert!(!below.exists());
        assert_eq!(boots(&mut database), ["before"]);
        fs::create_dir(&below).unwrap();
        database.put_back().unwrap();
        database.let_go();
        assert_eq!(boots(&mut open(&path)), ["before"]);
    }
}
