//! Availability out of rows. Pure.

use std::collections::BTreeMap;

use storage::history::{Gap, OnAirSpan, Recovery, Row, Span};
use storage::model::report::OnAirKind;
use storage::model::{DarkCause, StreamId};

use super::report::{
    DestinationUptime, Incident, IncidentKind, Planned, RecoveryTimes, StreamUptime,
};

/// A part of the record's axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
}

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
pub(super) fn sum_up(rows: Vec<Row>, window: Stretch) -> Vec<StreamUptime> {
    let mut streams: BTreeMap<StreamId, Rows> = BTreeMap::new();
    for row in rows {
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
        .map(|(id, rows)| stream(id, &rows, window))
        .collect()
}

// === impl Rows ===

impl Rows {
    /// From when on the record says what became of what was wanted: of a stream that is wanted for long, what
    /// retention has removed is no darkness. A wanted destination is in a row at any time.
    fn known_from(&self, window: Stretch) -> i64 {
        let destinations = self.destinations.values();
        let rows = destinations.flat_map(|it| {
            it.delivery
                .iter()
                .chain(it.gaps.iter().map(|gap| &gap.span))
        });
        let rows = rows.chain(self.on_air.iter().map(|row| &row.span));
        let first = rows.map(|span| span.start_ms).min();
        first.map_or(window.from_ms, |first| first.max(window.from_ms))
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

fn stream(stream_id: StreamId, rows: &Rows, window: Stretch) -> StreamUptime {
    let slates: Vec<Span> = rows
        .on_air
        .iter()
        .filter(|row| row.source == OnAirKind::Slate)
        .map(|row| row.span)
        .collect();
    let known = Stretch {
        from_ms: rows.known_from(window),
        ..window
    };
    let wanted_ms = total(&rows.wanted, known);
    let on_air: Vec<Span> = rows.on_air.iter().map(|row| row.span).collect();
    let on_air_ms = total(&on_air, window);
    let destinations = rows.destinations.iter();
    StreamUptime {
        stream_id,
        availability: share(on_air_ms, wanted_ms),
        wanted_s: seconds(wanted_ms),
        on_air_s: seconds(on_air_ms),
        slate_s: seconds(total(&slates, window)),
        slates: slates.len(),
        destinations: destinations
            .map(|(name, rows)| destination(name, rows, &slates, window))
            .collect(),
    }
}

fn destination(
    name: &str,
    rows: &Destination,
    slates: &[Span],
    window: Stretch,
) -> DestinationUptime {
    let (planned, faults): (Vec<&Gap>, Vec<&Gap>) =
        rows.gaps.iter().partition(|gap| gap.cause.is_planned());
    let dark = |gaps: &[&Gap]| total_of(gaps.iter().map(|gap| &gap.span), window);
    let (planned_ms, fault_ms) = (dark(&planned), dark(&faults));
    let delivered_ms = total(&rows.delivery, window);
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
        slate_s: seconds(common(&rows.delivery, slates, window)),
        longest_gap_s: faults
            .iter()
            .map(|gap| length_ms(&gap.span, window.to_ms))
            .max()
            .map(seconds),
        gaps: faults.len(),
        open_gaps: faults
            .iter()
            .filter(|gap| gap.span.end_ms.is_none())
            .count(),
        automatic: recovered(Recovery::Automatic),
        by_hand: recovered(Recovery::ByHand),
        recovery: recovery_times(&faults),
        planned: Planned {
            gaps: planned.len(),
            dark_s: seconds(planned_ms),
        },
        last_incident: last.map(|gap| of_gap(gap, window.to_ms)),
    }
}

fn recovery_times(faults: &[&Gap]) -> RecoveryTimes {
    let ended = faults
        .iter()
        .filter(|gap| gap.recovery.is_some() && gap.cause != DarkCause::Starting);
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

fn total(spans: &[Span], window: Stretch) -> i64 {
    total_of(spans.iter(), window)
}

fn total_of<'a>(spans: impl Iterator<Item = &'a Span>, window: Stretch) -> i64 {
    spans
        .map(|span| span.within(window.from_ms, window.to_ms))
        .sum()
}

/// Milliseconds that lie in a span of both; each list is in order and does not overlap itself.
fn common(a: &[Span], b: &[Span], window: Stretch) -> i64 {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    let end = |span: &Span| span.end_ms.unwrap_or(i64::MAX);
    let mut sum = 0;
    while let (Some(left), Some(right)) = (a.peek(), b.peek()) {
        let from_ms = left.start_ms.max(window.from_ms);
        let to_ms = end(left).min(window.to_ms);
        if from_ms < to_ms {
            sum += right.within(from_ms, to_ms);
        }
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
mod tests {
    use jiff::Timestamp;
    use storage::history::{Delivery, Wanted};

    use super::*;

    const WINDOW: Stretch = Stretch {
        from_ms: 1_000,
        to_ms: 101_000,
    };

    fn main() -> StreamId {
        "main".parse().unwrap()
    }

    fn span(start_ms: i64, end_ms: Option<i64>) -> Span {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        Span {
            start_ms,
            end_ms,
            start_at: at(start_ms),
            end_at: end_ms.map(at),
        }
    }

    fn gap(
        start_ms: i64,
        end_ms: Option<i64>,
        cause: DarkCause,
        recovery: Option<Recovery>,
    ) -> Row {
        Row::Gap(Gap {
            stream: main(),
            destination: "a".into(),
            span: span(start_ms, end_ms),
            cause,
            error_type: None,
            recovery,
        })
    }

    fn delivery(start_ms: i64, end_ms: Option<i64>) -> Row {
        Row::Delivery(Delivery {
            stream: main(),
            destination: "a".into(),
            span: span(start_ms, end_ms),
            connection: 1,
        })
    }

    fn slate(start_ms: i64, end_ms: i64) -> Row {
        Row::OnAir(OnAirSpan {
            stream: main(),
            span: span(start_ms, Some(end_ms)),
            source: OnAirKind::Slate,
            item: None,
            cause: None,
            recovery: None,
        })
    }

    #[test]
    fn seconds_are_cut_to_the_window_and_gaps_are_sorted_by_what_ended_them() {
        use DarkCause::{DestinationLost, PlannedRenewal, Starting};
        use Recovery::{Automatic, ByHand};
        let rows = vec![
            Row::Wanted(Wanted {
                stream: main(),
                span: span(-9_000, None),
            }),
            gap(-9_000, Some(3_000), Starting, Some(Automatic)),
            delivery(3_000, Some(41_000)),
            gap(41_000, Some(43_000), DestinationLost, Some(Automatic)),
            delivery(43_000, Some(50_000)),
            gap(50_000, Some(60_000), DestinationLost, Some(ByHand)),
            delivery(60_000, Some(70_000)),
            gap(70_000, Some(71_000), PlannedRenewal, Some(Automatic)),
            delivery(71_000, Some(96_000)),
            gap(96_000, None, DestinationLost, None),
            slate(2_000, 4_000),
            slate(40_000, 42_000),
            slate(49_000, 62_000),
        ];
        let summed = sum_up(rows, WINDOW);
        let stream = &summed[0];
        assert_eq!(
            (stream.wanted_s, stream.slate_s, stream.slates),
            (100.0, 17.0, 3)
        );
        let to = &stream.destinations[0];
        assert_eq!(
            (to.wanted_s, to.delivered_s, to.dark_s),
            (100.0, 80.0, 20.0)
        );
        assert_eq!(to.availability, Some(0.8));
        // 3–4, 40–41, 49–50 and 60–62 s.
        assert_eq!(to.slate_s, 5.0);
        assert_eq!(
            (to.gaps, to.open_gaps, to.automatic, to.by_hand),
            (4, 1, 2, 1)
        );
        assert_eq!((to.planned.gaps, to.planned.dark_s), (1, 1.0));
        assert_eq!(to.longest_gap_s, Some(12.0), "the start's whole length");
        let times = to.recovery;
        assert_eq!(
            (times.median_s, times.p95_s, times.max_s),
            (Some(2.0), Some(10.0), Some(10.0))
        );
        let last = to.last_incident.as_ref().unwrap();
        assert_eq!((last.length_s, last.end), (5.0, None));
    }

    #[test]
    fn a_start_is_no_incident_once_it_is_over() {
        use DarkCause::{DestinationLost, Starting};
        let automatic = Some(Recovery::Automatic);
        let mut rows = vec![
            gap(2_000, Some(3_000), Starting, automatic),
            delivery(3_000, Some(20_000)),
        ];
        let last = |rows: &[Row]| {
            sum_up(rows.to_vec(), WINDOW)[0].destinations[0]
                .last_incident
                .clone()
        };
        assert_eq!(last(&rows), None);
        rows.push(gap(20_000, Some(22_000), DestinationLost, automatic));
        rows.push(delivery(22_000, Some(30_000)));
        rows.push(gap(31_000, Some(32_000), Starting, automatic));
        assert_eq!(last(&rows).unwrap().cause, DestinationLost);
        rows.push(gap(40_000, None, Starting, None));
        assert_eq!(
            last(&rows).unwrap().cause,
            Starting,
            "it does not come on air"
        );
    }

    #[test]
    fn what_was_removed_by_age_is_not_held_against_a_stream_that_is_wanted_for_long() {
        let rows = vec![
            Row::Wanted(Wanted {
                stream: main(),
                span: span(-9_000, None),
            }),
            gap(61_000, Some(71_000), DarkCause::WorkerCrashed, None),
            delivery(71_000, None),
            slate(71_000, 101_000),
        ];
        let stream = &sum_up(rows, WINDOW)[0];
        assert_eq!((stream.wanted_s, stream.on_air_s), (40.0, 30.0));
        assert_eq!(stream.availability, Some(0.75));
        assert_eq!(stream.destinations[0].availability, Some(0.75));
    }

    #[test]
    fn nothing_wanted_is_no_availability() {
        let rows = vec![Row::Wanted(Wanted {
            stream: main(),
            span: span(-9_000, Some(500)),
        })];
        let summed = sum_up(rows, WINDOW);
        assert_eq!(summed[0].availability, None);
    }

    #[test]
    fn recovery_times_are_the_ranks_of_their_lengths() {
        let rows: Vec<Row> = (1..=20)
            .map(|n| {
                gap(
                    n * 100_000,
                    Some(n * 100_000 + n * 1_000),
                    DarkCause::DestinationLost,
                    Some(Recovery::Automatic),
                )
            })
            .collect();
        let all = Stretch {
            from_ms: 0,
            to_ms: 10_000_000,
        };
        let times = sum_up(rows, all)[0].destinations[0].recovery;
        assert_eq!(
            (times.median_s, times.p95_s, times.max_s),
            (Some(10.0), Some(19.0), Some(20.0))
        );
    }
}
