//! A real OBS that streams to the built-in ingest: its owner's switch takes the air and gives it back.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use e2e::flv::Track;
use e2e::media;
use e2e::obs::{Hand, Obs};
use e2e::wait;
use serde_json::{Value, json};

use crate::live_stage::{SOON, Stage};
use crate::record::{time_ms, wall_ms};
use crate::skipped;

const SCENE: &str = "Owner Live";
const SOURCE: &str = "Camera";
/// From the switch to the platform, without what OBS takes to start: the debounce of 5 s, a look each
/// second, the jitter buffer. OBS itself needs less than another second where it does not starve.
const OUR_SHARE_MS: i64 = 7_000;

/// OBS as its owner leaves it: set to the ingest, on the scene that is going to be aired, the camera off.
fn prepared(obs: &Obs, stage: &Stage) -> Hand {
    let mut hand = obs.hand();
    wait::until("its scenes are there", SOON, || {
        let scenes = hand.scenes();
        scenes.iter().any(|scene| scene == SCENE).then_some(())
    });
    hand.colour(SCENE, SOURCE);
    hand.ask("SetCurrentProgramScene", json!({ "sceneName": SCENE }));
    hand.stream_to(&stage.ingest, &stage.key);
    hand
}

fn stage(obs: &Obs, debounce_s: Option<&str>) -> Stage {
    Stage::set_up(json!({}), |setup| {
        let setup = setup
            .variable("OBS_WEBSOCKET_URL", &obs.url())
            .variable("OBS_OWNER_SOURCES", SOURCE);
        match debounce_s {
            Some(seconds) => setup.variable("OBS_DEBOUNCE_S", seconds),
            None => setup,
        }
    })
}

/// When the first picture after `since` came that is of the programme, or is not.
fn first_picture(stage: &Stage, film: &HashSet<u64>, is_of_film: bool, since: Instant) -> Instant {
    wait::until("the picture changes at the platform", SOON, || {
        stage.receiver.look(|connections| {
            let frames = connections.last()?.frames();
            let found = frames
                .filter(|message| message.tag.track == Track::Video && message.arrived > since)
                .find(|message| film.contains(&message.tag.digest) == is_of_film);
            Some(found?.arrived)
        })
    })
}

/// When OBS was told to stream for the last time.
fn told_to_stream_ms(stage: &Stage) -> i64 {
    let log = stage.controller.controller_log();
    let lines = log.lines().rev();
    let told = lines
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|line| line["act"] == "StartStream");
    time_ms(&told.expect("OBS was told to stream")["timestamp"])
}

fn newest_session(stage: &Stage) -> Value {
    stage.controller.get("/health/transitions?stream_id=main")["sessions"][0].clone()
}

#[test]
fn a_source_switched_on_takes_the_air_within_eight_seconds_and_switched_off_gives_it_back() {
    let Some(obs) = Obs::start() else {
        return skipped("obs is not installed");
    };
    let stage = stage(&obs, None);
    let mut hand = prepared(&obs, &stage);
    let film = media::packets(&media::long());
    let film: HashSet<u64> = film.iter().map(|tag| tag.digest).collect();
    for _ in 0..2 {
        let on = Instant::now();
        hand.switch(SCENE, SOURCE, true);
        let aired = first_picture(&stage, &film, false, on);
        let session = wait::until("it is in the record", SOON, || {
            Some(newest_session(&stage)).filter(|session| !session["media_at"].is_null())
        });
        assert_eq!(session["asked_by"], "obs", "{session:#}");
        let until_told_ms = told_to_stream_ms(&stage) - wall_ms(on);
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
        let back = first_picture(&stage, &film, true, off);
        assert!(back - off >= Duration::from_secs(5), "{:?}", back - off);
        wait::until("OBS stops", SOON, || (!hand.streams()).then_some(()));
        let session = newest_session(&stage);
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
    let stage = stage(&obs, Some("0"));
    let mut hand = prepared(&obs, &stage);
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
    obs.crash();
    stage.wait_kind("programme");
    wait::until("the crash is told", SOON, || {
        (status()["error"]["type"] == "obs_unreachable").then_some(())
    });
    stage.controller.stop("main");
    stage.assert_seamless();
}
