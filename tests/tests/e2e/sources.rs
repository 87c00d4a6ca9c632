//! A source that dies, stalls or lies is covered within the session.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::controller::{Controller, Setup, to_one};
use e2e::media::{self, bad};
use e2e::pressure::Pressure;
use e2e::process;
use e2e::rtmp::Receiver;
use e2e::s3::{Bucket, Fault};
use e2e::viewer::{self, Report};
use e2e::wait;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::air::record;

const SOON: Duration = Duration::from_secs(40);
const HOLE: Duration = Duration::from_millis(500);
/// Between keyframes of the long file.
const GOP: Duration = Duration::from_secs(1);

fn is_slate(status: &Value) -> bool {
    status["on_air"]["kind"] == "slate"
}

/// Keeps every processor busy until it is dropped.
struct Load(Arc<AtomicBool>);

impl Load {
    fn begin() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        for _ in 0..processors {
            let over = Arc::clone(&over);
            std::thread::spawn(move || while !over.load(Ordering::Relaxed) {});
        }
        Self(over)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One is killed and the other hangs, both on a machine that has better things to do.
#[test]
fn a_killed_and_a_hanging_source_are_opened_again_where_they_were() {
    let bucket = Bucket::with(&[("long.mp4", &media::long())]);
    let ends = [
        ("killed", Signal::SIGKILL, Receiver::start()),
        ("hanging", Signal::SIGSTOP, Receiver::start()),
    ];
    let setup = Setup::new(bucket.environment()).variable("CACHE_MAX_BYTES", "0");
    let setup = ends.iter().fold(setup, |setup, (id, _, receiver)| {
        setup.stream(id, to_one(&receiver.url()))
    });
    let controller = setup.start();
    for (id, _, receiver) in &ends {
        controller.start(id);
        receiver.wait_for_span(5_000, SOON);
    }
    let (load, pressure, began) = (Load::begin(), Pressure::now(), Instant::now());
    for (id, signal, _) in &ends {
        let worker = controller.worker_pid(id);
        let mut sources = controller.ffmpegs("/m/");
        sources.retain(|source| source.parent == worker);
        assert_eq!(sources.len(), 1, "one FFmpeg reads the item: {sources:#?}");
        process::signal(sources[0].pid, *signal);
    }
    for (_, _, receiver) in &ends {
        receiver.wait_for_span(22_000, Duration::from_secs(60));
    }
    drop(load);
    let slate_allowed = pressure.allows(Duration::from_secs(1));
    for (id, _, receiver) in &ends {
        let status = controller.status(id);
        assert_eq!(status["on_air"]["item"], "long.mp4", "{status:#}");
        controller.stop(id);
        let messages = receiver.only_connection().messages;
        let report = Report::of(&messages);
        report.assert_decodable();
        report.assert_no_hole_over(HOLE);
        let film = media::packets(&media::long());
        viewer::assert_continues(&messages, &film, GOP);
        // A start on a busy machine may begin with the slate.
        let after = messages.iter().position(|it| it.arrived > began);
        let after = &messages[after.expect("media")..];
        let slate = Report::of(after).pictures - viewer::shown(after, &[film]).len();
        eprintln!("{id}: {slate} pictures of the slate");
        let most = f64::from(media::FPS) * slate_allowed.as_secs_f64();
        assert!(slate as f64 <= most, "{id}: {slate} pictures of the slate");
    }
}

#[test]
fn a_stalled_source_is_covered_by_the_slate_until_it_goes_on() {
    let bucket = Bucket::with(&[("long.mp4", &media::long())]);
    let receiver = Receiver::start();
    let size = fs::metadata(media::long()).unwrap().len();
    bucket.fault("long.mp4", Fault::stall_after(size / 4));
    let controller = Setup::new(bucket.environment())
        .stream("main", to_one(&receiver.url()))
        .start();
    controller.start("main");
    let status = controller.wait(
        "main",
        "the slate covers",
        Duration::from_secs(60),
        |status| {
            is_slate(status)
                && status["on_air"]["reason"]
                    .as_str()
                    .is_some_and(|r| r.contains("deliver"))
        },
    );
    assert_eq!(status["state"], "degraded", "{status:#}");
    let tried = "too little comes of the item; it is opened once more, where it stands";
    assert!(
        controller.worker_log().contains(tried),
        "long before what was read ahead had been aired"
    );
    bucket.clear_faults();
    controller.wait_on_air("main", "long.mp4", Duration::from_secs(100));
    controller.wait_state("main", "running", SOON);
    let span_ms = receiver.look(|all| Report::of(&all[0].messages).span_ms);
    receiver.wait_for_span(span_ms + 2_000, SOON);
    controller.stop("main");
    let messages = receiver.only_connection().messages;
    let report = Report::of(&messages);
    report.assert_decodable();
    report.assert_no_hole_over(HOLE);
    viewer::assert_continues(&messages, &media::packets(&media::long()), GOP);
}

#[test]
fn a_connection_that_breaks_again_and_again_is_not_noticed_by_the_viewer() {
    let bucket = Bucket::with(&[("long.mp4", &media::long())]);
    let receiver = Receiver::start();
    bucket.fault("long.mp4", Fault::Cut(400_000));
    let controller = Setup::new(bucket.environment())
        .stream("main", to_one(&receiver.url()))
        .start();
    controller.start("main");
    receiver.wait_for_span(20_000, Duration::from_secs(60));
    let reads = bucket
        .seen()
        .iter()
        .filter(|s| s.method == "GET" && s.path.contains("long"))
        .count();
    controller.stop("main");
    assert!(reads > 5, "it was cut and asked for again: {reads}");
    let report = Report::of(&receiver.only_connection().messages);
    report.assert_decodable();
    report.assert_no_hole_over(HOLE);
}

#[test]
fn a_file_shorter_than_it_says_is_followed_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let whole = media::Clip {
        name: "liar.mp4",
        seconds: 20.0,
        gop: 30,
        more: &["-movflags", "+faststart"],
        ..media::Clip::default()
    };
    let bytes = fs::read(whole.file()).unwrap();
    fs::write(folder.path().join("a.mp4"), &bytes[..bytes.len() / 3]).unwrap();
    fs::copy(bad::good(), folder.path().join("b.mp4")).unwrap();
    let receiver = Receiver::start();
    let controller = Setup::local(folder.path())
        .stream("main", to_one(&receiver.url()))
        .start();
    controller.start("main");
    controller.wait_on_air("main", "b.mp4", SOON);
    controller.wait("main", "the lie is told", SOON, |status| {
        status["programme"]["problems"][0]["key"] == "a.mp4"
    });
    receiver.wait_for_span(10_000, SOON);
    controller.stop("main");
    let report = Report::of(&receiver.only_connection().messages);
    report.assert_decodable();
    report.assert_no_hole_over(HOLE);
}

#[test]
fn a_bucket_that_fails_is_told_and_waited_for() {
    let bucket = Bucket::with(&[("a.mp4", &bad::good()), ("b.mp4", &bad::good())]);
    let receiver = Receiver::start();
    let controller = Setup::new(bucket.environment())
        .stream("main", to_one(&receiver.url()))
        .start();
    bucket.fault("", Fault::Status(403));
    controller.start("main");
    let status = controller.wait("main", "the refusal is told", SOON, |status| {
        status["programme"]["error"]["type"] == "access_denied"
    });
    assert!(
        is_slate(&status) || status["on_air"].is_null(),
        "{status:#}"
    );
    receiver.wait_for_span(2_000, SOON);
    bucket.clear_faults();
    controller.wait("main", "an item", Duration::from_secs(100), |status| {
        status["on_air"]["kind"] == json!("programme")
    });
    controller.stop("main");
    Report::of(&receiver.only_connection().messages).assert_no_hole_over(HOLE);
}

/// Whether the programme is on air, each time that changed, by the worker's own account; and since when.
fn changes(controller: &Controller) -> Vec<(bool, Duration)> {
    let mut changes: Vec<(bool, Duration)> = Vec::new();
    for entry in record(controller) {
        let event = &entry["event"];
        if event["kind"] != "on_air" {
            continue;
        }
        let is_programme = event["source"] == "programme";
        let at = Duration::from_millis(entry["boot_ms"].as_u64().expect("a number"));
        if changes.last().is_none_or(|(was, _)| *was != is_programme) {
            changes.push((is_programme, at));
        }
    }
    changes
}

#[test]
fn a_store_slower_than_the_item_is_named_and_picture_and_slate_change_seldom() {
    let bucket = Bucket::with(&[("long.mp4", &media::long())]);
    // Half of what it needs.
    bucket.fault("long.mp4", Fault::Slow(50_000));
    let receiver = Receiver::start();
    let controller = Setup::new(bucket.environment())
        .variable("CACHE_MAX_BYTES", "0")
        .stream("main", to_one(&receiver.url()))
        .start();
    controller.start("main");
    let status = controller.wait("main", "slate, and why", SOON, |status| {
        let problem = &status["programme"]["problems"][0]["error"]["type"];
        is_slate(status) && problem == "source_slow"
    });
    let reason = status["on_air"]["reason"].as_str();
    assert!(
        reason.is_some_and(|reason| reason.contains("slower than it plays")),
        "{status:#}"
    );
    assert!(status["programme"]["storage"].is_null(), "{status:#}");
    wait::until("the picture, and the slate again", SOON, || {
        let after = changes(&controller);
        let slates = after.iter().filter(|(is_programme, _)| !is_programme);
        (slates.count() >= 3 || after.len() >= 5).then_some(())
    });
    controller.stop("main");
    // The first passage is what there was at the start; each later one has seconds in hand.
    let changes = changes(&controller);
    let first = changes.iter().position(|(is_programme, _)| *is_programme);
    let later = &changes[first.expect("the item") + 1..];
    let lengths: Vec<_> = later.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
    eprintln!("slate, picture, …: {lengths:?}");
    assert!(
        lengths
            .iter()
            .all(|length| *length >= Duration::from_secs(4)),
        "{lengths:?}"
    );
    let messages = receiver.only_connection().messages;
    Report::of(&messages).assert_no_hole_over(HOLE);
    viewer::assert_continues(&messages, &media::packets(&media::long()), GOP);
}
