//! FLV as FFmpeg writes and reads it: tags in, packets out, and back.
//!
//! Source: Adobe Flash Video File Format Specification 10.1, annex E.

pub mod packet;

pub use packet::{AudioPacket, Packet, VideoPacket};
