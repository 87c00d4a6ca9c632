//! Live sessions, from the notes of a controller and the journal of a worker.

use storage::history::{AskedBy, SessionEnd};
use storage::model::live::LiveInputState;

use super::*;
use crate::history::report::{AskedTransitions, Transitions};

async fn transitions(history: &History, limit: usize) -> Transitions {
    incidents(history).await;
    let asked = AskedTransitions {
        window: Window::Day,
        stream: Some(main()),
        limit,
    };
    history.transitions(asked).await.unwrap()
}

fn live_input(state: LiveInputState) -> AirEvent {
    AirEvent::LiveInput {
        input: "studio".into(),
        state,
        grace_s: 5,
    }
}

fn on_air(source: OnAirKind, item: &str) -> AirEvent {
    AirEvent::OnAir {
        source,
        item: Some(item.into()),
        cause: None,
    }
}

#[tokio::test]
async fn a_session_that_the_controller_asked_for_and_did_not_see_is_whole() {
    let mut site = Site::new();
    let history = site.history();
    site.want(&history, 0);
    let asked = What::AskedLive {
        input: Some("studio".into()),
        by: AskedBy::Obs,
    };
    history.saw_at(&main(), site.moment(2_000), asked);
    let waiting = transitions(&history, 10).await;
    assert_eq!(
        (waiting.sessions.len(), waiting.sessions[0].media_at),
        (1, None)
    );
    history.close().await;

    // Meanwhile the feed comes, is lost for a moment, comes again, and ends.
    site.begin(1, 1_000, Some(moment::boot_id()));
    let worker = [
        (8_000, live_input(LiveInputState::Ready)),
        (8_600, on_air(OnAirKind::Live, "studio")),
        (20_000, live_input(LiveInputState::Lost)),
        (20_300, on_air(OnAirKind::Programme, "a.mp4")),
        (22_000, live_input(LiveInputState::Ready)),
        (22_500, on_air(OnAirKind::Live, "studio")),
        (40_000, live_input(LiveInputState::Lost)),
        (40_200, on_air(OnAirKind::Programme, "a.mp4")),
        (52_000, live_input(LiveInputState::Ready)),
        (52_400, on_air(OnAirKind::Live, "studio")),
    ];
    for (ms, event) in worker {
        site.entry(1, ms, event);
    }

    let history = site.history();
    history.recovered(&main(), Some(vec!["out".to_owned()]), true);
    let found = transitions(&history, 1).await;
    assert!(found.more, "one was asked for");
    assert_eq!(
        (found.sessions[0].asked_by, found.sessions[0].off_at),
        (AskedBy::Auto, None),
        "after its grace it is another one, and lasts"
    );
    let found = transitions(&history, 10).await;
    let first = &found.sessions[1];
    let start = site.start.at.as_millisecond();
    let since = |at: Option<Timestamp>| at.map(|at| at.as_millisecond() - start);
    let times = [
        Some(first.asked_at),
        first.media_at,
        first.on_air_at,
        first.off_at,
    ];
    assert_eq!(times.map(since), [2_000, 8_000, 8_600, 40_200].map(Some));
    assert_eq!(
        (first.asked_by, first.ended),
        (AskedBy::Obs, Some(SessionEnd::Lost))
    );
    assert_eq!((first.interruptions, first.interrupted_s), (1, 2.5));
    let steps = found.steps;
    assert_eq!(
        (steps.asked_to_media.count, steps.asked_to_media.max_s),
        (1, Some(6.0))
    );
    assert_eq!(
        (steps.media_to_on_air.p50_s, steps.media_to_on_air.max_s),
        (Some(0.4), Some(0.6))
    );
    assert_eq!(steps.asked_to_on_air.p95_s, Some(6.6));
    assert_eq!(steps.loss_to_programme.max_s, Some(0.3));
}

#[tokio::test]
async fn what_was_asked_and_refused_is_not_in_the_record_and_what_was_not_answered_is() {
    let site = Site::new();
    let history = site.history();
    site.want(&history, 0);
    let asked = |input: &str| What::AskedLive {
        input: Some(input.into()),
        by: AskedBy::Api,
    };
    history.saw_at(&main(), site.moment(1_000), asked("studio"));
    history.saw_at(&main(), site.moment(2_000), asked("other"));
    let waiting = transitions(&history, 10).await.sessions;
    assert_eq!(waiting.len(), 2);
    assert_eq!(waiting[1].ended, Some(SessionEnd::OtherInput));
    history.withdrew(&main(), site.moment(2_000), asked("other"));
    for again in [false, true] {
        let history = if again {
            history.close().await;
            site.history()
        } else {
            history.clone()
        };
        let waiting = transitions(&history, 10).await.sessions;
        let [studio] = &waiting[..] else {
            panic!("{waiting:#?}");
        };
        assert_eq!(studio.input.as_deref(), Some("studio"));
        assert_eq!((studio.asked_by, studio.ended), (AskedBy::Api, None));
    }
}
