//! Five streams that are live at once.

use std::time::Duration;

use e2e::controller::Setup;
use e2e::media;
use e2e::nginx::free_address;
use e2e::rtmp::Receiver;
use e2e::viewer::Report;
use e2e::wait;
use serde_json::{Value, json};

use crate::live_stage::{SOON, config, feed, publish};

const STREAMS: usize = 5;
/// Shorter than the feed's file.
const TOGETHER: Duration = Duration::from_secs(10);

#[test]
fn five_streams_are_live_at_once_and_no_frame_is_lost() {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let address = free_address();
    let mut setup = Setup::local(folder.path()).variable("INGEST_BIND", &address.to_string());
    let mut streams = Vec::new();
    for number in 0..STREAMS {
        let (stream, receiver) = (format!("s{number}"), Receiver::start());
        setup = setup.stream(&stream, config(&receiver, json!({})));
        streams.push((stream, receiver));
    }
    let controller = setup.start();
    for (stream, _) in &streams {
        controller.start(stream);
    }
    let mut publishers = Vec::new();
    for (stream, _) in &streams {
        controller.wait_on_air(stream, "long.mp4", SOON);
        let asked = json!({ "stream_id": stream });
        let answer = controller.call("POST", "/ingest/keys", &asked).json();
        let key = answer["key"].as_str().expect("a key");
        let url = format!("rtmp://{address}/live/{key}");
        publishers.push(publish(&feed(), &["-c", "copy"], &url));
    }
    let is_live = |status: &Value| status["on_air"]["kind"] == "live";
    for (stream, _) in &streams {
        controller.wait(stream, "live", SOON, is_live);
    }
    wait::observe(TOGETHER);
    for (stream, _) in &streams {
        let status = controller.status(stream);
        assert_eq!(status["live_inputs"][0]["copied"], true, "{status:#}");
        let out = &status["destinations"][0];
        assert_eq!(out["dropped_frames"], 0, "{stream}: {status:#}");
    }
    drop(publishers);
    for (stream, receiver) in &streams {
        controller.stop(stream);
        Report::of(&receiver.only_connection().messages).assert_seamless(media::FPS);
    }
}
