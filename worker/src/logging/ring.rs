//! The last lines of the log, for whoever asks.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Lines kept.
pub(super) const RING_LINES: usize = 1000;
/// Bytes kept: a flood of long lines must not become memory.
const RING_BYTES: usize = 512 * 1024;
/// Bytes kept of one line.
const LINE_BYTES: usize = 4 * 1024;

/// A shared ring of the last [`RING_LINES`] lines, half a megabyte at most.
#[derive(Debug, Clone, Default)]
pub struct LogRing {
    lines: Arc<Mutex<Lines>>,
}

#[derive(Debug, Default)]
struct Lines {
    lines: VecDeque<Box<str>>,
    bytes: usize,
}

impl LogRing {
    /// Keeps one line, with or without its end.
    pub fn push(&self, line: &[u8]) {
        let line = line.trim_ascii_end();
        let text = String::from_utf8_lossy(&line[..line.len().min(LINE_BYTES)]);
        let mut ring = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        ring.bytes += text.len();
        ring.lines.push_back(text.into());
        while ring.lines.len() > RING_LINES || ring.bytes > RING_BYTES {
            let Some(oldest) = ring.lines.pop_front() else {
                break;
            };
            ring.bytes -= oldest.len();
        }
    }

    /// The last `count` lines, oldest first.
    pub fn last(&self, count: usize) -> Vec<String> {
        let ring = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let skipped = ring.lines.len().saturating_sub(count);
        ring.lines
            .iter()
            .skip(skipped)
            .map(|line| line.to_string())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_holds_the_last_thousand_lines_oldest_first() {
        let ring = LogRing::default();
        for number in 0..1500 {
            ring.push(format!("line {number}\n").as_bytes());
        }
        assert_eq!(ring.last(5000).len(), RING_LINES);
        assert_eq!(ring.last(2), ["line 1498", "line 1499"]);
        assert_eq!(ring.last(0), Vec::<String>::new());
    }

    #[test]
    fn a_flood_of_long_lines_stays_below_the_limit() {
        let ring = LogRing::default();
        let line = vec![b'x'; 1 << 20];
        for _ in 0..500 {
            ring.push(&line);
        }
        let held: usize = ring.last(RING_LINES).iter().map(String::len).sum();
        assert!(held <= RING_BYTES, "{held}");
        assert!(held > RING_BYTES / 2, "{held}");
    }
}
