use proptest::prelude::*;

use super::*;

fn retry(initial_s: f64, max_s: f64, max_attempts: Option<u32>) -> RetryConfig {
    RetryConfig {
        initial_s,
        factor: 2.0,
        max_s,
        max_attempts,
    }
}

/// A destination and the clock it lives by.
struct World {
    machine: Machine,
    at: Moment,
}

impl World {
    fn new(retry: RetryConfig) -> Self {
        let at = Moment {
            now: Instant::now(),
            wall: Timestamp::UNIX_EPOCH,
        };
        Self {
            machine: Machine::new(retry, at),
            at,
        }
    }

    fn pass(&mut self, time: Duration) {
        self.at.now += time;
        self.at.wall += jiff::SignedDuration::try_from(time).expect("short");
    }

    /// Without jitter.
    fn fail(&mut self, kind: FailureKind) -> Verdict {
        self.machine.failed(Failure::new(kind, "x"), self.at, 0.5)
    }

    fn connect_and_fail(&mut self, kind: FailureKind) -> Verdict {
        self.machine.connecting(self.at);
        self.fail(kind)
    }
}

/// Until when it waits at `now`.
fn waits_until(world: &World, now: Instant) -> Option<Instant> {
    match world.machine.step(now) {
        Step::Wait { until, .. } => Some(until),
        Step::Connect | Step::Rest => None,
    }
}

fn knocks(world: &World) -> Option<(Knock, Duration)> {
    match world.machine.step(world.at.now) {
        Step::Wait { knock, .. } => knock,
        Step::Connect | Step::Rest => None,
    }
}

const CLOSED: FailureKind = FailureKind::Peer(Complaint::ClosedAtPublish);
const REFUSED: FailureKind = FailureKind::Peer(Complaint::Refused);
const REJECTED: FailureKind = FailureKind::Peer(Complaint::Rejected);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_destination_is_connecting_until_media_is_delivered() {
    let mut world = World::new(RetryConfig::default());
    assert_eq!(world.machine.step(world.at.now), Step::Connect);
    world.machine.connecting(world.at);
    assert_eq!(world.machine.state(), DestinationState::Connecting);
    world.pass(SECOND);
    world.machine.delivering(world.at);
    assert_eq!(world.machine.state(), DestinationState::Live);
    assert_eq!(world.machine.since(), world.at.wall);
    let since = world.machine.since();
    world.pass(SECOND);
    world.machine.delivering(world.at);
    assert_eq!(
        world.machine.since(),
        since,
        "it is live since the first delivery"
    );
}

#[test]
fn each_failure_waits_longer_and_a_minute_of_health_forgets_them() {
    let mut world = World::new(RetryConfig::default());
    for (count, secs) in [1, 2, 4, 8, 16, 32, 64, 120, 120].into_iter().enumerate() {
        let verdict = world.connect_and_fail(REFUSED);
        assert_eq!(verdict.retry_in, Some(Duration::from_secs(secs)));
        assert_eq!(verdict.retry_count as usize, count + 1);
        assert_eq!(world.machine.state(), DestinationState::Backoff);
        let due = world.at.now + Duration::from_secs(secs);
        assert_eq!(waits_until(&world, due - SECOND / 2), Some(due));
        let shown = world.machine.next_retry_at(world.at).expect("it waits");
        assert_eq!(shown.duration_since(world.at.wall).as_secs() as u64, secs);
        world.pass(Duration::from_secs(secs));
        assert_eq!(world.machine.step(world.at.now), Step::Connect);
    }
    world.machine.connecting(world.at);
    world.machine.delivering(world.at);
    world.pass(Duration::from_secs(59));
    world.machine.delivering(world.at);
    assert!(world.machine.failure().is_some());
    world.pass(SECOND);
    world.machine.delivering(world.at);
    assert_eq!(world.machine.retry_count(), 0);
    assert_eq!(world.machine.failure(), None);
    assert_eq!(world.fail(REFUSED).retry_in, Some(SECOND));
}

#[test]
fn a_minute_with_a_hold_up_in_it_is_no_minute_of_health() {
    let mut world = World::new(RetryConfig::default());
    let _ = world.connect_and_fail(REFUSED);
    world.machine.connecting(world.at);
    world.machine.delivering(world.at);
    world.pass(SECOND * 40);
    world.machine.held_up();
    world.machine.delivering(world.at);
    world.pass(SECOND * 40);
    world.machine.delivering(world.at);
    assert_eq!(world.machine.retry_count(), 1);
}

#[test]
fn three_refusals_in_a_row_are_shown_as_rejected_and_tried_again_at_the_longest_interval() {
    let mut world = World::new(retry(1.0, 90.0, None));
    let _ = world.connect_and_fail(REJECTED);
    let _ = world.connect_and_fail(REJECTED);
    assert_eq!(world.machine.state(), DestinationState::Backoff);
    let verdict = world.connect_and_fail(REJECTED);
    assert_eq!(world.machine.state(), DestinationState::Rejected);
    assert_eq!(verdict.retry_in, Some(SECOND * 90));
    world.pass(SECOND * 90);
    world.machine.connecting(world.at);
    world.machine.delivering(world.at);
    assert_eq!(world.machine.state(), DestinationState::Live);
    // A key that has worked is not wrong: the count begins anew.
    let _ = world.fail(REJECTED);
    assert_eq!(world.machine.state(), DestinationState::Backoff);
}

#[test]
fn three_silent_closings_in_a_row_are_shown_as_rejected_and_tried_again_as_any_failure() {
    let mut world = World::new(retry(1.0, 90.0, None));
    for (secs, state) in [
        (1, DestinationState::Backoff),
        (2, DestinationState::Backoff),
        (4, DestinationState::Rejected),
    ] {
        world.machine.connecting(world.at);
        world.machine.delivering(world.at);
        world.pass(SECOND);
        assert_eq!(world.fail(CLOSED).retry_in, Some(SECOND * secs));
        assert_eq!((world.machine.state(), knocks(&world)), (state, None));
        world.pass(SECOND * secs);
    }
    world.machine.connecting(world.at);
    world.machine.delivering(world.at);
    world.pass(SECOND * 60);
    world.machine.delivering(world.at);
    let _ = world.fail(CLOSED);
    assert_eq!(
        world.machine.state(),
        DestinationState::Backoff,
        "a new row"
    );
}

#[test]
fn a_destination_that_answers_a_knock_is_tried_at_once() {
    let mut world = World::new(retry(60.0, 60.0, None));
    let _ = world.connect_and_fail(REFUSED);
    assert_eq!(knocks(&world), Some((Knock::Connect, KNOCK_EVERY)));
    world.machine.knocked(world.at);
    assert_eq!(world.machine.step(world.at.now), Step::Connect);
}

#[test]
fn however_long_it_was_gone_it_is_asked_for_every_second_and_a_half() {
    let mut world = World::new(RetryConfig::default());
    let back = world.at.now + 300 * SECOND;
    let _ = world.connect_and_fail(REFUSED);
    while world.at.now < back {
        assert_eq!(knocks(&world), Some((Knock::Connect, KNOCK_EVERY)));
        let until = waits_until(&world, world.at.now).expect("it waits for the next try");
        world.pass(until - world.at.now);
        let _ = world.connect_and_fail(REFUSED);
    }
    let next = waits_until(&world, world.at.now).expect("it waits");
    assert!(next > world.at.now + 10 * SECOND, "tries are rare by now");
    world.pass(KNOCK_EVERY);
    world.machine.knocked(world.at);
    assert_eq!(world.machine.step(world.at.now), Step::Connect);
}

#[test]
fn knocks_that_promise_too_much_become_rarer_until_something_is_delivered() {
    let mut world = World::new(retry(60.0, 60.0, None));
    let _ = world.connect_and_fail(FailureKind::Stalled);
    for times in [2, 4, 8, 16, 32, 40, 40] {
        world.machine.knocked(world.at);
        let _ = world.connect_and_fail(FailureKind::Stalled);
        assert_eq!(knocks(&world), Some((Knock::Greet, KNOCK_EVERY * times)));
        // A try of its own says nothing about knocks.
        let _ = world.connect_and_fail(FailureKind::Stalled);
        assert_eq!(knocks(&world), Some((Knock::Greet, KNOCK_EVERY * times)));
    }
    world.machine.connecting(world.at);
    world.machine.delivering(world.at);
    let _ = world.fail(REFUSED);
    assert_eq!(knocks(&world), Some((Knock::Connect, KNOCK_EVERY)));
}

#[test]
fn a_refused_key_is_not_knocked_for() {
    let mut world = World::new(RetryConfig::default());
    for kind in [REJECTED, FailureKind::Peer(Complaint::Occupied), CLOSED] {
        let _ = world.connect_and_fail(kind);
        assert_eq!(knocks(&world), None, "{kind:?}");
    }
}

#[test]
fn another_failure_between_refusals_breaks_the_row() {
    let mut world = World::new(RetryConfig::default());
    for kind in [REJECTED, REJECTED, REFUSED, REJECTED, REJECTED] {
        let _ = world.connect_and_fail(kind);
        assert_eq!(world.machine.state(), DestinationState::Backoff);
    }
}

#[test]
fn the_asked_for_ladder_ends_after_its_tries() {
    let mut world = World::new(retry(30.0, 120.0, Some(3)));
    for secs in [30, 60, 120] {
        let verdict = world.connect_and_fail(REFUSED);
        assert_eq!(verdict.retry_in, Some(Duration::from_secs(secs)));
        assert!(world.machine.given_up().is_none());
        world.pass(Duration::from_secs(secs));
    }
    let verdict = world.connect_and_fail(REFUSED);
    assert_eq!((verdict.retry_count, verdict.retry_in), (3, None));
    assert_eq!(world.machine.state(), DestinationState::Stopped);
    assert_eq!(world.machine.given_up().map(|f| f.kind), Some(REFUSED));
    assert_eq!(world.machine.step(world.at.now + SECOND * 999), Step::Rest);
}

#[test]
fn what_no_retry_can_fix_is_given_up_at_once() {
    let mut world = World::new(RetryConfig::default());
    let verdict = world.fail(FailureKind::KeyMissing);
    assert_eq!(verdict.retry_in, None);
    assert_eq!(world.machine.state(), DestinationState::Stopped);
    assert!(world.machine.given_up().is_some());
}

#[test]
fn a_renewal_is_no_failure_and_connects_at_once() {
    let mut world = World::new(RetryConfig::default());
    world.machine.connecting(world.at);
    world.machine.delivering(world.at);
    world.machine.renewed(world.at);
    assert_eq!(world.machine.step(world.at.now), Step::Connect);
    assert_eq!(world.machine.state(), DestinationState::Connecting);
    assert_eq!(
        (world.machine.retry_count(), world.machine.connections()),
        (0, 1)
    );
}

#[test]
fn what_was_closed_by_wish_was_not_given_up() {
    let mut world = World::new(RetryConfig::default());
    let _ = world.connect_and_fail(REFUSED);
    world.machine.stopped(world.at);
    assert!(world.machine.given_up().is_none());
    assert_eq!(world.machine.next_retry_at(world.at), None);
}

#[test]
fn another_ladder_holds_from_the_next_failure_on() {
    let mut world = World::new(RetryConfig::default());
    let _ = world.connect_and_fail(REFUSED);
    world.machine.set_retry(retry(30.0, 120.0, None));
    let verdict = world.connect_and_fail(REFUSED);
    assert_eq!(verdict.retry_in, Some(SECOND * 30));
}

proptest! {
    /// Whatever happens in whatever order: no wait is longer than the longest plus its jitter, the
    /// count never falls without health, and only what was given up or closed rests.
    #[test]
    fn any_history_keeps_its_promises(
        events in prop::collection::vec((0u8..6, 0u64..90, 0.0f64..1.0), 1..60),
    ) {
        let mut world = World::new(RetryConfig::default());
        let mut given_up = false;
        for (event, secs, random) in events {
            world.pass(Duration::from_secs(secs));
            let before = world.machine.retry_count();
            let kind = match event {
                0 => { world.machine.connecting(world.at); continue }
                1 => { world.machine.delivering(world.at); continue }
                2 => { world.machine.held_up(); continue }
                3 => REFUSED,
                4 => REJECTED,
                _ => FailureKind::Stalled,
            };
            if given_up { break }
            let verdict = world.machine.failed(Failure::new(kind, "x"), world.at, random);
            let wait = verdict.retry_in.expect("for ever");
            prop_assert!(wait <= Duration::from_secs(144));
            prop_assert!(verdict.retry_count == before + 1 || verdict.retry_count == 1);
            given_up = world.machine.given_up().is_some();
            prop_assert!(!given_up);
        }
    }
}
