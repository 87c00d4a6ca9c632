//! Availability out of rows. Pure.

use std::collections::BTreeMap;

use storage::history::{Gap, OnAirSpan, Recovery, Row, Span};
use storage::model::report::OnAirKind;
use storage::model::{DarkCause, StreamId};

use super::known::Known;
use super::report::{
    DestinationUptime, Incident, IncidentKind, Planned, RecoveryTimes, StreamUptime,
};

/// The rows of one stream.
#[derive(Debug, Default)]
struct Rows {
    wanted: Vec<Span>,
    on_air: Vec<OnAirSpan>,
    destinations: BTreeMap<String, Destination>,
}

#[derive(Debug, Default)]
struct Destination {
    delivery: Vec<Span>,
    gaps: Vec<Gap>,
}

/// Sums up `rows`, in order of time within each table, for each stream in them.
pub(super) fn sum_up(rows: Vec<Row>, known: &Known) -> Vec<StreamUptime> {
    let mut streams: BTreeMap<StreamId, Rows> = BTreeMap::new();
    for row in rows.into_iter().filter(|row| !known.is_lost(row.span())) {
        match row {
            Row::Wanted(row) => streams.entry(row.stream).or_default().wanted.push(row.span),
            Row::OnAir(row) => {
                streams
                    .entry(row.stream.clone())
                    .or_default()
                    .on_air
                    .push(row);
            }
            Row::Delivery(row) => {
                let stream = streams.entry(row.stream).or_default();
                stream
                    .destinations
                    .entry(row.destination)
                    .or_default()
                    .delivery
                    .push(row.span);
            }
            Row::Gap(row) => {
                let stream = streams.entry(row.stream.clone()).or_default();
                stream
                    .destinations
                    .entry(row.destination.clone())
                    .or_default()
                    .gaps
                    .push(row);
            }
            // Availability does not depend on who was on air.
            Row::LiveSession(_) => {}
        }
    }
    streams
        .into_iter()
        .map(|(id, rows)| stream(id, &rows, known))
        .collect()
}

// === impl Rows ===

impl Rows {
    /// From when on the record says what became of what was wanted: of a stream that is wanted for long, what
    /// retention has removed is no darkness. A wanted destination is in a row at any time.
    fn known_from(&self, from_ms: i64) -> i64 {
        let destinations = self.destinations.values();
        let rows = destinations.flat_map(|it| {
            it.delivery
                .iter()
                .chain(it.gaps.iter().map(|gap| &gap.span))
        });
        let rows = rows.chain(self.on_air.iter().map(|row| &row.span));
        let first = rows.map(|span| span.start_ms).min();
        first.unwrap_or(from_ms)
    }
}

/// A gap as an operator reads it.
pub(super) fn of_gap(gap: &Gap, now_ms: i64) -> Incident {
    Incident {
        stream_id: gap.stream.clone(),
        kind: IncidentKind::Gap,
        destination: Some(gap.destination.clone()),
        start: gap.span.start_at,
        end: gap.span.end_at,
        length_s: seconds(length_ms(&gap.span, now_ms)),
        cause: gap.cause,
        error_type: gap.error_type.clone(),
        planned: gap.cause.is_planned(),
        recovery: gap.recovery,
    }
}

/// A slate as an operator reads it.
pub(super) fn of_slate(slate: &OnAirSpan, now_ms: i64) -> Incident {
    let cause = slate.cause.unwrap_or(DarkCause::Unknown);
    Incident {
        stream_id: slate.stream.clone(),
        kind: IncidentKind::Slate,
        destination: None,
        start: slate.span.start_at,
        end: slate.span.end_at,
        length_s: seconds(length_ms(&slate.span, now_ms)),
        cause,
        error_type: None,
        planned: cause.is_planned(),
        recovery: slate.recovery,
    }
}

fn stream(stream_id: StreamId, rows: &Rows, known: &Known) -> StreamUptime {
    let slates: Vec<Span> = rows
        .on_air
        .iter()
        .filter(|row| row.source == OnAirKind::Slate)
        .map(|row| row.span)
        .collect();
    let from_ms = rows.known_from(known.window.from_ms);
    let wanted_ms = total(&rows.wanted, &known.since(from_ms));
    let on_air: Vec<Span> = rows.on_air.iter().map(|row| row.span).collect();
    let on_air_ms = total(&on_air, known);
    let destinations = rows.destinations.iter();
    StreamUptime {
        stream_id,
        availability: share(on_air_ms, wanted_ms),
        wanted_s: seconds(wanted_ms),
        on_air_s: seconds(on_air_ms),
        slate_s: seconds(total(&slates, known)),
        slates: slates.len(),
        destinations: destinations
            .map(|(name, rows)| destination(name, rows, &slates, known))
            .collect(),
    }
}

fn destination(
    name: &str,
    rows: &Destination,
    slates: &[Span],
    known: &Known,
) -> DestinationUptime {
    let (planned, faults): (Vec<&Gap>, Vec<&Gap>) =
        rows.gaps.iter().partition(|gap| gap.cause.is_planned());
    let dark = |gaps: &[&Gap]| total_of(gaps.iter().map(|gap| &gap.span), known);
    let to_ms = known.window.to_ms;
    let (planned_ms, fault_ms) = (dark(&planned), dark(&faults));
    let delivered_ms = total(&rows.delivery, known);
    let wanted_ms = delivered_ms + planned_ms + fault_ms;
    let recovered = |how| {
        faults
            .iter()
            .filter(|gap| gap.recovery == Some(how))
            .count()
    };
    // The start of a stream is one only while it lasts: it would hide what was before.
    let is_incident = |gap: &&&Gap| gap.cause != DarkCause::Starting || gap.span.end_ms.is_none();
    let incidents = faults.iter().filter(is_incident);
    let last = incidents.max_by_key(|gap| gap.span.start_ms);
    DestinationUptime {
        name: name.to_owned(),
        availability: share(delivered_ms, wanted_ms),
        wanted_s: seconds(wanted_ms),
        delivered_s: seconds(delivered_ms),
        dark_s: seconds(planned_ms + fault_ms),
        slate_s: seconds(common(&rows.delivery, slates, known)),
        longest_gap_s: faults
            .iter()
            .map(|gap| length_ms(&gap.span, to_ms))
            .max()
            .map(seconds),
        gaps: faults.len(),
        open_gaps: faults
            .iter()
            .filter(|gap| gap.span.end_ms.is_none())
            .count(),
        automatic: recovered(Recovery::Automatic),
        by_hand: recovered(Recovery::ByHand),
        stopped: recovered(Recovery::Stopped),
        recovery: recovery_times(&faults),
        planned: Planned {
            gaps: planned.len(),
            dark_s: seconds(planned_ms),
        },
        last_incident: last.map(|gap| of_gap(gap, to_ms)),
    }
}

fn recovery_times(faults: &[&Gap]) -> RecoveryTimes {
    let recovered =
        |gap: &&&Gap| matches!(gap.recovery, Some(Recovery::Automatic | Recovery::ByHand));
    let ended = faults
        .iter()
        .filter(recovered)
        .filter(|gap| gap.cause != DarkCause::Starting);
    let mut lengths: Vec<i64> = ended
        .filter_map(|gap| Some(gap.span.end_ms? - gap.span.start_ms))
        .collect();
    lengths.sort_unstable();
    RecoveryTimes {
        median_s: percentile(&lengths, 50),
        p95_s: percentile(&lengths, 95),
        max_s: percentile(&lengths, 100),
    }
}

/// Of lengths in order: the smallest that so many percent are not longer than.
pub(super) fn percentile(lengths: &[i64], percent: usize) -> Option<f64> {
    let rank = (lengths.len() * percent).div_ceil(100);
    lengths.get(rank.saturating_sub(1)).copied().map(seconds)
}

fn total(spans: &[Span], known: &Known) -> i64 {
    total_of(spans.iter(), known)
}

fn total_of<'a>(spans: impl Iterator<Item = &'a Span>, known: &Known) -> i64 {
    spans.map(|span| known.within(span)).sum()
}

/// Milliseconds that lie in a span of both; each list is in order and does not overlap itself.
fn common(a: &[Span], b: &[Span], known: &Known) -> i64 {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    let end = |span: &Span| span.end_ms.unwrap_or(i64::MAX);
    let mut sum = 0;
    while let (Some(left), Some(right)) = (a.peek(), b.peek()) {
        let both = Span {
            start_ms: left.start_ms.max(right.start_ms),
            end_ms: Some(end(left).min(end(right))),
            ..**left
        };
        sum += known.within(&both);
        if end(left) <= end(right) {
            a.next();
        } else {
            b.next();
        }
    }
    sum
}

fn length_ms(span: &Span, now_ms: i64) -> i64 {
    (span.end_ms.unwrap_or(now_ms) - span.start_ms).max(0)
}

fn share(part_ms: i64, whole_ms: i64) -> Option<f64> {
    (whole_ms > 0).then(|| part_ms as f64 / whole_ms as f64)
}

pub(super) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests;
