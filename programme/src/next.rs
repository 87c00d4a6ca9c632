//! A programme with its schedule, resolved against a listing: what plays, and until when.
//!
//! Pure and without memory: what was is in [`Standing`], which survives restarts, and what is known
//! of objects is asked through [`Known`]. So the worker that plays and the controller that says what
//! will play come to the same answer.
//!
//! In a block, in this order: its items, its filler, the ordinary programme. Each takes the air when
//! the one before has nothing (more) to play, so a block that is short or empty is never dark.

mod resolved;
mod standing;
mod walk;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

pub use self::resolved::Resolved;
pub use self::standing::{BlockMark, Mark, Part, Standing};
pub use self::walk::{ASSUMED_S, Stretch, Walk};
use crate::item::Programme;
use crate::playlist::{ListedObject, Orders, Playlist, Position, UpNext, shuffle};
use crate::schedule::{OnEnd, Schedule};
use crate::week::{Segment, Week};

/// What is left of a block or of ordinary time is not worth an item when it is shorter than this:
/// what follows begins early.
const EARLY: SignedDuration = SignedDuration::from_secs(2);
/// So many skipped in a row count as nothing to play.
const MAX_SKIPS: usize = 1_000;

/// See the module.
#[derive(Debug)]
pub struct Lineup {
    schedule: Option<(Schedule, Week)>,
    ordinary: Resolved,
    blocks: Vec<BlockLineup>,
}

#[derive(Debug)]
struct BlockLineup {
    items: Resolved,
    filler: Resolved,
}

/// What is known of an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Known {
    /// It plays, for so many seconds if that is known.
    Plays(Option<f64>),
    /// It does not play now and is passed over.
    Skipped,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// This.
    Item(NextItem),
    /// The slate.
    Nothing {
        /// Then there may be something.
        until: Timestamp,
        /// Everything has been played, and nothing is to be repeated.
        ended: bool,
    },
}

/// An item to be played.
#[derive(Debug, Clone, PartialEq)]
pub struct NextItem {
    /// The object.
    pub object: ListedObject,
    /// Where to begin in it, seconds.
    pub start_s: f64,
    /// Its place in the list of `part`.
    pub position: Position,
    /// Whose list.
    pub part: Part,
    /// It is cut then, if it has not ended.
    pub until: Option<Timestamp>,
}

/// Orders of the lists, for whoever goes through many items.
#[derive(Debug, Default)]
struct Memory {
    /// Of the list named by the block's index and whether it is the filler.
    list: Option<(usize, bool)>,
    of_list: Orders,
    ordinary: Orders,
}

// === impl Lineup ===

impl Lineup {
    /// Resolves `programme` against `listing`. `zone` is that of its schedule; without one, or
    /// without a schedule, the ordinary programme plays all the time.
    pub fn resolve(
        programme: &Programme,
        zone: Option<TimeZone>,
        listing: &[ListedObject],
    ) -> Self {
        let schedule = programme.schedule.as_ref();
        let blocks = schedule.into_iter().flat_map(|schedule| {
            schedule.blocks.iter().map(move |block| {
                let (items, filler) = (&block.items[..], &block.filler[..]);
                let of = (schedule, block);
                BlockLineup {
                    items: Resolved::of_block((items, block.repeats()), of, listing),
                    filler: Resolved::of_block((filler, true), of, listing),
                }
            })
        });
        Self {
            blocks: blocks.collect(),
            ordinary: Resolved::ordinary(programme, listing),
            schedule: schedule.zip(zone).map(|(schedule, zone)| {
                let week = Week::new(schedule, zone);
                (schedule.clone(), week)
            }),
        }
    }

    /// The blocks on the timeline; `None` without a schedule.
    pub fn week(&self) -> Option<&Week> {
        self.schedule.as_ref().map(|(_, week)| week)
    }

    /// The schedule, if it is in force.
    pub fn schedule(&self) -> Option<&Schedule> {
        self.schedule.as_ref().map(|(schedule, _)| schedule)
    }

    /// The ordinary programme's objects.
    pub fn ordinary(&self) -> &Resolved {
        &self.ordinary
    }

    /// Items and filler of the block with this index.
    pub fn block(&self, index: usize) -> Option<(&Resolved, &Resolved)> {
        let block = self.blocks.get(index)?;
        Some((&block.items, &block.filler))
    }

    /// What the schedule says of an instant; the ordinary programme where there is none.
    pub fn segment_at(&self, at: Timestamp) -> Segment {
        match self.week() {
            Some(week) => week.segment_at(at),
            None => Segment {
                block: None,
                begins: Timestamp::MIN,
                ends: Timestamp::MAX,
            },
        }
    }

    /// Whose time an item has that begins at `at`.
    fn due_at(&self, at: Timestamp) -> Segment {
        let segment = self.segment_at(at);
        let is_a_rest = segment.begins < at && segment.ends.duration_since(at) < EARLY;
        if is_a_rest {
            self.segment_at(segment.ends)
        } else {
            segment
        }
    }

    /// What is to begin at `at`.
    pub fn up_next(
        &self,
        standing: &Standing,
        at: Timestamp,
        known: &dyn Fn(&ListedObject, &Position) -> Known,
    ) -> Next {
        let segment = self.due_at(at);
        self.up_next_in(&segment, standing, at, known, &mut Memory::default())
    }

    /// When an item of `part` that is on air at `at` has to leave it: `at` itself, where its time is
    /// over.
    pub fn leaves(
        &self,
        part: &Part,
        standing: &Standing,
        at: Timestamp,
        known: &dyn Fn(&ListedObject, &Position) -> Known,
    ) -> Option<Timestamp> {
        let (name, begins, filler) = match part {
            Part::Ordinary => {
                // Ordinary time may have begun a moment early, and is not left early.
                let segment = self.segment_at(at);
                let due = self.due_at(at);
                let change = match (segment.block, due.block) {
                    (None, _) => segment.ends,
                    (Some(_), None) => due.ends,
                    (Some(_), Some(_)) => at,
                };
                return Some(change).filter(|at| self.is_of_a_block(standing, *at, known));
            }
            Part::Block {
                name,
                begins,
                filler,
            } => (name, *begins, *filler),
        };
        let blocks = self.schedule().map(|schedule| &schedule.blocks[..]);
        let blocks = blocks.unwrap_or_default();
        let Some(block) = blocks.iter().find(|block| block.name == *name) else {
            return Some(at);
        };
        // It may have been begun a moment early.
        let segment = self.segment_at(at.max(begins));
        let is_cut = filler || block.on_end != OnEnd::Finish;
        let is_its_time = segment.begins == begins
            && segment
                .block
                .is_some_and(|index| blocks[index].name == *name);
        let ends = if is_its_time { segment.ends } else { at };
        is_cut.then_some(ends)
    }

    /// Whether an item of `part` may begin at `at`: a block's in this airing of it, another when no block
    /// has something to play.
    pub fn is_due(
        &self,
        part: &Part,
        standing: &Standing,
        at: Timestamp,
        known: &dyn Fn(&ListedObject, &Position) -> Known,
    ) -> bool {
        let Part::Block { name, begins, .. } = part else {
            return !self.is_of_a_block(standing, at, known);
        };
        let due = self.due_at(at);
        let block = due.block.zip(self.schedule());
        due.begins == *begins
            && block.is_some_and(|(index, schedule)| schedule.blocks[index].name == *name)
    }

    fn is_of_a_block(
        &self,
        standing: &Standing,
        at: Timestamp,
        known: &dyn Fn(&ListedObject, &Position) -> Known,
    ) -> bool {
        match self.up_next(standing, at, known) {
            Next::Item(item) => item.part != Part::Ordinary,
            Next::Nothing { .. } => false,
        }
    }

    fn up_next_in(
        &self,
        segment: &Segment,
        standing: &Standing,
        at: Timestamp,
        known: &dyn Fn(&ListedObject, &Position) -> Known,
        memory: &mut Memory,
    ) -> Next {
        if let Some(index) = segment.block
            && let Some(item) = self.of_block((index, segment), standing, at, known, memory)
        {
            return Next::Item(item);
        }
        let mark = standing.ordinary.as_ref();
        let orders = &mut memory.ordinary;
        let seed = standing.seed;
        match candidate(self.ordinary.playlist(), mark, seed, known, orders) {
            Candidate::Item(object, position, start_s) => Next::Item(NextItem {
                object,
                start_s,
                position,
                part: Part::Ordinary,
                until: self.schedule.is_some().then_some(segment.ends),
            }),
            none => Next::Nothing {
                until: segment.ends,
                ended: matches!(none, Candidate::Ended),
            },
        }
    }

    /// An item of the block or its filler; `None` when neither has one.
    fn of_block(
        &self,
        (index, segment): (usize, &Segment),
        standing: &Standing,
        at: Timestamp,
        known: &dyn Fn(&ListedObject, &Position) -> Known,
        memory: &mut Memory,
    ) -> Option<NextItem> {
        let block = &self.schedule()?.blocks[index];
        let lineup = &self.blocks[index];
        let same = standing
            .block
            .as_ref()
            .filter(|mark| mark.name == block.name && mark.begins == segment.begins);
        let seed = seed_of(&block.name, segment.begins);
        let in_filler = same.is_some_and(|mark| mark.filler);
        for filler in [false, true] {
            if in_filler && !filler {
                continue;
            }
            let list = if filler {
                &lineup.filler
            } else {
                &lineup.items
            };
            let mark = same.filter(|mark| mark.filler == filler).map(|m| &m.mark);
            let orders = memory.orders(index, filler);
            let found = candidate(list.playlist(), mark, seed, known, orders);
            let Candidate::Item(object, position, start_s) = found else {
                continue;
            };
            let on_end = if filler { OnEnd::Cut } else { block.on_end };
            if on_end == OnEnd::Fit && overruns(known(&object, &position), start_s, at, segment) {
                continue;
            }
            return Some(NextItem {
                object,
                start_s,
                position,
                part: Part::Block {
                    name: block.name.clone(),
                    begins: segment.begins,
                    filler,
                },
                until: (on_end != OnEnd::Finish).then_some(segment.ends),
            });
        }
        None
    }
}

// === impl Memory ===

impl Memory {
    fn orders(&mut self, block: usize, filler: bool) -> &mut Orders {
        if self.list != Some((block, filler)) {
            self.list = Some((block, filler));
            self.of_list = Orders::default();
        }
        &mut self.of_list
    }
}

enum Candidate {
    Item(ListedObject, Position, f64),
    Ended,
    Empty,
}

/// The next of `playlist` that plays.
fn candidate(
    playlist: &Playlist,
    mark: Option<&Mark>,
    seed: u64,
    known: &dyn Fn(&ListedObject, &Position) -> Known,
    orders: &mut Orders,
) -> Candidate {
    let mut up_next = match mark {
        None => playlist.first_in(seed, orders),
        Some(mark) if mark.left_at_s.is_some() => playlist.resume_in(&mark.position, orders),
        Some(mark) => playlist.next_after_in(&mark.position, orders),
    };
    // The rest of this round, and all of the next.
    let tries = (2 * playlist.objects().len()).clamp(1, MAX_SKIPS);
    for _ in 0..tries {
        let (object, position) = match up_next {
            UpNext::Item(object, position) => (object, position),
            UpNext::Ended => return Candidate::Ended,
            UpNext::Empty => return Candidate::Empty,
        };
        if known(&object, &position) != Known::Skipped {
            let left = mark.filter(|mark| mark.position.key.as_ref() == Some(&object.key));
            let start_s = left.and_then(|mark| mark.left_at_s).unwrap_or(0.0);
            return Candidate::Item(object, position, start_s);
        }
        up_next = playlist.next_after_in(&position, orders);
    }
    Candidate::Empty
}

/// Whether an item of known length would not end within the segment.
fn overruns(known: Known, start_s: f64, at: Timestamp, segment: &Segment) -> bool {
    match known {
        Known::Plays(Some(duration_s)) => {
            at.as_duration().as_secs_f64() + (duration_s - start_s)
                > segment.ends.as_duration().as_secs_f64()
        }
        Known::Plays(None) | Known::Skipped => false,
    }
}

/// Another for each airing, the same for everybody.
fn seed_of(name: &str, begins: Timestamp) -> u64 {
    shuffle::rank(begins.as_second().cast_unsigned(), 0, name, 0)
}
