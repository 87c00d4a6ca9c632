//! An incremental FLV parser: bytes in as they come, packets out. Pure.
//!
//! A tag that lies within one pushed chunk becomes a slice of it. Only a tag that straddles chunks
//! is copied, once, into a buffer of its own.

use super::packet::Packet;
use super::tag::{self, ForeignCodec, HEADER_BYTES, MAX_BODY_BYTES, TagFault, TagHeader};
use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// `FLV`, version, flags, offset of the first tag (9), and the length of the tag before it (0).
const FILE_HEADER_BYTES: usize = 9 + 4;
/// Timestamps are told apart modulo this: FFmpeg writes only 31 of the 32 bits.
const WRAP_MS: i64 = 1 << 31;

/// Why a stream of bytes cannot be read on. The reader stays where it is: what follows is lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlvError {
    /// The first bytes are not an FLV file header.
    #[error("not FLV: the stream begins with \"{}\"", .found.escape_ascii())]
    NotFlv {
        /// The first bytes.
        found: Vec<u8>,
    },
    /// Something that is not a tag where one must be.
    #[error("damaged FLV at byte {offset}: {what}")]
    Damaged {
        /// Of the tag, from the start of the stream.
        offset: u64,
        /// What gave it away.
        what: &'static str,
    },
    /// A tag larger than any real picture.
    #[error("FLV tag of {bytes} bytes at byte {offset}; at most {MAX_BODY_BYTES} are accepted")]
    Oversized {
        /// Of the tag, from the start of the stream.
        offset: u64,
        /// Length of its body.
        bytes: usize,
    },
    /// Well-formed, but neither H.264 nor AAC.
    #[error("FLV carries {codec}; only H.264 and AAC can go on air")]
    UnsupportedCodec {
        /// Which one.
        codec: ForeignCodec,
    },
}

/// Turns a byte stream into packets.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FlvReader {
    /// What is left of the last chunk.
    #[serde(with = "crate::handover::blob")]
    chunk: Bytes,
    /// The beginning of a tag whose rest has not come yet.
    #[serde(with = "crate::handover::blob")]
    partial: BytesMut,
    /// Bytes taken so far, all of them of whole tags.
    offset: u64,
    past_file_header: bool,
    /// Last timestamp read, the wrap undone.
    clock_ms: i64,
}

impl FlvReader {
    /// A reader at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream. Ask for packets until there are none before pushing
    /// again; otherwise what is left is copied together with the new bytes.
    pub fn push(&mut self, bytes: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = bytes;
        } else {
            let mut both = BytesMut::with_capacity(self.chunk.len() + bytes.len());
            both.extend_from_slice(&self.chunk);
            both.extend_from_slice(&bytes);
            self.chunk = both.freeze();
        }
    }

    /// The next packet; `None`: more bytes are needed.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, FlvError> {
        if !self.past_file_header && !self.take_file_header()? {
            return Ok(None);
        }
        while let Some((header, whole)) = self.take_tag()? {
            let offset = self.offset;
            let packet = self
                .parse(header, whole)
                .map_err(|fault| at(offset, fault))?;
            self.offset += header.whole_bytes() as u64;
            if packet.is_some() {
                return Ok(packet);
            }
        }
        Ok(None)
    }

    fn take_file_header(&mut self) -> Result<bool, FlvError> {
        let Some(head) = self.assemble(FILE_HEADER_BYTES) else {
            return Ok(false);
        };
        if !head.starts_with(b"FLV\x01") || head[5..] != [0, 0, 0, 9, 0, 0, 0, 0] {
            return Err(FlvError::NotFlv {
                found: head.to_vec(),
            });
        }
        self.past_file_header = true;
        self.offset = FILE_HEADER_BYTES as u64;
        Ok(true)
    }

    fn take_tag(&mut self) -> Result<Option<(TagHeader, Bytes)>, FlvError> {
        let Some(raw) = self.peek_tag_header() else {
            return Ok(None);
        };
        let header = TagHeader::parse(raw).map_err(|fault| at(self.offset, fault))?;
        if header.body_bytes > MAX_BODY_BYTES {
            return Err(FlvError::Oversized {
                offset: self.offset,
                bytes: header.body_bytes,
            });
        }
        Ok(self
            .assemble(header.whole_bytes())
            .map(|whole| (header, whole)))
    }

    /// The eleven bytes at the reading position, without taking them.
    fn peek_tag_header(&mut self) -> Option<[u8; HEADER_BYTES]> {
        if self.partial.is_empty()
            && let Some(raw) = self.chunk.first_chunk()
        {
            return Some(*raw);
        }
        self.gather(HEADER_BYTES);
        self.partial.first_chunk().copied()
    }

    /// Takes exactly `len` bytes once they are all there.
    fn assemble(&mut self, len: usize) -> Option<Bytes> {
        if self.partial.is_empty() && self.chunk.len() >= len {
            return Some(self.chunk.split_to(len));
        }
        self.gather(len);
        (self.partial.len() >= len).then(|| self.partial.split_to(len).freeze())
    }

    /// Moves bytes from the chunk until `len` are in `partial`, or the chunk is empty.
    fn gather(&mut self, len: usize) {
        let missing = len.saturating_sub(self.partial.len());
        let moved = missing.min(self.chunk.len());
        if moved > 0 {
            self.partial.reserve(missing);
            self.partial.extend_from_slice(&self.chunk[..moved]);
            self.chunk.advance(moved);
        }
    }

    fn parse(&mut self, header: TagHeader, whole: Bytes) -> Result<Option<Packet>, TagFault> {
        let body_end = HEADER_BYTES + header.body_bytes;
        if whole[body_end..] != (body_end as u32).to_be_bytes() {
            return Err(TagFault::Malformed(
                "the length behind a tag is not the one before it",
            ));
        }
        let body = whole.slice(HEADER_BYTES..body_end);
        match header.kind {
            tag::TYPE_VIDEO => tag::video(self.unwrap_ms(header.timestamp), body),
            tag::TYPE_AUDIO => tag::audio(self.unwrap_ms(header.timestamp), body),
            // onMetaData: everything in it is better known from the headers.
            _ => Ok(None),
        }
    }

    /// The time nearest to the last one that looks like this on the wire.
    fn unwrap_ms(&mut self, wire: u32) -> i64 {
        let step = (i64::from(wire) - self.clock_ms).rem_euclid(WRAP_MS);
        self.clock_ms += if step < WRAP_MS / 2 {
            step
        } else {
            step - WRAP_MS
        };
        self.clock_ms
    }
}

fn at(offset: u64, fault: TagFault) -> FlvError {
    match fault {
        TagFault::Foreign(codec) => FlvError::UnsupportedCodec { codec },
        TagFault::Malformed(what) => FlvError::Damaged { offset, what },
    }
}
