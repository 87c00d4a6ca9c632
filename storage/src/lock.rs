//! One controller per state directory.
//!
//! A `flock` on `STATE_DIR/.lock`: the kernel releases it however the holder ends, so it is never
//! stale. The file holds the owner's process id for people to read. The descriptor is
//! close-on-exec, or a worker that outlives its controller would keep every later one out.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc::O_NOFOLLOW;

/// Held for as long as it lives.
#[derive(Debug)]
pub struct DirLock {
    file: File,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Someone else has it.
    #[error("{} is held by {}", path.display(), holder(*pid))]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who, when it could be read.
        pid: Option<i32>,
    },
    /// The file could not be made, locked or written.
    #[error("cannot take the lock {}", path.display())]
    Failed {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn holder(pid: Option<i32>) -> String {
    pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    )
}

impl DirLock {
    /// Takes the lock, at once or not at all.
    ///
    /// # Errors
    /// [`LockError::Held`] when another process, or this one, has it.
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Failed {
            path: path.to_owned(),
            source,
        };
        let mut file = open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held {
                    path: path.to_owned(),
                    pid: read_pid(&mut file),
                });
            }
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        // The number is for people. A disk that has no room for it, or is read-only, must not keep the
        // controller from running streams.
        let _ = write_pid(&mut file);
        Ok(Self { file })
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // The number would mislead whoever reads the file.
        let _ = self.file.set_len(0);
        // Closing would do, but for a child that was forked and has not executed yet: until then it
        // has a copy of the descriptor.
        let _ = self.file.unlock();
    }
}

/// A file that is there can be locked on a read-only disk, too.
fn open(path: &Path) -> io::Result<File> {
    // std opens close-on-exec.
    let mut options = OpenOptions::new();
    options.read(true).mode(0o600).custom_flags(O_NOFOLLOW);
    let writable = options.clone().write(true).create(true).open(path);
    match writable {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => options.open(path),
        outcome => outcome,
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(file: &mut File) -> Option<i32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_taker_is_told_who_has_it_and_gets_it_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let first = DirLock::acquire(&path).unwrap();
        let error = DirLock::acquire(&path).unwrap_err();
        let own = std::process::id();
        assert_eq!(
            error.to_string(),
            format!("{} is held by process {own}", path.display())
        );
        drop(first);
        DirLock::acquire(&path).unwrap();
    }

    #[test]
    fn a_directory_that_is_missing_is_not_a_held_lock() {
        let dir = tempfile::tempdir().unwrap();
        let error = DirLock::acquire(&dir.path().join("gone/.lock")).unwrap_err();
        assert!(matches!(error, LockError::Failed { .. }), "{error:?}");
    }
}
