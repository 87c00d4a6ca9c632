//! The built-in ingest: who may publish, and the door they come through.
//!
//! ```text
//! encoder ─rtmp─► door: handshake, connect, publish ─► keys ─► the stream's worker (the socket itself)
//!                                     └ wrong key: refused before any media
//! ```
//! - [`keys`]: made, listed, revoked; one task writes them.
//! - [`door`]: connections up to their `publish`, then into other hands.

pub mod door;
pub mod keys;

pub use keys::Keys;
