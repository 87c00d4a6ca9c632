//! A reader that has room and gets nothing.

use super::*;

/// On air, with this much of silence behind it.
fn silent(now: Instant, phase: Phase) -> Slot {
    Slot {
        quiet: REOPEN_AFTER,
        ..slot(now, phase)
    }
}

fn continuation(now: Instant, phase: Phase) -> Slot {
    Slot {
        continuation: true,
        ..slot(now, phase)
    }
}

#[test]
fn it_is_opened_again_while_what_is_in_hand_is_aired_and_no_slate_is_seen() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut view = view(Air::Current);
    let mut current = silent(now, Phase::Ready);
    current.quiet -= Duration::from_millis(1);
    view.current = Some(current);
    assert_eq!(director.step(now, &view), None, "not yet");
    view.current = Some(silent(now, Phase::Ready));
    view.next = Some(slot(now, Phase::Ready));
    assert_eq!(
        director.step(now, &view),
        Some(Action::DropNext(Why::TooEarly)),
        "the item first, then its successor"
    );
    view.next = None;
    assert_eq!(director.step(now, &view), Some(Action::OpenContinuation));
    view.next = Some(continuation(now, Phase::Ready));
    assert_eq!(director.step(now, &view), None, "what is in hand is aired");
    view.current = Some(silent(now, Phase::Dry));
    assert_eq!(
        director.step(now, &view),
        Some(Action::CutToNext),
        "not a moment later than its last picture"
    );
}

#[test]
fn a_reader_that_gets_on_by_itself_keeps_the_air() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut view = view(Air::Current);
    view.current = Some(silent(now, Phase::Ready));
    assert_eq!(director.step(now, &view), Some(Action::OpenContinuation));
    view.next = Some(continuation(now, Phase::Opening));
    for phase in [
        Phase::Ready,
        Phase::Ending(End::Complete),
        Phase::Drained(End::Complete),
    ] {
        let mut current = slot(now, phase);
        // Its next bytes are some way off still.
        current.short = true;
        view.current = Some(current);
        let not_needed = Some(Action::DropNext(Why::NotNeeded));
        assert_eq!(director.step(now, &view), not_needed, "{phase:?}");
    }
    view.next = None;
    view.current = Some(silent(now, Phase::Ready));
    let soon = now + REOPEN_EVERY - Duration::from_millis(1);
    assert_eq!(director.step(soon, &view), None, "not at every hiccup");
    assert_eq!(
        director.step(now + REOPEN_EVERY, &view),
        Some(Action::OpenContinuation)
    );
}

#[test]
fn one_that_turns_out_to_have_broken_off_is_not_opened_a_third_time() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut view = view(Air::Current);
    view.current = Some(slot(now, Phase::Ending(End::Short)));
    view.next = Some(continuation(now, Phase::Opening));
    assert_eq!(director.step(now, &view), None);
    view.current = Some(slot(now, Phase::Drained(End::Short)));
    view.next = Some(continuation(now, Phase::Ready));
    assert_eq!(director.step(now, &view), Some(Action::CutToNext));
}

#[test]
fn the_slate_covers_what_takes_longer_and_the_first_that_delivers_goes_on() {
    let now = Instant::now();
    for (current, next, action) in [
        (Phase::Dry, Phase::Ready, Action::CutToNext),
        (Phase::Ready, Phase::Opening, Action::CutToCurrent),
    ] {
        let mut director = Director::new(now);
        let mut view = view(Air::Current);
        let mut dry = silent(now, Phase::Dry);
        dry.late = DRY_AFTER;
        view.current = Some(dry);
        view.next = Some(continuation(now, Phase::Opening));
        let slate = Action::CutToSlate(SlateCause::Stalled);
        assert_eq!(director.step(now, &view), Some(slate));
        view.air = Air::Slate(SlateCause::Stalled);
        assert_eq!(director.step(now, &view), None);
        view.current = Some(slot(now, current));
        view.next = Some(continuation(now, next));
        assert_eq!(director.step(now, &view), Some(action), "{current:?}");
    }
}

#[test]
fn one_that_nothing_comes_of_however_it_is_opened_is_given_up() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut view = view(Air::Slate(SlateCause::Stalled));
    view.current = Some(silent(now, Phase::Dry));
    assert_eq!(director.step(now, &view), Some(Action::OpenContinuation));
    view.next = Some(continuation(now, Phase::Opening));
    let before = now + STALL_LIMIT - Duration::from_millis(1);
    assert_eq!(director.step(before, &view), None);
    assert_eq!(
        director.step(now + STALL_LIMIT, &view),
        Some(Action::DropNext(Why::NotNeeded))
    );
    view.next = None;
    assert_eq!(
        director.step(now + STALL_LIMIT, &view),
        Some(Action::DropCurrent(Why::Stalled))
    );
}

#[test]
fn nothing_is_opened_from_a_store_that_is_away() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut view = view(Air::Current);
    view.store = Store::Away;
    view.current = Some(silent(now, Phase::Ready));
    assert_eq!(director.step(now, &view), None);
    let mut kept = silent(now, Phase::Ready);
    kept.kept = true;
    view.current = Some(kept);
    assert_eq!(director.step(now, &view), Some(Action::OpenContinuation));
}

#[test]
fn one_that_comes_slower_than_it_plays_is_waited_for_until_it_is_full() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut view = view(Air::Slate(SlateCause::Stalled));
    let mut slow = silent(now, Phase::Dry);
    slow.filling = true;
    view.current = Some(slow);
    let much_later = now + STALL_LIMIT * 10;
    for at in [now, much_later] {
        assert_eq!(director.step(at, &view), None, "something comes");
    }
    slow.quiet = REOPEN_EVERY;
    view.current = Some(slow);
    let again = Some(Action::OpenContinuation);
    assert_eq!(director.step(much_later, &view), again, "nothing does");
    slow.quiet = Duration::ZERO;
    slow.phase = Phase::Ready;
    view.current = Some(slow);
    assert_eq!(director.step(much_later, &view), Some(Action::CutToCurrent));
}
