//! Where the programme goes on after a long live.

use std::path::PathBuf;
use std::time::Duration;

use e2e::controller::Setup;
use e2e::flv::Tag;
use e2e::media::{self, Clip};
use e2e::pressure::Pressure;
use e2e::rtmp::Receiver;
use e2e::stage::{self, OnAir, Stage};
use e2e::viewer::{self, Report, Shown};
use e2e::wait;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::transitions::{CUT_INSTEAD, LED_OVER};

/// Longer than what is only an interruption.
const LONG: Duration = Duration::from_secs(34);
/// Files are left and joined at their keyframes, one a second.
const GOP_MS: i64 = 1_000;
/// FFmpeg's time for a transition of small pictures.
const RENDER_MS: i64 = 1_000;
/// The clock of a machine that is not busy with other things.
const UNEVEN: Duration = Duration::from_millis(700);
/// Of the item that is left.
const FIRST_MS: i64 = 30_000;

/// The stream that is given back by a transition.
const MIXED: &str = "mixed";
/// The stream whose schedule has something else by then.
const BLOCK: &str = "block";

const FEED: usize = 0;
const FIRST: usize = 1;
const DAY: usize = 2;

/// Ends while somebody is live.
fn first() -> Clip {
    Clip {
        name: "left-for-long.mp4",
        seconds: 30.0,
        gop: 30,
        ..Clip::default()
    }
}

/// Lasts as long as the live: where a publisher begins its file anew, the feed itself has a hole.
fn feed() -> PathBuf {
    let clip = Clip {
        name: "long-feed.flv",
        seconds: 60.0,
        b_frames: 0,
        gop: 30,
        ..Clip::default()
    };
    clip.file()
}

/// The last picture before the feed, and the first one after it.
fn around_the_feed(receiver: &Receiver, files: &[Vec<Tag>]) -> (Shown, Shown) {
    let connection = receiver.only_connection();
    Report::of(&connection.messages).assert_seamless(media::FPS);
    let shown = viewer::shown(&connection.messages, files);
    let begins = shown.iter().position(|it| it.file == FEED).expect("a feed");
    let ends = shown
        .iter()
        .rposition(|it| it.file == FEED)
        .expect("a feed");
    (shown[begins - 1], shown[ends + 1])
}

fn block(begins: Timestamp) -> Value {
    let wall = |at: Timestamp| at.strftime("%H:%M:%S").to_string();
    let ends = begins + SignedDuration::from_mins(2);
    json!({
        "timezone": "UTC",
        "blocks": [{
            "name": "evening", "date": begins.strftime("%F").to_string(),
            "from": wall(begins), "to": wall(ends), "items": [{ "key": "day.mp4" }],
        }],
    })
}

/// The programme of each stream.
fn items() -> Value {
    json!([{ "key": "first.mp4" }, { "key": "day.mp4" }])
}

/// A block begins while somebody is live.
fn schedule_a_block(stage: &Stage) {
    let on_air = stage.streams.iter().find(|it| it.stream == BLOCK);
    let receiver = &on_air.expect("one of them").receiver;
    let begins = Timestamp::now() + SignedDuration::from_secs(10);
    let programme = json!({ "items": items(), "schedule": block(begins) });
    let config = stage::config(receiver, json!({ "programme": programme }));
    let path = format!("/streams/{BLOCK}");
    stage.controller.call("PUT", &path, &config).expect(200);
}

#[test]
fn after_a_long_live_the_programme_goes_on_as_it_was_asked_to() {
    let (first, day, feed) = (first().file(), media::long(), feed());
    let folder = media::folder(&[("first.mp4", &first), ("day.mp4", &day)]);
    let streams = [
        ("position", "position"),
        ("item", "item"),
        ("schedule", "schedule"),
        (BLOCK, "position"),
        (MIXED, "schedule"),
    ];
    let streams = streams.map(|(stream, resume)| {
        let programme = json!({ "items": items() });
        let kind = if stream == MIXED { "crossfade" } else { "cut" };
        let live = json!({ "resume": resume, "transition": { "kind": kind } });
        let fields = json!({ "programme": programme, "live": live });
        (stream.to_owned(), Receiver::start(), fields)
    });
    let stage = Stage::start(Setup::local(folder.path()), streams.into(), "first.mp4");
    let busy = Pressure::now();
    let publishers = stage.publish_to_all(&feed);
    stage.wait_all("live");
    schedule_a_block(&stage);
    wait::observe(LONG);
    // Asked for: nothing leads over to what follows a loss.
    let body = json!({ "take": "programme" });
    let path = format!("/streams/{MIXED}/source");
    stage.controller.call("POST", &path, &body).expect(202);
    stage.wait_kind(MIXED, "programme");
    drop(publishers);
    stage.wait_all("programme");
    wait::observe(Duration::from_secs(1));
    for OnAir { stream, .. } in &stage.streams {
        stage.controller.stop(stream);
    }

    // Both ways; a machine that is too slow for one makes a cut of it, and says so.
    let log = stage.controller.worker_log();
    let (led, missed) = (
        log.matches(LED_OVER).count(),
        log.matches(CUT_INSTEAD).count(),
    );
    assert_eq!(led + missed, 2, "{log}");

    let uneven_ms = busy.allows(UNEVEN).as_millis() as i64;
    let files = [feed, first, day].map(|file| media::packets(&file));
    for OnAir { stream, receiver } in &stage.streams {
        let (left, back) = around_the_feed(receiver, &files);
        assert_eq!(left.file, FIRST, "{stream}: {left:?}");
        let away_ms = back.air_ms - left.air_ms;
        let by_the_clock_ms = left.file_ms + away_ms - FIRST_MS;
        let (file, ms) = match stream.as_str() {
            "position" => (FIRST, left.file_ms),
            "item" => (FIRST, 0),
            "schedule" | MIXED => (DAY, by_the_clock_ms),
            _ => (DAY, 0),
        };
        let off_ms = back.file_ms - ms;
        // For a transition that failed the programme stood ready where its picture would have been due.
        let ahead_ms = if stream == MIXED && missed > 0 {
            RENDER_MS
        } else {
            0
        };
        let may_be_off = -GOP_MS - uneven_ms..=uneven_ms + ahead_ms;
        assert!(
            back.file == file && may_be_off.contains(&off_ms),
            "{stream}: left {left:?}, back {back:?}, {off_ms} ms off {ms} ms of {file}"
        );
    }
}
