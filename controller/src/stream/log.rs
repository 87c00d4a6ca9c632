//! The log file a worker writes to: its end for people, and a bound on its size.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// How much of the end of a log is read for its last lines.
const TAIL_BYTES: u64 = 512 * 1024;
/// Above this a log is copied to `<name>.1` and emptied.
const MAX_LOG_BYTES: u64 = 16 << 20;

/// The last `lines` lines of the log, oldest first; none when there is no log.
pub(super) fn tail(path: &Path, lines: usize) -> Vec<String> {
    let Ok(text) = read_end(path) else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&text);
    let mut found: Vec<String> = text.lines().rev().take(lines).map(str::to_owned).collect();
    found.reverse();
    found
}

fn read_end(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut text = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut text)?;
    if start > 0 {
        // The first line was cut.
        let whole = text.iter().position(|byte| *byte == b'\n');
        text.drain(..whole.map_or(0, |end| end + 1));
    }
    Ok(text)
}

/// Keeps a log within its bound. The worker appends to the file it has open, so it is emptied in
/// place rather than renamed; a line written in between is lost.
///
/// # Errors
/// When the disk refuses; the log then goes on growing.
pub(super) fn bound(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if found.len() > MAX_LOG_BYTES => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let mut old = path.as_os_str().to_owned();
    old.push(".1");
    std::fs::copy(path, old)?;
    OpenOptions::new().write(true).open(path)?.set_len(0)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "logs are no documents")]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_log_is_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("main.log");
        let text: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&path, text).unwrap();
        assert_eq!(tail(&path, 2), ["line 99998", "line 99999"]);
        assert!(
            tail(&path, usize::MAX)
                .iter()
                .all(|line| line.starts_with("line "))
        );
        assert!(tail(&dir.path().join("gone.log"), 5).is_empty());
    }

    #[test]
    fn a_log_that_grew_too_long_is_set_aside_while_its_writer_goes_on() {
        use std::io::Write;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("main.log");
        let mut writer = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .unwrap();
        writer.write_all(&vec![b'x'; 17 << 20]).unwrap();
        bound(&path).unwrap();
        writer.write_all(b"after\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "after\n");
        bound(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "after\n");
    }
}
