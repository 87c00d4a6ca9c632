//! Each destination fails on its own, is told on its own, and comes back on its own.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use e2e::controller::{Controller, Setup};
use e2e::flv::{Part, Track};
use e2e::media;
use e2e::nginx::free_address;
use e2e::pressure::Pressure;
use e2e::process::{self, Child};
use e2e::rtmp::{Connection, Manners, Receiver};
use e2e::viewer::Report;
use e2e::wait;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::air::record;
use super::faulty::{logged, told};

const SOON: Duration = Duration::from_secs(40);

pub(super) fn to(name: &str, url: &str) -> Value {
    json!({ "name": name, "url": format!("{url}/key") })
}

/// What a platform needs of a connection: headers, then a keyframe, time from zero, real time.
pub(super) fn assert_begins_well(connection: &Connection) {
    let first_frame = connection.frames().next().expect("media").tag;
    assert!(
        first_frame.dts_ms <= 100,
        "its own zero of time: {first_frame:?}"
    );
    let mut headers = Vec::new();
    for message in &connection.messages {
        match message.tag.part {
            Part::Header => headers.push(message.tag.track),
            Part::Frame { key } if message.tag.track == Track::Video => {
                assert!(key, "the first picture is a keyframe");
                assert!(headers.contains(&Track::Video), "after its header");
                break;
            }
            _ => {}
        }
    }
    let report = Report::of(&connection.messages);
    report.assert_seamless(media::FPS);
    assert!(report.greatest_burst_ms < 1_500, "no burst: {report:?}");
}

#[test]
fn a_bad_destination_never_disturbs_a_good_one() {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let good = Receiver::start();
    let rejecting = Receiver::start();
    rejecting.behave(Manners::RejectKey);
    let dropping = Receiver::start();
    let stalling = Receiver::start();
    let closed_port = free_address();
    let config = json!({
        "format": media::format(),
        "destinations": [
            to("good", &good.url()),
            to("refused", &format!("rtmp://{closed_port}/live")),
            to("rejected", &rejecting.url()),
            to("dropped", &dropping.url()),
            to("stalled", &stalling.url()),
        ],
        "retry": { "initial_s": 0.5, "factor": 2, "max_s": 4 }
    });
    let controller = Setup::local(folder.path()).stream("main", config).start();
    controller.start("main");
    let destination = |status: &Value, index: usize| status["destinations"][index].clone();
    for receiver in [&good, &dropping, &stalling] {
        receiver.wait_for_span(2_000, SOON);
    }
    dropping.drop_connections();
    stalling.behave(Manners::Stall);
    let stalled_at = Instant::now();

    let told = |index: usize, state: &str, kind: &str| {
        let what = format!("destination {index} {state} by {kind}");
        let status = controller.wait("main", &what, SOON, |status| {
            let it = destination(status, index);
            it["state"] == state && it["error"]["type"] == kind
        });
        destination(&status, index)
    };
    let refused = told(1, "backoff", "connection_refused");
    assert_eq!(refused["will_retry"], true);
    assert!(refused["retry_count"].as_u64() >= Some(1) && !refused["next_retry_at"].is_null());
    dropping.wait_for_media(1, SOON);
    told(2, "rejected", "key_rejected");
    let stalled = wait::until("the stalled connection is given up", SOON, || {
        let it = destination(&controller.status("main"), 4);
        (it["retry_count"].as_u64() >= Some(1)).then_some(it)
    });
    assert!(
        stalled_at.elapsed() < Duration::from_secs(20),
        "{stalled:#}"
    );
    assert_eq!(controller.status("main")["state"], "degraded");

    stalling.behave(Manners::Polite);
    let late = Receiver::start_at(closed_port);
    rejecting.behave(Manners::Polite);
    controller.wait("main", "all live", SOON, |status| {
        (0..5).all(|index| destination(status, index)["state"] == "live")
    });
    controller.wait_state("main", "running", SOON);
    late.wait_for_span(2_000, SOON);
    controller.stop("main");

    let report = Report::of(&good.only_connection().messages);
    report.assert_seamless(media::FPS);
    report.assert_no_hole_over(Duration::from_millis(500));
    assert_eq!(dropping.media_connections(), 2);
    for receiver in [&late, &dropping, &stalling, &rejecting] {
        let last = receiver
            .connections()
            .into_iter()
            .rfind(Connection::has_media);
        assert_begins_well(&last.unwrap());
    }
    assert_failures_logged(&controller);
}

fn assert_failures_logged(controller: &Controller) {
    let log = controller.worker_log();
    let events: Vec<&str> = log.lines().filter(|l| l.contains("error_type")).collect();
    for kind in [
        "connection_refused",
        "key_rejected",
        "connection_lost",
        "stalled",
    ] {
        let event = events.iter().find(|line| line.contains(kind));
        let event = event.unwrap_or_else(|| panic!("{kind} was not logged: {events:#?}"));
        assert!(
            event.contains("retry_count") && event.contains("will_retry"),
            "{event}"
        );
    }
}

#[test]
fn a_destination_may_give_up_and_the_controller_tells() {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let nobody = free_address();
    let config = json!({
        "format": media::format(),
        "destinations": [to("out", &format!("rtmp://{nobody}/live"))],
        "retry": { "initial_s": 0.2, "factor": 2, "max_s": 1, "max_attempts": 3 }
    });
    let controller = Setup::local(folder.path()).stream("main", config).start();
    controller.start("main");
    let status = controller.wait_state("main", "error", SOON);
    assert_eq!(status["exit_code"], 69, "{status:#}");
    assert!(!status["error"]["hint"].is_null(), "{status:#}");
    assert!(status["pid"].is_null());
    let log = controller.worker_log();
    let tries = log
        .lines()
        .filter(|line| line.contains("connection_refused"))
        .count();
    assert!(tries >= 3, "{log}");

    let receiver = Receiver::start_at(nobody);
    controller.start("main");
    receiver.wait_for_span(1_000, SOON);
    controller.wait_state("main", "running", SOON);
}

/// Somebody who waits for a stream by SRT and keeps it.
fn listener(address: std::net::SocketAddr, into: &Path) -> Child {
    let mut command = process::command("ffmpeg");
    let url = format!("srt://{address}?mode=listener");
    command.args(["-nostdin", "-v", "error", "-i", &url]);
    command.args(["-c", "copy", "-f", "mpegts"]).arg(into);
    Child::spawn(&mut command)
}

#[test]
fn an_srt_destination_is_live_only_while_somebody_takes_it() {
    // What a silent network may take to be noticed.
    const NOTICED: Duration = Duration::from_secs(8);
    // To be back, and two seconds that what FFmpeg takes is looked at before it counts.
    const BACK: Duration = Duration::from_secs(3 + 2);
    let protocols = process::run("ffmpeg", &["-v", "quiet", "-protocols"], SOON);
    let protocols = protocols.expect("FFmpeg").stdout;
    if !String::from_utf8_lossy(&protocols).contains(" srt\n") {
        return super::skipped("this FFmpeg has no SRT");
    }
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let address = free_address();
    let config = json!({
        "format": media::format(),
        "destinations": [{ "name": "out", "url": format!("srt://{address}") }],
        // Nobody who is there has to wait for the next try.
        "retry": { "initial_s": 60, "max_s": 60 }
    });
    let controller = Setup::local(folder.path()).stream("main", config).start();
    controller.start("main");
    told(&controller, "out", "timeout", SOON);
    let delivering = |entry: &&Value| entry["event"]["kind"] == "delivering";
    let record = || record(&controller);
    assert_eq!(record().iter().find(delivering), None, "nobody was there");

    let kept = controller.directory().join("kept");
    let (there_at, pressure) = (Instant::now(), Pressure::now());
    let listener = listener(address, &kept);
    controller.wait_state("main", "running", SOON);
    let back = there_at.elapsed();
    assert!(back <= pressure.allows(BACK), "back after {back:?}");
    wait::until("a second of it", SOON, || {
        let size = fs::metadata(&kept).ok()?.len();
        (size > 150_000).then_some(())
    });
    assert!(record().iter().any(|entry| delivering(&entry)));
    let (began_at, pressure) = (SystemTime::now(), Pressure::now());
    process::signal(listener.pid(), Signal::SIGKILL);
    let after = logged(&told(&controller, "out", "connection_lost", SOON), began_at);
    assert!(after <= pressure.allows(NOTICED), "told after {after:?}");
    controller.stop("main");
    let kept = kept.display().to_string();
    let streams = [
        "-v",
        "error",
        "-show_entries",
        "stream=codec_name",
        "-of",
        "csv=p=0",
        &kept,
    ];
    let probed = process::run("ffprobe", &streams, SOON)
        .expect("ffprobe")
        .stdout;
    let probed = String::from_utf8_lossy(&probed).into_owned();
    assert!(
        probed.contains("h264") && probed.contains("aac"),
        "{probed}"
    );
}
