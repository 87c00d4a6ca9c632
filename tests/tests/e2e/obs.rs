//! A real OBS: what is made in it, what its owner's hand causes, and what its end does.

use std::time::{Duration, Instant};

use e2e::controller::{Controller, Setup};
use e2e::media;
use e2e::obs::{Hand, Obs};
use e2e::pressure::Pressure;
use e2e::proxy::{Fault, Proxy};
use e2e::rtmp::Receiver;
use e2e::wait;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::skipped;

const LIMIT: Duration = Duration::from_secs(40);
/// From a fault to the status, on an idle machine.
const TOLD: Duration = Duration::from_secs(10);

fn setup(obs_url: &str) -> (tempfile::TempDir, Setup) {
    let folder = media::folder(&[("a.mp4", &media::ten()[0].1)]);
    let setup = Setup::local(folder.path())
        .stream("main", serde_json::json!({"format": media::format()}))
        .variable("OBS_WEBSOCKET_URL", obs_url)
        .variable("OBS_OWNER_SOURCES", "Camera")
        .variable("OBS_DEBOUNCE_S", "1");
    (folder, setup)
}

fn obs_of(controller: &Controller) -> Value {
    controller.get("/health")["obs"].clone()
}

fn wait_for(
    controller: &Controller,
    what: &str,
    limit: Duration,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    wait::until(what, limit, || {
        Some(obs_of(controller)).filter(|obs| wanted(obs))
    })
}

/// Does something to OBS; the status has to tell in time.
fn assert_told(controller: &Controller, fault: impl FnOnce(), error_type: &str) {
    let (begun, pressure) = (Instant::now(), Pressure::now());
    fault();
    let status = wait_for(controller, error_type, LIMIT, |obs| {
        obs["state"] == "unreachable"
    });
    let took = begun.elapsed();
    assert_eq!(status["error"]["type"], error_type, "{status}");
    let allowed = pressure.allows(TOLD);
    assert!(
        took <= allowed,
        "{error_type}: after {took:?}, {allowed:?} allowed"
    );
}

/// What a takeover needs is made.
fn assert_scenes(hand: &mut Hand) {
    let scenes = wait::until("the scenes are there", LIMIT, || {
        let scenes = hand.scenes();
        (scenes.len() >= 5).then_some(scenes)
    });
    for scene in [
        "Automated Content",
        "Owner Live",
        "Failover",
        "Technical Difficulties",
        "Idle",
    ] {
        assert!(
            scenes.iter().any(|name| name == scene),
            "{scene}: {scenes:?}"
        );
    }
}

#[test]
fn a_source_switched_on_makes_obs_stream_and_switched_off_stop() {
    let Some(obs) = Obs::start() else {
        return skipped("obs is not installed");
    };
    let ingest = Receiver::start();
    let (_folder, setup) = setup(&obs.url());
    let mut controller = setup
        .variable("OBS_INGEST_URL", &ingest.url())
        .variable("OBS_INGEST_KEY", "CANARY-obs-key")
        .variable("OBS_SWITCH_SCENES", "true")
        .start();
    let status = wait_for(&controller, "OBS is connected", LIMIT, |obs| {
        obs["state"] == "connected"
    });
    assert!(
        status["version"]
            .as_str()
            .unwrap()
            .starts_with(char::is_numeric),
        "{status}"
    );

    let mut hand = obs.hand();
    assert_scenes(&mut hand);
    hand.colour("Owner Live", "Camera");
    wait::observe(Duration::from_secs(3));
    assert!(!hand.streams(), "nothing was switched on");
    assert_eq!(hand.programme(), "Idle");
    hand.switch("Owner Live", "Camera", true);
    wait::until("OBS streams to the ingest", LIMIT, || {
        let connections = ingest.connections();
        connections
            .iter()
            .any(|c| c.key == "CANARY-obs-key" && c.messages.len() > 30)
            .then_some(())
    });
    let status = wait_for(&controller, "the wish is seen", LIMIT, |obs| {
        obs["streaming"] == true
    });
    assert_eq!(status["takeover"], "wanted");
    assert_eq!(status["sources"][0]["on"], true);
    assert_eq!(status["sources"][0]["shown"], true, "{status}");
    assert_eq!(hand.programme(), "Owner Live");

    hand.ask("StopStream", Value::Null);
    wait::until("it is started again", LIMIT, || {
        (ingest.connections().len() >= 2).then_some(())
    });
    // Whoever begins in the middle of it ends it, too.
    controller.kill();
    hand.switch("Owner Live", "Camera", false);
    wait::observe(Duration::from_secs(2));
    assert!(hand.streams(), "nobody told it to stop");
    controller.start_again();
    wait::until("OBS stops", LIMIT, || (!hand.streams()).then_some(()));
    wait_for(&controller, "quiet again", LIMIT, |obs| {
        obs["takeover"] == "quiet"
    });
    wait::until("OBS leaves the owner's scene", LIMIT, || {
        (hand.programme() == "Automated Content").then_some(())
    });

    // Other scenes are opened: what is to be there is made there too.
    hand.ask(
        "CreateSceneCollection",
        serde_json::json!({"sceneCollectionName": "Other"}),
    );
    wait::until("the scenes are there as well", LIMIT, || {
        let scenes = hand.scenes();
        (scenes.iter().any(|name| name == "Owner Live")).then_some(())
    });
    let status = obs_of(&controller);
    assert_eq!(status["state"], "connected", "{status}");
    let told = controller.controller_log();
    assert!(!told.contains("CANARY"), "the key is in the log");
}

#[test]
fn an_obs_that_crashes_or_hangs_is_told_within_ten_seconds_and_started_three_times() {
    let Some(mut obs) = Obs::start() else {
        return skipped("obs is not installed");
    };
    let (command, runs) = obs.restart_command();
    let way = Proxy::to(obs.address());
    let (_folder, setup) = setup(&way.url("ws"));
    let controller = setup
        .variable("OBS_RESTART_COMMAND", &command.display().to_string())
        .start();
    let connected = |what: &str| {
        wait_for(&controller, what, LIMIT, |obs| obs["state"] == "connected");
    };
    connected("OBS is connected");

    // Nothing of it is on air: who closes it has no use for it.
    obs.close();
    wait::until("the end is told", LIMIT, || {
        let told = controller.controller_log();
        told.contains("OBS was closed").then_some(())
    });
    obs.start_again();
    connected("it is back");
    // Nor has an OBS ended whose connection has.
    assert_told(&controller, || way.reset(), "obs_unreachable");
    connected("it was there all the time");
    assert!(!runs.exists(), "it was to be started again");

    assert_told(&controller, || obs.signal(Signal::SIGSTOP), "obs_silent");
    wait::until("it was to be started again", LIMIT, || {
        runs.exists().then_some(())
    });
    obs.signal(Signal::SIGCONT);
    connected("it is back");
    // A cable that is pulled is as silent.
    assert_told(&controller, || way.fault(Fault::Freeze), "obs_silent");
    way.fault(Fault::None);
    connected("it is back");

    assert_told(&controller, || obs.crash(), "obs_unreachable");
    let status = wait_for(&controller, "three restarts", 2 * LIMIT, |obs| {
        obs["restarts"] == 3
    });
    assert_eq!(status["state"], "unreachable", "{status}");
    let ran = std::fs::read_to_string(&runs).expect("the command's own count");
    assert_eq!(ran.lines().count(), 3);
    assert!(controller.controller_log().contains("for the last time"));
    obs.start_again();
    let status = wait_for(&controller, "it is back", LIMIT, |obs| {
        obs["state"] == "connected"
    });
    assert!(status["error"].is_null(), "{status}");
}

#[test]
fn a_wrong_password_is_told_and_takes_nothing_off_air() {
    let Some(obs) = Obs::with_password("CANARY-right") else {
        return skipped("obs is not installed");
    };
    let platform = Receiver::start();
    let (_folder, setup) = setup(&obs.url());
    let controller = setup
        .stream("main", e2e::controller::to_one(&platform.url()))
        .variable("OBS_WEBSOCKET_PASSWORD", "CANARY-wrong")
        .start();
    controller.start("main");
    let status = wait_for(&controller, "the refusal is told", LIMIT, |obs| {
        obs["error"]["type"] == "obs_password_wrong"
    });
    assert_eq!(status["state"], "unreachable");
    wait::until("the programme is on air", LIMIT, || {
        (platform.connections().iter().any(|c| c.messages.len() > 30)).then_some(())
    });
    assert!(
        !controller.controller_log().contains("CANARY"),
        "a password is in the log"
    );
    assert!(!status.to_string().contains("CANARY"));
}
