//! What will air in a window of time, and what would go wrong.
//!
//! The same walk along the timeline that the worker makes by playing; so what is said here is what
//! happens, as long as nothing fails and lengths are known.

mod problems;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use self::problems::Problems;
pub use self::problems::{ScheduleProblem, ScheduleProblemKind};
use crate::next::{Known, Lineup, Part, Standing, Stretch, Walk};
use crate::playlist::{ListedObject, Position};

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
    let mut problems = Problems::new(lineup, findings);
    let mut at = window.at;
    let mut standing = window.standing.clone();
    let mut airings = Vec::new();
    if let Some(running) = &window.running {
        let (key, block) = (&running.key, running.block.as_deref());
        standing.has_reached(key, block, running.position_s);
        if let Some(ends) = running.overruns_until(lineup, at) {
            if ends > window.from {
                airings.push(overrun(lineup, running, (at, ends)));
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
        problems.stretch(&stretch);
        airings.push(airing(lineup, stretch));
    }
    truncated |= reached < window.to && !truncated;
    problems.blocks(window.from.max(at), window.to.min(reached), &aired);
    Rehearsal {
        airings,
        problems: problems.into_sorted(),
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

/// It airs to its end, whatever the schedule says of the time now.
fn overrun(lineup: &Lineup, running: &Running, (begins, ends): (Timestamp, Timestamp)) -> Airing {
    let (title, rating) = shown_as(lineup, &running.key);
    Airing {
        begins,
        ends,
        block: running.block.clone(),
        filler: false,
        key: Some(running.key.clone()),
        title: Some(title),
        rating,
        from_s: running.position_s,
        cut: false,
        assumed: false,
    }
}

fn airing(lineup: &Lineup, stretch: Stretch) -> Airing {
    let (begins, ends) = (stretch.begins, stretch.ends);
    let (cut, assumed) = (stretch.cut, stretch.assumed);
    let Some(item) = stretch.item else {
        return Airing {
            begins,
            ends,
            block: None,
            filler: false,
            key: None,
            title: None,
            rating: None,
            from_s: 0.0,
            cut,
            assumed,
        };
    };
    let (block, filler) = match item.part {
        Part::Block { name, filler, .. } => (Some(name), filler),
        Part::Ordinary => (None, false),
    };
    let (title, rating) = shown_as(lineup, &item.object.key);
    Airing {
        begins,
        ends,
        block,
        filler,
        key: Some(item.object.key),
        title: Some(title),
        rating,
        from_s: item.start_s,
        cut,
        assumed,
    }
}

/// Title and rating of an object for viewers.
fn shown_as(lineup: &Lineup, key: &str) -> (String, Option<String>) {
    let about = lineup.schedule().and_then(|schedule| schedule.about(key));
    let title = about.and_then(|about| about.title.clone());
    let rating = about.and_then(|about| about.rating.clone());
    (title.unwrap_or_else(|| title_of(key)), rating)
}

/// `shows/the_long-walk.mp4` → `the long-walk`.
fn title_of(key: &str) -> String {
    let name = key.rsplit('/').next().unwrap_or(key);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let stem = if stem.is_empty() { name } else { stem };
    stem.replace('_', " ")
}
