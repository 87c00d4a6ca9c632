//! Feeds that take the air and give it back, with and without a transition.

use super::*;

#[test]
fn a_live_feed_takes_the_air_at_a_clean_point_and_gives_it_back() {
    let now = Instant::now();
    let mut director = Director::new(now);
    director.wish(Wish::Live);
    let mut view = view(Air::Current);
    view.current = Some(slot(now, Phase::Ready));
    view.clean = false;
    assert_eq!(director.step(now, &view), None);
    view.clean = true;
    assert_eq!(director.step(now, &view), Some(Action::CutToLive));
    (view.air, view.live_is_wanted, view.live_carries) = (Air::Live, true, true);
    assert_eq!(director.step(now + STALL_LIMIT * 9, &view), None);
    director.wish(Wish::Programme);
    assert_eq!(director.step(now, &view), Some(Action::CutToCurrent));
}

#[test]
fn a_feed_that_is_lost_is_followed_by_whatever_there_is() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut view = view(Air::Live);
    view.clean = false;
    view.current = Some(slot(now, Phase::Ready));
    assert_eq!(director.step(now, &view), Some(Action::CutToCurrent));
    view.current = Some(slot(now, Phase::Dry));
    let lost = Action::CutToSlate(SlateCause::LiveLost);
    assert_eq!(director.step(now, &view), Some(lost));
    view.current = None;
    view.next = Some(slot(now, Phase::Ready));
    assert_eq!(director.step(now, &view), Some(Action::CutToNext));
    director.wish(Wish::Standby);
    assert_eq!(director.step(now, &view), Some(lost));
}

#[test]
fn a_feed_goes_on_until_the_programme_that_is_wanted_back_is_ready() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut view = view(Air::Live);
    view.live_carries = true;
    assert_eq!(director.step(now, &view), Some(Action::OpenNext));
    view.next = Some(slot(now, Phase::Opening));
    assert_eq!(director.step(now, &view), None);
    view.next = Some(slot(now, Phase::Ready));
    assert_eq!(director.step(now, &view), Some(Action::CutToNext));
}

#[test]
fn a_transition_is_asked_for_once_awaited_and_made() {
    let now = Instant::now();
    let mut director = Director::new(now);
    director.wish(Wish::Live);
    let mut view = view(Air::Current);
    view.current = Some(slot(now, Phase::Ready));
    let mut step = |transition| {
        view.transition = transition;
        director.step(now, &view)
    };
    let prepare = Some(Action::Prepare(Target::Live));
    assert_eq!(step(Transition::Wanted), prepare);
    assert_eq!(step(Transition::Making(Target::Live)), None);
    assert_eq!(
        step(Transition::Made(Target::Live)),
        Some(Action::CutToLive)
    );
    assert_eq!(
        step(Transition::Failed(Target::Live)),
        Some(Action::CutToLive)
    );
    let other = Target::Slate(SlateCause::Operator);
    for of_another in [
        Transition::Making(other),
        Transition::Made(other),
        Transition::Failed(other),
    ] {
        assert_eq!(step(of_another), prepare, "{of_another:?}");
    }
}

#[test]
fn what_is_lost_or_stood_in_for_waits_for_no_transition() {
    let now = Instant::now();
    for transition in [Transition::Wanted, Transition::Making(Target::Current)] {
        let mut director = Director::new(now);
        let mut lost = view(Air::Live);
        (lost.clean, lost.transition) = (false, transition);
        lost.current = Some(slot(now, Phase::Ready));
        assert_eq!(director.step(now, &lost), Some(Action::CutToCurrent));

        for cause in [
            SlateCause::Stalled,
            SlateCause::LiveLost,
            SlateCause::NextNotReady,
        ] {
            let mut dark = view(Air::Slate(cause));
            dark.transition = transition;
            dark.current = Some(slot(now, Phase::Ready));
            assert_eq!(director.step(now, &dark), Some(Action::CutToCurrent));
        }
        let mut ended = view(Air::Current);
        ended.transition = transition;
        ended.current = Some(slot(now, Phase::Drained(End::Complete)));
        ended.next = Some(slot(now, Phase::Ready));
        assert_eq!(director.step(now, &ended), Some(Action::CutToNext));
    }
}

#[test]
fn the_operators_slate_is_left_by_a_transition() {
    let now = Instant::now();
    let mut director = Director::new(now);
    let mut card = view(Air::Slate(SlateCause::Card));
    card.transition = Transition::Wanted;
    card.current = Some(slot(now, Phase::Ready));
    let back = Some(Action::Prepare(Target::Current));
    assert_eq!(director.step(now, &card), back);
    director.wish(Wish::Live);
    assert_eq!(
        director.step(now, &card),
        Some(Action::Prepare(Target::Live))
    );
}
