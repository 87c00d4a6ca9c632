//! Replacing a file so that a crash at any instruction leaves the old or the new one.
//!
//! The only place of the workspace that renames. The numbered steps, and why each fsync is where it
//! is, are in `docs/design/documents.md`.
//!
//! Everything here blocks on the disk; async callers use `spawn_blocking`.

use std::fmt;
use std::fs::{self, DirEntry, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc::O_NOFOLLOW;

/// Mode of everything this crate writes except media: documents may name private servers.
pub const PRIVATE: u32 = 0o600;
/// Mode of media files, which other programs of the machine may want to read.
pub const SHARED: u32 = 0o644;

/// A file that was not replaced, or not certainly.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {fault}", path.display())]
pub struct AtomicError {
    /// What it was about.
    pub path: PathBuf,
    /// The step that failed.
    pub operation: Operation,
    /// What an operator can do about it.
    pub fault: DiskFault,
    /// The system's own words.
    #[source]
    pub source: io::Error,
}

/// Steps of replacing a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Making the temporary file.
    Create,
    /// Writing to it.
    Write,
    /// Flushing it.
    Sync,
    /// Keeping what is being replaced under another name.
    KeepOld,
    /// Putting it in place.
    Rename,
    /// Flushing the directory. The new file is in place, but a power cut may undo it.
    SyncDirectory,
    /// Deleting a file.
    Remove,
}

/// Causes that call for different hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// No space, no inodes or no quota left.
    Full,
    /// The file system is mounted read-only, often after a disk error.
    ReadOnly,
    /// Owner or mode are wrong.
    Denied,
    /// The directory, or something on the way to it, does not exist.
    NoDirectory,
    /// See the source.
    Other,
}

/// Replaces `path` by `bytes`, mode 0600.
///
/// # Errors
/// Unless the operation was [`Operation::SyncDirectory`], the old file is still in place.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), AtomicError> {
    let mut staged = Staged::create(path, PRIVATE)?;
    staged.write_all(bytes)?;
    staged.commit(Old::Discard)
}

/// Replaces `path` by `bytes`, mode 0600, and waits for no disk: for files that mean nothing after a
/// reboot. Readers and a crash of this process find the old file or the new one; a power cut may take
/// both.
///
/// # Errors
/// The old file is still in place.
pub fn write_volatile(path: &Path, bytes: &[u8]) -> Result<(), AtomicError> {
    let mut staged = Staged::create(path, PRIVATE)?;
    staged.write_all(bytes)?;
    staged.put_in_place(Old::Discard)
}

/// What becomes of the file that is being replaced.
#[derive(Debug, Clone, Copy)]
pub enum Old<'a> {
    /// Gone.
    Discard,
    /// Kept under this name in the same directory, if there is one.
    KeepAs(&'a Path),
}

/// A new file beside the one it is to replace; removed when dropped uncommitted.
#[derive(Debug)]
pub struct Staged {
    file: File,
    temp: TempName,
    target: PathBuf,
}

/// A name that is unlinked when dropped, unless the file behind it has moved on.
#[derive(Debug)]
struct TempName {
    path: PathBuf,
    moved: bool,
}

// === impl Staged ===

impl Staged {
    /// Makes the temporary file for `target`, in the same directory.
    ///
    /// # Errors
    /// See [`AtomicError`].
    pub fn create(target: &Path, mode: u32) -> Result<Self, AtomicError> {
        let path = temp_for(target)?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .custom_flags(O_NOFOLLOW)
            .open(&path)
            .map_err(|e| AtomicError::new(target, Operation::Create, e))?;
        Ok(Self {
            file,
            temp: TempName { path, moved: false },
            target: target.to_owned(),
        })
    }

    /// Another handle on the temporary file, for writing it in pieces.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn file(&self) -> Result<File, AtomicError> {
        self.file
            .try_clone()
            .map_err(|e| AtomicError::new(&self.target, Operation::Create, e))
    }

    /// Gives the new file the read and write permissions the present one has, if there is one: an
    /// operator's group keeps its access to a file that is edited by hand.
    ///
    /// # Errors
    /// See [`AtomicError`].
    pub fn keep_permissions(&self) -> Result<(), AtomicError> {
        let Ok(present) = fs::metadata(&self.target) else {
            return Ok(());
        };
        let mode = present.permissions().mode() & 0o666;
        self.file
            .set_permissions(Permissions::from_mode(mode))
            .map_err(|e| AtomicError::new(&self.target, Operation::Create, e))
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// See [`AtomicError`].
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<(), AtomicError> {
        self.file
            .write_all(bytes)
            .map_err(|e| AtomicError::new(&self.target, Operation::Write, e))
    }

    /// Puts the file in place and makes that durable.
    ///
    /// # Errors
    /// Unless the operation was [`Operation::SyncDirectory`], the old file is still in place.
    pub fn commit(mut self, old: Old<'_>) -> Result<(), AtomicError> {
        let synced = self.file.sync_all();
        synced.map_err(|e| AtomicError::new(&self.target, Operation::Sync, e))?;
        self.put_in_place(old)?;
        sync_directory(&self.target)
    }

    fn put_in_place(&mut self, old: Old<'_>) -> Result<(), AtomicError> {
        let failed = |operation| {
            let path = self.target.clone();
            move |e| AtomicError::new(&path, operation, e)
        };
        if let Old::KeepAs(kept) = old {
            keep(&self.target, kept).map_err(failed(Operation::KeepOld))?;
        }
        rename(&self.temp.path, &self.target).map_err(failed(Operation::Rename))?;
        self.temp.moved = true;
        Ok(())
    }
}

/// Gives the file at `from`, of which `file` is a handle, its name `target` in the same directory, and makes
/// both durable: for what was written in pieces over a long time.
///
/// # Errors
/// Unless the operation was [`Operation::SyncDirectory`], the file is still at `from`.
pub fn complete(file: &File, from: &Path, target: &Path) -> Result<(), AtomicError> {
    let failed = |operation| move |e| AtomicError::new(target, operation, e);
    file.sync_all().map_err(failed(Operation::Sync))?;
    rename(from, target).map_err(failed(Operation::Rename))?;
    sync_directory(target)
}

impl Drop for TempName {
    fn drop(&mut self) {
        if !self.moved {
            // Best effort: a leftover is hidden, never read, and removed by `remove_leftovers`.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the temporary files a crash left behind for `target`. Only for its one writer.
///
/// # Errors
/// When the directory cannot be read or a leftover cannot be removed; no directory is no error.
pub fn remove_leftovers(target: &Path) -> Result<usize, AtomicError> {
    let failed = |e| AtomicError::new(target, Operation::Remove, e);
    let prefix = format!(".{}.", file_name(target).map_err(failed)?);
    remove_temps(target, |name, _| Ok(name.starts_with(&prefix))).map_err(failed)
}

/// Removes every temporary file in the directory of `target` that nobody has written to for `age`:
/// for directories with many writers, of which some were killed.
///
/// # Errors
/// As [`remove_leftovers`].
pub fn remove_abandoned(target: &Path, age: Duration) -> Result<usize, AtomicError> {
    let old = |_: &str, entry: &DirEntry| {
        let written = entry.metadata()?.modified()?;
        // A time in the future is no age.
        Ok(written.elapsed().is_ok_and(|elapsed| elapsed >= age))
    };
    remove_temps(target, old).map_err(|e| AtomicError::new(target, Operation::Remove, e))
}

fn remove_temps(
    target: &Path,
    unwanted: impl Fn(&str, &DirEntry) -> io::Result<bool>,
) -> io::Result<usize> {
    let entries = match fs::read_dir(directory(target)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| is_temp(name)) else {
            continue;
        };
        match unwanted(name, &entry).and_then(|unwanted| match unwanted {
            true => fs::remove_file(entry.path()).map(|()| 1),
            false => Ok(0),
        }) {
            Ok(n) => removed += n,
            // Its writer was quicker.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(removed)
}

/// `.<name>.<16 hex digits>.tmp`, as [`temp_path`] makes them.
fn is_temp(name: &str) -> bool {
    let random = name.strip_prefix('.').and_then(|name| {
        let (_, random) = name.strip_suffix(".tmp")?.rsplit_once('.')?;
        Some(random)
    });
    random.is_some_and(|r| r.len() == 16 && r.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Removes `path` durably; a file that is not there is no error.
///
/// # Errors
/// See [`AtomicError`].
pub fn remove(path: &Path) -> Result<(), AtomicError> {
    match unlink(path)? {
        true => sync_directory(path),
        false => Ok(()),
    }
}

/// Removes `path` and waits for no disk, see [`write_volatile`]; a file that is not there is no error.
///
/// # Errors
/// See [`AtomicError`].
pub fn remove_volatile(path: &Path) -> Result<(), AtomicError> {
    unlink(path).map(|_was_there| ())
}

/// Whether there was a file.
fn unlink(path: &Path) -> Result<bool, AtomicError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(AtomicError::new(path, Operation::Remove, e)),
        Ok(()) => Ok(true),
    }
}

/// Gives the file at `path` the name `aside` in the same directory, durably: somebody may want to look
/// at it.
///
/// # Errors
/// See [`AtomicError`].
pub fn set_aside(path: &Path, aside: &Path) -> Result<(), AtomicError> {
    rename(path, aside).map_err(|e| AtomicError::new(path, Operation::Rename, e))?;
    sync_directory(aside)
}

/// Gives the file at `target` a second name, replacing what had that name. The link is made under a
/// temporary name first, so that `kept` is never missing.
fn keep(target: &Path, kept: &Path) -> io::Result<()> {
    let temp = TempName {
        path: temp_path(kept)?,
        moved: false,
    };
    match fs::hard_link(target, &temp.path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        // Renaming one name of a file onto another name of the same file does nothing and leaves
        // both, so `temp` is dropped, and thereby removed, in every case.
        other => other.and_then(|()| rename(&temp.path, kept)),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that renames"
)]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

fn sync_directory(target: &Path) -> Result<(), AtomicError> {
    File::open(directory(target))
        .and_then(|directory| directory.sync_all())
        .map_err(|e| AtomicError::new(target, Operation::SyncDirectory, e))
}

fn directory(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn file_name(target: &Path) -> io::Result<&str> {
    target
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a file name in UTF-8"))
}

fn temp_for(target: &Path) -> Result<PathBuf, AtomicError> {
    temp_path(target).map_err(|e| AtomicError::new(target, Operation::Create, e))
}

fn temp_path(target: &Path) -> io::Result<PathBuf> {
    let random = getrandom::u64().map_err(io::Error::other)?;
    // File names end at 255 bytes; a long one is cut, at a character, to leave room for the rest.
    let name = file_name(target)?;
    let name = &name[..name.floor_char_boundary(200)];
    Ok(directory(target).join(format!(".{name}.{random:016x}.tmp")))
}

// === impl AtomicError ===

impl AtomicError {
    pub(crate) fn new(path: &Path, operation: Operation, source: io::Error) -> Self {
        Self {
            path: path.to_owned(),
            operation,
            fault: DiskFault::of(&source),
            source,
        }
    }
}

impl DiskFault {
    /// Sorts an I/O error.
    pub fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NoDirectory,
            _ => Self::Other,
        }
    }

    /// Stable, snake case.
    pub fn error_type(self) -> &'static str {
        match self {
            Self::Full => "disk_full",
            Self::ReadOnly => "disk_read_only",
            Self::Denied => "disk_permission",
            Self::NoDirectory => "no_directory",
            Self::Other => "disk_error",
        }
    }

    /// What to do.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Full => "free some space (`df -h`, `df -i`); it heals by itself then",
            Self::ReadOnly => {
                "the file system is mounted read-only: see `dmesg` for disk errors, and the \
                 unit's ReadWritePaths"
            }
            Self::Denied => "give the directory to the user the service runs as",
            Self::NoDirectory => "create the directory, or mount the disk it is on",
            Self::Other => "see the cause; `dmesg` tells of disk errors",
        }
    }
}

impl fmt::Display for DiskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the disk is full",
            Self::ReadOnly => "the file system is read-only",
            Self::Denied => "permission denied",
            Self::NoDirectory => "the directory does not exist",
            Self::Other => "the disk failed",
        })
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create a temporary file for",
            Self::Write => "write",
            Self::Sync => "flush",
            Self::KeepOld => "keep the previous version of",
            Self::Rename => "replace",
            Self::SyncDirectory => "flush the directory of",
            Self::Remove => "remove",
        })
    }
}
