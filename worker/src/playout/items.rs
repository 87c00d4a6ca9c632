//! Opening and closing items: what playout does about the programme.

use std::sync::Arc;
use std::time::Duration;

use programme::{ListedObject, Position, StreamFormat, UpNext};
use tokio::time::Instant;

use super::slot::{Item, Opened};
use super::{Playout, report};
use crate::catalogue::book;
use crate::director::Why;
use crate::source::{SourceContext, SourceEnd, file};

/// How long what comes next is taken for granted: items are added to a bucket at any time.
const PLAN_EVERY: Duration = Duration::from_secs(1);

/// What the catalogue would have opened next, when it was last asked.
#[derive(Debug)]
pub(super) struct Plan {
    asked: Instant,
    item: (ListedObject, Position),
}

impl Playout {
    /// Asks the catalogue what comes next, unless that was done a moment ago.
    pub(super) fn plan(&mut self, now: Instant) {
        if self
            .plan
            .as_ref()
            .is_some_and(|plan| now < plan.asked + PLAN_EVERY)
        {
            return;
        }
        let stored = self.resume.as_ref().map(|stored| &stored.position);
        let from = match (&self.cursor, stored) {
            (Some(cursor), _) => book::From::After(cursor),
            (None, Some(stored)) => book::From::At(stored),
            (None, None) => book::From::Start { seed: self.seed },
        };
        let up_next = self.catalogue.up_next(from);
        self.programme_ended = up_next == UpNext::Ended;
        // While there is nothing, every turn may be the one that has something.
        self.plan = match up_next {
            UpNext::Item(object, position) => Some(Plan {
                asked: now,
                item: (object, position),
            }),
            UpNext::Ended | UpNext::Empty => None,
        };
    }

    pub(super) fn planned(&self) -> Option<&(ListedObject, Position)> {
        self.plan.as_ref().map(|plan| &plan.item)
    }

    pub(super) fn open_next(&mut self, now: Instant) {
        let Some((object, position)) = self.plan.take().map(|plan| plan.item) else {
            return;
        };
        let start_s = self
            .resume
            .take()
            .filter(|stored| stored.position.key.as_deref() == Some(&object.key))
            .map_or(0.0, |stored| stored.item_s);
        let source = file::open(&self.sources, &object, start_s, self.format);
        self.cursor = Some(position.clone());
        self.next = Some(Item::new(object, position, source, Opened::Afresh, now));
        self.plan(now);
    }

    pub(super) fn open_continuation(&mut self, now: Instant) {
        let Some(item) = &mut self.current else {
            return;
        };
        item.continued = true;
        let start_s = item.broke_off_s();
        tracing::warn!(
            item = %item.object.key,
            at_s = start_s,
            expected_s = item.source.duration_s(),
            "the item broke off; it is opened again there"
        );
        self.next = Some(Self::continuation(
            &self.sources,
            item,
            start_s,
            self.format,
            now,
        ));
    }

    fn continuation(
        sources: &Arc<SourceContext>,
        item: &Item,
        start_s: f64,
        format: StreamFormat,
        now: Instant,
    ) -> Item {
        let source = file::open(sources, &item.object, start_s, format);
        let (object, position) = (item.object.clone(), item.position.clone());
        Item::new(object, position, source, Opened::AsContinuation, now)
    }

    /// Closes an item that is not on air, and remembers what was wrong with it.
    pub(super) fn give_up(&mut self, item: Item, why: Why, now: Instant) {
        match why {
            Why::Finished | Why::Skipped => {}
            Why::TooEarly => {
                self.cursor = self.current.as_ref().map(|item| item.position.clone());
                self.plan = None;
                self.plan(now);
            }
            Why::StalledOnce => {
                let start_s = item.position_s();
                self.next = Some(Self::continuation(
                    &self.sources,
                    &item,
                    start_s,
                    self.format,
                    now,
                ));
            }
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

    pub(super) fn close(&self, item: Item) {
        if item.opened == Opened::Afresh && item.source.queue().end() == Some(SourceEnd::Complete) {
            self.catalogue.mark_good(item.source.key());
        }
        self.closing.spawn(item.source.close());
    }
}
