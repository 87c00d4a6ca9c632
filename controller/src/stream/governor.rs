//! How many workers are started at once. Pure inside: clocks are arguments.
//!
//! Starts that nobody asked for (after boot, after a crash) wait for their turn: at most
//! [`PER_SECOND`] in any second. When most streams fail together, what they have in common (a platform,
//! a disk, memory) is the cause, and starting them all at once would only add to it: then one a second.
//! What an operator starts does not wait.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use storage::model::StreamId;
use tokio::time::Instant;

const PER_SECOND: usize = 5;
const SECOND: Duration = Duration::from_secs(1);
/// Failures this close together count as one event.
const TOGETHER: Duration = Duration::from_secs(30);
/// Fewer streams than this fail by chance.
const MANY: usize = 4;

/// The one governor of a controller; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Governor(Arc<Mutex<Starts>>);

/// What has been started, and what has failed.
#[derive(Debug, Default)]
struct Starts {
    /// Turns given out, oldest first.
    turns: VecDeque<Instant>,
    wanted: BTreeSet<StreamId>,
    failures: VecDeque<(Instant, StreamId)>,
}

// === impl Governor ===

impl Governor {
    /// Notes whether a stream is wanted on air.
    pub(super) fn wants(&self, id: &StreamId, wanted: bool) {
        let mut starts = self.starts();
        if wanted {
            starts.wanted.insert(id.clone());
        } else {
            starts.wanted.remove(id);
        }
    }

    /// Notes that a wanted stream lost its worker.
    pub(super) fn failed(&self, id: &StreamId, now: Instant) {
        self.starts().failed(id, now);
    }

    /// When a start that is due at `now` may be made; asked once for each start.
    pub(super) fn turn(&self, now: Instant) -> Instant {
        self.starts().turn(now)
    }

    fn starts(&self) -> MutexGuard<'_, Starts> {
        // Every change below leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Starts ===

impl Starts {
    fn failed(&mut self, id: &StreamId, now: Instant) {
        self.failures.retain(|(_, other)| other != id);
        self.failures.push_back((now, id.clone()));
    }

    fn turn(&mut self, now: Instant) -> Instant {
        let at_once = if self.most_have_failed(now) {
            1
        } else {
            PER_SECOND
        };
        let behind = self.turns.len().checked_sub(at_once);
        let turn = match behind.and_then(|index| self.turns.get(index)) {
            Some(earlier) => now.max(*earlier + SECOND),
            None => now,
        };
        self.turns.push_back(turn);
        if self.turns.len() > PER_SECOND {
            self.turns.pop_front();
        }
        turn
    }

    fn most_have_failed(&mut self, now: Instant) -> bool {
        let old = |(at, _): &(Instant, StreamId)| now.duration_since(*at) > TOGETHER;
        while self.failures.front().is_some_and(old) {
            self.failures.pop_front();
        }
        let failed = self.failures.iter();
        let failed = failed.filter(|(_, id)| self.wanted.contains(id)).count();
        failed >= MANY && failed * 2 > self.wanted.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams(count: usize) -> (Starts, Vec<StreamId>) {
        let ids: Vec<StreamId> = (0..count)
            .map(|n| format!("s{n}").parse().expect("an id"))
            .collect();
        let starts = Starts {
            wanted: ids.iter().cloned().collect(),
            ..Starts::default()
        };
        (starts, ids)
    }

    /// Turns of that many starts due at once, in milliseconds from then.
    fn turns(starts: &mut Starts, now: Instant, count: usize) -> Vec<u128> {
        (0..count)
            .map(|_| starts.turn(now).duration_since(now).as_millis())
            .collect()
    }

    #[test]
    fn five_start_at_once_and_the_others_a_second_later() {
        let (mut starts, _) = streams(12);
        let now = Instant::now();
        assert_eq!(
            turns(&mut starts, now, 12),
            [0, 0, 0, 0, 0, 1000, 1000, 1000, 1000, 1000, 2000, 2000]
        );
        let later = now + Duration::from_secs(60);
        assert_eq!(turns(&mut starts, later, 5), [0; 5]);
    }

    #[test]
    fn when_most_fail_together_one_is_started_a_second() {
        let (mut starts, ids) = streams(6);
        let now = Instant::now();
        for id in &ids[..4] {
            starts.failed(id, now);
        }
        assert_eq!(turns(&mut starts, now, 4), [0, 1000, 2000, 3000]);
        let later = now + Duration::from_secs(31);
        assert_eq!(turns(&mut starts, later, 5), [0; 5], "it is over");
    }

    #[test]
    fn half_of_them_three_of_three_or_one_again_and_again_are_no_mass_failure() {
        let now = Instant::now();
        let (mut starts, ids) = streams(8);
        for id in &ids[..4] {
            starts.failed(id, now);
        }
        assert!(!starts.most_have_failed(now), "four of eight");
        let (mut starts, ids) = streams(3);
        for id in &ids {
            starts.failed(id, now);
        }
        assert!(!starts.most_have_failed(now), "three of three");
        let (mut starts, ids) = streams(4);
        for _ in 0..20 {
            starts.failed(&ids[0], now);
        }
        assert!(!starts.most_have_failed(now), "one, often");
    }

    proptest::proptest! {
        /// Whatever comes when, no second holds more starts than it may, and nobody waits for ever.
        #[test]
        fn no_second_holds_more_than_five(pauses in proptest::collection::vec(0_u64..1500, 1..100)) {
            let (mut starts, _) = streams(10);
            let mut now = Instant::now();
            let mut given = Vec::new();
            for pause in pauses {
                now += Duration::from_millis(pause);
                given.push(starts.turn(now));
            }
            for (index, turn) in given.iter().enumerate() {
                let within = given[..index].iter().filter(|earlier| **earlier + SECOND > *turn);
                proptest::prop_assert!(within.count() < PER_SECOND);
            }
        }
    }
}
