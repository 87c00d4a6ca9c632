//! What cannot go on air is told by name, and the air is untouched.

use e2e::controller::repository;
use e2e::encoder::{Encoder, Media};
use e2e::process::{self, Child};
use e2e::wait;
use serde_json::json;

use crate::live_stage::{SOON, Stage, config, feed, publish};
use crate::skipped;

fn assert_programme(stage: &Stage, why: &str) {
    let status = stage.controller.status("main");
    assert_eq!(status["on_air"]["kind"], "programme", "{why}: {status:#}");
}

/// Waits for this error of the input, and looks whether it was logged.
fn wait_told(stage: &Stage, error_type: &str, words: &str) {
    let what = format!("{error_type} is told");
    let input = stage.wait_input(&what, |input| input["error"]["type"] == error_type);
    let message = input["error"]["message"].as_str().expect("words");
    assert!(message.contains(words), "{input:#}");
    let log = stage.controller.worker_log();
    assert!(log.contains(error_type), "{error_type} is not in the log");
}

#[test]
fn what_comes_after_a_good_handshake_is_judged_by_name() {
    let stage = Stage::new();
    let avc = |body: &[u8]| Media {
        kind: 9,
        ms: 0,
        body: body.to_vec(),
    };
    let mut hevc = Encoder::connect(&stage.ingest, &stage.key);
    hevc.send(&avc(b"\x90hvc1\x01\x01\x60\0\0"));
    wait_told(&stage, "live_codec", "HEVC video");
    hevc.wait_closed();
    let mut damaged = Encoder::connect(&stage.ingest, &stage.key);
    damaged.send(&avc(&[0x17, 1]));
    wait_told(&stage, "live_damaged", "AVC body");
    damaged.wait_closed();
    let mut garbage = Encoder::connect(&stage.ingest, &stage.key);
    garbage.raw(&[0xa5; 20_000]);
    wait_told(&stage, "live_connection", "chunk");
    garbage.wait_closed();
    assert_programme(&stage, "after all of them");

    // Who says nothing is in nobody's way for long.
    let mut silent = Encoder::connect(&stage.ingest, &stage.key);
    wait_told(&stage, "live_silent", "nothing came");
    silent.wait_closed();
    let _publisher = stage.publish(&feed(), &["-c", "copy"]);
    let status = stage.wait_kind("live");
    assert!(status["live_inputs"][0]["error"].is_null(), "{status:#}");
    stage.controller.stop("main");
    stage.assert_seamless();
}

#[test]
fn no_key_and_the_key_of_another_stream_open_nothing() {
    let stage = Stage::new();
    let other = config(&stage.receiver, json!({}));
    let put = stage.controller.call("PUT", "/streams/other", &other);
    put.expect(201);
    let asked = json!({ "stream_id": "other" });
    let answer = stage.controller.call("POST", "/ingest/keys", &asked).json();
    let others = answer["key"].as_str().expect("a key");
    for (name, said) in [
        (String::new(), "a publisher with no key"),
        ("/main".to_owned(), "a publisher with a wrong key"),
        (format!("/{others}"), "the stream is not running"),
        (format!("/main?key={others}"), "the key of another stream"),
    ] {
        let url = format!("{}{name}", stage.ingest);
        let mut publisher = publish(&feed(), &["-c", "copy"], &url);
        assert!(!publisher.wait(SOON).success(), "{said}");
        wait::until(said, SOON, || {
            stage
                .controller
                .controller_log()
                .contains(said)
                .then_some(())
        });
        assert_programme(&stage, said);
    }
    assert!(!stage.controller.logs().contains(others), "a key is logged");
    stage.controller.stop("main");
    stage.assert_seamless();
}

#[test]
fn hevc_of_a_real_encoder_is_refused_by_name() {
    let found = ["9.0", "7.0"].map(|version| {
        let file = repository().join(".cache/ffmpeg").join(version);
        file.join("ffmpeg")
    });
    let Some(ffmpeg) = found.into_iter().find(|file| file.exists()) else {
        return skipped(
            "an FFmpeg that sends HEVC by RTMP is not there; scripts/test.sh fetches it",
        );
    };
    let stage = Stage::new();
    let mut command = process::command(ffmpeg);
    command.args([
        "-v",
        "error",
        "-re",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=320x180:r=30",
    ]);
    command.args(["-c:v", "libx265", "-preset", "ultrafast", "-f", "flv"]);
    command.arg(format!("{}/{}", stage.ingest, stage.key));
    let mut publisher = Child::spawn(command.stderr(std::process::Stdio::null()));
    wait_told(&stage, "live_codec", "HEVC video");
    assert!(!publisher.wait(SOON).success());
    assert_programme(&stage, "HEVC");
    stage.controller.stop("main");
    stage.assert_seamless();
}
