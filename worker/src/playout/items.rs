//! Opening and closing items: what playout does about the programme.

use std::sync::Arc;
use std::time::Duration;

use programme::{ListedObject, Next, Part, Position, StreamFormat, UpNext};
use serde::{Deserialize, Serialize};
use storage::model::PositionFile;
use tokio::time::Instant;

use super::slot::{Item, Opened};
use super::{Playout, report};
use crate::catalogue::book;
use crate::director::Why;
use crate::source::{SourceContext, SourceEnd, file};

/// How long what comes next is taken for granted: items are added to a bucket at any time.
const PLAN_EVERY: Duration = Duration::from_secs(1);

/// The same, while nothing can be had from the store: everything is gone through each time.
const PLAN_EVERY_AWAY: Duration = Duration::from_millis(250);
/// Interruptions at one place, with the store reachable, after which it is the item's fault.
const MAX_INTERRUPTIONS: u32 = 3;
const BROKE_OFF: &str = "the item broke off; it is opened again there";
/// Nearer than this is one place, seconds.
const ONE_PLACE_S: f64 = 0.5;

/// Where the programme stands: what is opened next is looked up from here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Cursor {
    /// Nothing was ever opened.
    Start,
    /// This item is to be opened, at this second of it; or what followed it.
    At(Position, f64),
    /// This item was opened.
    After(Position),
}

/// Where an item was interrupted last, and how often without fault of the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Interrupted {
    key: String,
    at_s: f64,
    count: u32,
}

/// What the catalogue would have opened next, when it was last asked.
#[derive(Debug)]
pub(super) struct Plan {
    asked: Instant,
    item: Option<(ListedObject, Position)>,
    /// By the schedule: whose list it is from, and where in it to begin.
    due: Option<(Part, f64)>,
}

// === impl Cursor ===

impl Cursor {
    /// Where the last worker of the stream stood.
    pub(super) fn new(resume: Option<PositionFile>) -> Self {
        match resume {
            Some(stored) => Self::At(stored.position, stored.item_s),
            None => Self::Start,
        }
    }
}

impl Playout {
    /// Asks the catalogue what comes next, unless that was done a moment ago.
    pub(super) fn plan(&mut self, now: Instant) {
        let is_away = self.sources.reach().is_away();
        let holds = |plan: &Plan| match (&plan.item, is_away) {
            (Some(_), _) => now < plan.asked + PLAN_EVERY,
            (None, true) => now < plan.asked + PLAN_EVERY_AWAY,
            // While there is nothing, every turn may be the one that has something.
            (None, false) => false,
        };
        if self.plan.as_ref().is_some_and(holds) {
            return;
        }
        if let Some(next) = self.scheduled_next() {
            self.programme_ended = matches!(next, Next::Nothing { ended: true, .. });
            let (item, due) = match next {
                Next::Item(next) => (
                    Some((next.object, next.position)),
                    Some((next.part, next.start_s)),
                ),
                Next::Nothing { .. } => (None, None),
            };
            self.plan = Some(Plan {
                asked: now,
                item,
                due,
            });
            return;
        }
        let from = match &self.cursor {
            Cursor::Start => book::From::Start { seed: self.seed },
            Cursor::At(position, _) => book::From::At(position),
            Cursor::After(position) => book::From::After(position),
        };
        let sources = &self.sources;
        let up_next = match is_away {
            true => self
                .catalogue
                .up_next_of(from, &|object| sources.is_kept(object)),
            false => self.catalogue.up_next(from),
        };
        self.programme_ended = up_next == UpNext::Ended;
        let item = match up_next {
            UpNext::Item(object, position) => Some((object, position)),
            UpNext::Ended | UpNext::Empty => None,
        };
        self.plan = Some(Plan {
            asked: now,
            item,
            due: None,
        });
    }

    pub(super) fn planned(&self) -> Option<&(ListedObject, Position)> {
        self.plan.as_ref()?.item.as_ref()
    }

    pub(super) fn open_next(&mut self, now: Instant) {
        let Some(plan) = self.plan.take() else {
            return;
        };
        let Some((object, position)) = plan.item else {
            return;
        };
        let of_cursor = match &self.cursor {
            Cursor::At(stored, item_s) if stored.key.as_deref() == Some(&object.key) => *item_s,
            Cursor::Start | Cursor::At(..) | Cursor::After(_) => 0.0,
        };
        let (part, start_s) = plan.due.unwrap_or((Part::Ordinary, of_cursor));
        let source = file::open(&self.sources, &object, start_s, self.format);
        self.timetable.standing.note(&part, position.clone(), None);
        if part == Part::Ordinary {
            self.cursor = Cursor::After(position.clone());
        }
        let mut item = Item::new(object, position, source, Opened::Afresh, now);
        item.part = part;
        self.next = Some(item);
        self.plan(now);
    }

    pub(super) fn open_continuation(&mut self, now: Instant) {
        let Some(item) = &mut self.current else {
            return;
        };
        let start_s = item.broke_off_s();
        let (opened, why) = match item.source.queue().end() {
            None => (
                Opened::AfterOutage,
                "too little comes of the item; it is opened once more, where it stands",
            ),
            Some(SourceEnd::Interrupted(_)) => (Opened::AfterOutage, BROKE_OFF),
            Some(_) => {
                item.continued = true;
                (Opened::AsContinuation, BROKE_OFF)
            }
        };
        tracing::warn!(
            item = %item.object.key,
            at_s = start_s,
            expected_s = item.source.duration_s(),
            "{why}"
        );
        self.next = Some(Self::again(
            &self.sources,
            item,
            (start_s, opened),
            self.format,
            now,
        ));
    }

    /// The item once more, from another place.
    pub(super) fn again(
        sources: &Arc<SourceContext>,
        item: &Item,
        (start_s, opened): (f64, Opened),
        format: StreamFormat,
        now: Instant,
    ) -> Item {
        let source = file::open(sources, &item.object, start_s, format);
        let (object, position) = (item.object.clone(), item.position.clone());
        let mut again = Item::new(object, position, source, opened, now);
        again.part = item.part.clone();
        again
    }

    /// Closes an item that is not on air, and remembers what was wrong with it.
    pub(super) fn give_up(&mut self, item: Item, why: Why, now: Instant) {
        match why {
            Why::Finished | Why::Skipped | Why::NotNeeded => {}
            Why::TooEarly => {
                if let Some(current) = &self.current {
                    self.cursor = Cursor::After(current.position.clone());
                }
                self.put_back(&item, item.source.start_s());
                self.plan = None;
                self.plan(now);
            }
            Why::StalledOnce => {
                let place = (item.position_s(), Opened::AsContinuation);
                self.next = Some(Self::again(&self.sources, &item, place, self.format, now));
            }
            Why::Interrupted => self.interrupted(&item, now),
            // It was left near its end, and there was nothing behind that place.
            Why::Failed if item.source.start_s() > 0.0 && item.opened == Opened::Afresh => {}
            Why::Failed | Why::EndedEarly | Why::Stalled | Why::OpenTimeout => {
                let problem = report::item_problem(&item, why);
                let version = &item.object.version;
                self.catalogue.mark_bad(&item.position, version, problem);
                // Asked at once: a skip that met this item is to find the one behind it.
                self.plan = None;
                self.plan(now);
            }
        }
        self.close(item);
    }

    /// The store stopped delivering an item that is not on air: it is its turn again when it can be
    /// had.
    fn interrupted(&mut self, item: &Item, now: Instant) {
        let is_hopeless = self.count_interruption(item);
        let continues = |current: &&mut Item| current.position == item.position;
        if let Some(current) = self.current.as_mut().filter(continues) {
            // It asks for its continuation by itself.
            current.hopeless = is_hopeless;
        } else if is_hopeless {
            let problem = report::item_problem(item, Why::Interrupted);
            let version = &item.object.version;
            self.catalogue.mark_bad(&item.position, version, problem);
        } else {
            let at_s = item.resume_s();
            self.put_back(item, at_s);
            if item.part == Part::Ordinary {
                self.cursor = Cursor::At(item.position.clone(), at_s);
            }
        }
        self.plan = None;
        self.plan(now);
    }

    /// By the schedule too it is next again, from this second on.
    pub(super) fn put_back(&mut self, item: &Item, at_s: f64) {
        let position = item.position.clone();
        self.timetable
            .standing
            .note(&item.part, position, Some(at_s));
    }

    /// Whether the store has nothing to do with it any more.
    fn count_interruption(&mut self, item: &Item) -> bool {
        let at_s = item.resume_s();
        if self.sources.reach().is_away() {
            self.interrupted = None;
            return false;
        }
        let here = |last: &Interrupted| {
            last.key == item.object.key && (last.at_s - at_s).abs() < ONE_PLACE_S
        };
        let count = self
            .interrupted
            .take()
            .filter(here)
            .map_or(0, |last| last.count)
            + 1;
        self.interrupted = Some(Interrupted {
            key: item.object.key.clone(),
            at_s,
            count,
        });
        count >= MAX_INTERRUPTIONS
    }

    pub(super) fn close(&self, item: Item) {
        if item.opened != Opened::AsContinuation
            && item.source.queue().end() == Some(SourceEnd::Complete)
        {
            self.catalogue.mark_good(item.source.key());
        }
        self.closing.spawn(item.source.close());
    }
}
