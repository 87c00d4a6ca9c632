//! Blocks take the air at their times, in the one session.

use std::path::PathBuf;
use std::time::Duration;

use e2e::controller::{Setup, to_one};
use e2e::media::{self, Clip};
use e2e::rtmp::Receiver;
use e2e::viewer::{self, Report, Shown};
use e2e::wait;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(40);
/// From now to the beginning of the block: the stream is on air well before.
const AHEAD: SignedDuration = SignedDuration::from_secs(20);
const LENGTH: SignedDuration = SignedDuration::from_secs(8);
/// Another block begins so much later: within what is looked ahead, and after the test.
const MUCH_LATER: SignedDuration = SignedDuration::from_mins(10);

fn seconds(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn since(status: &Value) -> Timestamp {
    let since = status["on_air"]["since"].as_str().expect("a time");
    since.parse().expect("a time")
}

#[test]
fn a_block_takes_the_air_on_time_and_gives_it_back() {
    let (long, ten) = (media::long(), media::ten());
    let folder = media::folder(&[("day.mp4", &long), ("block.mp4", &ten[0].1)]);
    let receiver = Receiver::start();
    let begins = Timestamp::now() + AHEAD;
    std::fs::write(folder.path().join("bad.mp4"), b"not a film").expect("a file");
    let wall = |at: Timestamp| at.strftime("%H:%M:%S").to_string();
    let later = begins + MUCH_LATER;
    let mut config = to_one(&receiver.url());
    config["programme"] = json!({
        "items": [{"key": "day.mp4"}],
        "schedule": {"timezone": "UTC", "blocks": [{
            "name": "now", "date": begins.strftime("%F").to_string(),
            "from": wall(begins), "to": wall(begins + LENGTH),
            "items": [{"key": "block.mp4"}, {"key": "gone.mp4"}], "on_end": "cut", "loop": true,
        }, {
            "name": "later", "date": later.strftime("%F").to_string(),
            "from": wall(later), "to": wall(later + LENGTH), "items": [{"key": "bad.mp4"}]}]},
    });
    let controller = Setup::local(folder.path())
        .stream("main", config.clone())
        .start();
    controller.start("main");
    let status = controller.wait_on_air("main", "day.mp4", SOON);
    let guide = controller.call("GET", "/streams/main/schedule.xml", &Value::Null);
    let guide = guide.expect(200).text();
    let start = since(&status).strftime("%Y%m%d%H%M%S +0000");
    assert!(guide.contains(&format!("start=\"{start}\"")), "{guide}");

    let told = controller.get("/streams/main/schedule?limit=10");
    let airings = told["airings"].as_array().expect("a list");
    let order: Vec<_> = airings.iter().map(|airing| &airing["key"]).collect();
    assert_eq!(
        order[..2],
        [&json!("day.mp4"), &json!("block.mp4")],
        "{told:#}"
    );
    assert_eq!(told["problems"][0]["kind"], "missing_item", "{told:#}");

    let limit = SOON;
    let status = controller.wait_on_air("main", "block.mp4", limit);
    assert_eq!(status["on_air"]["block"], "now", "{status:#}");
    let late = since(&status).duration_since(begins).as_secs_f64();
    // The time of the block is written in whole seconds; a busy machine may be late for it.
    assert!((-1.1..4.0).contains(&late), "{late} s late");

    let status = controller.wait_on_air("main", "day.mp4", limit);
    let position_s = seconds(&status["on_air"]["position_s"]);
    // Where the block took the air from it, not at its beginning.
    assert!(position_s > 2.0, "{status:#}");
    assert_eq!(status["restarts"], 0);
    // What the next block has is known long before it begins, and what it gets meanwhile too.
    let is_told = |key: &str| {
        controller.wait("main", key, limit, |status| {
            let problems = status["programme"]["problems"].as_array();
            problems.is_some_and(|all| all.iter().any(|problem| problem["key"] == key))
        });
    };
    is_told("bad.mp4");
    std::fs::write(folder.path().join("worse.mp4"), b"no film either").expect("a file");
    config["programme"]["schedule"]["blocks"][1]["items"] =
        json!([{"key": "bad.mp4"}, {"key": "worse.mp4"}]);
    let answer = controller.call("PUT", "/streams/main", &config);
    assert_eq!(answer.status, 200);
    is_told("worse.mp4");
    controller.stop("main");
    let connection = receiver.only_connection();
    Report::of(&connection.messages).assert_no_hole_over(Duration::from_millis(300));
}

/// Short enough that what follows is opened at once.
fn clip(name: &'static str) -> PathBuf {
    let clip = Clip {
        name,
        seconds: 18.0,
        gop: 30,
        ..Clip::default()
    };
    clip.file()
}

/// All day long a block of two items.
fn with_a_block(receiver: &Receiver) -> Value {
    let mut config = to_one(&receiver.url());
    let every_day = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    config["programme"] = json!({
        "items": [{"key": "day.mp4"}],
        "schedule": {"timezone": "UTC", "blocks": [{
            "name": "always", "days": every_day, "from": "00:00", "to": "24:00",
            "items": [{"key": "block.mp4"}, {"key": "never.mp4"}]}]},
    });
    config
}

#[test]
fn a_schedule_that_is_taken_away_gives_the_air_back_at_once() {
    let files = [media::long(), clip("block.mp4"), clip("never.mp4")];
    let [day, block, never] = &files;
    let folder = media::folder(&[("day.mp4", day), ("block.mp4", block), ("never.mp4", never)]);
    let streams = ["main", "slate"].map(|stream| (stream, Receiver::start()));
    let setup = streams
        .iter()
        .fold(Setup::local(folder.path()), |setup, (stream, receiver)| {
            setup.stream(stream, with_a_block(receiver))
        });
    let controller = setup.start();
    for (stream, _) in &streams {
        controller.start(stream);
    }
    for (stream, _) in &streams {
        controller.wait(stream, "what follows is opened", SOON, |status| {
            let on_air = &status["on_air"];
            on_air["item"] == "block.mp4" && on_air["position_s"].as_f64() > Some(2.0)
        });
    }
    let take = |what: &str| {
        let body = json!({ "take": what });
        let answer = controller.call("POST", "/streams/slate/source", &body);
        answer.expect(202);
    };
    take("slate");
    controller.wait("slate", "the slate", SOON, |status| {
        status["on_air"]["kind"] == "slate"
    });
    for (stream, receiver) in &streams {
        let mut config = with_a_block(receiver);
        config["programme"] = json!({"items": [{"key": "day.mp4"}]});
        let answer = controller.call("PUT", &format!("/streams/{stream}"), &config);
        assert_eq!(answer.status, 200);
    }
    wait::until("what is due is ready behind the slate", SOON, || {
        let log = controller.worker_log();
        log.contains("takes the place of what was left")
            .then_some(())
    });
    take("programme");
    let tags = files.map(|file| media::packets(&file));
    for (stream, receiver) in &streams {
        let status = controller.wait_on_air(stream, "day.mp4", SOON);
        assert_eq!(status["on_air"]["block"], Value::Null, "{status:#}");
        assert_eq!(status["restarts"], 0);
        controller.stop(stream);
        let messages = receiver.only_connection().messages;
        Report::of(&messages).assert_seamless(media::FPS);
        let shown = viewer::shown(&messages, &tags);
        let mut order: Vec<usize> = shown.iter().map(|picture| picture.file).collect();
        order.dedup();
        // Not even for a moment what the block had next.
        assert_eq!(order, [1, 0], "{stream}");
        // Nor, behind the slate, what it had before.
        let goes_on = |pair: &&[Shown]| pair[0].file == 1 && pair[1].file == 1;
        let holes = shown.windows(2).filter(goes_on);
        let longest_ms = holes.map(|pair| pair[1].air_ms - pair[0].air_ms).max();
        assert!(longest_ms < Some(1_000), "{stream}: {longest_ms:?}");
    }
}
