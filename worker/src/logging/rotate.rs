//! Standard output, kept below a size when it is the stream's log file.
//!
//! Nobody but the worker is certain to be there for as long as the file grows, so it rotates by
//! itself. The controller opened the file for append and handed it over as standard output *and*
//! error; a rename would leave both on the old file. So the full file is copied to `<name>.1` and
//! then cut to nothing: appending goes on at its new end. Only the worker writes, so no line is
//! lost between the two; a crash between them leaves lines twice, never none.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

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
}

/// The size of `path` when `out` is that very file.
fn size_if_same(out: &File, path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    let mine = out.metadata().ok()?;
    let there = std::fs::metadata(path).ok()?;
    let same = mine.is_file() && (mine.dev(), mine.ino()) == (there.dev(), there.ino());
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
