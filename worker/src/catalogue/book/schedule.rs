//! The schedule's part of the book.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use programme::next::{Known, Resolved};
use programme::{Lineup, ListedObject, Next, Part, Position, Programme, Segment, Standing};
use tokio::time::Instant;

use super::Book;

/// A failure is believed for so long: a block's rounds begin anew each time it airs.
const BAD_FOR: Duration = Duration::from_secs(600);
/// Items of a block are looked into so long before it begins.
const LOOK_AHEAD: SignedDuration = SignedDuration::from_mins(15);
/// So many of them.
const LOOK_AT: usize = 200;

impl Book {
    /// Whether there is a schedule, and objects to play by it are known.
    pub fn is_scheduled(&self) -> bool {
        self.lineup.is_some()
    }

    /// What the schedule has begin at `at`, among those that can be `had`.
    pub fn up_next_at(
        &mut self,
        standing: &Standing,
        at: Timestamp,
        had: &dyn Fn(&ListedObject) -> bool,
        now: Instant,
    ) -> Option<Next> {
        let lineup = self.lineup.as_ref()?;
        let next = lineup.up_next(standing, at, &|object, _| self.known(object, had, now));
        if let Next::Item(item) = &next
            && item.part == Part::Ordinary
        {
            self.enter_round(item.position.round, now);
        }
        Some(next)
    }

    /// When an item of `part` that is on air at `at` has to leave it.
    pub fn leaves(
        &self,
        part: &Part,
        standing: &Standing,
        at: Timestamp,
        now: Instant,
    ) -> Option<Timestamp> {
        match &self.lineup {
            Some(lineup) => {
                let known =
                    |object: &ListedObject, _: &Position| self.known(object, &|_| true, now);
                lineup.leaves(part, standing, at, &known)
            }
            // The schedule was taken away, and its block with it.
            None => (self.playlist.is_some() && *part != Part::Ordinary).then_some(at),
        }
    }

    /// Whether an item of `part` may begin at `at`, among those that can be `had`; without a schedule
    /// only one of the programme itself.
    pub fn is_due(
        &self,
        part: &Part,
        (standing, at): (&Standing, Timestamp),
        had: &dyn Fn(&ListedObject) -> bool,
        now: Instant,
    ) -> bool {
        let known = |object: &ListedObject, _: &Position| self.known(object, had, now);
        match &self.lineup {
            Some(lineup) => lineup.is_due(part, standing, at, &known),
            None => self.playlist.is_none() || *part == Part::Ordinary,
        }
    }

    /// What is to be looked into for the block that begins next, and when that is.
    pub fn ahead(&self, at: Timestamp) -> Option<(Timestamp, Vec<ListedObject>)> {
        let lineup = self.lineup.as_ref()?;
        let now = lineup.segment_at(at);
        let until = at.checked_add(LOOK_AHEAD).ok()?;
        let segment = match now.block {
            // The worker has just started, or the schedule is new.
            Some(_) => now,
            None if now.ends <= until => lineup.segment_at(now.ends),
            None => return None,
        };
        let following = || {
            let next = lineup.segment_at(segment.ends);
            (segment.ends <= until).then_some(next)
        };
        let segments = [Some(segment), following()];
        let mut objects: Vec<ListedObject> = Vec::new();
        for index in segments
            .iter()
            .flatten()
            .filter_map(|segment| segment.block)
        {
            let (items, filler) = lineup.block(index)?;
            let lists = items.objects().iter().chain(filler.objects());
            objects.extend(lists.take(LOOK_AT).cloned());
        }
        let of_a_block = |segment: &&Segment| segment.block.is_some();
        let first = segments.iter().flatten().find(of_a_block)?;
        Some((first.begins, objects))
    }

    /// The length of an object of this version.
    pub fn note_length(&mut self, object: &ListedObject, length_s: f64) {
        let length = (object.version.clone(), length_s);
        self.lengths.insert(object.key.clone(), length);
    }

    fn known(
        &self,
        object: &ListedObject,
        had: &dyn Fn(&ListedObject) -> bool,
        now: Instant,
    ) -> Known {
        let is_bad = self
            .bad
            .get(&object.key)
            .is_some_and(|bad| bad.version == object.version && now < bad.since + BAD_FOR);
        if is_bad || !had(object) {
            return Known::Skipped;
        }
        let length = self.lengths.get(&object.key);
        let length = length.filter(|(version, _)| *version == object.version);
        Known::Plays(length.map(|(_, length_s)| *length_s))
    }
}

/// `None` without a schedule.
pub(super) fn lineup(programme: &Programme, objects: &[ListedObject]) -> Option<Lineup> {
    let schedule = programme.schedule.as_ref()?;
    match TimeZone::get(&schedule.timezone) {
        Ok(zone) => Some(Lineup::resolve(programme, Some(zone), objects)),
        Err(error) => {
            // It was known where the configuration was read.
            tracing::error!(
                timezone = schedule.timezone,
                %error,
                "the schedule's time zone is not known here: the ordinary programme plays all the time"
            );
            None
        }
    }
}

/// What blocks play, filler included.
pub(super) fn objects(lineup: &Lineup) -> impl Iterator<Item = &ListedObject> {
    lists(lineup).flat_map(Resolved::objects)
}

/// Keys that blocks name and that are not there.
pub(super) fn missing(lineup: &Lineup) -> impl Iterator<Item = String> {
    lists(lineup).flat_map(Resolved::missing).cloned()
}

fn lists(lineup: &Lineup) -> impl Iterator<Item = &Resolved> {
    let blocks = (0..).map_while(|index| lineup.block(index));
    blocks.flat_map(|(items, filler)| [items, filler])
}
