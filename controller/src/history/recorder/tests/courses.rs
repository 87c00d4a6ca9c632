//! Any course of events, told in any order and over any restart.

use proptest::prelude::*;

use super::*;

pub(super) const NAMES: [&str; 3] = ["a", "b", "c"];

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
pub(super) fn any_course(longest_ms: i64) -> impl Strategy<Value = Vec<Fact>> {
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
