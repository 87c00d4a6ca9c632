//! Facts in, rows out: what an operator will read of each course of events.

use jiff::Timestamp;
use storage::history::{Gap, OnAirSpan, Recovery, Span, Table};
use storage::model::DarkCause;
use storage::model::report::OnAirKind;

use super::super::fact::What;
use super::*;

mod courses;
mod totals;

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
        let mut spans: Vec<Span> = rows.map(|(_, row)| *row.span()).collect();
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
    let stopped = Some(Recovery::Stopped);
    let stall = (18_000, Some(20_000), DarkCause::DestinationStalled, stopped);
    assert_eq!(tell(facts).gaps(), [STARTING, stall]);
}

#[test]
fn what_is_stopped_or_taken_away_has_not_recovered() {
    let mut facts = vec![fact(1_000, wanted(&["a", "b"]))];
    facts.push(fact(1_100, started("w1")));
    let failed = Some(DarkCause::SourceFailed);
    facts.push(fact(1_200, on_air("w1", OnAirKind::Slate, failed)));
    facts.push(fact(
        5_000,
        What::Configured {
            destinations: vec!["a".into()],
        },
    ));
    // The operator did something, and it helped nothing.
    facts.push(fact(6_000, What::Act));
    facts.push(fact(9_000, What::Unwanted));
    let told = tell(facts);
    let stopped = Some(Recovery::Stopped);
    let starting = DarkCause::Starting;
    let mut gaps = told.gaps();
    gaps.sort_by_key(|gap| gap.1);
    assert_eq!(
        gaps,
        [
            (1_000, Some(5_000), starting, stopped),
            (1_000, Some(9_000), starting, stopped)
        ]
    );
    assert_eq!(told.slates(), [(1_200, Some(9_000), failed, stopped)]);
}

#[test]
fn what_was_meant_is_planned_from_its_beginning_to_its_end() {
    let mut facts = course();
    // A configuration with another address: the act, and what it does.
    facts.push(fact(9_990, What::Act));
    facts.push(fact(10_000, dark("w1", "a", DarkCause::Operator)));
    facts.push(fact(11_000, delivering("w1", "a", 2)));
    facts.push(fact(20_000, dark("w1", "a", DarkCause::PlannedRenewal)));
    facts.push(fact(20_100, What::Act));
    facts.push(fact(20_300, delivering("w1", "a", 3)));
    let planned = Some(Recovery::Planned);
    assert_eq!(
        tell(facts).gaps(),
        [
            STARTING,
            (10_000, Some(11_000), DarkCause::Operator, planned),
            (20_000, Some(20_300), DarkCause::PlannedRenewal, planned)
        ]
    );
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
