//! When a connection is given what: no faster than real time, from its first picture on. Pure.
//!
//! A connection begins with the newest keyframe, which is up to a group of pictures old. Sending
//! what has come since at once would be a burst; so it is sent in real time and stays that much
//! behind. Only a head of half a second goes ahead, which FFmpeg needs to open its connection.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Media given at once.
const HEAD_MS: i64 = 500;
/// Where no delivery is seen by then, the clock starts all the same.
const START_WITHIN: Duration = Duration::from_secs(2);

/// The clock of one connection.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Pace {
    origin_ms: i64,
    #[serde(with = "crate::handover::instant")]
    began: Instant,
    #[serde(with = "crate::handover::instant::option")]
    delivers_since: Option<Instant>,
}

impl Pace {
    /// Of a connection whose first picture has the decode time `origin_ms`.
    pub fn new(origin_ms: i64, now: Instant) -> Self {
        Self {
            origin_ms,
            began: now,
            delivers_since: None,
        }
    }

    /// The peer takes media. Answers whether that is news.
    pub fn delivering(&mut self, now: Instant) -> bool {
        let is_news = self.delivers_since.is_none();
        self.delivers_since.get_or_insert(now);
        is_news
    }

    /// Since when the peer takes media.
    pub fn delivers_since(&self) -> Option<Instant> {
        self.delivers_since
    }

    /// When what has this decode time may be given.
    pub fn due(&self, dts_ms: i64) -> Instant {
        let behind_ms = dts_ms.saturating_sub(self.origin_ms + HEAD_MS);
        let Some(behind_ms) = u64::try_from(behind_ms).ok().filter(|ms| *ms > 0) else {
            return self.began;
        };
        let latest = self.began + START_WITHIN;
        let zero = self.delivers_since.map_or(latest, |at| at.min(latest));
        zero + Duration::from_millis(behind_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_head_goes_ahead_and_the_rest_follows_in_real_time_once_it_is_taken() {
        let now = Instant::now();
        let mut pace = Pace::new(10_000, now);
        assert_eq!(pace.due(9_980), now, "sound from before the picture");
        assert_eq!(pace.due(10_500), now);
        assert_eq!(pace.due(10_501), now + 2_001 * MS, "nobody takes it yet");
        assert!(pace.delivering(now + 300 * MS));
        assert!(!pace.delivering(now + 900 * MS));
        assert_eq!(pace.due(10_501), now + 301 * MS);
        assert_eq!(pace.due(15_500), now + 5_300 * MS);
    }

    #[test]
    fn a_delivery_that_is_not_seen_does_not_hold_it_up() {
        let now = Instant::now();
        let mut pace = Pace::new(0, now);
        pace.delivering(now + 9_000 * MS);
        assert_eq!(pace.due(1_500), now + 3_000 * MS);
    }
}
