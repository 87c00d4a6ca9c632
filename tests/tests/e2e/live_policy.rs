//! What the owner may choose: what follows a loss, the card, and which inputs there are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::media;
use e2e::nginx::{Nginx, free_address};
use e2e::process;
use e2e::rtmp::Receiver;
use e2e::wait;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::live_stage::{SOON, Stage, config, feed, publish};
use crate::skipped;

const GRACE: Duration = Duration::from_secs(5);

/// The newest whole picture of a recording under way, as grey dots.
fn picture(recording: &Path) -> Option<Vec<u8>> {
    let copy = recording.with_extension("now");
    std::fs::copy(recording, &copy).ok()?;
    let name = copy.to_string_lossy().into_owned();
    let args = ["-v", "quiet", "-i", &name, "-f", "rawvideo", "-pix_fmt"];
    let limit = Duration::from_secs(20);
    let output = process::run("ffmpeg", &[&args[..], &["gray", "-"]].concat(), limit).ok()?;
    let size = (media::WIDTH * media::HEIGHT) as usize;
    Some(output.stdout.chunks_exact(size).last()?.to_vec())
}

/// The part of these rows that is bright.
fn brightness(picture: &[u8], rows: std::ops::Range<u32>) -> f64 {
    let width = media::WIDTH as usize;
    let rows = rows.start as usize * width..rows.end as usize * width;
    let part = &picture[rows];
    let bright = part.iter().filter(|dot| **dot > 150).count();
    bright as f64 / part.len() as f64
}

/// Bright letters across the middle of a dark picture, and nothing else.
fn says_something(picture: &[u8]) -> bool {
    let middle = media::HEIGHT / 2;
    let words = brightness(picture, middle - 14..middle + 14);
    let above = brightness(picture, 0..middle - 30);
    (0.1..0.6).contains(&words) && above < 0.001
}

fn white(folder: &Path) -> PathBuf {
    let file = folder.join("white.png");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-f", "lavfi", "-i", "color=white:s=64x36"]);
    let made = command.args(["-frames:v", "1"]).arg(&file).status();
    assert!(made.expect("FFmpeg").success());
    file
}

#[test]
fn the_card_says_that_somebody_goes_live_soon_until_they_do() {
    let Some(nginx) = Nginx::start() else {
        return skipped("nginx with its RTMP module is not installed");
    };
    let receiver = Receiver::start();
    let destinations = json!([
        { "name": "out", "url": format!("{}/key", receiver.url()) },
        { "name": "seen", "url": format!("{}/seen", nginx.url()) },
    ]);
    let stage = Stage::at(receiver, json!({ "destinations": destinations }));
    let _publisher = {
        stage.take("card");
        let status = stage.wait_kind("slate");
        assert_eq!(status["on_air"]["slate"], "card", "{status:#}");
        let recording = wait::until("a recording", SOON, || nginx.recordings().pop());
        wait::until("letters on the card", SOON, || {
            picture(&recording).filter(|picture| says_something(picture))
        });
        // The owner's own card, without a restart.
        white(stage.folder.path());
        let mut config = config(&stage.receiver, json!({ "destinations": destinations }));
        config["live"] = json!({ "card": { "key": "white.png" } });
        let answer = stage.controller.call("PUT", "/streams/main", &config);
        assert_eq!(answer.expect(200).json()["applied"], "live");
        wait::until("the owner's card", SOON, || {
            picture(&recording).filter(|picture| brightness(picture, 0..media::HEIGHT) > 0.99)
        });
        // A feed alone takes nothing from a card that was asked for; whoever asked for it does.
        let publisher = stage.publish(&feed(), &["-c", "copy"]);
        stage.wait_input("it is ready", |input| input["state"] == "ready");
        assert_eq!(stage.controller.status("main")["on_air"]["slate"], "card");
        publisher
    };
    stage.take("live");
    let status = stage.wait_kind("live");
    assert_eq!(status["restarts"], 0);
    stage.controller.stop("main");
    stage.assert_seamless();
}

#[test]
fn the_slate_covers_a_loss_for_its_grace_where_that_is_asked_for() {
    let stage = Stage::with(json!([{
        "name": "studio", "ingest": true, "on_loss": "slate", "grace_s": GRACE.as_secs(),
    }]));
    let mut publisher = stage.publish(&feed(), &["-c", "copy"]);
    stage.wait_kind("live");
    publisher.kill();
    let status = stage.wait_kind("slate");
    assert_eq!(status["on_air"]["slate"], "live_lost", "{status:#}");
    stage.wait_input("it may come back", |input| input["state"] == "lost");
    // Within its grace it takes the air from the slate.
    let mut publisher = stage.publish(&feed(), &["-c", "copy"]);
    stage.wait_kind("live");
    publisher.kill();
    stage.wait_kind("slate");
    let lost = Instant::now();
    stage.wait_kind("programme");
    let waited = lost.elapsed();
    assert!(waited > GRACE - Duration::from_secs(1), "only {waited:?}");
    // Who stops on purpose has lost nothing that the slate could stand in for.
    let publisher = stage.publish(&feed(), &["-c", "copy"]);
    stage.wait_kind("live");
    publisher.signal(Signal::SIGTERM);
    let is_over = |status: &Value| status["on_air"]["kind"] != "live";
    let status = stage.controller.wait("main", "it is over", SOON, is_over);
    assert_eq!(status["on_air"]["kind"], "programme", "{status:#}");
    stage.controller.stop("main");
    stage.assert_seamless();
}

#[test]
fn inputs_come_and_go_while_the_stream_is_on_air() {
    let stage = Stage::with(json!([]));
    let put = |inputs: Value| {
        let config = config(&stage.receiver, json!({ "live_inputs": inputs }));
        let answer = stage.controller.call("PUT", "/streams/main", &config);
        assert_eq!(answer.expect(200).json()["applied"], "live");
    };
    let names = || {
        let status = stage.controller.status("main");
        let inputs = status["live_inputs"].as_array().expect("a list");
        let names = inputs.iter().map(|input| input["name"].clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(), ["ingest"]);
    let mut publisher = stage.publish(&feed(), &["-c", "copy"]);
    stage.wait_kind("live");

    let nowhere = format!("rtmp://{}/live/a", free_address());
    let ingest = json!({ "name": "ingest", "ingest": true, "grace_s": 7 });
    let camera = json!({ "name": "camera", "url": nowhere, "take": "manual" });
    put(json!([camera, ingest]));
    wait::until("both are told", SOON, || {
        (names() == ["camera", "ingest"]).then_some(())
    });
    wait::observe(Duration::from_secs(1));
    let status = stage.controller.status("main");
    assert_eq!(status["on_air"]["item"], "ingest", "it keeps its feed");
    assert!(publisher.exit().is_none());

    put(json!([camera, { "name": "studio", "ingest": true }]));
    stage.wait_kind("programme");
    assert!(!publisher.wait(SOON).success(), "its publisher is let go");
    put(json!([ingest]));
    let _again = stage.publish(&feed(), &["-c", "copy"]);
    let status = stage.wait_kind("live");
    assert_eq!(status["restarts"], 0, "{status:#}");
    stage.controller.stop("main");
    stage.assert_seamless();
}

#[test]
fn the_first_of_three_inputs_that_is_there_has_the_air() {
    let names = ["first", "second", "third"];
    let stage = Stage::with(json!(
        names.map(|name| json!({ "name": name, "ingest": true }))
    ));
    let addresses = names.map(|name| {
        let asked = json!({ "stream_id": "main", "input": name });
        let answer = stage.controller.call("POST", "/ingest/keys", &asked);
        let answer = answer.expect(201).json();
        format!(
            "{}/{}",
            stage.ingest,
            answer["key"].as_str().expect("a key")
        )
    });
    let come = |at: usize| publish(&feed(), &["-c", "copy"], &addresses[at]);
    let has_the_air = |at: usize| {
        stage.controller.wait("main", names[at], SOON, |status| {
            status["on_air"]["item"] == names[at]
        });
    };
    let is_ready = |at: usize| {
        let is = |status: &Value| status["live_inputs"][at]["state"] == "ready";
        stage.controller.wait("main", "ready", SOON, is);
    };
    let mut third = come(2);
    has_the_air(2);
    let mut first = come(0);
    has_the_air(0);
    let mut second = come(1);
    is_ready(1);
    assert_eq!(stage.controller.status("main")["on_air"]["item"], names[0]);
    first.kill();
    has_the_air(1);
    second.kill();
    has_the_air(2);
    let _second = come(1);
    has_the_air(1);
    let _first = come(0);
    has_the_air(0);
    third.kill();
    stage.controller.stop("main");
    stage.assert_seamless();
}
