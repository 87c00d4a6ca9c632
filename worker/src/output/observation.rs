//! What is seen of a connection at a look.

use std::time::Duration;

use tokio::time::Instant;

use super::delivery::Delivery;
use super::stall::Look;

/// What is new at a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// See [`Look`].
    pub look: Look,
    /// Media taken from the queue, ms.
    pub media_ms: u64,
    /// What it comes to in bytes, from any beginning.
    pub media_bytes: u64,
    /// What the socket says, where that can be read.
    pub delivery: Option<Delivery>,
    /// This process did nothing from then until now.
    pub stood_still_since: Option<Instant>,
    /// When the newest of it was delivered.
    pub delivered_at: Instant,
    /// Media that has come and is not acknowledged, as far as it has waited longer than it was to.
    pub behind: Duration,
    /// Mean of the last seconds.
    pub bitrate_kbps: u32,
}
