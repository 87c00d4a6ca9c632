//! Facts in, sessions out: what an operator will read of each takeover.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use storage::history::Key;
use storage::model::DarkCause;
use storage::model::report::OnAirKind;

use super::super::fact::{Fact, What};
use super::super::recorder::Recorder;
use super::*;

const GRACE_S: u32 = 30;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_760_000_000_000 + ms).unwrap()
}

fn instant(ms: i64) -> Instant {
    Instant { ms, at: at(ms) }
}

fn fact(ms: i64, what: What) -> Fact {
    Fact {
        ms,
        at: at(ms),
        what,
    }
}

fn started(worker: &str, takes_over: bool) -> What {
    What::Started {
        worker: worker.into(),
        boot_id: "boot".into(),
        takes_over,
    }
}

fn asked(input: Option<&str>, by: AskedBy) -> What {
    What::AskedLive {
        input: input.map(str::to_owned),
        by,
    }
}

fn gave_back(by: AskedBy) -> What {
    What::GaveBack { by }
}

fn input(worker: &str, input: &str, state: LiveInputState) -> What {
    What::LiveInput {
        worker: worker.into(),
        input: input.into(),
        state,
        grace_s: GRACE_S,
    }
}

fn ready(name: &str) -> What {
    input("w1", name, LiveInputState::Ready)
}

fn lost(name: &str) -> What {
    input("w1", name, LiveInputState::Lost)
}

fn on_air(worker: &str, live: Option<&str>) -> What {
    What::OnAir {
        worker: worker.into(),
        source: live.map_or(OnAirKind::Programme, |_| OnAirKind::Live),
        item: Some(live.unwrap_or("shows/a.mp4").to_owned()),
        cause: None,
    }
}

fn live(name: &str) -> What {
    on_air("w1", Some(name))
}

fn programme() -> What {
    on_air("w1", None)
}

/// On air with the programme, and then this.
fn course(then: impl IntoIterator<Item = (i64, What)>) -> Vec<Fact> {
    let destinations = vec!["a".into()];
    let mut facts = vec![
        fact(1_000, What::Wanted { destinations }),
        fact(1_100, started("w1", false)),
        fact(2_000, programme()),
    ];
    facts.extend(then.into_iter().map(|(ms, what)| fact(ms, what)));
    facts
}

/// Tells each fact on its own, in this order, to a recorder that is written down and read again each
/// time; the sessions that a database would have in the end.
fn tell(facts: Vec<Fact>) -> Vec<LiveSession> {
    let mut recorder = Recorder::new("main".parse().unwrap(), instant(0));
    let mut rows: BTreeMap<Key, Row> = BTreeMap::new();
    for fact in facts {
        for (key, row) in recorder.note([fact]) {
            match row {
                Some(row) => rows.insert(key, row),
                None => rows.remove(&key),
            };
        }
        recorder = Recorder::from_text(&recorder.to_text()).unwrap();
    }
    let sessions = rows.into_values().filter_map(|row| match row {
        Row::LiveSession(session) => Some(session),
        _ => None,
    });
    sessions.collect()
}

fn session(
    name: &str,
    by: AskedBy,
    asked: i64,
    media: Option<i64>,
    aired: Option<i64>,
    end: Option<(i64, SessionEnd)>,
) -> LiveSession {
    let mark = |ms| Mark::from(instant(ms));
    LiveSession {
        stream: "main".parse().unwrap(),
        input: name.into(),
        span: Span {
            start_ms: asked,
            end_ms: end.map(|(ms, _)| ms),
            start_at: at(asked),
            end_at: end.map(|(ms, _)| at(ms)),
        },
        asked_by: by,
        media: media.map(mark),
        on_air: aired.map(mark),
        ended: end.map(|(_, why)| why),
        interruptions: 0,
        interrupted_ms: 0,
        loss_to_programme_ms: None,
    }
}

/// From the source switched on in OBS to the source switched off.
fn takeover() -> Vec<Fact> {
    course([
        (10_000, asked(Some("studio"), AskedBy::Obs)),
        (16_000, ready("studio")),
        (16_700, live("studio")),
        (50_000, gave_back(AskedBy::Obs)),
        (50_050, programme()),
    ])
}

fn taken_over() -> LiveSession {
    let end = Some((50_050, SessionEnd::SourceOff));
    let (media, aired) = (Some(16_000), Some(16_700));
    session("studio", AskedBy::Obs, 10_000, media, aired, end)
}

#[test]
fn a_takeover_has_each_of_its_instants() {
    assert_eq!(tell(takeover()), [taken_over()]);
}

proptest! {
    /// Facts become known in any order; what is known in the end is the same.
    #[test]
    fn the_order_of_learning_changes_nothing(facts in Just(takeover()).prop_shuffle()) {
        prop_assert_eq!(tell(facts), [taken_over()]);
    }
}

#[test]
fn a_feed_that_is_back_within_its_grace_was_interrupted() {
    let facts = course([
        (5_000, ready("studio")),
        (5_500, live("studio")),
        (20_000, lost("studio")),
        (20_250, programme()),
        (20_900, input("w1", "studio", LiveInputState::Connecting)),
        (24_000, ready("studio")),
        (24_400, live("studio")),
        // A pause that nobody saw, because it was back before anything else was on air.
        (30_000, lost("studio")),
        (30_100, ready("studio")),
        (40_000, gave_back(AskedBy::Api)),
        (40_100, programme()),
    ]);
    let end = Some((40_100, SessionEnd::GivenBack));
    let expected = LiveSession {
        interruptions: 1,
        interrupted_ms: 4_400,
        loss_to_programme_ms: Some(250),
        ..session(
            "studio",
            AskedBy::Auto,
            5_000,
            Some(5_000),
            Some(5_500),
            end,
        )
    };
    assert_eq!(tell(facts), [expected]);
}

#[test]
fn a_feed_that_is_lost_has_ended_and_one_that_is_back_too_late_is_another_session() {
    let begin = [
        (5_000, ready("studio")),
        (5_500, live("studio")),
        (20_000, lost("studio")),
        (20_250, programme()),
    ];
    let end = Some((20_250, SessionEnd::Lost));
    let first = LiveSession {
        loss_to_programme_ms: Some(250),
        ..session(
            "studio",
            AskedBy::Auto,
            5_000,
            Some(5_000),
            Some(5_500),
            end,
        )
    };
    assert_eq!(tell(course(begin.clone())), std::slice::from_ref(&first));

    let late = begin
        .into_iter()
        .chain([(55_000, ready("studio")), (55_400, live("studio"))]);
    let second = session(
        "studio",
        AskedBy::Auto,
        55_000,
        Some(55_000),
        Some(55_400),
        None,
    );
    assert_eq!(tell(course(late)), [first, second]);
}

#[test]
fn a_wish_that_comes_while_the_feed_is_lost_is_kept_for_when_its_grace_is_over() {
    let facts = course([
        (5_000, ready("studio")),
        (5_500, live("studio")),
        (20_000, lost("studio")),
        (20_250, programme()),
        (25_000, asked(None, AskedBy::Api)),
        (55_000, ready("studio")),
        (55_400, live("studio")),
    ]);
    let told = tell(facts);
    let media = Some(55_000);
    let second = session("studio", AskedBy::Api, 25_000, media, Some(55_400), None);
    assert_eq!((told.len(), &told[1]), (2, &second));
}

#[test]
fn whichever_is_ready_gets_its_name_when_it_is_on_air() {
    let wish = (10_000, asked(None, AskedBy::Api));
    let waiting = session("", AskedBy::Api, 10_000, None, None, None);
    assert_eq!(tell(course([wish.clone()])), [waiting]);
    let facts = course([wish, (12_000, ready("phone")), (12_400, live("phone"))]);
    let named = session(
        "phone",
        AskedBy::Api,
        10_000,
        Some(12_000),
        Some(12_400),
        None,
    );
    assert_eq!(tell(facts), [named]);
}

#[test]
fn a_feed_that_was_there_already_counts_from_when_it_was_asked_for() {
    let facts = course([
        (5_000, ready("camera")),
        (30_000, asked(Some("camera"), AskedBy::Api)),
        (30_600, live("camera")),
    ]);
    let taken = session(
        "camera",
        AskedBy::Api,
        30_000,
        Some(30_000),
        Some(30_600),
        None,
    );
    assert_eq!(tell(facts), [taken]);
}

#[test]
fn a_wish_that_came_to_nothing_says_how_it_ended() {
    let facts = course([
        (10_000, asked(Some("studio"), AskedBy::Api)),
        (20_000, asked(Some("phone"), AskedBy::Api)),
        (30_000, gave_back(AskedBy::Api)),
    ]);
    let ended = |name, asked, end| session(name, AskedBy::Api, asked, None, None, Some(end));
    assert_eq!(
        tell(facts),
        [
            ended("phone", 20_000, (30_000, SessionEnd::GivenBack)),
            ended("studio", 10_000, (20_000, SessionEnd::OtherInput)),
        ]
    );
}

#[test]
fn an_input_that_takes_over_from_another_could_not_have_been_on_air_before() {
    let facts = course([
        (5_000, ready("phone")),
        (5_400, live("phone")),
        (10_000, ready("studio")),
        (10_300, live("studio")),
        (40_000, lost("studio")),
        (40_200, live("phone")),
    ]);
    let end = Some((10_300, SessionEnd::OtherInput));
    let first = session("phone", AskedBy::Auto, 5_000, Some(5_000), Some(5_400), end);
    let again = session(
        "phone",
        AskedBy::Auto,
        40_000,
        Some(40_000),
        Some(40_200),
        None,
    );
    let end = Some((40_200, SessionEnd::Lost));
    let studio = LiveSession {
        loss_to_programme_ms: Some(200),
        ..session(
            "studio",
            AskedBy::Auto,
            10_000,
            Some(10_000),
            Some(10_300),
            end,
        )
    };
    assert_eq!(tell(facts), [first, again, studio]);
}

#[test]
fn a_crash_interrupts_and_a_new_binary_does_not() {
    let gone = What::Gone {
        worker: "w2".into(),
        cause: DarkCause::WorkerCrashed,
        error_type: None,
    };
    let mut facts = vec![
        (5_000, ready("studio")),
        (5_500, live("studio")),
        (10_000, started("w2", true)),
        (20_000, gone),
    ];
    let end = Some((20_000, SessionEnd::WorkerGone));
    let crashed = session(
        "studio",
        AskedBy::Auto,
        5_000,
        Some(5_000),
        Some(5_500),
        end,
    );
    assert_eq!(tell(course(facts.clone())), [crashed]);

    facts.push((20_300, started("w3", false)));
    facts.push((21_000, on_air("w3", None)));
    facts.push((22_000, input("w3", "studio", LiveInputState::Ready)));
    facts.push((22_500, on_air("w3", Some("studio"))));
    facts.push((30_000, What::Unwanted));
    // What the worker says on its way out is not on air.
    facts.push((30_100, on_air("w3", Some("studio"))));
    let back = LiveSession {
        interruptions: 1,
        interrupted_ms: 2_500,
        ..session(
            "studio",
            AskedBy::Auto,
            5_000,
            Some(5_000),
            Some(5_500),
            Some((30_000, SessionEnd::Stopped)),
        )
    };
    assert_eq!(tell(course(facts)), [back]);
}
