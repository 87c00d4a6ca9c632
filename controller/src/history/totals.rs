//! What the record of a stream adds up to since it began: numbers that only grow. Pure.
//!
//! Rows of the past are removed with time, so their sums are kept beside the recorder and not found
//! from the rows. What becomes known late may shorten what was counted as under way (a connection that
//! turns out to have been dead for seconds); what was told stays told until the count is past it:
//! see [`Totals::raise_to`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use storage::history::{Recovery, Row, Span};
use storage::model::DarkCause;
use storage::model::report::OnAirKind;

/// Of one stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) wanted_ms: i64,
    pub(crate) on_air_ms: BTreeMap<OnAirKind, i64>,
    pub(crate) slates: BTreeMap<DarkCause, Tally>,
    pub(crate) worker_starts: u64,
    pub(crate) worker_upgrades: u64,
    pub(crate) destinations: BTreeMap<String, DestinationTotals>,
}

/// Of one destination.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DestinationTotals {
    pub(crate) wanted_ms: i64,
    /// Stretches of one connection.
    pub(crate) delivered: Tally,
    pub(crate) gaps: BTreeMap<DarkCause, Tally>,
    /// Gaps that were not planned and ended by themselves.
    pub(crate) automatic: u64,
    /// Gaps that were not planned and ended after the operator did something.
    pub(crate) by_hand: u64,
}

/// Intervals of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// How many began.
    pub(crate) begun: u64,
    /// How long they were together.
    pub(crate) ms: i64,
}

// === impl Totals ===

impl Totals {
    /// Counts an interval that has ended; one that has not counts for nothing.
    pub(super) fn add_ended(&mut self, row: &Row) {
        if let Some(end_ms) = row.span().end_ms {
            self.add(row, end_ms);
        }
    }

    /// Counts an interval under way as far as `now_ms`. A gap whose cause may still be learned counts for
    /// no cause yet.
    pub(super) fn add_open(&mut self, row: &Row, now_ms: i64) {
        match row {
            Row::Gap(gap) if gap.cause.is_vague() => {
                self.destination(&gap.destination).wanted_ms += length_ms(&gap.span, now_ms);
            }
            _ => self.add(row, now_ms),
        }
    }

    /// Makes of each number the greater one: a counter that falls is taken for one that began anew.
    pub(super) fn raise_to(&mut self, other: &Self) {
        raise(&mut self.wanted_ms, other.wanted_ms);
        raise(&mut self.worker_starts, other.worker_starts);
        raise(&mut self.worker_upgrades, other.worker_upgrades);
        for (kind, ms) in &other.on_air_ms {
            raise(self.on_air_ms.entry(*kind).or_default(), *ms);
        }
        for (cause, tally) in &other.slates {
            self.slates.entry(*cause).or_default().raise_to(*tally);
        }
        for (name, totals) in &other.destinations {
            let own = self.destinations.entry(name.clone()).or_default();
            own.raise_to(totals);
        }
    }

    fn add(&mut self, row: &Row, end_ms: i64) {
        let length_ms = length_ms(row.span(), end_ms);
        match row {
            Row::Wanted(_) => self.wanted_ms += length_ms,
            Row::OnAir(row) => {
                *self.on_air_ms.entry(row.source).or_default() += length_ms;
                if row.source == OnAirKind::Slate {
                    let cause = row.cause.unwrap_or(DarkCause::Unknown);
                    self.slates.entry(cause).or_default().add(length_ms);
                }
            }
            Row::Delivery(row) => {
                let totals = self.destination(&row.destination);
                totals.wanted_ms += length_ms;
                totals.delivered.add(length_ms);
            }
            Row::Gap(row) => {
                let totals = self.destination(&row.destination);
                totals.wanted_ms += length_ms;
                totals.gaps.entry(row.cause).or_default().add(length_ms);
                match row.recovery {
                    Some(Recovery::Automatic) => totals.automatic += 1,
                    Some(Recovery::ByHand) => totals.by_hand += 1,
                    Some(Recovery::Planned | Recovery::Stopped) | None => {}
                }
            }
            // Its seconds are those of what was on air.
            Row::LiveSession(_) => {}
        }
    }

    fn destination(&mut self, name: &str) -> &mut DestinationTotals {
        self.destinations.entry(name.to_owned()).or_default()
    }
}

// === impl DestinationTotals ===

impl DestinationTotals {
    fn raise_to(&mut self, other: &Self) {
        raise(&mut self.wanted_ms, other.wanted_ms);
        raise(&mut self.automatic, other.automatic);
        raise(&mut self.by_hand, other.by_hand);
        self.delivered.raise_to(other.delivered);
        for (cause, tally) in &other.gaps {
            self.gaps.entry(*cause).or_default().raise_to(*tally);
        }
    }
}

// === impl Tally ===

impl Tally {
    fn add(&mut self, length_ms: i64) {
        self.begun += 1;
        self.ms += length_ms;
    }

    fn raise_to(&mut self, other: Self) {
        raise(&mut self.begun, other.begun);
        raise(&mut self.ms, other.ms);
    }
}

fn raise<T: Ord + Copy>(number: &mut T, other: T) {
    *number = (*number).max(other);
}

fn length_ms(span: &Span, end_ms: i64) -> i64 {
    (end_ms - span.start_ms).max(0)
}
