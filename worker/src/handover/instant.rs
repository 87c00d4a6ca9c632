//! Instants on their way to the next image of this process: as nanoseconds of CLOCK_MONOTONIC, which
//! is the machine's and what [`Instant`] is made of.
//!
//! To be named in `#[serde(with = "crate::handover::instant")]`.

use std::sync::LazyLock;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::time::Instant;

/// One moment on both scales; the distance between them never changes.
static ANCHOR: LazyLock<(Instant, i64)> = LazyLock::new(|| {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (Instant::now(), clock.tv_sec * 1_000_000_000 + clock.tv_nsec)
});

/// The instant's number.
pub(crate) fn to_ns(instant: Instant) -> i64 {
    let (anchor, anchor_ns) = *ANCHOR;
    let ns = |distance: Duration| i64::try_from(distance.as_nanos()).unwrap_or(i64::MAX);
    match instant.checked_duration_since(anchor) {
        Some(after) => anchor_ns.saturating_add(ns(after)),
        None => anchor_ns.saturating_sub(ns(anchor.duration_since(instant))),
    }
}

/// The instant of this number; now, for one that cannot be an instant.
pub(crate) fn from_ns(number: i64) -> Instant {
    let (anchor, anchor_ns) = *ANCHOR;
    let distance = Duration::from_nanos(number.abs_diff(anchor_ns));
    let instant = match number >= anchor_ns {
        true => anchor.checked_add(distance),
        false => anchor.checked_sub(distance),
    };
    instant.unwrap_or_else(Instant::now)
}

/// Writes the number.
///
/// # Errors
/// The serializer's.
pub fn serialize<S: Serializer>(instant: &Instant, to: S) -> Result<S::Ok, S::Error> {
    to_ns(*instant).serialize(to)
}

/// Reads a number.
///
/// # Errors
/// The deserializer's.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Instant, D::Error> {
    i64::deserialize(from).map(from_ns)
}

/// The same for one that may not be.
pub mod option {
    use super::{Deserialize, Deserializer, Instant, Serialize, Serializer, from_ns, to_ns};

    /// Writes the number or nothing.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(instant: &Option<Instant>, to: S) -> Result<S::Ok, S::Error> {
        instant.map(to_ns).serialize(to)
    }

    /// Reads a number or nothing.
    ///
    /// # Errors
    /// The deserializer's.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Instant>, D::Error> {
        Ok(Option::<i64>::deserialize(from)?.map(from_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_instant_comes_back_to_the_nanosecond() {
        let _anchored = to_ns(Instant::now());
        tokio::time::advance(Duration::from_secs(5)).await;
        let now = Instant::now();
        for instant in [
            now,
            now - Duration::from_secs(3),
            now + Duration::from_nanos(1),
        ] {
            assert_eq!(from_ns(to_ns(instant)), instant);
        }
        assert_eq!(
            to_ns(now + Duration::from_millis(7)) - to_ns(now),
            7_000_000
        );
    }
}
