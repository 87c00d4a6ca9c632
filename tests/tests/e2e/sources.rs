//! A source that dies, stalls or lies is covered within the session.

use std::fs;
use std::time::Duration;

use e2e::controller::{Setup, to_one};
use e2e::media::{self, bad};
use e2e::process;
use e2e::rtmp::Receiver;
use e2e::s3::{Bucket, Fault};
use e2e::viewer::{self, Report};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(40);
const HOLE: Duration = Duration::from_millis(500);
/// Between keyframes of the long file.
const GOP: Duration = Duration::from_secs(1);

fn is_slate(status: &Value) -> bool {
    status["on_air"]["kind"] == "slate"
}

#[test]
fn a_killed_source_is_opened_again_where_it_was() {
    let bucket = Bucket::with(&[("long.mp4", &media::long())]);
    let receiver = Receiver::start();
    let controller = Setup::new(bucket.environment())
        .stream("main", to_one(&receiver.url()))
        .start();
    controller.start("main");
    receiver.wait_for_span(5_000, SOON);
    let source = controller.ffmpegs("/m/");
    assert_eq!(source.len(), 1, "one FFmpeg reads the item: {source:#?}");
    process::signal(source[0].pid, Signal::SIGKILL);
    receiver.wait_for_span(20_000, Duration::from_secs(60));
    let status = controller.status("main");
    assert_eq!(status["on_air"]["item"], "long.mp4", "{status:#}");
    controller.stop("main");

    let connection = receiver.only_connection();
    let report = Report::of(&connection.messages);
    report.assert_decodable();
    report.assert_no_hole_over(HOLE);
    let passages = viewer::passages(&connection.messages, &[media::packets(&media::long())]);
    let shown: usize = passages.iter().map(|p| p.pictures.0).sum();
    assert!(
        shown > 480,
        "it is the item that airs, 20 s of it: {passages:?}"
    );
    viewer::assert_continues(&connection.messages, &media::packets(&media::long()), GOP);
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
