//! A real OBS that streams to the built-in ingest: its owner's switch takes the air and gives it back.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use e2e::media;
use e2e::obs::Obs;
use e2e::obs::owner::{SCENE, SOURCE, newest_session, prepared, told_to_stream};
use e2e::viewer::first_picture;
use e2e::wait;
use serde_json::{Value, json};

use crate::live_stage::{SOON, Stage};
use crate::record::{time_ms, wall_ms};
use crate::skipped;

/// From the switch to the platform, without what OBS takes to start: the debounce of 5 s, the jitter
/// buffer, a clean point. OBS itself needs less than another second where it does not starve.
const OUR_SHARE_MS: i64 = 7_000;

fn stage(obs: &Obs, fields: Value, debounce_s: Option<&str>) -> Stage {
    Stage::set_up(fields, |setup| {
        let setup = setup
            .variable("OBS_WEBSOCKET_URL", &obs.url())
            .variable("OBS_OWNER_SOURCES", SOURCE);
        match debounce_s {
            Some(seconds) => setup.variable("OBS_DEBOUNCE_S", seconds),
            None => setup,
        }
    })
}

#[test]
fn a_source_switched_on_takes_the_air_within_eight_seconds_and_switched_off_gives_it_back() {
    let Some(obs) = Obs::start() else {
        return skipped("obs is not installed");
    };
    let stage = stage(&obs, json!({}), None);
    let mut hand = prepared(&obs, &stage.ingest, &stage.key);
    let film = media::packets(&media::long());
    let film: HashSet<u64> = film.iter().map(|tag| tag.digest).collect();
    for _ in 0..2 {
        let on = Instant::now();
        hand.switch(SCENE, SOURCE, true);
        let aired = first_picture(&stage.receiver, &film, false, on);
        let session = wait::until("it is in the record", SOON, || {
            Some(newest_session(&stage.controller)).filter(|session| !session["media_at"].is_null())
        });
        assert_eq!(session["asked_by"], "obs", "{session:#}");
        let until_told_ms = told_to_stream(&stage.controller).as_millisecond() - wall_ms(on);
        let from_media_ms = wall_ms(aired) - time_ms(&session["media_at"]);
        assert!(
            until_told_ms >= 5_000,
            "not yet sure after {until_told_ms} ms"
        );
        assert!(
            until_told_ms + from_media_ms <= OUR_SHARE_MS,
            "{until_told_ms} ms until OBS was told, {from_media_ms} ms from its media: {session:#}"
        );

        let off = Instant::now();
        hand.switch(SCENE, SOURCE, false);
        let back = first_picture(&stage.receiver, &film, true, off);
        assert!(back - off >= Duration::from_secs(5), "{:?}", back - off);
        wait::until("OBS stops", SOON, || (!hand.streams()).then_some(()));
        let session = newest_session(&stage.controller);
        assert_eq!(session["ended"], "source_off", "{session:#}");
    }
    let (code, said) = stage.controller.script("check_status.sh", &["main"]);
    assert!(code == 0 && said.contains("live ingest"), "{code}: {said}");
    let last = said.split("last live").nth(1);
    assert!(
        last.is_some_and(|last| last.contains("source off")),
        "{said}"
    );
    stage.controller.stop("main");
    stage.assert_seamless();
}

#[test]
fn media_that_does_not_come_is_announced_and_a_crash_of_obs_is_its_feeds_end() {
    let Some(mut obs) = Obs::start() else {
        return skipped("obs is not installed");
    };
    let input = json!({ "name": "ingest", "ingest": true, "take": "manual", "grace_s": 0 });
    let stage = stage(&obs, json!({ "live_inputs": [input] }), Some("0"));
    let mut hand = prepared(&obs, &stage.ingest, &stage.key);
    hand.stream_to("rtmp://127.0.0.1:1/live", "nowhere");
    let on = Instant::now();
    hand.switch(SCENE, SOURCE, true);
    let status = || stage.controller.get("/health")["obs"].clone();
    wait::until("the card", Duration::from_secs(60), || {
        (status()["takeover"] == "card").then_some(())
    });
    assert!(
        on.elapsed() >= Duration::from_secs(30),
        "{:?}",
        on.elapsed()
    );
    stage.wait_kind("slate");

    // The owner sees the card, and mends the address.
    hand.stream_to(&stage.ingest, &stage.key);
    stage.wait_kind("live");
    assert_eq!(status()["takeover"], "wanted");

    // Not by itself: nobody waits for this input. It is asked for anew.
    hand.ask("StopStream", Value::Null);
    stage.wait_kind("programme");
    stage.wait_kind("live");
    obs.crash();
    stage.wait_kind("programme");
    wait::until("the crash is told", SOON, || {
        (status()["error"]["type"] == "obs_unreachable").then_some(())
    });
    stage.controller.stop("main");
    stage.assert_seamless();
}
