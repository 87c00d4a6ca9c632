//! What the viewer gets, for each way a source can behave.

use super::*;

mod live;
mod possible;
mod silent;

fn slot(now: Instant, phase: Phase) -> Slot {
    Slot {
        phase,
        opened: now,
        remaining: None,
        late: Duration::ZERO,
        quiet: Duration::ZERO,
        continuation: false,
        continued: false,
        progressed: true,
        filling: false,
        short: false,
        kept: false,
        from_cache: false,
    }
}

fn view(air: Air) -> View {
    View {
        air,
        current: None,
        next: None,
        more: true,
        store: Store::Up,
        clean: true,
        live_is_wanted: false,
        live_carries: false,
        transition: Transition::Off,
    }
}

const ON_SLATE: Air = Air::Slate(SlateCause::Starting);

#[test]
fn the_first_item_takes_the_air_without_a_slate_when_it_is_quick() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut view = view(Air::Nothing);
    assert_eq!(director.step(now, &view), Some(Action::OpenNext));
    view.next = Some(slot(now, Phase::Opening));
    assert_eq!(director.step(now + FIRST_ITEM_WAIT / 2, &view), None);
    view.next = Some(slot(now, Phase::Ready));
    assert_eq!(
        director.step(now + FIRST_ITEM_WAIT / 2, &view),
        Some(Action::CutToNext)
    );
}

#[test]
fn a_slow_first_item_is_covered_by_the_slate() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut view = view(Air::Nothing);
    view.next = Some(slot(now, Phase::Opening));
    assert_eq!(
        director.step(now + FIRST_ITEM_WAIT, &view),
        Some(Action::CutToSlate(SlateCause::Starting))
    );
}

#[test]
fn the_next_item_is_opened_ahead_and_taken_when_the_current_one_is_drained() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut view = view(Air::Current);
    let mut current = slot(now, Phase::Ready);
    current.remaining = Some(OPEN_AHEAD + Duration::from_secs(1));
    view.current = Some(current);
    assert_eq!(director.step(now, &view), None, "too early");
    current.remaining = Some(OPEN_AHEAD);
    view.current = Some(current);
    assert_eq!(director.step(now, &view), Some(Action::OpenNext));
    view.next = Some(slot(now, Phase::Ready));
    assert_eq!(
        director.step(now, &view),
        None,
        "the current item is aired to its end"
    );
    view.current = Some(slot(now, Phase::Drained(End::Complete)));
    assert_eq!(director.step(now, &view), Some(Action::CutToNext));
}

#[test]
fn an_item_that_lies_about_its_length_has_its_successor_opened_before_it_is_drained() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut view = view(Air::Current);
    let mut current = slot(now, Phase::Ending(End::Short));
    current.remaining = Some(Duration::from_secs(3600));
    view.current = Some(current);
    assert_eq!(director.step(now, &view), Some(Action::OpenContinuation));
    current.continued = true;
    view.current = Some(current);
    let mut futile = slot(now, Phase::Ending(End::Short));
    futile.continuation = true;
    futile.progressed = false;
    view.next = Some(futile);
    assert_eq!(
        director.step(now, &view),
        Some(Action::DropNext(Why::EndedEarly))
    );
    view.next = None;
    assert_eq!(
        director.step(now, &view),
        Some(Action::OpenNext),
        "no second continuation"
    );
}

#[test]
fn an_item_that_breaks_off_near_its_end_is_continued_before_its_successor() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut view = view(Air::Current);
    view.current = Some(slot(now, Phase::Ending(End::Short)));
    view.next = Some(slot(now, Phase::Ready));
    assert_eq!(
        director.step(now, &view),
        Some(Action::DropNext(Why::TooEarly))
    );
    view.next = None;
    assert_eq!(director.step(now, &view), Some(Action::OpenContinuation));
    let mut continuation = slot(now, Phase::Ready);
    continuation.continuation = true;
    view.next = Some(continuation);
    let mut drained = slot(now, Phase::Drained(End::Short));
    drained.continued = true;
    view.current = Some(drained);
    assert_eq!(director.step(now, &view), Some(Action::CutToNext));
}

#[test]
fn a_dry_source_is_covered_and_taken_back() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut view = view(Air::Current);
    let mut dry = slot(now, Phase::Dry);
    dry.late = DRY_AFTER - Duration::from_millis(1);
    view.current = Some(dry);
    assert_eq!(director.step(now, &view), None, "not yet");
    dry.late = DRY_AFTER;
    view.current = Some(dry);
    assert_eq!(
        director.step(now, &view),
        Some(Action::CutToSlate(SlateCause::Stalled))
    );
    view.air = Air::Slate(SlateCause::Stalled);
    assert_eq!(director.step(now + STALL_LIMIT / 2, &view), None);
    view.current = Some(slot(now, Phase::Ready));
    assert_eq!(
        director.step(now + STALL_LIMIT / 2, &view),
        Some(Action::CutToCurrent)
    );
}

/// Something comes, but nothing to begin with.
#[test]
fn a_source_that_stays_dry_is_tried_once_more_and_then_given_up() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut view = view(Air::Slate(SlateCause::Stalled));
    view.current = Some(slot(now, Phase::Dry));
    assert_eq!(director.step(now, &view), None);
    assert_eq!(
        director.step(now + STALL_LIMIT, &view),
        Some(Action::DropCurrent(Why::StalledOnce))
    );
    let mut again = slot(now, Phase::Dry);
    again.continuation = true;
    again.progressed = false;
    view.current = Some(again);
    assert_eq!(director.step(now + STALL_LIMIT, &view), None);
    assert_eq!(
        director.step(now + 2 * STALL_LIMIT, &view),
        Some(Action::DropCurrent(Why::Stalled))
    );
}

#[test]
fn an_item_that_cannot_be_opened_makes_room_for_another() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut view = view(ON_SLATE);
    view.next = Some(slot(now, Phase::Drained(End::Failed)));
    assert_eq!(
        director.step(now, &view),
        Some(Action::DropNext(Why::Failed))
    );
    view.next = Some(slot(now, Phase::Opening));
    assert_eq!(director.step(now, &view), None);
    assert_eq!(
        director.step(now + OPEN_LIMIT, &view),
        Some(Action::DropNext(Why::OpenTimeout))
    );
}

#[test]
fn a_skip_waits_for_its_successor_and_for_a_clean_point() {
    let now = Instant::now();
    let mut director = Director::new(now);
    director.skip();
    let mut view = view(Air::Current);
    view.current = Some(slot(now, Phase::Ready));
    view.clean = false;
    assert_eq!(director.step(now, &view), Some(Action::OpenNext));
    view.next = Some(slot(now, Phase::Opening));
    assert_eq!(director.step(now, &view), None);
    view.next = Some(slot(now, Phase::Ready));
    assert_eq!(director.step(now, &view), None, "no clean point yet");
    assert_eq!(
        director.step(now + CLEAN_CUT_WAIT, &view),
        Some(Action::CutToNext)
    );
    assert_eq!(
        director.step(now + CLEAN_CUT_WAIT, &view),
        None,
        "one skip, one item"
    );
}

#[test]
fn a_wished_slate_keeps_the_item_and_gives_it_back() {
    let now = Instant::now();
    let mut director = Director::new(now);
    director.wish(Wish::Slate);
    let mut view = view(Air::Current);
    view.current = Some(slot(now, Phase::Ready));
    assert_eq!(
        director.step(now, &view),
        Some(Action::CutToSlate(SlateCause::Operator))
    );
    view.air = Air::Slate(SlateCause::Operator);
    assert_eq!(director.step(now + STALL_LIMIT * 10, &view), None);
    director.wish(Wish::Programme);
    assert_eq!(
        director.step(now + STALL_LIMIT * 10, &view),
        Some(Action::CutToCurrent)
    );
}

#[test]
fn while_the_store_is_away_the_programme_stays_where_it_is() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut view = view(Air::Current);
    view.store = Store::Away;
    view.more = false;
    let mut cut_off = slot(now, Phase::Drained(End::Interrupted));
    assert_eq!(
        director.step(
            now,
            &View {
                current: Some(cut_off),
                ..view
            }
        ),
        None,
        "what is left of it is aired"
    );
    cut_off.late = DRY_AFTER;
    view.current = Some(cut_off);
    let slate = Action::CutToSlate(SlateCause::StorageUnreachable);
    assert_eq!(director.step(now, &view), Some(slate));
    view.air = Air::Slate(SlateCause::StorageUnreachable);
    let minutes = now + Duration::from_secs(300);
    assert_eq!(director.step(minutes, &view), None, "it is waited for");
    view.store = Store::Up;
    view.more = true;
    assert_eq!(
        director.step(minutes, &view),
        Some(Action::OpenContinuation)
    );
    let mut again = slot(minutes, Phase::Ready);
    again.continuation = true;
    view.next = Some(again);
    assert_eq!(director.step(minutes, &view), Some(Action::CutToNext));
}

#[test]
fn a_dry_source_is_not_given_up_while_the_store_is_away_and_reopened_when_it_is_back() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut view = view(Air::Slate(SlateCause::Stalled));
    view.store = Store::Away;
    view.more = false;
    view.current = Some(slot(now, Phase::Dry));
    let told = Action::CutToSlate(SlateCause::StorageUnreachable);
    assert_eq!(
        director.step(now, &view),
        Some(told),
        "the cause is corrected"
    );
    view.air = Air::Slate(SlateCause::StorageUnreachable);
    let later = now + STALL_LIMIT * 30;
    assert_eq!(director.step(later, &view), None);
    view.store = Store::Up;
    assert_eq!(
        director.step(later, &view),
        Some(Action::DropCurrent(Why::Interrupted))
    );
}

#[test]
fn an_outage_is_carried_by_what_is_kept() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut view = view(Air::Current);
    view.store = Store::Away;
    let mut current = slot(now, Phase::Ending(End::Interrupted));
    current.kept = true;
    view.current = Some(current);
    assert_eq!(
        director.step(now, &view),
        Some(Action::OpenContinuation),
        "the item itself is kept"
    );
    current.kept = false;
    view.current = Some(current);
    assert_eq!(director.step(now, &view), Some(Action::OpenNext));
    let mut next = slot(now, Phase::Ready);
    current.phase = Phase::Drained(End::Interrupted);
    current.late = DRY_AFTER;
    view.current = Some(current);
    view.next = Some(next);
    let slate = Action::CutToSlate(SlateCause::StorageUnreachable);
    assert_eq!(
        director.step(now, &view),
        Some(slate),
        "its few seconds are its own"
    );
    next.from_cache = true;
    view.next = Some(next);
    assert_eq!(director.step(now, &view), Some(Action::CutToNext));
}

#[test]
fn an_item_that_gets_short_goes_on_from_the_cache_before_it_is_dry() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut view = view(Air::Current);
    let mut current = slot(now, Phase::Ready);
    (current.short, current.kept) = (true, true);
    view.current = Some(current);
    view.next = Some(slot(now, Phase::Ready));
    assert_eq!(
        director.step(now, &view),
        Some(Action::DropNext(Why::TooEarly))
    );
    view.next = None;
    assert_eq!(director.step(now, &view), Some(Action::OpenContinuation));
    let mut continuation = slot(now, Phase::Ready);
    continuation.continuation = true;
    view.next = Some(continuation);
    assert_eq!(director.step(now, &view), None, "what is in hand is aired");
    current.phase = Phase::Dry;
    current.late = DRY_AFTER;
    view.current = Some(current);
    assert_eq!(
        director.step(now, &view),
        Some(Action::CutToNext),
        "no slate"
    );
    (current.phase, current.short) = (Phase::Ready, false);
    view.current = Some(current);
    assert_eq!(
        director.step(now, &view),
        Some(Action::DropNext(Why::NotNeeded)),
        "it has recovered"
    );
}

#[test]
fn a_next_item_that_is_interrupted_is_not_its_own_fault() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut view = view(ON_SLATE);
    view.next = Some(slot(now, Phase::Drained(End::Interrupted)));
    let action = Some(Action::DropNext(Why::Interrupted));
    assert_eq!(director.step(now, &view), action);
    view.store = Store::Away;
    view.next = Some(slot(now, Phase::Opening));
    assert_eq!(director.step(now + OPEN_LIMIT, &view), action);
}
