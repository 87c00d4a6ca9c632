//! A weekly schedule as an operator writes it: blocks with days, times and a time zone.
//!
//! Times are wall-clock times. What instants they are on a given day, DST included, is
//! [`crate::week`]'s to say.

mod wall_time;

use std::collections::BTreeMap;

use jiff::civil::{Date, Weekday};
use serde::{Deserialize, Serialize};

pub use self::wall_time::{InvalidWallTime, WallTime};
use crate::item::{ItemSpec, Order};

/// In [`ItemAbout::allowed_blocks`]: the time outside every block.
pub const ORDINARY: &str = "ordinary";
/// Seconds of a week.
const WEEK_S: u32 = 7 * WallTime::DAY_S;

/// Which block plays when. Outside every block the stream's ordinary programme plays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// IANA name of the time zone in which days and times are meant.
    #[cfg_attr(feature = "openapi", schema(example = "Europe/Berlin"))]
    pub timezone: String,
    /// No two weekly ones overlap, nor two of a date; a block of a date takes precedence.
    #[serde(default)]
    pub blocks: Vec<Block>,
    /// What is known of objects: by key, or for all below a prefix that ends in `/`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, ItemAbout>,
}

/// A stretch of a day, or over midnight, with items of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Unique in the schedule.
    pub name: String,
    /// Days of the week on which it begins; empty when `date` is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Day>,
    /// The one day on which it begins, instead of `days`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Date))]
    pub date: Option<Date>,
    /// When it begins.
    pub from: WallTime,
    /// When it ends; not later than `from`: on the next day.
    pub to: WallTime,
    /// What plays in it.
    pub items: Vec<ItemSpec>,
    /// The order of `items` and of `filler`; a shuffle is another one each time the block airs.
    #[serde(default)]
    pub order: Order,
    /// Play `items` again and again rather than once.
    #[serde(default, rename = "loop")]
    pub repeat: bool,
    /// What plays, again and again, when `items` are through; without it `items` play again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filler: Vec<ItemSpec>,
    /// What becomes of the item on air when the block ends.
    #[serde(default)]
    pub on_end: OnEnd,
}

/// What becomes of the item on air when its block ends. Filler is always cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnEnd {
    /// It airs to its end; what follows begins later by that.
    #[default]
    Finish,
    /// It is cut, and what follows begins on time.
    Cut,
    /// An item that would not end in time is not begun: filler takes the rest, and is cut.
    Fit,
}

/// What plays when the programme comes back after something else had the air.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Resume {
    /// The item that was left, from its beginning.
    Item,
    /// The item that was left, at the second at which it was.
    #[default]
    Position,
    /// What would be on air now, had the programme never been left.
    Schedule,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names of the days")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// What an operator says of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ItemAbout {
    /// What viewers know it as; otherwise made from the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// An age rating or the like, as the programme guide is to show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating: Option<String>,
    /// It plays in these blocks only (`"ordinary"`: outside every block); absent: anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_blocks: Option<Vec<String>>,
}

// === impl Schedule ===

impl Schedule {
    /// What is known of an object: of its key, else of the longest prefix it is below.
    pub fn about(&self, key: &str) -> Option<&ItemAbout> {
        let prefixes = || {
            let ends = key.match_indices('/').map(|(at, _)| at + 1).rev();
            ends.map(|end| &key[..end])
        };
        self.metadata
            .get(key)
            .or_else(|| prefixes().find_map(|prefix| self.metadata.get(prefix)))
    }

    /// Whether an object may play in the block of this name, or in [`ORDINARY`] time.
    pub fn allows(&self, key: &str, block: &str) -> bool {
        self.about(key)
            .and_then(|about| about.allowed_blocks.as_ref())
            .is_none_or(|allowed| allowed.iter().any(|name| name == block))
    }

    /// Pairs of blocks that claim the same time of the week or date, by index, earlier one first.
    pub fn overlaps(&self) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for (second, block) in self.blocks.iter().enumerate() {
            for (first, before) in self.blocks[..second].iter().enumerate() {
                if before.overlaps(block) {
                    found.push((first, second));
                }
            }
        }
        found
    }
}

// === impl Block ===

impl Block {
    /// Whether the item list is to start over when it is through.
    pub fn repeats(&self) -> bool {
        self.repeat || self.filler.is_empty()
    }

    /// Whether it ends on the day after the one on which it begins.
    pub fn ends_next_day(&self) -> bool {
        self.to <= self.from
    }

    /// Seconds by the clock on the wall.
    pub fn wall_length_s(&self) -> u32 {
        let next_day = if self.ends_next_day() {
            WallTime::DAY_S
        } else {
            0
        };
        self.to.seconds() + next_day - self.from.seconds()
    }

    /// Whether it begins on this day.
    pub fn begins_on(&self, date: Date) -> bool {
        match self.date {
            Some(only) => only == date,
            None => self.days.contains(&date.weekday().into()),
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        match (self.date, other.date) {
            (Some(a), Some(b)) => {
                // More than two days apart they cannot meet, and nothing overflows.
                let apart = i64::from(a.until(b).map_or(9, |span| span.get_days()));
                let day = i64::from(WallTime::DAY_S);
                let from = i64::from(self.from.seconds());
                let other_from = apart * day + i64::from(other.from.seconds());
                apart.abs() <= 2
                    && from < other_from + i64::from(other.wall_length_s())
                    && other_from < from + i64::from(self.wall_length_s())
            }
            (None, None) => self.days.iter().any(|day| {
                let from = *day as u32 * WallTime::DAY_S + self.from.seconds();
                other.days.iter().any(|day| {
                    let other_from = *day as u32 * WallTime::DAY_S + other.from.seconds();
                    // The week is a circle: how far ahead on it each begins from the other's view.
                    (other_from + WEEK_S - from) % WEEK_S < self.wall_length_s()
                        || (from + WEEK_S - other_from) % WEEK_S < other.wall_length_s()
                })
            }),
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

// === impl Day ===

impl From<Weekday> for Day {
    fn from(day: Weekday) -> Self {
        match day {
            Weekday::Monday => Self::Mon,
            Weekday::Tuesday => Self::Tue,
            Weekday::Wednesday => Self::Wed,
            Weekday::Thursday => Self::Thu,
            Weekday::Friday => Self::Fri,
            Weekday::Saturday => Self::Sat,
            Weekday::Sunday => Self::Sun,
        }
    }
}
