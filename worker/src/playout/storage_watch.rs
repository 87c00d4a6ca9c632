//! What playout sees of the media store: an item that gets short, and a store that is away.

use std::time::Duration;

use tokio::time::Instant;

use storage::model::ErrorReport;
use storage::model::report::ItemProblem;

use super::Playout;
use super::slot::Item;
use crate::director::{Air, REOPEN_AFTER};

/// A reader that gets what it asks for has twice this in hand, always.
const SHORT_MS: i64 = 1_500;
/// By then a queue is full, unless its bytes come slowly.
const FILLED_AFTER: Duration = Duration::from_secs(2);
/// Probe, first bytes and half a second of media take less, also where they are transcoded.
const SLOW_OPENING: Duration = Duration::from_secs(4);
/// What an item is called of which less comes than it needs.
const SLOW: &str = "source_slow";
/// An item that stays short is not a new suspicion before.
const DOUBT_EVERY: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Debug)]
pub(super) struct StorageWatch {
    /// The store was away at the last turn.
    was_away: bool,
    /// The item on air has less in hand than it should, at this turn.
    short: bool,
    /// An item is on air, without a change, since.
    on_air_since: Instant,
    doubted_at: Option<Instant>,
}

// === impl StorageWatch ===

impl StorageWatch {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            was_away: false,
            short: false,
            on_air_since: now,
            doubted_at: None,
        }
    }

    /// An item took the air.
    pub(super) fn joined(&mut self, now: Instant) {
        self.on_air_since = now;
        self.short = false;
    }

    /// Whether `item` is on air and has too little in hand.
    pub(super) fn is_short(&self, item: &Item) -> bool {
        self.short && is_short(item)
    }
}

impl Playout {
    /// Looks after what is on air, tells the store's watchers, and has the cache filled with what
    /// is on air and what comes next.
    pub(super) fn mind_storage(&mut self, now: Instant) {
        let is_away = self.sources.reach().is_away();
        if is_away != self.watch.was_away {
            self.watch.was_away = is_away;
            self.plan = None;
        }
        let on_air = match self.air {
            Air::Current => self.current.as_ref(),
            Air::Nothing | Air::Slate(_) | Air::Live => None,
        };
        let settled = now >= self.watch.on_air_since + FILLED_AFTER;
        self.watch.short = settled && on_air.is_some_and(is_short);
        let lately = |at: Instant| now < at + DOUBT_EVERY;
        let slow = self.next.as_ref().filter(|item| is_slow(item, now));
        let suspect = on_air.filter(|_| self.watch.short).or(slow);
        if !is_away
            && !self.watch.doubted_at.is_some_and(lately)
            && let Some(item) = suspect.filter(|item| !item.source.is_from_cache())
        {
            self.watch.doubted_at = Some(now);
            self.sources.reach().doubt(Some(&item.object.key));
        }
        if let Some(fetcher) = self.sources.fetcher() {
            let is_filling = |item: &Item| item.source.queue().is_filling();
            fetcher.hold(self.watch.short || self.current.as_ref().is_some_and(is_filling));
            let open = [&self.current, &self.next].into_iter().flatten();
            let open = open.map(|item| &item.object);
            let planned = self.planned().map(|(object, _)| object);
            let mut wanted: Vec<_> = open.chain(planned).cloned().collect();
            wanted.dedup();
            fetcher.want(wanted);
        }
    }
}

impl Playout {
    /// The item on air ran dry: one of which something comes is given more time, and more each time.
    pub(super) fn fill_up(&mut self, now: Instant) {
        let slow = |item: &&Item| item.source.queue().quiet(now) < REOPEN_AFTER;
        let Some(item) = self.current.as_ref().filter(slow) else {
            return;
        };
        item.source.queue().fill_up();
        if let Some(problem) = self.slow_problem() {
            let ErrorReport { message, hint, .. } = problem.error;
            tracing::warn!(item = problem.key, error_type = SLOW, hint, "{message}");
        }
    }

    /// What is to be told of an item that comes slower than it plays. While the store is away it is
    /// the store that is to blame.
    pub(super) fn slow_problem(&self) -> Option<ItemProblem> {
        if self.sources.reach().is_away() {
            return None;
        }
        let item = self.current.as_ref()?;
        let fill_ms = item.source.queue().fill_ms()?;
        let key = item.object.key.clone();
        let fill_s = fill_ms / 1_000;
        Some(ItemProblem {
            error: ErrorReport {
                error_type: SLOW.to_owned(),
                message: format!(
                    "{key} comes slower than it plays; when it runs dry, it goes on with {fill_s} s in hand"
                ),
                hint: "Check how fast the media store delivers, and the load of this machine if the item is \
                       transcoded; files of a lower bit rate, or a cache (CACHE_MAX_BYTES), need less."
                    .to_owned(),
            },
            key,
            at: jiff::Timestamp::now(),
        })
    }
}

fn is_slow(item: &Item, now: Instant) -> bool {
    let queue = item.source.queue();
    queue.end().is_none() && !queue.is_ready() && now >= item.opened_at + SLOW_OPENING
}

fn is_short(item: &Item) -> bool {
    let queue = item.source.queue();
    queue.end().is_none() && queue.buffered_ms() < SHORT_MS
}
