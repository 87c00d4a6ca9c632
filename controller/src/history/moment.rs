//! The two clocks of an instant.

use std::time::Duration;

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// An instant, for people and for lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// By the wall clock, which may be set.
    pub(crate) at: Timestamp,
    /// Milliseconds since the machine was started, its sleep included; never runs backwards.
    pub(crate) boot_ms: u64,
}

// === impl Moment ===

impl Moment {
    /// Now.
    pub(crate) fn now() -> Self {
        let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME)
            .map(Duration::from)
            .expect("Linux has this clock since 2.6.39");
        Self {
            at: Timestamp::now(),
            boot_ms: u64::try_from(since_boot.as_millis()).expect("no machine runs for so long"),
        }
    }

    /// So long before.
    pub(crate) fn before(self, ago: Duration) -> Self {
        let ago_ms = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        Self {
            at: self.at.saturating_sub(ago).unwrap_or(Timestamp::MIN),
            boot_ms: self.boot_ms.saturating_sub(ago_ms),
        }
    }
}

/// Names the boot that [`Moment::boot_ms`] counts from; empty where the kernel does not say.
pub(crate) fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    text.unwrap_or_default().trim().to_owned()
}
