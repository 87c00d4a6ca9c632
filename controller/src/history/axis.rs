//! The record's own axis of time, in milliseconds: `CLOCK_BOOTTIME` of every boot, laid end to end.
//!
//! Within a boot a difference on the axis is exact whatever the wall clock does; setting it by a day
//! moves nothing. The wall clock says how long the machine was off, because nothing else can.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use storage::history::Boot;

use super::moment::Moment;

/// An instant of the axis, with what the wall clock showed then.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Instant {
    pub(super) ms: i64,
    pub(super) at: Timestamp,
}

/// All boots that were seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Axis {
    /// The boot this process runs in.
    current: String,
    offsets: BTreeMap<String, i64>,
    /// The newest instant placed, by both clocks.
    newest: Option<(i64, Timestamp)>,
}

// === impl Instant ===

impl Instant {
    pub(super) fn max(self, other: Self) -> Self {
        if other.ms > self.ms { other } else { self }
    }
}

// === impl Axis ===

impl Axis {
    /// As it was written down; `newest` is the newest instant in the record.
    pub(super) fn new(current: String, boots: Vec<Boot>, newest: Option<(i64, Timestamp)>) -> Self {
        let offsets = boots.into_iter().map(|boot| (boot.boot_id, boot.offset_ms));
        Self {
            current,
            offsets: offsets.collect(),
            newest,
        }
    }

    /// Where `moment` of the boot `boot_id` lies. The first instant of a boot decides where that boot
    /// begins: as long after the newest instant before it as the wall clock says, never before it. An
    /// earlier boot of which nothing was known is placed by the wall clock alone.
    pub(super) fn place(&mut self, boot_id: &str, moment: Moment) -> i64 {
        let boot_ms = i64::try_from(moment.boot_ms).unwrap_or(i64::MAX);
        let offset = match self.offsets.get(boot_id) {
            Some(offset) => *offset,
            None => {
                let offset = match self.newest {
                    None => moment.at.as_millisecond() - boot_ms,
                    Some((ms, at)) if boot_id != self.current => {
                        ms + moment.at.as_millisecond() - at.as_millisecond() - boot_ms
                    }
                    Some((ms, at)) => {
                        let away = moment.at.as_millisecond() - at.as_millisecond();
                        ms + (away - boot_ms).max(0)
                    }
                };
                self.offsets.insert(boot_id.to_owned(), offset);
                offset
            }
        };
        let ms = offset.saturating_add(boot_ms);
        if self.newest.is_none_or(|(newest, _)| newest < ms) {
            self.newest = Some((ms, moment.at));
        }
        ms
    }

    /// Where an instant known by the wall clock alone lies, seen from the newest one.
    pub(super) fn place_wall(&self, at: Timestamp) -> Option<i64> {
        let (ms, newest) = self.newest?;
        Some(ms + (at.as_millisecond() - newest.as_millisecond()))
    }

    /// To be written down.
    pub(super) fn boots(&self) -> Vec<Boot> {
        let boots = self.offsets.iter().map(|(boot_id, offset_ms)| Boot {
            boot_id: boot_id.clone(),
            offset_ms: *offset_ms,
        });
        boots.collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY_MS: i64 = 86_400_000;

    fn moment(at_ms: i64, boot_ms: u64) -> Moment {
        let at = Timestamp::from_millisecond(at_ms).unwrap();
        Moment { at, boot_ms }
    }

    #[test]
    fn a_boot_follows_the_one_before_it_by_as_much_as_the_machine_was_off() {
        let mut axis = Axis::new("a".into(), Vec::new(), None);
        let start = 1_760_000_000_000;
        assert_eq!(axis.place("a", moment(start, 5_000)), start);
        assert_eq!(axis.place("a", moment(start + 1_000, 6_000)), start + 1_000);
        axis.current = "b".into();
        // Off for a minute, and 20 s up when the first thing is noted.
        assert_eq!(
            axis.place("b", moment(start + 81_000, 20_000)),
            start + 81_000
        );
        axis.current = "c".into();
        // A clock that woke up in the past cannot make time run backwards.
        assert_eq!(
            axis.place("c", moment(start - 10 * DAY_MS, 3_000)),
            start + 84_000
        );

        let newest = Some((start + 84_000, moment(start - 10 * DAY_MS, 0).at));
        // A boot of long ago that nothing was known of, two minutes before the newest instant.
        let known = axis.newest.unwrap();
        let before = moment(known.1.as_millisecond() - 120_000, 999_999_999);
        assert_eq!(axis.place("z", before), known.0 - 120_000);

        let mut again = Axis::new("c".into(), axis.boots(), newest);
        assert_eq!(again.place("b", moment(0, 21_000)), start + 82_000);
    }

    proptest! {
        /// Lengths within a boot are those of `boot_ms`, however the wall clock is set.
        #[test]
        fn lengths_do_not_depend_on_the_wall_clock(
            steps in proptest::collection::vec((0_u64..100_000, -DAY_MS..DAY_MS), 2..50)
        ) {
            let mut axis = Axis::default();
            let (mut boot_ms, mut wall) = (1_000, 1_760_000_000_000);
            let mut last = axis.place("a", moment(wall, boot_ms));
            for (step, jump) in steps {
                boot_ms += step;
                wall += i64::try_from(step).unwrap() + jump;
                let ms = axis.place("a", moment(wall, boot_ms));
                prop_assert_eq!(ms - last, i64::try_from(step).unwrap());
                last = ms;
            }
        }
    }
}
