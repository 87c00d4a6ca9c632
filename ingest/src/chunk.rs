//! RTMP's chunks put together to messages again: bytes in, messages out; no I/O.
//!
//! Every length and number here is the peer's word. Messages of several chunk streams may be
//! interleaved, as encoders with small chunks do; what a peer can make this hold of messages it has
//! begun is bounded by [`MOST_HELD_BYTES`] and [`MOST_CHUNK_STREAMS`], and nothing is reserved for a
//! length that was only announced.

use std::collections::HashMap;

use bytes::{Buf, Bytes, BytesMut};

/// Chunks have this size until the peer says otherwise.
const INITIAL_CHUNK_BYTES: usize = 128;
/// A chunk is buffered whole. No publisher asks for more than 64 KiB.
const MOST_CHUNK_BYTES: u32 = 1 << 20;
/// Encoders use four or five.
const MOST_CHUNK_STREAMS: usize = 64;
/// Of messages that were begun: one of the greatest there can be (24 bits), and sound between.
const MOST_HELD_BYTES: usize = 20 << 20;
/// A time in three bytes that says: the time follows in four.
const EXTENDED: u32 = 0xff_ffff;

/// Broken chunks.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChunkError {
    /// It leaves out what was never said.
    #[error("chunk stream {0} goes on without ever having begun")]
    NeverBegun(u32),
    /// More than anybody needs.
    #[error("there are more than {MOST_CHUNK_STREAMS} chunk streams")]
    TooManyStreams,
    /// Messages are begun and none is finished.
    #[error("more than {} MiB of unfinished messages", MOST_HELD_BYTES >> 20)]
    TooMuchHeld,
    /// A chunk size nobody needs.
    #[error("chunks of {0} bytes are asked for")]
    Size(u32),
}

/// One message, whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Type of the message.
    pub(crate) kind: u8,
    /// 32 bits that wrap.
    pub(crate) timestamp_ms: u32,
    pub(crate) body: Bytes,
}

/// Everything one peer sends goes through one of these, in order.
pub(crate) struct Reader {
    /// Less than a chunk, after [`Reader::next`] gave `None`.
    buffer: BytesMut,
    chunk_bytes: usize,
    streams: HashMap<u32, ChunkStream>,
    /// Bytes in all unfinished bodies.
    held: usize,
}

#[derive(Default)]
struct ChunkStream {
    header: Header,
    /// Of the message that was begun.
    body: BytesMut,
}

/// What later chunks of the stream need not repeat.
#[derive(Debug, Clone, Copy, Default)]
struct Header {
    timestamp_ms: u32,
    /// What a message without a time of its own is later than the one before.
    delta_ms: u32,
    /// Every chunk of the stream carries four bytes of time.
    extended: bool,
    length: usize,
    kind: u8,
}

/// A header as it was read, and how many bytes it took.
struct Head {
    stream: u32,
    header: Header,
    bytes: usize,
}

// === impl Reader ===

impl Reader {
    pub(crate) fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            chunk_bytes: INITIAL_CHUNK_BYTES,
            streams: HashMap::new(),
            held: 0,
        }
    }

    /// What the peer sent; [`Reader::next`] reads it.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The peer's next chunks have at most `size` bytes.
    pub(crate) fn set_chunk_size(&mut self, size: u32) -> Result<(), ChunkError> {
        if !(1..=MOST_CHUNK_BYTES).contains(&size) {
            return Err(ChunkError::Size(size));
        }
        self.chunk_bytes = size as usize;
        Ok(())
    }

    /// The message that was begun on `stream` will not be finished.
    pub(crate) fn abort(&mut self, stream: u32) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            self.held -= stream.body.len();
            stream.body.clear();
        }
    }

    /// The next whole message; `None` until more has been fed.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, ChunkError> {
        while let Some(head) = self.head()? {
            let begun = self.streams.get(&head.stream);
            let begun = begun.map_or(0, |stream| stream.body.len());
            let piece = self.chunk_bytes.min(head.header.length - begun);
            if self.buffer.len() < head.bytes + piece {
                return Ok(None);
            }
            if self.held + piece > MOST_HELD_BYTES {
                return Err(ChunkError::TooMuchHeld);
            }
            self.buffer.advance(head.bytes);
            let stream = self.streams.entry(head.stream).or_default();
            stream.header = head.header;
            stream.body.extend_from_slice(&self.buffer[..piece]);
            self.buffer.advance(piece);
            self.held += piece;
            if stream.body.len() == head.header.length {
                self.held -= head.header.length;
                return Ok(Some(Message {
                    kind: head.header.kind,
                    timestamp_ms: head.header.timestamp_ms,
                    body: stream.body.split().freeze(),
                }));
            }
            if self.streams.len() > MOST_CHUNK_STREAMS {
                return Err(ChunkError::TooManyStreams);
            }
        }
        Ok(None)
    }

    /// The header at the start of the buffer, if it is there as a whole. Nothing is taken: it is read
    /// again with the rest of its chunk.
    fn head(&mut self) -> Result<Option<Head>, ChunkError> {
        let mut rest = &self.buffer[..];
        let Some((format, number)) = basic_header(&mut rest) else {
            return Ok(None);
        };
        let known = self.streams.get(&number);
        if format > 0 && known.is_none() {
            return Err(ChunkError::NeverBegun(number));
        }
        let before = known.map(|stream| stream.header).unwrap_or_default();
        let begun = known.is_some_and(|stream| !stream.body.is_empty());
        let Some(mut header) = message_header(&mut rest, format, before) else {
            return Ok(None);
        };
        let bytes = self.buffer.len() - rest.len();
        if begun && (header.length, header.kind) != (before.length, before.kind) {
            // As every server does: the peer has given its unfinished message up.
            self.abort(number);
        } else if begun {
            // A time is a message's, not a chunk's.
            header = before;
        }
        Ok(Some(Head {
            stream: number,
            header,
            bytes,
        }))
    }
}

/// Which of four forms the header has, and its chunk stream.
fn basic_header(rest: &mut &[u8]) -> Option<(u8, u32)> {
    let first = rest.try_get_u8().ok()?;
    let stream = match first & 0x3f {
        0 => 64 + u32::from(rest.try_get_u8().ok()?),
        1 => 64 + u32::from(rest.try_get_u16_le().ok()?),
        small => u32::from(small),
    };
    Some((first >> 6, stream))
}

/// The rest of it; what it does not say is as in `before`.
fn message_header(rest: &mut &[u8], format: u8, before: Header) -> Option<Header> {
    let mut header = before;
    let mut time = before.delta_ms;
    if format < 3 {
        time = u24(rest)?;
        header.extended = time == EXTENDED;
    }
    if format < 2 {
        header.length = u24(rest)? as usize;
        header.kind = rest.try_get_u8().ok()?;
    }
    if format < 1 {
        // The message stream: a connection has one.
        rest.try_get_u32_le().ok()?;
    }
    if header.extended {
        let extended = rest.try_get_u32().ok()?;
        // Repeated on a chunk without a header of its own, where a delta may be meant, or a time.
        if format < 3 {
            time = extended;
        }
    }
    header.delta_ms = time;
    header.timestamp_ms = match format {
        0 => time,
        _ => before.timestamp_ms.wrapping_add(time),
    };
    Some(header)
}

fn u24(rest: &mut &[u8]) -> Option<u32> {
    let ([a, b, c], after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_be_bytes([0, *a, *b, *c]))
}

#[cfg(test)]
mod tests;
