//! Facts in, rows out: what an operator will read of each course of events.

use jiff::Timestamp;
use proptest::prelude::*;
use storage::history::{Gap, OnAirSpan, Recovery, Span, Table};
use storage::model::DarkCause;
use storage::model::report::OnAirKind;

use super::super::fact::What;
use super::*;

fn main() -> StreamId {
    "main".parse().unwrap()
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_760_000_000_000 + ms).unwrap()
}

fn fact(ms: i64, what: What) -> Fact {
    Fact {
        ms,
        at: at(ms),
        what,
    }
}

fn wanted(names: &[&str]) -> What {
    What::Wanted {
        destinations: names.iter().map(|&name| name.to_owned()).collect(),
    }
}

fn started(worker: &str) -> What {
    What::Started {
        worker: worker.into(),
        boot_id: "boot".into(),
        takes_over: false,
    }
}

fn delivering(worker: &str, destination: &str, connection: u64) -> What {
    What::Delivering {
        worker: worker.into(),
        destination: destination.into(),
        connection,
    }
}

fn dark(worker: &str, destination: &str, cause: DarkCause) -> What {
    What::Dark {
        worker: worker.into(),
        destination: destination.into(),
        cause,
        error_type: None,
    }
}

fn gone(worker: &str, cause: DarkCause) -> What {
    What::Gone {
        worker: worker.into(),
        cause,
        error_type: None,
    }
}

fn on_air(worker: &str, source: OnAirKind, cause: Option<DarkCause>) -> What {
    What::OnAir {
        worker: worker.into(),
        source,
        item: None,
        cause,
    }
}

/// Start, end, cause and recovery.
type Incident<Cause> = (i64, Option<i64>, Cause, Option<Recovery>);

/// Everything that was told, as a database would have it.
#[derive(Default)]
struct Told(BTreeMap<Key, Row>);

impl Told {
    fn take(&mut self, changes: Changes) {
        for (key, row) in changes {
            match row {
                Some(row) => self.0.insert(key, row),
                None => self.0.remove(&key),
            };
        }
    }

    fn gaps(&self) -> Vec<Incident<DarkCause>> {
        let gaps = self.0.values().filter_map(|row| match row {
            Row::Gap(Gap {
                span,
                cause,
                recovery,
                ..
            }) => Some((span.start_ms, span.end_ms, *cause, *recovery)),
            _ => None,
        });
        gaps.collect()
    }

    fn slates(&self) -> Vec<Incident<Option<DarkCause>>> {
        let slates = self.0.values().filter_map(|row| match row {
            Row::OnAir(OnAirSpan {
                span,
                source: OnAirKind::Slate,
                cause,
                recovery,
                ..
            }) => Some((span.start_ms, span.end_ms, *cause, *recovery)),
            _ => None,
        });
        slates.collect()
    }

    fn spans(&self, wanted: impl Fn(&Key) -> bool) -> Vec<Span> {
        let rows = self.0.iter().filter(|(key, _)| wanted(key));
        let mut spans: Vec<Span> = rows
            .map(|(_, row)| match row {
                Row::Wanted(row) => row.span,
                Row::Delivery(row) => row.span,
                Row::Gap(row) => row.span,
                Row::OnAir(row) => row.span,
                Row::LiveSession(row) => row.span,
            })
            .collect();
        spans.sort_by_key(|span| span.start_ms);
        spans
    }
}

/// Tells each fact on its own, in this order.
fn tell(facts: impl IntoIterator<Item = Fact>) -> Told {
    let mut recorder = Recorder::new(main(), Instant { ms: 0, at: at(0) });
    let mut told = Told::default();
    for fact in facts {
        told.take(recorder.note([fact]));
    }
    told
}

/// On air at `a` from 2 s on.
fn course() -> Vec<Fact> {
    vec![
        fact(1_000, wanted(&["a"])),
        fact(1_100, started("w1")),
        fact(2_000, delivering("w1", "a", 1)),
    ]
}

const STARTING: Incident<DarkCause> = (
    1_000,
    Some(2_000),
    DarkCause::Starting,
    Some(Recovery::Automatic),
);

#[test]
fn a_crash_is_one_gap_from_the_end_of_the_process_to_the_next_delivery() {
    let mut facts = course();
    facts.push(fact(10_000, gone("w1", DarkCause::WorkerCrashed)));
    facts.push(fact(10_300, started("w2")));
    facts.push(fact(10_400, dark("w2", "a", DarkCause::Starting)));
    facts.push(fact(11_500, delivering("w2", "a", 1)));
    let crash = (
        10_000,
        Some(11_500),
        DarkCause::WorkerCrashed,
        Some(Recovery::Automatic),
    );
    assert_eq!(tell(facts).gaps(), [STARTING, crash]);
}

#[test]
fn a_stall_that_is_noticed_late_counts_from_when_it_began() {
    let mut facts = course();
    facts.push(fact(20_000, What::Act));
    // Seconds after the fact, and after the operator has looked at it.
    facts.push(fact(15_000, dark("w1", "a", DarkCause::DestinationStalled)));
    facts.push(fact(22_000, delivering("w1", "a", 2)));
    let stall = (
        15_000,
        Some(22_000),
        DarkCause::DestinationStalled,
        Some(Recovery::ByHand),
    );
    assert_eq!(tell(facts).gaps(), [STARTING, stall]);
}

#[test]
fn what_was_dark_before_a_stop_stays_in_the_record_and_nothing_is_dark_after_it() {
    let mut facts = course();
    facts.push(fact(20_000, What::Unwanted));
    facts.push(fact(18_000, dark("w1", "a", DarkCause::DestinationStalled)));
    facts.push(fact(20_500, gone("w1", DarkCause::Operator)));
    let stall = (18_000, Some(20_000), DarkCause::DestinationStalled, None);
    assert_eq!(tell(facts).gaps(), [STARTING, stall]);
}

#[test]
fn a_start_asked_for_in_a_gap_is_a_recovery_by_hand_and_a_first_start_is_not() {
    let mut facts = vec![fact(1_000, What::Act)];
    facts.extend(course());
    facts.push(fact(5_000, gone("w1", DarkCause::GivenUp)));
    facts.push(fact(9_000, What::Act));
    facts.push(fact(9_000, wanted(&["a"])));
    facts.push(fact(9_100, started("w2")));
    facts.push(fact(9_900, delivering("w2", "a", 1)));
    let given_up = (
        5_000,
        Some(9_900),
        DarkCause::GivenUp,
        Some(Recovery::ByHand),
    );
    assert_eq!(tell(facts).gaps(), [STARTING, given_up]);
}

#[test]
fn a_planned_renewal_that_fails_is_planned_only_until_then() {
    let mut facts = course();
    facts.push(fact(10_000, dark("w1", "a", DarkCause::PlannedRenewal)));
    facts.push(fact(11_000, dark("w1", "a", DarkCause::DestinationLost)));
    facts.push(fact(15_000, delivering("w1", "a", 2)));
    let gaps = tell(facts).gaps();
    let planned = (10_000, Some(11_000), DarkCause::PlannedRenewal, None);
    let lost = (
        11_000,
        Some(15_000),
        DarkCause::DestinationLost,
        Some(Recovery::Automatic),
    );
    assert_eq!(gaps, [STARTING, planned, lost]);
}

#[test]
fn a_cause_that_says_nothing_gives_way_and_the_first_that_does_stays() {
    let mut facts = course();
    facts.push(fact(
        10_000,
        What::Ended {
            worker: "w1".into(),
        },
    ));
    facts.push(fact(10_050, gone("w1", DarkCause::GivenUp)));
    facts.push(fact(12_000, started("w2")));
    facts.push(fact(
        13_000,
        dark("w2", "a", DarkCause::DestinationRejected),
    ));
    assert_eq!(
        tell(facts).gaps(),
        [STARTING, (10_000, None, DarkCause::GivenUp, None)]
    );
}

#[test]
fn an_end_that_nobody_saw_is_when_the_worker_was_heard_of_last() {
    let mut facts = course();
    facts.push(fact(7_000, on_air("w1", OnAirKind::Programme, None)));
    facts.push(fact(30_000, started("w2")));
    facts.push(fact(31_000, delivering("w2", "a", 1)));
    let told = tell(facts);
    let unknown = (
        7_000,
        Some(31_000),
        DarkCause::Unknown,
        Some(Recovery::Automatic),
    );
    assert_eq!(told.gaps(), [STARTING, unknown]);
    assert!(
        told.spans(|key| key.table == Table::OnAir).is_empty(),
        "heard of and gone at the same instant"
    );
}

#[test]
fn an_upgrade_that_keeps_the_connections_leaves_no_trace() {
    let mut facts = course();
    facts.push(fact(
        10_000,
        What::Started {
            worker: "w2".into(),
            boot_id: "boot".into(),
            takes_over: true,
        },
    ));
    facts.push(fact(12_000, dark("w2", "a", DarkCause::DestinationLost)));
    let told = tell(facts);
    assert_eq!(
        told.gaps(),
        [STARTING, (12_000, None, DarkCause::DestinationLost, None)]
    );
    assert_eq!(told.spans(|key| key.table == Table::Delivery).len(), 1);
}

#[test]
fn the_words_of_a_worker_that_was_replaced_count_for_nothing() {
    let mut facts = course();
    facts.push(fact(10_000, gone("w1", DarkCause::WorkerUnresponsive)));
    facts.push(fact(10_200, delivering("w1", "a", 2)));
    assert_eq!(
        tell(facts).gaps(),
        [
            STARTING,
            (10_000, None, DarkCause::WorkerUnresponsive, None)
        ]
    );
}

#[test]
fn a_slate_is_one_incident_with_its_cause() {
    use OnAirKind::{Programme, Slate};
    let mut facts = course();
    facts.push(fact(1_500, on_air("w1", Slate, Some(DarkCause::Starting))));
    facts.push(fact(3_000, on_air("w1", Programme, None)));
    facts.push(fact(
        8_000,
        on_air("w1", Slate, Some(DarkCause::SourceStalled)),
    ));
    facts.push(fact(
        9_000,
        on_air("w1", Slate, Some(DarkCause::SourceFailed)),
    ));
    facts.push(fact(10_000, What::Act));
    facts.push(fact(10_100, on_air("w1", Programme, None)));
    facts.push(fact(20_000, on_air("w1", Slate, Some(DarkCause::Operator))));
    let automatic = Some(Recovery::Automatic);
    assert_eq!(
        tell(facts).slates(),
        [
            (1_500, Some(3_000), Some(DarkCause::Starting), automatic),
            (
                8_000,
                Some(10_100),
                Some(DarkCause::SourceStalled),
                Some(Recovery::ByHand)
            ),
            (20_000, None, Some(DarkCause::Operator), None),
        ]
    );
}

#[test]
fn a_destination_that_is_added_and_removed_is_wanted_only_in_between() {
    let mut facts = course();
    let configured = |names: &[&str]| What::Configured {
        destinations: names.iter().map(|&name| name.to_owned()).collect(),
    };
    facts.push(fact(10_000, configured(&["a", "b"])));
    facts.push(fact(12_000, delivering("w1", "b", 1)));
    facts.push(fact(20_000, configured(&["a"])));
    facts.push(fact(21_000, dark("w1", "b", DarkCause::Operator)));
    let told = tell(facts);
    let b: Vec<_> = told
        .spans(|key| key.destination == "b")
        .iter()
        .map(|span| (span.start_ms, span.end_ms))
        .collect();
    assert_eq!(b, [(10_000, Some(12_000)), (12_000, Some(20_000))]);
}

#[test]
fn a_recorder_goes_on_from_its_own_text() {
    let facts = course();
    let mut recorder = Recorder::new(main(), Instant { ms: 0, at: at(0) });
    let mut told = Told::default();
    told.take(recorder.note(facts));
    let mut recorder = Recorder::from_text(&recorder.to_text()).unwrap();
    let nothing = recorder.note([]);
    assert!(nothing.is_empty(), "{nothing:?}");
    // Even what happened before it was written down.
    told.take(recorder.note([fact(1_800, dark("w1", "a", DarkCause::DestinationLost))]));
    told.take(recorder.note([fact(5_000, What::Unwanted)]));
    let gaps = told.gaps();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!((gaps[0].0, gaps[0].2), (1_000, DarkCause::DestinationLost));
    assert!(
        told.0
            .values()
            .all(|row| row.key().table != Table::Wanted || {
                matches!(row, Row::Wanted(row) if row.span.end_ms == Some(5_000))
            })
    );
}

const NAMES: [&str; 3] = ["a", "b", "c"];

fn any_what() -> impl Strategy<Value = What> {
    let names = proptest::sample::subsequence(NAMES.to_vec(), 0..=3);
    let names = names.prop_map(|names| names.into_iter().map(str::to_owned).collect::<Vec<_>>());
    let worker = proptest::sample::select(vec!["w1", "w2", "w3"]);
    let name = proptest::sample::select(NAMES.to_vec());
    let cause = proptest::sample::select(vec![
        DarkCause::Starting,
        DarkCause::DestinationLost,
        DarkCause::DestinationStalled,
        DarkCause::PlannedRenewal,
        DarkCause::WorkerCrashed,
        DarkCause::Unknown,
    ]);
    let kind = proptest::sample::select(vec![OnAirKind::Programme, OnAirKind::Slate]);
    prop_oneof![
        2 => names.clone().prop_map(|destinations| What::Wanted { destinations }),
        1 => names.prop_map(|destinations| What::Configured { destinations }),
        1 => Just(What::Unwanted),
        1 => Just(What::Act),
        1 => (worker.clone(), cause.clone()).prop_map(|(worker, cause)| gone(worker, cause)),
        2 => worker.clone().prop_map(started),
        1 => worker.clone().prop_map(|worker| What::Ended { worker: worker.into() }),
        3 => (worker.clone(), kind, cause.clone()).prop_map(|(worker, kind, cause)| {
            on_air(worker, kind, (kind == OnAirKind::Slate).then_some(cause))
        }),
        5 => (worker.clone(), name.clone(), 1_u64..4)
            .prop_map(|(worker, name, connection)| delivering(worker, name, connection)),
        4 => (worker, name, cause).prop_map(|(worker, name, cause)| dark(worker, name, cause)),
    ]
}

/// Facts at different instants, `longest_ms` apart at most, with a wall clock that jumps.
fn any_course(longest_ms: i64) -> impl Strategy<Value = Vec<Fact>> {
    const DAY_MS: i64 = 86_400_000;
    let steps = proptest::collection::vec((1..longest_ms, -DAY_MS..DAY_MS, any_what()), 1..60);
    steps.prop_map(|steps| {
        let mut ms = 0;
        let facts = steps.into_iter().map(|(step, jump, what)| {
            ms += step;
            Fact {
                ms,
                at: at(ms + jump),
                what,
            }
        });
        facts.collect()
    })
}

/// When the destination was wanted, straight from the facts; the last may be open.
fn wanted_spans(facts: &[Fact], name: Option<&str>) -> Vec<(i64, Option<i64>)> {
    let (mut on, mut configured) = (false, false);
    let mut spans: Vec<(i64, Option<i64>)> = Vec::new();
    for fact in facts {
        match &fact.what {
            What::Wanted { destinations } => {
                on = true;
                configured = name.is_none_or(|name| destinations.iter().any(|it| it == name));
            }
            What::Configured { destinations } => {
                configured = name.is_none_or(|name| destinations.iter().any(|it| it == name));
            }
            What::Unwanted => on = false,
            _ => {}
        }
        let wanted = on && configured;
        match spans.last_mut() {
            Some((_, end @ None)) if !wanted => *end = Some(fact.ms),
            Some((_, None)) => {}
            _ if wanted => spans.push((fact.ms, None)),
            _ => {}
        }
    }
    spans
}

/// Adjoining spans joined; `Err` where two overlap.
fn joined(spans: &[Span]) -> Result<Vec<(i64, Option<i64>)>, String> {
    let mut joined: Vec<(i64, Option<i64>)> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some((_, end)) if *end == Some(span.start_ms) => *end = span.end_ms,
            Some((_, end)) if end.is_none_or(|end| end > span.start_ms) => {
                return Err(format!("overlap at {}: {spans:?}", span.start_ms));
            }
            _ => joined.push((span.start_ms, span.end_ms)),
        }
    }
    Ok(joined)
}

fn check(facts: &[Fact], told: &Told) -> Result<(), TestCaseError> {
    for name in NAMES {
        let spans = told.spans(|key| key.destination == name);
        let covered = joined(&spans).map_err(TestCaseError::fail)?;
        prop_assert_eq!(covered, wanted_spans(facts, Some(name)), "{}", name);
    }
    let wanted =
        joined(&told.spans(|key| key.table == Table::Wanted)).map_err(TestCaseError::fail)?;
    prop_assert_eq!(&wanted, &wanted_spans(facts, None));
    for span in joined(&told.spans(|key| key.table == Table::OnAir)).map_err(TestCaseError::fail)? {
        let inside = wanted.iter().any(|(start, end)| {
            *start <= span.0 && end.is_none_or(|end| span.1.is_some_and(|it| it <= end))
        });
        prop_assert!(inside, "on air while not wanted: {:?}", span);
    }
    Ok(())
}

proptest! {
    /// Delivery and gaps are together what was wanted, exactly, and nothing overlaps.
    #[test]
    fn every_wanted_millisecond_is_accounted_for_once(facts in any_course(100_000)) {
        check(&facts, &tell(facts.clone()))?;
    }

    /// The order in which facts become known changes nothing, as long as none is a minute late.
    #[test]
    fn facts_may_come_in_any_order((facts, shuffled) in any_course(1_000).prop_flat_map(|facts| {
        (Just(facts.clone()), Just(facts).prop_shuffle())
    })) {
        let in_order = tell(facts.clone());
        check(&facts, &in_order)?;
        let told = tell(shuffled);
        prop_assert_eq!(&told.0, &in_order.0);
    }

    /// A controller that ends and begins at any point writes the same record.
    #[test]
    fn a_restart_at_any_point_changes_nothing(facts in any_course(10_000), at_fact in 0_usize..60) {
        let mut recorder = Recorder::new(main(), Instant { ms: 0, at: at(0) });
        let mut told = Told::default();
        for (number, fact) in facts.iter().enumerate() {
            if number == at_fact {
                recorder = Recorder::from_text(&recorder.to_text()).unwrap();
            }
            told.take(recorder.note([fact.clone()]));
        }
        prop_assert_eq!(told.0, tell(facts).0);
    }
}
