//! The end of the log file a worker writes to, for when there is no worker to ask.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// How much of the end of a log is read for its last lines.
const TAIL_BYTES: u64 = 512 * 1024;

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
}
