//! Counters: what the rows add up to, and never less than before.

use proptest::prelude::*;

use super::courses::any_course;
use super::*;
use crate::history::totals::{DestinationTotals, Tally};

fn of_a(recorder: &mut Recorder, now_ms: i64) -> DestinationTotals {
    recorder.count(now_ms).destinations["a"].clone()
}

fn tally(begun: u64, ms: i64) -> Tally {
    Tally { begun, ms }
}

#[test]
fn a_loss_is_counted_by_its_cause_while_it_lasts_and_after_the_rows_are_gone() {
    let mut recorder = Recorder::new(main(), Instant { ms: 0, at: at(0) });
    recorder.note(course());
    assert_eq!(of_a(&mut recorder, 10_000).delivered, tally(1, 8_000));
    recorder.note([fact(10_000, dark("w1", "a", DarkCause::DestinationLost))]);
    let lost = of_a(&mut recorder, 13_000);
    assert_eq!(lost.gaps[&DarkCause::Starting], tally(1, 1_000));
    assert_eq!(lost.gaps[&DarkCause::DestinationLost], tally(1, 3_000));
    assert_eq!(lost.automatic, 1, "the start");
    recorder.note([fact(15_000, delivering("w1", "a", 2))]);
    // Long settled, and read by another controller.
    recorder.note([fact(
        1_000_000,
        on_air("w1", OnAirKind::Slate, Some(DarkCause::SourceFailed)),
    )]);
    let mut recorder = Recorder::from_text(&recorder.to_text()).unwrap();
    let now = of_a(&mut recorder, 1_010_000);
    assert_eq!(now.gaps[&DarkCause::DestinationLost], tally(1, 5_000));
    assert_eq!(now.delivered, tally(2, 8_000 + 995_000));
    assert_eq!(now.wanted_ms, 1_009_000);
    assert_eq!((now.automatic, now.by_hand), (2, 0));
    let all = recorder.count(1_010_000);
    assert_eq!((all.wanted_ms, all.worker_starts), (1_009_000, 1));
    assert_eq!(all.slates[&DarkCause::SourceFailed], tally(1, 10_000));
    assert_eq!(all.on_air_ms[&OnAirKind::Slate], 10_000);
}

#[test]
fn a_stall_that_is_noticed_late_takes_nothing_back_not_even_from_the_next_controller() {
    let mut recorder = Recorder::new(main(), Instant { ms: 0, at: at(0) });
    recorder.note(course());
    assert_eq!(of_a(&mut recorder, 12_000).delivered, tally(1, 10_000));
    recorder.note([fact(7_000, dark("w1", "a", DarkCause::DestinationStalled))]);
    let mut recorder = Recorder::from_text(&recorder.to_text()).unwrap();
    let told = of_a(&mut recorder, 13_000);
    assert_eq!(told.delivered, tally(1, 10_000), "5 s in truth");
    assert_eq!(told.gaps[&DarkCause::DestinationStalled], tally(1, 6_000));
    recorder.note([fact(14_000, delivering("w1", "a", 2))]);
    assert_eq!(of_a(&mut recorder, 30_000).delivered, tally(2, 21_000));
}

#[test]
fn a_start_counts_for_no_cause_until_it_is_over_or_has_one() {
    let mut recorder = Recorder::new(main(), Instant { ms: 0, at: at(0) });
    recorder.note([fact(1_000, wanted(&["a"])), fact(1_100, started("w1"))]);
    let starting = of_a(&mut recorder, 5_000);
    assert_eq!((starting.wanted_ms, starting.gaps.len()), (4_000, 0));
    recorder.note([fact(6_000, dark("w1", "a", DarkCause::DestinationRejected))]);
    let rejected = of_a(&mut recorder, 8_000);
    assert_eq!(
        rejected.gaps[&DarkCause::DestinationRejected],
        tally(1, 7_000)
    );
    assert_eq!(rejected.gaps.len(), 1);
}

/// Sums over the rows that a database would have.
fn summed(told: &Told, now_ms: i64) -> (i64, i64, i64) {
    let sum = |table| -> i64 {
        let spans = told.spans(|key: &Key| key.table == table);
        spans.iter().map(|span| span.within(0, now_ms)).sum()
    };
    (sum(Table::Wanted), sum(Table::Delivery), sum(Table::OnAir))
}

proptest! {
    /// Counters are the sums of all rows, wherever a controller ended and whatever was settled.
    #[test]
    fn they_are_the_sums_of_all_rows(facts in any_course(20_000), at_fact in 0_usize..60) {
        let now_ms = facts.last().map_or(0, |fact| fact.ms) + 1_000;
        let mut recorder = Recorder::new(main(), Instant { ms: 0, at: at(0) });
        let mut told = Told::default();
        for (number, fact) in facts.iter().enumerate() {
            if number == at_fact {
                recorder = Recorder::from_text(&recorder.to_text()).unwrap();
            }
            told.take(recorder.note([fact.clone()]));
        }
        let totals = recorder.count(now_ms);
        let delivered = totals.destinations.values().map(|it| it.delivered.ms).sum::<i64>();
        let on_air = totals.on_air_ms.values().sum::<i64>();
        prop_assert_eq!((totals.wanted_ms, delivered, on_air), summed(&told, now_ms));
        let dark = totals.destinations.values().flat_map(|it| it.gaps.values());
        let gaps = told.spans(|key| key.table == Table::Gap);
        prop_assert!(dark.map(|tally| tally.begun).sum::<u64>() <= gaps.len() as u64);
    }

    /// Whatever is told when: a counter that was read is not smaller at the next reading.
    #[test]
    fn none_ever_falls(facts in any_course(1_000).prop_shuffle()) {
        let mut recorder = Recorder::new(main(), Instant { ms: 0, at: at(0) });
        let mut before = recorder.count(0).clone();
        let mut now_ms = 0;
        for fact in facts {
            now_ms = fact.ms.max(now_ms);
            recorder.note([fact]);
            let now = recorder.count(now_ms).clone();
            let mut highest = before.clone();
            highest.raise_to(&now);
            prop_assert_eq!(&highest, &now);
            before = now;
        }
    }
}
