//! Standard output, kept below a size when it is the stream's log file.
//!
//! Nobody but the worker is certain to be there for as long as the file grows, so it rotates by
//! itself. The controller opened the file for append and handed it over as standard output *and*
//! error; a rename would leave both on the old file. So the full file is copied to `<name>.1` and
//! then cut to nothing: appending goes on at its new end. Only the worker writes, so no line is
//! lost between the two; a crash between them leaves lines twice, never none.
//!
//! A file that somebody removed or moved away is begun anew, and becomes standard output and error in its turn: the
//! next image of this process finds it there.

use std::fs::{DirBuilder, File, Metadata};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::stdio::{dup2_stderr, dup2_stdout};

/// Largest size of the file and of its predecessor.
const LIMIT_BYTES: u64 = 5 * 1024 * 1024;

/// A writer to standard output.
#[derive(Debug)]
pub(super) struct Rotating {
    out: Option<File>,
    log: Option<Log>,
}

/// Standard output as a file that may be cut.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    bytes: u64,
    limit: u64,
}

impl Rotating {
    /// Standard output; rotated when it is the file at `log_file`.
    pub(super) fn stdout(log_file: &Path) -> Self {
        let out = io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .ok()
            .map(File::from);
        Self::new(out, log_file, LIMIT_BYTES)
    }

    pub(super) fn new(out: Option<File>, log_file: &Path, limit: u64) -> Self {
        let log = out
            .as_ref()
            .and_then(|out| size_if_same(out, log_file))
            .map(|bytes| Log {
                path: log_file.to_owned(),
                bytes,
                limit,
            });
        Self { out, log }
    }

    /// Writes one line. A log that cannot be written must not stop a stream, and there is nowhere
    /// to report it: failures are dropped.
    pub(super) fn write(&mut self, line: &[u8]) {
        let Some(out) = &mut self.out else { return };
        if let Some(log) = &mut self.log {
            if log.bytes + line.len() as u64 > log.limit && log.rotate(out).is_err() {
                // Without room for the copy the old lines go: a full disk must not fill further.
                drop(out.set_len(0));
                log.bytes = 0;
            }
            log.bytes += line.len() as u64;
        }
        drop(out.write_all(line));
    }

    /// Looks whether the log still is the file at its path, and begins it anew when it is not; whether it did. Where
    /// that cannot be done, the next look tries it again.
    pub(super) fn look(&mut self) -> bool {
        let (Some(out), Some(log)) = (&mut self.out, &mut self.log) else {
            return false;
        };
        if !log.is_gone(out) {
            return false;
        }
        let Ok(file) = log.begin_anew() else {
            return false;
        };
        replace_standard(out, &file);
        log.bytes = file.metadata().map_or(0, |it| it.len());
        *out = file;
        true
    }
}

impl Log {
    fn rotate(&mut self, out: &File) -> io::Result<()> {
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        std::fs::copy(&self.path, old)?;
        out.set_len(0)?;
        self.bytes = 0;
        Ok(())
    }

    /// Whether it is certain that `out` is not the file at the path any more.
    fn is_gone(&self, out: &File) -> bool {
        match (out.metadata(), std::fs::metadata(&self.path)) {
            (Ok(mine), Ok(there)) => !is_same(&mine, &there),
            (Ok(_), Err(error)) => error.kind() == io::ErrorKind::NotFound,
            (Err(_), _) => false,
        }
    }

    /// The file, as the controller makes it for a worker.
    fn begin_anew(&self) -> io::Result<File> {
        if let Some(directory) = self.path.parent() {
            match DirBuilder::new().mode(0o750).create(directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        let mut append = File::options();
        append.append(true).create(true).mode(0o640);
        append.open(&self.path)
    }
}

/// Puts `new` where standard output and error are `old`. Where that fails, what is written past the log goes on to
/// where it went.
fn replace_standard(old: &File, new: &File) {
    let is_old = |standard: io::Result<File>| {
        let standard = standard.and_then(|file| file.metadata());
        let old = old.metadata();
        matches!((standard, old), (Ok(standard), Ok(old)) if is_same(&standard, &old))
    };
    let held = |fd: io::Result<std::os::fd::OwnedFd>| fd.map(File::from);
    if is_old(held(io::stdout().as_fd().try_clone_to_owned())) {
        let _kept = dup2_stdout(new);
    }
    if is_old(held(io::stderr().as_fd().try_clone_to_owned())) {
        let _kept = dup2_stderr(new);
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// The size of `path` when `out` is that very file.
fn size_if_same(out: &File, path: &Path) -> Option<u64> {
    let mine = out.metadata().ok()?;
    let there = std::fs::metadata(path).ok()?;
    let same = mine.is_file() && is_same(&mine, &there);
    same.then_some(mine.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(path: &Path) -> File {
        let file = File::options().append(true).create(true).open(path);
        file.expect("a fresh directory")
    }

    #[test]
    fn a_full_log_becomes_the_old_one_and_no_line_is_lost() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let path = dir.path().join("main.log");
        let mut rotating = Rotating::new(Some(append(&path)), &path, 100);
        for number in 10..25 {
            rotating.write(format!("line {number}\n").as_bytes());
        }
        let old = std::fs::read_to_string(dir.path().join("main.log.1")).expect("rotated");
        let new = std::fs::read_to_string(&path).expect("there");
        assert!(
            old.len() <= 100 && new.len() <= 100,
            "{} {}",
            old.len(),
            new.len()
        );
        let lines: Vec<_> = old.lines().chain(new.lines()).collect();
        let all: Vec<_> = (10..25).map(|number| format!("line {number}")).collect();
        assert_eq!(lines, all);
    }

    #[test]
    fn a_log_that_was_moved_or_removed_with_its_directory_is_begun_anew() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let logs = dir.path().join("logs");
        std::fs::create_dir(&logs).expect("made");
        let (path, moved) = (logs.join("main.log"), dir.path().join("moved"));
        let mut rotating = Rotating::new(Some(append(&path)), &path, 100);
        rotating.write(b"one\n");
        assert!(!rotating.look());
        std::fs::hard_link(&path, &moved).expect("a second name");
        std::fs::remove_file(&path).expect("removed");
        assert!(rotating.look() && !rotating.look());
        rotating.write(b"two\n");
        let text = |path: &Path| std::fs::read_to_string(path).expect("there");
        assert_eq!(
            (text(&moved), text(&path)),
            ("one\n".into(), "two\n".into())
        );
        std::fs::remove_dir_all(&logs).expect("removed");
        assert!(rotating.look());
        rotating.write(b"three\n");
        assert_eq!(text(&path), "three\n");
        // What it is part of is gone: it is not for a log to make that.
        std::fs::remove_dir_all(dir.path()).expect("removed");
        assert!(!rotating.look());
    }

    #[test]
    fn another_file_or_a_terminal_is_never_cut() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let (log, other) = (dir.path().join("main.log"), dir.path().join("other"));
        drop(append(&log));
        let mut rotating = Rotating::new(Some(append(&other)), &log, 10);
        for _ in 0..10 {
            rotating.write(b"0123456789\n");
        }
        assert_eq!(std::fs::metadata(&other).expect("there").len(), 110);
    }
}
