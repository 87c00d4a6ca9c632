//! What the peer has acknowledged, read from the socket of the FFmpeg that publishes to it.

/// A socket's account of what was sent through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Bytes the peer has acknowledged.
    pub acked_bytes: u64,
    /// Bytes written to the socket and not acknowledged.
    pub pending_bytes: u64,
}
