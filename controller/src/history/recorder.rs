//! One stream's record: takes facts as they become known, in any order, and says which rows change.
//! Pure.
//!
//! Facts become known late: a stall is noticed seconds after it began, a journal is read after the
//! end of its worker was seen. So the facts of the last minute are kept and put into order, and the
//! rows that follow from them are found anew with each. What is older is settled.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use storage::history::{Key, Row};
use storage::model::StreamId;

use super::air::{Air, Worker};
use super::axis::Instant;
use super::fact::Fact;
use super::totals::Totals;

/// How late a fact may become known and still count for its own instant.
const HORIZON_MS: i64 = 60_000;

/// The record of one stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Recorder {
    /// What holds before the first of `facts`.
    settled: Air,
    /// In order.
    facts: Vec<Fact>,
    /// The greatest numbers that were told of it.
    #[serde(default)]
    counted: Totals,
    /// The rows that follow, as they were told.
    #[serde(skip)]
    told: BTreeMap<Key, Row>,
}

/// Rows that are to be written or, `None`, removed.
pub(super) type Changes = BTreeMap<Key, Option<Row>>;

// === impl Recorder ===

impl Recorder {
    /// Of a stream whose first fact to become known is of `first`; it need not be its first.
    pub(super) fn new(stream: StreamId, first: Instant) -> Self {
        let start = Instant {
            ms: first.ms - HORIZON_MS,
            at: first.at,
        };
        Self {
            settled: Air::new(stream, start),
            facts: Vec::new(),
            counted: Totals::default(),
            told: BTreeMap::new(),
        }
    }

    /// As it was written down by [`Self::to_text`].
    ///
    /// # Errors
    /// When the text is of another release.
    pub(super) fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        let mut recorder: Self = serde_json::from_str(text)?;
        recorder.told = recorder.fold().1;
        Ok(recorder)
    }

    /// For the next controller.
    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("a recorder is names, numbers and times")
    }

    /// Takes `facts`.
    pub(super) fn note(&mut self, facts: impl IntoIterator<Item = Fact>) -> Changes {
        self.facts.extend(facts);
        self.facts.sort_by_key(|fact| (fact.ms, fact.what.rank()));
        let changes = self.find_anew();
        self.settle();
        changes
    }

    /// Takes back `fact`, unless it is settled: it was refused.
    pub(super) fn withdraw(&mut self, fact: &Fact) -> Changes {
        if let Some(at) = self.facts.iter().position(|known| known == fact) {
            self.facts.remove(at);
        }
        self.find_anew()
    }

    fn find_anew(&mut self) -> Changes {
        let (_, rows) = self.fold();
        let mut changes = Changes::new();
        for key in self.told.keys().filter(|key| !rows.contains_key(key)) {
            changes.insert(key.clone(), None);
        }
        for (key, row) in &rows {
            if self.told.get(key) != Some(row) {
                changes.insert(key.clone(), Some(row.clone()));
            }
        }
        self.told = rows;
        changes
    }

    /// All rows that may still change, the open ones among them.
    pub(super) fn rows(&self) -> &BTreeMap<Key, Row> {
        &self.told
    }

    /// What it all adds up to at `now_ms`; never less than before.
    pub(super) fn count(&mut self, now_ms: i64) -> &Totals {
        let (air, _) = self.fold();
        self.counted.raise_to(&air.totals(now_ms));
        &self.counted
    }

    /// The newest instant in it.
    pub(super) fn newest(&self) -> Instant {
        self.fold().0.now()
    }

    /// The worker that lives, as far as is known.
    pub(super) fn living_worker(&self) -> Option<Worker> {
        let (air, _) = self.fold();
        air.worker().filter(|worker| worker.alive).cloned()
    }

    /// The worker that lived just before `ms`, as far as is known.
    pub(super) fn living_worker_at(&self, ms: i64) -> Option<Worker> {
        let mut air = self.settled.clone();
        let before = self.facts.iter().take_while(|fact| fact.ms < ms);
        before.for_each(|fact| air.apply(fact, &mut Vec::new()));
        air.worker().filter(|worker| worker.alive).cloned()
    }

    /// The worker that was heard of last, alive or not.
    pub(super) fn last_worker(&self) -> Option<Worker> {
        self.fold().0.worker().cloned()
    }

    /// Whether the stream is wanted at exactly `destinations`; `None`: whether it is not wanted.
    pub(super) fn is_wanted(&self, destinations: Option<&[String]>) -> bool {
        let (air, _) = self.fold();
        match (air.wanted(), destinations) {
            (None, None) => true,
            (Some(known), Some(asked)) => {
                known.len() == asked.len()
                    && asked.iter().all(|name| known.contains(&name.as_str()))
            }
            _ => false,
        }
    }

    fn fold(&self) -> (Air, BTreeMap<Key, Row>) {
        let mut air = self.settled.clone();
        let mut rows = Vec::new();
        for fact in &self.facts {
            air.apply(fact, &mut rows);
        }
        rows.extend(air.open_rows());
        let rows = rows.into_iter().map(|row| (row.key(), row)).collect();
        (air, rows)
    }

    fn settle(&mut self) {
        let Some(newest) = self.facts.last() else {
            return;
        };
        let horizon = newest.ms - HORIZON_MS;
        let settled = self.facts.partition_point(|fact| fact.ms < horizon);
        if settled == 0 {
            return;
        }
        let mut told = Vec::new();
        for fact in self.facts.drain(..settled) {
            self.settled.apply(&fact, &mut told);
        }
        self.told = self.fold().1;
    }
}

#[cfg(test)]
mod tests;
