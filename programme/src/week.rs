//! Where the blocks of a schedule lie on the timeline.
//!
//! One function places a wall-clock time on the timeline, and it never runs backwards: a time that a
//! clock change leaves out is the instant of the change, and a time that comes twice is the first of
//! the two. So blocks that do not overlap on the wall never overlap in fact, blocks that touch leave
//! no gap, and every instant has exactly one [`Segment`].

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, ToSpan};

use crate::schedule::{Block, Schedule, WallTime};

/// A block may have begun so many days before an instant it covers: it lasts at most a day, and a
/// date line may be crossed.
const DAYS_BACK: i64 = 3;
/// A block of a week begins within so many days, also where a clock change swallows one.
const DAYS_AHEAD: i64 = 15;

/// The blocks of a schedule in their time zone.
#[derive(Debug, Clone)]
pub struct Week {
    zone: TimeZone,
    blocks: Vec<Block>,
}

/// A stretch of the timeline in which one block plays, or none does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Index of the block in the schedule; `None`: the ordinary programme.
    pub block: Option<usize>,
    /// Its first instant. For ordinary time that is not exact: at the earliest some days ago.
    pub begins: Timestamp,
    /// The first instant that is not in it; for ordinary time that no block follows, the end of time.
    pub ends: Timestamp,
}

/// One airing of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Occurrence {
    block: usize,
    begins: Timestamp,
    ends: Timestamp,
}

// === impl Week ===

impl Week {
    /// The blocks of `schedule`, which names `zone`.
    pub fn new(schedule: &Schedule, zone: TimeZone) -> Self {
        Self {
            zone,
            blocks: schedule.blocks.clone(),
        }
    }

    /// The time zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// What the schedule says of an instant.
    pub fn segment_at(&self, at: Timestamp) -> Segment {
        let today = self.zone.to_datetime(at).date();
        let first = shifted(today, -DAYS_BACK);
        let last = shifted(today, DAYS_AHEAD);
        let mut ordinary = Segment {
            block: None,
            begins: self.instant(first, 0),
            ends: Timestamp::MAX,
        };
        for occurrence in self.airings(first, last) {
            if occurrence.ends <= at {
                ordinary.begins = ordinary.begins.max(occurrence.ends);
            } else if at < occurrence.begins {
                ordinary.ends = ordinary.ends.min(occurrence.begins);
            } else {
                return occurrence.into();
            }
        }
        ordinary
    }

    /// Blocks that begin on `date` by the wall but have no time on it: a clock change swallows them.
    pub fn swallowed_on(&self, date: Date) -> Vec<usize> {
        let blocks = self.blocks.iter().enumerate();
        blocks
            .filter(|(_, block)| block.begins_on(date))
            .filter(|(at, _)| self.occurrence(*at, date).is_none())
            .map(|(at, _)| at)
            .collect()
    }

    /// Airings of the blocks of the week that begin on these days, without what those of a date take,
    /// and all of the latter.
    fn airings(&self, first: Date, last: Date) -> Vec<Occurrence> {
        let dates = || std::iter::successors(Some(first), |date| Some(shifted(*date, 1)));
        let mut dated = Vec::new();
        let mut weekly = Vec::new();
        for (at, block) in self.blocks.iter().enumerate() {
            match block.date {
                Some(date) => dated.extend(self.occurrence(at, date)),
                None => weekly.extend(
                    dates()
                        .take_while(|date| *date < last)
                        .filter(|date| block.begins_on(*date))
                        .filter_map(|date| self.occurrence(at, date)),
                ),
            }
        }
        for taken in &dated {
            weekly = weekly
                .into_iter()
                .flat_map(|occurrence| occurrence.without(taken))
                .collect();
        }
        weekly.append(&mut dated);
        weekly
    }

    fn occurrence(&self, at: usize, date: Date) -> Option<Occurrence> {
        let block = &self.blocks[at];
        let ends_on = if block.ends_next_day() {
            shifted(date, 1)
        } else {
            date
        };
        let begins = self.instant(date, block.from.seconds());
        let ends = self.instant(ends_on, block.to.seconds());
        (begins < ends).then_some(Occurrence {
            block: at,
            begins,
            ends,
        })
    }

    /// The instant of a wall-clock time; later times never have earlier instants.
    fn instant(&self, date: Date, seconds: u32) -> Timestamp {
        let wall = at_seconds(date, seconds);
        let ambiguous = self.zone.to_ambiguous_timestamp(wall);
        let earlier_or = |fallback| ambiguous.compatible().unwrap_or(fallback);
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => {
                earlier_or(Timestamp::MAX)
            }
            AmbiguousOffset::Gap { .. } => {
                // As if the clock had not been changed: at the change or after it.
                let after = earlier_or(Timestamp::MAX);
                let past = after.saturating_add(SignedDuration::from_nanos(1));
                let past = past.unwrap_or(after);
                let change = self.zone.preceding(past).next();
                change.map_or(after, |change| change.timestamp())
            }
        }
    }
}

// === impl Occurrence ===

impl Occurrence {
    /// What is left of it when `taken` takes its time.
    fn without(self, taken: &Self) -> impl Iterator<Item = Self> + use<> {
        let before = Self {
            ends: self.ends.min(taken.begins),
            ..self
        };
        let after = Self {
            begins: self.begins.max(taken.ends),
            ..self
        };
        [before, after]
            .into_iter()
            .filter(|part| part.begins < part.ends)
    }
}

impl From<Occurrence> for Segment {
    fn from(occurrence: Occurrence) -> Self {
        Self {
            block: Some(occurrence.block),
            begins: occurrence.begins,
            ends: occurrence.ends,
        }
    }
}

fn shifted(date: Date, days: i64) -> Date {
    date.saturating_add(days.days())
}

fn at_seconds(date: Date, seconds: u32) -> DateTime {
    let (date, seconds) = (
        shifted(date, i64::from(seconds / WallTime::DAY_S)),
        seconds % WallTime::DAY_S,
    );
    let midnight = DateTime::from_parts(date, Time::midnight());
    midnight.saturating_add(i64::from(seconds).seconds())
}
