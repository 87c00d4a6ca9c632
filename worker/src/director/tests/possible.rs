//! Whatever the sources do, what is decided can be done.

use proptest::prelude::*;

use super::*;

fn any_slot(now: Instant) -> impl Strategy<Value = Slot> {
    let phase = prop_oneof![
        Just(Phase::Opening),
        Just(Phase::Ready),
        Just(Phase::Dry),
        Just(Phase::Ending(End::Complete)),
        Just(Phase::Ending(End::Short)),
        Just(Phase::Drained(End::Complete)),
        Just(Phase::Drained(End::Short)),
        Just(Phase::Drained(End::Failed)),
        Just(Phase::Ending(End::Interrupted)),
        Just(Phase::Drained(End::Interrupted)),
    ];
    (
        phase,
        any::<[bool; 7]>(),
        0_u64..400,
        0_u64..60,
        0_u64..2_000,
    )
        .prop_map(move |(phase, flags, late, left, quiet)| {
            let [
                continuation,
                continued,
                progressed,
                filling,
                short,
                kept,
                from_cache,
            ] = flags;
            Slot {
                phase,
                opened: now,
                remaining: Some(Duration::from_secs(left)),
                late: Duration::from_millis(late),
                quiet: Duration::from_millis(quiet),
                continuation,
                continued,
                progressed,
                filling,
                short,
                kept,
                from_cache,
            }
        })
}

fn any_transition() -> impl Strategy<Value = Transition> {
    let targets = [
        Target::Live,
        Target::Current,
        Target::Next,
        Target::Slate(SlateCause::Operator),
    ];
    (0_usize..5, 0_usize..4).prop_map(move |(kind, to)| match kind {
        0 => Transition::Off,
        1 => Transition::Wanted,
        2 => Transition::Making(targets[to]),
        3 => Transition::Made(targets[to]),
        _ => Transition::Failed(targets[to]),
    })
}

proptest! {
    /// Whatever the sources do, no action asks for what cannot be done.
    #[test]
    fn every_action_is_possible(
        seed in (any::<bool>(), 0_usize..5, 0_usize..4, any::<bool>(), any::<bool>()),
        feed in (any::<bool>(), any::<bool>()),
        slots in (any_slot(Instant::now()), any_slot(Instant::now())),
        present in (any::<bool>(), any::<bool>()),
        wait_ms in 0_u64..40_000,
        is_away in any::<bool>(),
        transition in any_transition(),
    ) {
        let (skip, wish, air, more, clean) = seed;
        let now = slots.0.opened;
        let mut director = Director::new(now);
        if skip { director.skip(); }
        let wishes = [Wish::Programme, Wish::Slate, Wish::Card, Wish::Standby, Wish::Live];
        director.wish(wishes[wish]);
        let view = View {
            air: [Air::Nothing, ON_SLATE, Air::Current, Air::Live][air],
            current: present.0.then_some(slots.0),
            next: present.1.then_some(slots.1),
            more,
            store: if is_away { Store::Away } else { Store::Up },
            clean,
            live_is_wanted: feed.0,
            live_carries: feed.1,
            transition,
        };
        match director.step(now + Duration::from_millis(wait_ms), &view) {
            Some(Action::OpenNext) => prop_assert!(view.next.is_none() && view.more),
            Some(Action::OpenContinuation) => {
                prop_assert!(view.next.is_none() && view.current.is_some());
            }
            Some(Action::DropNext(_)) => prop_assert!(view.next.is_some()),
            Some(Action::DropCurrent(_)) => {
                prop_assert!(view.current.is_some() && view.air != Air::Current);
            }
            Some(Action::CutToNext) => {
                prop_assert!(matches!(view.next.map(|s| s.phase), Some(Phase::Ready | Phase::Ending(_))));
            }
            Some(Action::CutToCurrent) => {
                prop_assert!(view.air != Air::Current);
                prop_assert!(matches!(view.current.map(|s| s.phase), Some(Phase::Ready | Phase::Ending(_))));
            }
            Some(Action::CutToSlate(reason)) => prop_assert!(view.air != Air::Slate(reason)),
            Some(Action::CutToLive) => {
                prop_assert!(wishes[wish] == Wish::Live);
                prop_assert!(view.air != Air::Live || !view.live_is_wanted);
            }
            Some(Action::Prepare(_)) => {
                prop_assert!(view.air != Air::Nothing && transition != Transition::Off);
                prop_assert!(view.air != Air::Live || view.live_carries);
            }
            None => {}
        }
    }
}
