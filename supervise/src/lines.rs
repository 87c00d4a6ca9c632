//! A process's output as bounded, printable lines.

use std::collections::VecDeque;
use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest line that is kept, in bytes; of a longer one the beginning is.
pub const MAX_LINE_BYTES: usize = 16 * 1024;

/// Shown where a line was cut.
const CUT_MARK: &str = " …[cut]";

/// How far back from the limit a cut looks for a blank. What is cut in the middle of a word could be
/// half a key, which no redactor knows; so the cut falls on a blank, or a word of this size is lost.
const CUT_SEARCH_BYTES: usize = 2 * 1024;

/// Reads lines ended by `\n`, `\r` or both. Memory is bounded whatever comes; bytes that are not
/// UTF-8 and control characters are shown as `U+FFFD`; empty lines are left out.
#[derive(Debug)]
pub struct LineReader<R> {
    from: R,
    /// Read and not yet returned; at most one line over the limit, plus one read.
    buffer: BytesMut,
    /// Bytes at the start of `buffer` known to hold no line end.
    searched: usize,
    /// The rest of an overlong line is being thrown away.
    skipping: bool,
    ended: bool,
}

/// The last lines of something, the oldest forgotten first.
#[derive(Debug, Clone)]
pub struct Tail {
    lines: VecDeque<String>,
    capacity: usize,
}

// === impl LineReader ===

impl<R: AsyncRead + Unpin> LineReader<R> {
    /// Reads from `from`.
    pub fn new(from: R) -> Self {
        Self {
            from,
            buffer: BytesMut::with_capacity(8 * 1024),
            searched: 0,
            skipping: false,
            ended: false,
        }
    }

    /// The next line without its end; `None` at the end of the stream, whose last line needs no
    /// line end. Cancel-safe.
    ///
    /// # Errors
    /// When reading fails.
    pub async fn next_line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(line) = self.line_in_buffer() {
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(None);
            }
            self.ended = self.from.read_buf(&mut self.buffer).await? == 0;
        }
    }

    fn line_in_buffer(&mut self) -> Option<String> {
        while !self.buffer.is_empty() {
            let end = self.buffer[self.searched..]
                .iter()
                .position(|byte| matches!(byte, b'\n' | b'\r'))
                .map(|found| self.searched + found);
            let Some(end) = end else {
                return self.unfinished_line();
            };
            self.searched = 0;
            let line = self.buffer.split_to(end + 1);
            let was_skipping = std::mem::replace(&mut self.skipping, false);
            if !was_skipping && end > 0 {
                return Some(shown(&line[..end]));
            }
        }
        None
    }

    /// The buffer holds no line end: it is the last line, or too long already, or unfinished.
    fn unfinished_line(&mut self) -> Option<String> {
        self.searched = self.buffer.len();
        let too_long = self.buffer.len() > MAX_LINE_BYTES;
        if !self.ended && !too_long && !self.skipping {
            return None;
        }
        self.searched = 0;
        let line = self.buffer.split();
        let was_skipping = std::mem::replace(&mut self.skipping, !self.ended);
        (!was_skipping).then(|| shown(&line))
    }
}

/// Bytes as a log may show them.
fn shown(line: &[u8]) -> String {
    if line.len() <= MAX_LINE_BYTES {
        return printable(line);
    }
    let kept = &line[..MAX_LINE_BYTES];
    let earliest = MAX_LINE_BYTES - CUT_SEARCH_BYTES;
    let cut = kept[earliest..]
        .iter()
        .rposition(u8::is_ascii_whitespace)
        .map_or(earliest, |blank| earliest + blank);
    printable(&kept[..cut]) + CUT_MARK
}

fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

// === impl Tail ===

impl Tail {
    /// Keeps at most `capacity` lines.
    pub fn new(capacity: usize) -> Self {
        Self {
            lines: VecDeque::with_capacity(capacity.min(1024)),
            capacity,
        }
    }

    /// Adds a line, and forgets the oldest when there are too many.
    pub fn push(&mut self, line: impl Into<String>) {
        while self.lines.len() >= self.capacity.max(1) {
            self.lines.pop_front();
        }
        if self.capacity > 0 {
            self.lines.push_back(line.into());
        }
    }

    /// The last `count` lines, oldest first.
    pub fn last(&self, count: usize) -> impl Iterator<Item = &str> {
        let skip = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skip).map(String::as_str)
    }

    /// All lines kept, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// The newest line.
    pub fn newest(&self) -> Option<&str> {
        self.lines.back().map(String::as_str)
    }
}
