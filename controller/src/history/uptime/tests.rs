//! Windows, sums and recoveries of made-up rows.

use jiff::Timestamp;
use storage::history::{Delivery, Unrecorded, UnrecordedCause, Wanted};

use super::super::known::Stretch;
use super::*;

const WINDOW: Stretch = Stretch {
    from_ms: 1_000,
    to_ms: 101_000,
};

/// The window, all of which is in the record.
fn whole() -> Known {
    Known::of(WINDOW, Vec::new(), Some(WINDOW.from_ms))
}

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

fn gap(start_ms: i64, end_ms: Option<i64>, cause: DarkCause, recovery: Option<Recovery>) -> Row {
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
    use Recovery::{Automatic, ByHand, Planned, Stopped};
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
        gap(70_000, Some(71_000), PlannedRenewal, Some(Planned)),
        delivery(71_000, Some(90_000)),
        gap(90_000, Some(94_000), DestinationLost, Some(Stopped)),
        delivery(94_000, Some(96_000)),
        gap(96_000, None, DestinationLost, None),
        slate(2_000, 4_000),
        slate(40_000, 42_000),
        slate(49_000, 62_000),
    ];
    let summed = sum_up(rows, &whole());
    let stream = &summed[0];
    assert_eq!(
        (stream.wanted_s, stream.slate_s, stream.slates),
        (100.0, 17.0, 3)
    );
    let to = &stream.destinations[0];
    assert_eq!(
        (to.wanted_s, to.delivered_s, to.dark_s),
        (100.0, 76.0, 24.0)
    );
    assert_eq!(to.availability, Some(0.76));
    // 3–4, 40–41, 49–50 and 60–62 s.
    assert_eq!(to.slate_s, 5.0);
    assert_eq!(
        (to.gaps, to.open_gaps, to.automatic, to.by_hand, to.stopped),
        (5, 1, 2, 1, 1)
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
        sum_up(rows.to_vec(), &whole())[0].destinations[0]
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
    let stream = &sum_up(rows, &whole())[0];
    assert_eq!((stream.wanted_s, stream.on_air_s), (40.0, 30.0));
    assert_eq!(stream.availability, Some(0.75));
    assert_eq!(stream.destinations[0].availability, Some(0.75));
}

#[test]
fn what_is_not_in_the_record_counts_neither_for_nor_against_anyone() {
    let lost = |from_ms, to_ms, cause| Unrecorded {
        from_ms,
        to_ms,
        cause,
    };
    // What was under way outlived its file; the programme's items did not.
    let programme = OnAirSpan {
        stream: main(),
        span: span(55_000, None),
        source: OnAirKind::Programme,
        item: None,
        cause: None,
        recovery: None,
    };
    let rows = vec![
        Row::Wanted(Wanted {
            stream: main(),
            span: span(-9_000, None),
        }),
        gap(20_000, Some(30_000), DarkCause::WorkerCrashed, None),
        delivery(30_000, None),
        Row::OnAir(programme),
    ];
    let stored = vec![
        lost(Unrecorded::EVER, 61_000, UnrecordedCause::Lost),
        lost(71_000, 81_000, UnrecordedCause::Replaced),
    ];
    let known = Known::of(WINDOW, stored, Some(-9_000));
    assert_eq!(
        (known.lost[0].from_ms, known.lost[0].to_ms),
        (1_000, 61_000)
    );
    let stream = &sum_up(rows, &known)[0];
    assert_eq!((stream.wanted_s, stream.on_air_s), (30.0, 30.0));
    let to = &stream.destinations[0];
    assert_eq!((to.wanted_s, to.dark_s, to.gaps), (30.0, 0.0, 0));
    assert_eq!(
        (stream.availability, to.availability),
        (Some(1.0), Some(1.0))
    );
}

#[test]
fn a_window_that_reaches_further_back_than_the_record_says_so() {
    let begun = Known::of(WINDOW, Vec::new(), Some(41_000));
    let [before] = &begun.lost[..] else {
        panic!("{begun:?}");
    };
    assert_eq!((before.from_ms, before.to_ms), (1_000, 41_000));
    assert_eq!(before.cause, UnrecordedCause::NoRecord);
    assert!(whole().lost.is_empty());
    let never = Known::of(WINDOW, Vec::new(), None);
    assert_eq!(never.within(&span(0, None)), 0);
}

#[test]
fn nothing_wanted_is_no_availability() {
    let rows = vec![Row::Wanted(Wanted {
        stream: main(),
        span: span(-9_000, Some(500)),
    })];
    let summed = sum_up(rows, &whole());
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
    let all = Known::of(all, Vec::new(), Some(all.from_ms));
    let times = sum_up(rows, &all)[0].destinations[0].recovery;
    assert_eq!(
        (times.median_s, times.p95_s, times.max_s),
        (Some(10.0), Some(19.0), Some(20.0))
    );
}
