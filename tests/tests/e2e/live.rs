//! Live feeds through the built-in ingest and pulled ones: they take the air and give it back.

use std::thread;
use std::time::{Duration, Instant};

use e2e::controller::binary;
use e2e::encoder::{Encoder, Media};
use e2e::media::Clip;
use e2e::nginx::Nginx;
use e2e::wait;
use serde_json::{Value, json};

use crate::live_stage::{SOON, Stage, feed, publish};
use crate::skipped;

/// In one session; the bench makes a hundred.
const TAKEOVERS: usize = 20;

#[test]
fn a_publisher_takes_the_air_and_gives_it_back_where_the_programme_was_left() {
    let begun = Instant::now();
    let stage = Stage::new();
    let mut live = Duration::ZERO;
    for round in 0..TAKEOVERS {
        let mut publisher = stage.publish(&feed(), &["-c", "copy"]);
        let status = stage.wait_kind("live");
        assert_eq!(status["on_air"]["item"], "ingest", "round {round}");
        let input = stage.wait_input("it is told", |input| input["on_air"] == true);
        assert_eq!(input["copied"], true, "{input:#}");
        assert!(
            input["media"].as_str().unwrap().starts_with("h264 640x360"),
            "{input:#}"
        );
        let taken = Instant::now();
        wait::observe(Duration::from_millis(500));
        live += taken.elapsed();
        publisher.kill();
        let status = stage.wait_kind("programme");
        assert_eq!(status["on_air"]["item"], "long.mp4");
    }
    // A position that ran on during the feeds would be further than the programme was on air.
    let status = stage.controller.status("main");
    let position = status["on_air"]["position_s"].as_f64().unwrap();
    let programme = begun.elapsed() - live;
    assert!(
        position < programme.as_secs_f64() + 1.0,
        "{position} s of the item in {programme:?} of programme"
    );
    stage.controller.stop("main");
    stage.assert_seamless();
}

#[test]
fn another_resolution_is_transcoded() {
    let stage = Stage::new();
    let other = Clip {
        name: "other.flv",
        size: (854, 480),
        gop: 30,
        ..Clip::default()
    };
    let publisher = stage.publish(&other.file(), &["-c", "copy"]);
    stage.wait_kind("live");
    let input = stage.wait_input("it is told", |input| input["on_air"] == true);
    assert_eq!(input["copied"], false, "{input:#}");
    wait::observe(Duration::from_secs(4));
    drop(publisher);
    stage.wait_kind("programme");
    stage.controller.stop("main");
    stage.assert_seamless();
}

#[test]
fn sound_alone_takes_no_air_and_a_picture_alone_gets_silence() {
    let stage = Stage::new();
    let publisher = stage.publish(&feed(), &["-c:a", "copy", "-vn"]);
    let input = stage.wait_input("it is told", |input| !input["error"].is_null());
    assert_eq!(input["error"]["type"], "live_no_video", "{input:#}");
    assert_eq!(
        stage.controller.status("main")["on_air"]["kind"],
        "programme"
    );
    drop(publisher);
    stage.wait_input("it is gone", |input| input["state"] == "waiting");

    let _publisher = stage.publish(&feed(), &["-c:v", "copy", "-an"]);
    stage.wait_kind("live");
    wait::observe(Duration::from_secs(2));
    stage.controller.stop("main");
    stage.assert_seamless();
}

#[test]
fn a_wrong_key_a_second_publisher_and_a_revoked_key_are_refused() {
    let stage = Stage::new();
    let mut wrong = publish(&feed(), &["-c", "copy"], &format!("{}/wrong", stage.ingest));
    assert!(!wrong.wait(SOON).success());
    let mut first = stage.publish(&feed(), &["-c", "copy"]);
    stage.wait_kind("live");
    let mut second = stage.publish(&feed(), &["-c", "copy"]);
    assert!(!second.wait(SOON).success());
    assert!(first.exit().is_none(), "the first goes on");
    assert_eq!(stage.controller.status("main")["on_air"]["kind"], "live");

    let path = format!("/ingest/keys/{}", stage.key_id);
    stage.controller.call("DELETE", &path, &Value::Null);
    assert!(!first.wait(SOON).success(), "its publisher is cut off");
    stage.wait_kind("programme");
    let is_revoked = |input: &Value| input["error"]["type"] == "ingest_key_revoked";
    stage.wait_input("it is told why", is_revoked);
    let mut again = stage.publish(&feed(), &["-c", "copy"]);
    assert!(!again.wait(SOON).success());
    stage.controller.stop("main");
    stage.assert_seamless();
}

#[test]
fn what_connects_and_sends_nothing_or_garbage_changes_nothing() {
    use std::io::Write;
    use std::net::TcpStream;
    let stage = Stage::new();
    let address = stage
        .ingest
        .trim_start_matches("rtmp://")
        .trim_end_matches("/live");
    let _silent = TcpStream::connect(address).unwrap();
    let mut garbage = TcpStream::connect(address).unwrap();
    garbage.write_all(&[0x5a; 20_000]).unwrap();
    let mut cut = stage.publish(&feed(), &["-c", "copy"]);
    stage.wait_kind("live");
    cut.kill();
    stage.wait_kind("programme");
    stage.controller.stop("main");
    stage.assert_seamless();
}

#[test]
fn the_operators_word_stands_over_a_feed() {
    let stage = Stage::new();
    let mut publisher = stage.publish(&feed(), &["-c", "copy"]);
    stage.wait_kind("live");
    stage.take("programme");
    stage.wait_kind("programme");
    wait::observe(Duration::from_secs(2));
    assert_eq!(
        stage.controller.status("main")["on_air"]["kind"],
        "programme"
    );
    stage.take("live");
    stage.wait_kind("live");
    stage.take("slate");
    stage.wait_kind("slate");
    stage.take("programme");
    stage.wait_kind("programme");
    publisher.kill();
    stage.wait_input("it is gone", |input| input["state"] == "waiting");
    let _again = stage.publish(&feed(), &["-c", "copy"]);
    stage.wait_kind("live");
    stage.controller.stop("main");
    stage.assert_seamless();
}

#[test]
fn a_live_feed_outlives_its_controller() {
    let mut stage = Stage::new();
    let _publisher = stage.publish(&feed(), &["-c", "copy"]);
    stage.wait_kind("live");
    stage.controller.kill();
    wait::observe(Duration::from_secs(3));
    stage.controller.start_again();
    let status = stage.wait_kind("live");
    assert_eq!(status["restarts"], 0, "{status:#}");
    stage.controller.stop("main");
    stage.assert_seamless();
}

#[test]
fn a_feed_is_pulled_from_a_server_and_tried_at_once_when_told_to_look() {
    let Some(nginx) = Nginx::start() else {
        return skipped("nginx with its RTMP module is not installed");
    };
    let url = format!("{}/owner", nginx.url());
    let stage =
        Stage::with(json!([{ "name": "owner", "url": url }, { "name": "studio", "ingest": true }]));
    stage.wait_input("it is tried", |input| {
        input["retry_count"].as_u64() > Some(0)
    });
    let mut publisher = publish(&feed(), &["-c", "copy"], &url);
    let status = stage.wait_kind("live");
    assert_eq!(status["on_air"]["item"], "owner");
    wait::observe(Duration::from_secs(2));
    publisher.kill();
    // The server goes on with whoever comes next, in the middle of what is pulled: the clock begins again.
    let mut encoder = Encoder::connect(&nginx.url(), "owner");
    thread::spawn(move || encoder.play(&Media::of(&feed())));
    let is_told = |log: &str| log.contains("live_began_again");
    wait::until("it is told", SOON, || {
        is_told(&stage.controller.worker_log()).then_some(())
    });
    let before = &status["on_air"]["since"];
    stage.controller.wait("main", "it is back", SOON, |status| {
        status["on_air"]["kind"] == "live" && status["on_air"]["since"] != *before
    });
    drop(nginx);
    stage.wait_kind("programme");
    stage.controller.stop("main");
    stage.assert_seamless();
}

#[test]
fn an_upgrade_of_the_worker_lets_go_of_the_feed_and_nothing_else() {
    let stage = Stage::new();
    let publisher = stage.publish(&feed(), &["-c", "copy"]);
    stage.wait_kind("live");
    let new = stage.folder.path().join("new");
    std::fs::copy(binary("stream-worker"), &new).expect("copied");
    std::fs::rename(&new, stage.folder.path().join("stream-worker")).expect("moved");
    let upgrade = stage
        .controller
        .call("POST", "/streams/main/upgrade", &Value::Null);
    assert_eq!(upgrade.status, 200, "{}", upgrade.text());
    let is_done = |status: &Value| status["upgrade"]["outcome"] == "done";
    stage.controller.wait("main", "upgraded", SOON, is_done);
    stage.wait_kind("programme");
    drop(publisher);
    let _again = stage.publish(&feed(), &["-c", "copy"]);
    let status = stage.wait_kind("live");
    assert_eq!(status["restarts"], 0, "{status:#}");
    stage.controller.stop("main");
    stage.assert_seamless();
}

#[test]
fn another_codec_is_refused_by_name() {
    let stage = Stage::new();
    for (codecs, name) in [
        (["-c:v", "flv1", "-c:a", "copy"], "Sorenson H.263 video"),
        (["-c:v", "copy", "-c:a", "libmp3lame"], "MP3 audio"),
    ] {
        let mut publisher = stage.publish(&feed(), &[&codecs[..], &["-ar", "44100"]].concat());
        let told = |input: &Value| {
            input["error"]["message"]
                .as_str()
                .unwrap_or("")
                .contains(name)
        };
        let input = stage.wait_input("it is told", told);
        assert_eq!(input["error"]["type"], "live_codec", "{input:#}");
        assert!(!publisher.wait(SOON).success());
    }
    assert_eq!(
        stage.controller.status("main")["on_air"]["kind"],
        "programme"
    );
    stage.controller.stop("main");
    stage.assert_seamless();
}
