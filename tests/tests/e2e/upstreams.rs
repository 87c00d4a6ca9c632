//! Feeds that are pulled, from the servers people have: RTSP, SRT, HLS.

use std::time::Duration;

use e2e::media::Clip;
use e2e::upstream::{PASSWORD, Upstream};
use e2e::wait;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::live_stage::{SOON, Stage};
use crate::skipped;

/// Fits the format; a keyframe each second.
fn camera() -> std::path::PathBuf {
    Clip {
        name: "camera.mp4",
        seconds: 40.0,
        b_frames: 0,
        gop: 30,
        more: &["-movflags", "+faststart"],
        ..Clip::default()
    }
    .file()
}

fn stage(live_inputs: Value) -> Stage {
    Stage::set_up(json!({ "live_inputs": live_inputs }), |setup| {
        setup.variable("CAMERA_PASSWORD", PASSWORD)
    })
}

fn input<'a>(status: &'a Value, name: &str) -> &'a Value {
    let inputs = status["live_inputs"].as_array().expect("a list");
    let named = inputs.iter().find(|input| input["name"] == name);
    named.expect("it is configured")
}

/// Begins the feed, sees it on air and copied, ends it, and sees the programme again.
fn takes_the_air_and_gives_it_back(stage: &Stage, name: &str, upstream: &mut Upstream) {
    upstream.begin();
    let status = stage.controller.wait("main", name, 2 * SOON, |status| {
        status["on_air"]["item"] == name && input(status, name)["on_air"] == true
    });
    assert_eq!(input(&status, name)["copied"], true, "{status:#}");
    // What is lost and found within a second is seen here, and not in the states.
    let since = status["on_air"]["since"].clone();
    wait::observe(Duration::from_secs(9));
    let status = stage.controller.status("main");
    assert_eq!(status["on_air"]["item"], name, "{status:#}");
    assert_eq!(
        status["on_air"]["since"], since,
        "it was let go: {status:#}"
    );
    upstream.end();
    stage.wait_kind("programme");
    let status = stage
        .controller
        .wait("main", "why it ended", SOON, |status| {
            !input(status, name)["error"].is_null()
        });
    let error = &input(&status, name)["error"]["type"];
    assert!(
        error == "live_unreachable" || error == "live_silent",
        "{status:#}"
    );
}

#[test]
fn an_rtsp_server_is_pulled_again_and_again_and_one_that_hangs_is_let_go() {
    let Some(mut upstream) = Upstream::rtsp(&camera()) else {
        return skipped("GStreamer's RTSP server is not installed");
    };
    let stage = stage(json!([{
        "name": "camera", "url": upstream.url(), "user": "reader", "password_env": "CAMERA_PASSWORD",
    }]));
    takes_the_air_and_gives_it_back(&stage, "camera", &mut upstream);
    upstream.begin();
    stage.wait_kind("live");
    upstream.signal(Signal::SIGSTOP);
    stage.wait_kind("programme");
    upstream.signal(Signal::SIGCONT);
    stage.wait_kind("live");
    stage.controller.stop("main");
    stage.assert_seamless();
    assert!(
        !stage.controller.logs().contains("CANARY"),
        "a password is in the log"
    );
}

#[test]
fn an_srt_server_and_a_playlist_are_pulled() {
    let mut studio = Upstream::srt(&camera());
    let Some(mut playlist) = Upstream::hls(&camera()) else {
        return skipped("nginx is not installed");
    };
    let stage = stage(json!([
        { "name": "studio", "url": studio.url(), "password_env": "CAMERA_PASSWORD" },
        { "name": "playlist", "url": playlist.url() },
    ]));
    takes_the_air_and_gives_it_back(&stage, "studio", &mut studio);
    takes_the_air_and_gives_it_back(&stage, "playlist", &mut playlist);
    stage.controller.stop("main");
    stage.assert_seamless();
    assert!(
        !stage.controller.logs().contains("CANARY"),
        "a password is in the log"
    );
}
