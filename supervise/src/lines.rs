//! A process's output as bounded, printable lines.

use std::collections::VecDeque;
use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest line that is kept, in bytes; of a longer one the beginning is.
pub const MAX_LINE_BYTES: usize = 16 * 1024;

/// Room made for each read.
const READ_BYTES: usize = 8 * 1024;

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
            buffer: BytesMut::with_capacity(2 * READ_BYTES),
            searched: 0,
            skipping: false,
            ended: false,
        }
    }

    /// Goes on reading where another reader stopped: `rest` is what that had read and not returned.
    pub fn resumed(from: R, rest: &[u8]) -> Self {
        let mut reader = Self::new(from);
        reader.buffer.extend_from_slice(rest);
        reader
    }

    /// Stops reading; also returns what was read and not returned as a line.
    pub fn into_parts(self) -> (R, BytesMut) {
        (self.from, self.buffer)
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
            // Without it a nearly full buffer would be filled in tiny reads.
            self.buffer.reserve(READ_BYTES);
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

    /// At most `capacity` lines, beginning with these.
    pub fn resumed(capacity: usize, lines: impl IntoIterator<Item = String>) -> Self {
        let mut tail = Self::new(capacity);
        for line in lines {
            tail.push(line);
        }
        tail
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::{Output, Spec, spawn};

    async fn lines_of(bytes: &[u8]) -> Vec<String> {
        let mut reader = LineReader::new(bytes);
        let mut lines = Vec::new();
        while let Some(line) = reader.next_line().await.unwrap() {
            lines.push(line);
        }
        lines
    }

    #[tokio::test]
    async fn both_line_ends_end_a_line_and_the_last_needs_none() {
        let lines = lines_of(b"one\ntwo\rthree\r\n\n\nframe= 1\rframe= 2").await;
        assert_eq!(lines, ["one", "two", "three", "frame= 1", "frame= 2"]);
        assert!(lines_of(b"").await.is_empty());
        assert!(lines_of(b"\n\r\n").await.is_empty());
    }

    #[tokio::test]
    async fn what_a_terminal_would_obey_is_shown_as_replaced() {
        let lines = lines_of(b"a\0b\x1b[31mred\tx\nb\xffd \xc3\n\xe2\x82\xac\n").await;
        assert_eq!(
            lines,
            ["a\u{fffd}b\u{fffd}[31mred\tx", "b\u{fffd}d \u{fffd}", "€"]
        );
    }

    #[tokio::test]
    async fn a_line_of_a_mebibyte_is_cut_and_the_next_is_whole() {
        let mut bytes = vec![b'x'; 1024 * 1024];
        bytes.extend_from_slice(b"\nnext\n");
        let mut reader = LineReader::new(&bytes[..]);
        let long = reader.next_line().await.unwrap().unwrap();
        assert!(long.len() <= MAX_LINE_BYTES + CUT_MARK.len());
        assert!(long.ends_with(CUT_MARK));
        assert_eq!(reader.next_line().await.unwrap().as_deref(), Some("next"));
        assert_eq!(reader.next_line().await.unwrap(), None);
        assert!(reader.buffer.capacity() <= 4 * MAX_LINE_BYTES);
    }

    #[tokio::test]
    async fn a_long_line_without_an_end_is_told_once() {
        let lines = lines_of(&vec![b'x'; 1024 * 1024]).await;
        assert_eq!(lines.len(), 1);
    }

    #[tokio::test]
    async fn a_cut_never_shows_half_a_word() {
        let secret = "K".repeat(500);
        for before in MAX_LINE_BYTES - 600..MAX_LINE_BYTES + 10 {
            let line = format!("{} {secret} {}", "w".repeat(before), "y".repeat(40_000));
            let shown = &lines_of(line.as_bytes()).await[0];
            let count = shown.chars().filter(|c| *c == 'K').count();
            assert!(count == 0 || count == 500, "{before}: {count} of 500 shown");
        }
    }

    #[tokio::test]
    async fn an_abandoned_read_loses_nothing() {
        let (mut far, near) = tokio::io::duplex(64);
        let mut reader = LineReader::new(near);
        far.write_all(b"begin").await.unwrap();
        let short = std::time::Duration::from_millis(5);
        assert!(
            tokio::time::timeout(short, reader.next_line())
                .await
                .is_err()
        );
        far.write_all(b" end\n").await.unwrap();
        assert_eq!(
            reader.next_line().await.unwrap().as_deref(),
            Some("begin end")
        );
    }

    #[tokio::test]
    async fn a_flood_is_read_whole_in_bounded_memory() {
        let spec = Spec::new("sh")
            .args(["-c", "yes 0123456789 | head -c 22000000"])
            .stdout(Output::Piped);
        let mut child = spawn(spec).unwrap();
        let mut reader = LineReader::new(child.take_stdout().unwrap());
        let mut tail = Tail::new(10);
        let mut count = 0;
        while let Some(line) = reader.next_line().await.unwrap() {
            count += 1;
            tail.push(line);
        }
        assert_eq!(count, 2_000_000);
        assert!(reader.buffer.capacity() <= 4 * MAX_LINE_BYTES);
        assert_eq!(tail.iter().count(), 10);
    }

    #[test]
    fn a_tail_keeps_the_newest() {
        let mut tail = Tail::new(3);
        for line in ["a", "b", "c", "d"] {
            tail.push(line);
        }
        assert_eq!(tail.iter().collect::<Vec<_>>(), ["b", "c", "d"]);
        assert_eq!(tail.last(2).collect::<Vec<_>>(), ["c", "d"]);
        assert_eq!(tail.last(9).count(), 3);
        assert_eq!(tail.newest(), Some("d"));
        let mut none = Tail::new(0);
        none.push("a");
        assert_eq!(none.newest(), None);
    }

    proptest! {
        /// However the bytes arrive, the lines are those of the whole.
        #[test]
        fn chunks_do_not_matter(text in "[a-z\n\r ]{0,300}", sizes in prop::collection::vec(1_usize..40, 1..50)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let expected: Vec<String> = text
                .split(['\n', '\r'])
                .filter(|line| !line.is_empty())
                .map(str::to_owned)
                .collect();
            let got = runtime.block_on(async {
                let (mut far, near) = tokio::io::duplex(7);
                let write = async {
                    let mut rest = text.as_bytes();
                    for size in sizes.iter().cycle() {
                        if rest.is_empty() {
                            break;
                        }
                        let (now, later) = rest.split_at((*size).min(rest.len()));
                        far.write_all(now).await.unwrap();
                        rest = later;
                    }
                    drop(far);
                };
                let read = async {
                    let mut reader = LineReader::new(near);
                    let mut lines = Vec::new();
                    while let Some(line) = reader.next_line().await.unwrap() {
                        lines.push(line);
                    }
                    lines
                };
                tokio::join!(write, read).1
            });
            prop_assert_eq!(got, expected);
        }
    }
}
