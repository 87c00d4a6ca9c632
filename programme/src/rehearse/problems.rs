//! What is wrong with a schedule in a window of time, each named once.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use super::Finding;
use crate::next::{Lineup, Part, Resolved, Stretch};
use crate::playlist::ListedObject;
use crate::schedule::{Block, Schedule};
use crate::week::Week;

/// What is wrong with a schedule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ScheduleProblem {
    /// Which kind.
    pub kind: ScheduleProblemKind,
    /// The block concerned; `null`: the ordinary programme.
    pub block: Option<String>,
    /// The object concerned.
    pub key: Option<String>,
    /// The first time in the window at which it matters.
    pub at: Timestamp,
    /// What happens, to what, and what to do.
    pub message: String,
}

/// Kinds of [`ScheduleProblem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ScheduleProblemKind {
    /// A block has nothing that plays; something else takes its time.
    NothingToPlay,
    /// A key is named that is not in the store.
    MissingItem,
    /// An item does not play and is passed over.
    Unplayable,
    /// An item's metadata does not allow the block that lists it.
    NotAllowed,
    /// The items end before the block does, and no filler takes the rest.
    TooShort,
    /// An item's length is not known.
    UnknownDuration,
    /// A block does not air at all: what was before it runs through it.
    Overrun,
    /// A clock change leaves out the whole time of a block on this day.
    NoSuchTime,
}

/// Problems as they are found.
pub(super) struct Problems<'a> {
    lineup: &'a Lineup,
    findings: &'a dyn Fn(&ListedObject) -> Finding,
    found: BTreeMap<(ScheduleProblemKind, Option<String>, Option<String>), ScheduleProblem>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(lineup: &'a Lineup, findings: &'a dyn Fn(&ListedObject) -> Finding) -> Self {
        Self {
            lineup,
            findings,
            found: BTreeMap::new(),
        }
    }

    /// In the order in which they matter.
    pub(super) fn into_sorted(self) -> Vec<ScheduleProblem> {
        let mut problems: Vec<_> = self.found.into_values().collect();
        problems.sort_by_key(|problem| (problem.at, problem.kind));
        problems
    }

    /// What can be said of a stretch in the window.
    pub(super) fn stretch(&mut self, stretch: &Stretch) {
        let Some(item) = &stretch.item else { return };
        let block = match &item.part {
            Part::Ordinary => None,
            Part::Block { name, .. } => Some(name.as_str()),
        };
        if stretch.assumed {
            let key = &item.object.key;
            let message = format!(
                "how long {key} lasts is not known: ten minutes are assumed. Ask again when it has \
                 been looked into; if it stays so, remux the file"
            );
            let kind = ScheduleProblemKind::UnknownDuration;
            self.note(kind, block, Some(key), stretch.begins, message);
        }
    }

    /// What can be said of the blocks that lie in the window.
    pub(super) fn blocks(
        &mut self,
        from: Timestamp,
        to: Timestamp,
        aired: &BTreeSet<(Option<usize>, Timestamp)>,
    ) {
        self.list(self.lineup.ordinary(), None, from);
        let (Some(schedule), Some(week)) = (self.lineup.schedule(), self.lineup.week()) else {
            return;
        };
        let mut at = from;
        while at < to {
            let segment = week.segment_at(at);
            if let Some(index) = segment.block {
                let block = &schedule.blocks[index];
                let begins = segment.begins.max(from);
                self.block(index, block, begins);
                let lasts_s = segment.ends.duration_since(segment.begins).as_secs_f64();
                self.length(index, block, lasts_s, begins);
                let inside = from <= segment.begins && segment.ends <= to;
                if inside && !aired.contains(&(segment.block, segment.begins)) {
                    let message = format!(
                        "{} does not air: an item that began before it runs through all of it. \
                         Give the block before it \"on_end\": \"cut\" or \"fit\"",
                        block.name
                    );
                    let kind = ScheduleProblemKind::Overrun;
                    self.note(kind, Some(&block.name), None, begins, message);
                }
            }
            at = segment.ends;
        }
        self.swallowed(schedule, week, (from, to));
    }

    /// Blocks that a clock change leaves no time.
    fn swallowed(&mut self, schedule: &Schedule, week: &Week, (from, to): (Timestamp, Timestamp)) {
        let zone = week.zone();
        let (mut date, last) = (zone.to_datetime(from).date(), zone.to_datetime(to).date());
        while date <= last {
            for index in week.swallowed_on(date) {
                let block = &schedule.blocks[index];
                let message = format!(
                    "{} does not air on {date}: the clock is put forward over all of its time",
                    block.name
                );
                let at = date
                    .to_zoned(zone.clone())
                    .map_or(from, |day| day.timestamp());
                let kind = ScheduleProblemKind::NoSuchTime;
                self.note(kind, Some(&block.name), None, at.max(from), message);
            }
            date = date.saturating_add(1.day());
        }
    }

    fn block(&mut self, index: usize, block: &Block, at: Timestamp) {
        let Some((items, filler)) = self.lineup.block(index) else {
            return;
        };
        self.list(items, Some(&block.name), at);
        self.list(filler, Some(&block.name), at);
        let plays = |list: &Resolved| {
            let playable = |object| !matches!((self.findings)(object), Finding::Unplayable(_));
            list.objects().iter().any(playable)
        };
        if !plays(items) {
            let instead = if plays(filler) {
                "its filler"
            } else {
                "the ordinary programme"
            };
            let message = format!(
                "none of the items of {} can be played: {instead} takes its time. Upload them, or \
                 correct the block",
                block.name
            );
            let kind = ScheduleProblemKind::NothingToPlay;
            self.note(kind, Some(&block.name), None, at, message);
        }
    }

    fn length(&mut self, index: usize, block: &Block, lasts_s: f64, at: Timestamp) {
        if block.repeat || !block.filler.is_empty() {
            return;
        }
        let Some((items, _)) = self.lineup.block(index) else {
            return;
        };
        let lengths = items.objects().iter().map(|o| (self.findings)(o));
        let total_s: Option<f64> = lengths
            .map(|finding| match finding {
                Finding::Plays(duration_s) => duration_s,
                Finding::Unplayable(_) => Some(0.0),
                Finding::NotLookedInto => None,
            })
            .sum();
        if let Some(total_s) = total_s.filter(|total_s| *total_s + 1.0 < lasts_s && *total_s > 0.0)
        {
            let message = format!(
                "the items of {} last {total_s:.0} s and the block {lasts_s:.0} s: they are played \
                 again. Give it filler, more items, or \"loop\": true if that is meant",
                block.name
            );
            let kind = ScheduleProblemKind::TooShort;
            self.note(kind, Some(&block.name), None, at, message);
        }
    }

    fn list(&mut self, list: &Resolved, block: Option<&str>, at: Timestamp) {
        let place = block.unwrap_or("the ordinary programme");
        for key in list.missing() {
            let message = format!(
                "{key} is named in {place} and is not in the store: it is passed over. Upload it, \
                 or correct the key (upper and lower case count)"
            );
            self.note(
                ScheduleProblemKind::MissingItem,
                block,
                Some(key),
                at,
                message,
            );
        }
        for key in list.barred() {
            let message = format!(
                "{key} is listed in {place}, which its \"allowed_blocks\" do not name: it is \
                 passed over. Add the block there, or take the item out here"
            );
            self.note(
                ScheduleProblemKind::NotAllowed,
                block,
                Some(key),
                at,
                message,
            );
        }
        for object in list.objects() {
            if let Finding::Unplayable(reason) = (self.findings)(object) {
                let key = &object.key;
                let message = format!("{key} cannot be played and is passed over: {reason}");
                self.note(
                    ScheduleProblemKind::Unplayable,
                    block,
                    Some(key),
                    at,
                    message,
                );
            }
        }
    }

    fn note(
        &mut self,
        kind: ScheduleProblemKind,
        block: Option<&str>,
        key: Option<&str>,
        at: Timestamp,
        message: String,
    ) {
        let (block, key) = (block.map(str::to_owned), key.map(str::to_owned));
        let id = (kind, block.clone(), key.clone());
        self.found.entry(id).or_insert(ScheduleProblem {
            kind,
            block,
            key,
            at,
            message,
        });
    }
}
