//! How much media waits unacknowledged: the bytes that wait, looked up in what was given. Pure.
//!
//! Bytes alone are no measure of time: one picture of noise may be as many as a minute of a still one.

use std::collections::VecDeque;
use std::time::Duration;

/// What a connection was given, from the newest that is acknowledged on.
#[derive(Debug, Default)]
pub(super) struct Given {
    points: VecDeque<Point>,
}

/// At a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Point {
    media_ms: u64,
    media_bytes: u64,
}

impl Given {
    /// The media that `waiting_bytes` are of; exact but for what was given between two looks. `media_ms` and
    /// `media_bytes` were given in all.
    pub(super) fn waiting(
        &mut self,
        media_ms: u64,
        media_bytes: u64,
        waiting_bytes: u64,
    ) -> Duration {
        let newest = Point {
            media_ms,
            media_bytes,
        };
        if self.points.back() != Some(&newest) {
            self.points.push_back(newest);
        }
        let acked_bytes = media_bytes.saturating_sub(waiting_bytes);
        let is_acked = |point: &Point| point.media_bytes <= acked_bytes;
        while self.points.get(1).is_some_and(is_acked) {
            self.points.pop_front();
        }
        let from_ms = match (self.points.front(), self.points.get(1)) {
            (Some(acked), Some(waits)) => acked.media_ms_at(acked_bytes, waits),
            _ => media_ms,
        };
        Duration::from_millis(media_ms.saturating_sub(from_ms))
    }
}

impl Point {
    /// The media at so many bytes, which are before `later`.
    fn media_ms_at(&self, bytes: u64, later: &Self) -> u64 {
        let (ms, all) = (
            later.media_ms.saturating_sub(self.media_ms),
            later.media_bytes.saturating_sub(self.media_bytes),
        );
        let share = bytes.saturating_sub(self.media_bytes) as f64 / all.max(1) as f64;
        self.media_ms + (ms as f64 * share) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_picture_after_small_ones_is_as_late_as_it_is() {
        let mut given = Given::default();
        for look in 1..=100 {
            let waiting = given.waiting(look * 100, look * 500, 500);
            assert!(waiting <= Duration::from_millis(100), "{waiting:?}");
        }
        let waiting = given.waiting(10_100, 250_000, 200_000);
        assert_eq!(waiting, Duration::from_millis(100));
        // It is all that waits, and no more comes.
        for _ in 0..100 {
            let waiting = given.waiting(10_100, 250_000, 100_000);
            assert_eq!(waiting, Duration::from_millis(50));
        }
        assert_eq!(given.waiting(10_100, 250_000, 0), Duration::ZERO);
        assert_eq!(given.points.len(), 1);
    }

    #[test]
    fn small_pictures_behind_a_large_one_wait_as_long_as_they_are() {
        let mut given = Given::default();
        given.waiting(0, 0, 0);
        given.waiting(100, 250_000, 250_000);
        let waiting = (1..=40).map(|look| {
            let sent = look * 5_000;
            let bytes = 250_000 + look * 500;
            given.waiting(100 + look * 100, bytes, bytes - sent)
        });
        let waiting = waiting.last().unwrap_or_default();
        assert!(
            (4_000..=4_100).contains(&waiting.as_millis()),
            "{waiting:?}"
        );
        let of_another_beginning = Given::default().waiting(60_000, 100, 90_000);
        assert_eq!(of_another_beginning, Duration::ZERO);
    }
}
