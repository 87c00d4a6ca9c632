//! Why a publisher's connection is of no more use.

use std::io;
use std::time::Duration;

use rml_rtmp::chunk_io::ChunkSerializationError;
use rml_rtmp::handshake::HandshakeError;
use rml_rtmp::messages::MessageSerializationError;

use crate::amf::AmfError;
use crate::chunk::ChunkError;

/// Why a connection ended before its publisher said so.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// It ended before it said what it wants to publish.
    #[error("the peer left before it asked to publish")]
    Left,
    /// It was silent, or slow, for too long.
    #[error("the peer did not ask to publish within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// Not RTMP at all.
    #[error("the peer does not speak RTMP")]
    Handshake(#[from] HandshakeError),
    /// Broken chunks.
    #[error("the peer sent something that is no RTMP chunk")]
    Chunk(#[from] ChunkError),
    /// A broken command.
    #[error("the peer sent a broken RTMP command")]
    Command(#[from] AmfError),
    /// A command without end.
    #[error("the peer sent a command of {0} bytes")]
    CommandTooLong(usize),
    /// An answer could not be encoded.
    #[error("an answer could not be encoded")]
    Answer(#[from] MessageSerializationError),
    /// An answer could not be cut into chunks.
    #[error("an answer could not be written")]
    Write(#[from] ChunkSerializationError),
    /// Commands without end.
    #[error("the peer sent too much before it asked to publish")]
    TooMuchBeforePublish,
    /// It did not wait for its answer.
    #[error("the peer sent media before it was allowed to publish")]
    MediaBeforePublish,
    /// One connection carries one stream.
    #[error("the peer asked to publish a second time on one connection")]
    SecondPublish,
}
