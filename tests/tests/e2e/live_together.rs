//! Five streams that are live at once.

use std::time::Duration;

use e2e::controller::Setup;
use e2e::media;
use e2e::rtmp::Receiver;
use e2e::stage::{OnAir, Stage};
use e2e::viewer::Report;
use e2e::wait;
use serde_json::json;

use crate::live_stage::feed;

const STREAMS: usize = 5;
/// Shorter than the feed's file.
const TOGETHER: Duration = Duration::from_secs(10);

#[test]
fn five_streams_are_live_at_once_and_no_frame_is_lost() {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let streams = (0..STREAMS).map(|number| (format!("s{number}"), Receiver::start(), json!({})));
    let stage = Stage::start(Setup::local(folder.path()), streams.collect(), "long.mp4");
    let publishers = stage.publish_to_all(&feed());
    stage.wait_all("live");
    wait::observe(TOGETHER);
    for OnAir { stream, .. } in &stage.streams {
        let status = stage.controller.status(stream);
        assert_eq!(status["live_inputs"][0]["copied"], true, "{status:#}");
        let out = &status["destinations"][0];
        assert_eq!(out["dropped_frames"], 0, "{stream}: {status:#}");
    }
    drop(publishers);
    for OnAir { stream, receiver } in &stage.streams {
        stage.controller.stop(stream);
        Report::of(&receiver.only_connection().messages).assert_seamless(media::FPS);
    }
}
