//! What will air in a window of time, and what would go wrong.
//!
//! The same walk along the timeline that the worker makes by playing; so what is said here is what
//! happens, as long as nothing fails and lengths are known.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use crate::next::{Known, Lineup, Part, Resolved, Standing, Stretch, Walk};
use crate::playlist::{ListedObject, Position};
use crate::schedule::Block;

/// So many items are walked over before the window begins.
const MAX_STEPS: usize = 200_000;

/// What was found out about an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// It plays, for so many seconds if that is known.
    Plays(Option<f64>),
    /// It does not, for this reason.
    Unplayable(String),
    /// It has not been looked into, or could not be.
    NotLookedInto,
}

/// What to rehearse.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// From when on the timeline is walked.
    pub at: Timestamp,
    /// How things stand then.
    pub standing: Standing,
    /// What is on air then.
    pub running: Option<Running>,
    /// Stretches that end before are left out.
    pub from: Timestamp,
    /// Stretches that begin here or later are left out.
    pub to: Timestamp,
    /// At most so many stretches.
    pub rows: usize,
}

/// An item that is on air.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    /// Its key.
    pub key: String,
    /// The block whose it is; `None`: the ordinary programme's.
    pub block: Option<String>,
    /// Seconds into it.
    pub position_s: f64,
    /// Its length, when known.
    pub duration_s: Option<f64>,
}

/// What will air.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Rehearsal {
    /// Without a gap, in order.
    pub airings: Vec<Airing>,
    /// What is wrong with the schedule in this window, each once.
    pub problems: Vec<ScheduleProblem>,
    /// There is more in the window than fits: ask again from the last `ends`.
    pub truncated: bool,
}

/// One item on the timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Airing {
    /// When it takes the air.
    pub begins: Timestamp,
    /// When what follows does.
    pub ends: Timestamp,
    /// The block whose it is; `null`: the ordinary programme, or the slate.
    pub block: Option<String>,
    /// It is filler.
    pub filler: bool,
    /// Object key; `null`: the slate.
    pub key: Option<String>,
    /// What viewers know it as.
    pub title: Option<String>,
    /// As the metadata has it.
    pub rating: Option<String>,
    /// Seconds into the item at `begins`.
    pub from_s: f64,
    /// It is cut at `ends`.
    pub cut: bool,
    /// Its length is unknown: ten minutes are assumed, and times behind it are estimates.
    pub assumed: bool,
}

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

struct Rehearsing<'a> {
    lineup: &'a Lineup,
    findings: &'a dyn Fn(&ListedObject) -> Finding,
    problems: BTreeMap<(ScheduleProblemKind, Option<String>, Option<String>), ScheduleProblem>,
}

/// Rehearses `window`.
pub fn rehearse(
    lineup: &Lineup,
    window: &Window,
    findings: &dyn Fn(&ListedObject) -> Finding,
) -> Rehearsal {
    let known = |object: &ListedObject, _: &Position| match findings(object) {
        Finding::Plays(duration_s) => Known::Plays(duration_s),
        Finding::NotLookedInto => Known::Plays(None),
        Finding::Unplayable(_) => Known::Skipped,
    };
    let mut rehearsing = Rehearsing {
        lineup,
        findings,
        problems: BTreeMap::new(),
    };
    let mut at = window.at;
    let mut standing = window.standing.clone();
    let mut airings = Vec::new();
    if let Some(running) = &window.running {
        let (key, block) = (&running.key, running.block.as_deref());
        standing.has_reached(key, block, running.position_s);
        if let Some(ends) = running.overruns_until(lineup, at) {
            if ends > window.from {
                airings.push(rehearsing.overrun(running, (at, ends)));
            }
            at = ends;
        }
    }
    let mut truncated = false;
    let mut aired: BTreeSet<(Option<usize>, Timestamp)> = BTreeSet::new();
    let mut reached = at;
    for stretch in Walk::new(lineup, standing, at, &known).take(MAX_STEPS) {
        if stretch.begins >= window.to {
            break;
        }
        reached = stretch.ends;
        aired.insert((stretch.segment.block, stretch.segment.begins));
        if stretch.ends <= window.from {
            continue;
        }
        if airings.len() == window.rows {
            truncated = true;
            reached = stretch.begins;
            break;
        }
        rehearsing.item(&stretch);
        airings.push(rehearsing.airing(stretch));
    }
    truncated |= reached < window.to && !truncated;
    rehearsing.blocks(window.from.max(at), window.to.min(reached), &aired);
    let mut problems: Vec<_> = rehearsing.problems.into_values().collect();
    problems.sort_by_key(|problem| (problem.at, problem.kind));
    Rehearsal {
        airings,
        problems,
        truncated,
    }
}

impl Running {
    /// When an item ends whose block has ended already.
    fn overruns_until(&self, lineup: &Lineup, at: Timestamp) -> Option<Timestamp> {
        let block = self.block.as_deref()?;
        let index = lineup.segment_at(at).block;
        let now = index
            .zip(lineup.schedule())
            .map(|(at, s)| &s.blocks[at].name);
        let left_s = (self.duration_s? - self.position_s).max(0.0);
        let left = SignedDuration::try_from_secs_f64(left_s).ok()?;
        let ends = at.checked_add(left).ok()?;
        (now.is_none_or(|name| name != block)).then_some(ends)
    }
}

impl Rehearsing<'_> {
    /// It airs to its end, whatever the schedule says of the time now.
    fn overrun(&self, running: &Running, (begins, ends): (Timestamp, Timestamp)) -> Airing {
        let about = self.lineup.schedule().and_then(|s| s.about(&running.key));
        let title = about.and_then(|about| about.title.clone());
        Airing {
            begins,
            ends,
            block: running.block.clone(),
            filler: false,
            title: title.or_else(|| Some(title_of(&running.key))),
            rating: about.and_then(|about| about.rating.clone()),
            key: Some(running.key.clone()),
            from_s: running.position_s,
            cut: false,
            assumed: false,
        }
    }

    fn airing(&self, stretch: Stretch) -> Airing {
        let key = stretch.item.as_ref().map(|item| item.object.key.clone());
        let schedule = self.lineup.schedule();
        let about = key.as_deref().and_then(|key| schedule?.about(key));
        let (block, filler) = match stretch.item.as_ref().map(|item| &item.part) {
            Some(Part::Block { name, filler, .. }) => (Some(name.clone()), *filler),
            Some(Part::Ordinary) | None => (None, false),
        };
        Airing {
            begins: stretch.begins,
            ends: stretch.ends,
            block,
            filler,
            title: about
                .and_then(|about| about.title.clone())
                .or_else(|| key.as_deref().map(title_of)),
            rating: about.and_then(|about| about.rating.clone()),
            key,
            from_s: stretch.item.as_ref().map_or(0.0, |item| item.start_s),
            cut: stretch.cut,
            assumed: stretch.assumed,
        }
    }

    fn item(&mut self, stretch: &Stretch) {
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
    fn blocks(
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
        self.problems.entry(id).or_insert(ScheduleProblem {
            kind,
            block,
            key,
            at,
            message,
        });
    }
}

/// `shows/the_long-walk.mp4` → `the long-walk`.
fn title_of(key: &str) -> String {
    let name = key.rsplit('/').next().unwrap_or(key);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let stem = if stem.is_empty() { name } else { stem };
    stem.replace('_', " ")
}
