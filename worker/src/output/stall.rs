//! Whether a connection is getting anywhere. Pure.
//!
//! Two things can hang, and FFmpeg says nothing about either: FFmpeg itself, which then takes no
//! input, and the peer, which then acknowledges nothing while the kernel's buffers fill.

use std::time::Duration;

use tokio::time::Instant;

use super::delivery::Delivery;

/// How long either may take.
pub const STALLED_AFTER: Duration = Duration::from_secs(5);
/// While the connection is being made: FFmpeg gives up by itself after 5 s, and says why.
const NOT_CONNECTED_AFTER: Duration = Duration::from_secs(7);
/// Bytes acknowledged before any media can have been: RTMP's handshake and commands (3.5 KiB)
/// and TLS's (about 1 KiB).
const PREAMBLE_BYTES: u64 = 5 * 1024;
/// Where acknowledgements cannot be read, media FFmpeg has to take before it counts as delivered.
const TAKEN_FOR: Duration = Duration::from_secs(2);

/// Watches one connection.
#[derive(Debug, Default)]
pub struct Progress {
    taken_since: Option<Instant>,
    /// Since when FFmpeg has not taken what there is to take.
    blocked_since: Option<Instant>,
    acked_bytes: u64,
    /// Since when nothing was acknowledged although something is unacknowledged.
    silent_since: Option<Instant>,
}

/// What a look at the connection says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Media was delivered and goes on being.
    Delivering,
    /// Nothing wrong, nothing delivered since the last look.
    Quiet,
    /// FFmpeg has taken nothing for [`STALLED_AFTER`].
    NotTaken,
    /// The peer has acknowledged nothing for [`STALLED_AFTER`].
    NotAcknowledged,
}

impl Progress {
    /// FFmpeg took something.
    pub fn taken(&mut self, now: Instant) {
        self.taken_since.get_or_insert(now);
        self.blocked_since = None;
    }

    /// There is something FFmpeg could take; called as often as it is seen.
    pub fn offered(&mut self, now: Instant) {
        self.blocked_since.get_or_insert(now);
    }

    /// Judges, given what is known of the peer.
    pub fn look(&mut self, delivery: Option<Delivery>, now: Instant) -> Look {
        let patience = match self.acked_bytes >= PREAMBLE_BYTES {
            true => STALLED_AFTER,
            false => NOT_CONNECTED_AFTER,
        };
        let too_long = |since: Option<Instant>| {
            since.is_some_and(|since| now.saturating_duration_since(since) >= patience)
        };
        if too_long(self.blocked_since) {
            return Look::NotTaken;
        }
        let Some(delivery) = delivery else {
            let flowing = self
                .taken_since
                .is_some_and(|since| now.saturating_duration_since(since) >= TAKEN_FOR);
            return match flowing && self.blocked_since.is_none() {
                true => Look::Delivering,
                false => Look::Quiet,
            };
        };
        let grew = delivery.acked_bytes > self.acked_bytes;
        self.acked_bytes = delivery.acked_bytes;
        if grew || !delivery.pending {
            self.silent_since = None;
        } else {
            self.silent_since.get_or_insert(now);
        }
        if too_long(self.silent_since) {
            Look::NotAcknowledged
        } else if grew && delivery.acked_bytes >= PREAMBLE_BYTES {
            Look::Delivering
        } else {
            Look::Quiet
        }
    }
}

#[cfg(test)]
mod tests;
