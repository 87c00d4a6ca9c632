//! FLV as FFmpeg writes and reads it: tags in, packets out, and back.
//!
//! Source: Adobe Flash Video File Format Specification 10.1, annex E.

pub mod codec;
mod headers;
pub mod message;
pub mod packet;
pub mod reader;
mod tag;
pub mod writer;

pub use codec::{AudioConfig, VideoConfig};
pub use headers::Headers;
pub use packet::{AudioPacket, Packet, VideoPacket};
pub use reader::{FlvError, FlvReader};
pub use writer::{FlvWriter, Metadata};

#[cfg(test)]
mod tests;
