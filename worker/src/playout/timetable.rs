//! What playout does about the schedule: which item is due, when the one on air has to leave, and
//! what is to be looked into before a block begins.
//!
//! Blocks are wall-clock times, so this is the one place of playout that reads that clock.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use programme::next::Mark;
use programme::{ListedObject, Next, Part, Position, Standing};
use storage::model::PositionFile;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::Playout;
use super::items::Cursor;
use super::slot::{Item, Opened};
use crate::catalogue::Notes;
use crate::director::{Air, OPEN_AHEAD, Slot};
use crate::source::{SourceContext, Unread};

/// A turn is 40 ms; the schedule is asked less often.
const CONSULT_EVERY: Duration = Duration::from_millis(500);

/// When an item will have ended is known about as well as this.
const ABOUT: SignedDuration = SignedDuration::from_secs(4);
/// What follows sooner than this stays as it is: another might not be there in time.
const TOO_LATE: Duration = Duration::from_secs(3);
/// A plan may be as old as this, and a little older.
const PLAN_AGE: Duration = Duration::from_secs(2);

/// Where playout stands in the schedule.
#[derive(Debug)]
pub(super) struct Timetable {
    pub(super) standing: Standing,
    /// When the item on air has to leave it.
    leaves: Option<Timestamp>,
    consulted: Option<Instant>,
    /// What was looked into last.
    looked_into: Option<LookedInto>,
}

/// The items of a block, before it begins; others are there as soon as the bucket has them.
#[derive(Debug)]
struct LookedInto {
    begins: Timestamp,
    objects: Vec<ListedObject>,
    _task: AbortOnDropHandle<()>,
}

// === impl Timetable ===

impl Timetable {
    pub(super) fn new(resume: Option<&PositionFile>, seed: u64) -> Self {
        let afresh = || Standing::new(seed);
        Self::resume(resume.map_or_else(afresh, |file| file.clone().into_standing()))
    }

    /// Goes on where another stood.
    pub(super) fn resume(standing: Standing) -> Self {
        Self {
            standing,
            leaves: None,
            consulted: None,
            looked_into: None,
        }
    }

    /// For how long the item on air may stay there.
    pub(super) fn left(&self) -> Option<Duration> {
        let left = self.leaves?.duration_since(Timestamp::now());
        Some(left.try_into().unwrap_or(Duration::ZERO))
    }

    /// The position file while `item` is on air and `next` waits.
    pub(super) fn position_file(
        &self,
        item: &Item,
        next: Option<&Item>,
        at: Timestamp,
    ) -> PositionFile {
        let mut standing = self.standing.clone();
        if let Some(next) = next {
            let start_s = next.source.start_s();
            standing.note(&next.part, next.position.clone(), Some(start_s));
        }
        standing.note(&item.part, item.position.clone(), Some(item.position_s()));
        let (position, item_s) = match standing.ordinary {
            Some(Mark {
                position,
                left_at_s: Some(left_at_s),
            }) => (position, left_at_s),
            // It is done with: what follows it is next.
            Some(Mark { position, .. }) => (
                Position {
                    index: position.index + 1,
                    key: None,
                    ..position
                },
                0.0,
            ),
            None => (
                Position {
                    seed: standing.seed,
                    ..Position::default()
                },
                0.0,
            ),
        };
        PositionFile {
            version: crate::position::POSITION_VERSION,
            position,
            item_s,
            block: standing.block,
            at,
        }
    }
}

impl Playout {
    /// What the schedule has play when the item on air ends or leaves; `None` without a schedule.
    pub(super) fn scheduled_next(&self) -> Option<Next> {
        if !self.catalogue.is_scheduled() {
            return None;
        }
        let standing = &self.timetable.standing;
        let had = |object: &ListedObject| self.can_be_had(object);
        self.catalogue.up_next_at(standing, self.changes_at(), &had)
    }

    /// While the store is away that is what is kept.
    fn can_be_had(&self, object: &ListedObject) -> bool {
        !self.sources.reach().is_away() || self.sources.is_kept(object)
    }

    /// Nothing is left of an item whose time is over.
    pub(super) fn within_its_time(&self, slot: Slot) -> Slot {
        let left = [slot.remaining, self.timetable.left()];
        Slot {
            remaining: left.into_iter().flatten().min(),
            ..slot
        }
    }

    /// The item that has its time by the schedule: on air, or behind a slate or a live feed.
    fn timed(&self) -> Option<&Item> {
        let has_a_time = match self.air {
            Air::Current | Air::Slate(_) => true,
            Air::Live => self.live.beneath.is_some(),
            Air::Nothing => false,
        };
        self.current.as_ref().filter(|_| has_a_time)
    }

    /// When the item on air, or left for a live feed, will end or leave, as far as that is known; else now.
    fn changes_at(&self) -> Timestamp {
        let now = Timestamp::now();
        if let Air::Slate(_) = self.air {
            return now;
        }
        let own = self.timed().and_then(Item::remaining);
        let left = match (own, self.timetable.left()) {
            (Some(own), Some(left)) => own.min(left),
            (Some(left), None) | (None, Some(left)) => left,
            (None, None) => Duration::ZERO,
        };
        // Until then nothing is opened but what takes the place of an item that is skipped.
        if left > OPEN_AHEAD + PLAN_AGE {
            return now;
        }
        let left = SignedDuration::try_from(left).unwrap_or(SignedDuration::ZERO);
        now.checked_add(left).unwrap_or(now)
    }

    /// Keeps to the schedule, turn by turn.
    pub(super) fn mind_schedule(&mut self, now: Instant) {
        let is_due = |at| now >= at + CONSULT_EVERY;
        if self.timetable.consulted.is_none_or(is_due) {
            self.timetable.consulted = Some(now);
            self.consult_schedule();
        }
        // It stays until another is ready.
        if self.air == Air::Current && self.timetable.left() == Some(Duration::ZERO) {
            self.director.skip();
        }
    }

    /// When the item on air has to leave, and what to look into.
    fn consult_schedule(&mut self) {
        let now = Timestamp::now();
        let standing = &self.timetable.standing;
        let leaves = self
            .timed()
            .and_then(|item| self.catalogue.leaves(&item.part, standing, now));
        if leaves != self.timetable.leaves {
            self.timetable.leaves = leaves;
            self.plan = None;
        }
        self.let_go_of_what_is_not_due();
        if let Some(item) = &self.current
            && let Some(length_s) = item.source.duration_s()
        {
            self.catalogue.notes().note_length(&item.object, length_s);
        }
        let Some((begins, objects)) = self.catalogue.ahead(now) else {
            return;
        };
        let is_done = |last: &LookedInto| last.begins == begins && last.objects == objects;
        if !objects.is_empty() && !self.timetable.looked_into.as_ref().is_some_and(is_done) {
            tracing::info!(items = objects.len(), %begins, "looking into the items of a block");
            let notes = self.catalogue.notes();
            let task = tokio::spawn(look_into(notes, Arc::clone(&self.sources), objects.clone()));
            self.timetable.looked_into = Some(LookedInto {
                begins,
                objects,
                _task: AbortOnDropHandle::new(task),
            });
        }
    }

    /// What waits was opened for another time than the one that it will get: the schedule was changed
    /// meanwhile, or something else had the air. By the schedule its turn is then.
    fn let_go_of_what_is_not_due(&mut self) {
        let Some(item) = self.timed().filter(|_| !self.transit.is_preparing()) else {
            return;
        };
        let stays = match self.air {
            Air::Current => item.remaining().is_none_or(|left| left < TOO_LATE),
            // When it goes on, and what follows it then, is not known.
            Air::Slate(_) => self.timetable.left() != Some(Duration::ZERO),
            Air::Live | Air::Nothing => false,
        };
        if stays {
            return;
        }
        if self.next.as_ref().is_none_or(|item| self.is_due(item)) {
            return;
        }
        if let Some(item) = self.next.take() {
            tracing::info!(item = %item.object.key, "let go of: the schedule has something else then");
            self.put_back(&item, item.source.start_s());
            self.plan = None;
            self.close(item);
        }
    }

    /// Whether an item that waits may begin when its turn comes.
    fn is_due(&self, item: &Item) -> bool {
        let begins = self.changes_at();
        let around = [
            begins.checked_sub(ABOUT),
            Ok(begins),
            begins.checked_add(ABOUT),
        ];
        let standing = &self.timetable.standing;
        let had = |object: &ListedObject| self.can_be_had(object);
        let mut around = around.iter().flatten();
        item.opened != Opened::Afresh
            || around.any(|at| self.catalogue.is_due(&item.part, (standing, *at), &had))
    }

    /// Before another item takes the air: the ordinary programme goes on here when a block took it.
    pub(super) fn remember_what_is_left(&mut self) {
        // The item that comes has a time of its own.
        let is_over = self.timetable.left() == Some(Duration::ZERO);
        self.timetable.leaves = None;
        self.timetable.consulted = None;
        // What was planned was for another time than the new item's end.
        if self.catalogue.is_scheduled() {
            self.plan = None;
        }
        if is_over
            && let (Some(item), Some(next)) = (&self.current, &self.next)
            && item.part == Part::Ordinary
            && next.part != Part::Ordinary
        {
            let left_at_s = Some(item.position_s());
            let position = item.position.clone();
            self.cursor = Cursor::At(position.clone(), item.position_s());
            self.timetable
                .standing
                .note(&Part::Ordinary, position, left_at_s);
        }
    }
}

/// So that what does not play is known, and passed over, before it is its turn.
async fn look_into(notes: Notes, sources: Arc<SourceContext>, objects: Vec<ListedObject>) {
    for object in objects {
        match sources.probe(&object).await {
            Ok(info) => {
                if let Some(length_s) = info.duration_s {
                    notes.note_length(&object, length_s);
                }
            }
            Err(Unread::Bad(error)) => {
                let position = Position {
                    key: Some(object.key.clone()),
                    ..Position::default()
                };
                notes.mark_bad(&position, &object.version, error);
            }
            // The store's fault says nothing of the item.
            Err(Unread::Interrupted(_)) => {}
        }
    }
}
