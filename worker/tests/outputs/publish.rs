//! Destinations that work, that fail in every way, and that come back.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use storage::model::report::DestinationState;
use storage::model::{DestinationConfig, DestinationReport, RetryConfig};
use supervise::{CaptureLimits, ExitReason, Spec};

use super::nginx::Nginx;
use super::stage::{Clip, KEY, PATIENCE, Stage, keyed, logs, soon};

fn is_live(report: &DestinationReport) -> bool {
    report.state == DestinationState::Live
}

fn error_type(report: &DestinationReport) -> &str {
    report.error.as_ref().map_or("", |error| &error.error_type)
}

/// FFmpegs of this process that publish to `url`, and their command lines.
fn publishers(url: &str) -> Vec<(Pid, String)> {
    let me = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("there").flatten() {
        let read = |file: &str| std::fs::read_to_string(entry.path().join(file));
        let (Ok(stat), Ok(line)) = (read("stat"), read("cmdline")) else {
            continue;
        };
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let parent = after_name.split_whitespace().nth(1);
        if parent == Some(&me) && line.contains(url) {
            let pid = entry
                .file_name()
                .to_string_lossy()
                .parse()
                .expect("a number");
            found.push((Pid::from_raw(pid), line.replace('\0', " ")));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keyed_destination_gets_the_stream_and_nobody_else_the_key() {
    let nginx = Nginx::start().await;
    let url = nginx.url("live");
    let stage = Stage::start(vec![keyed("platform", &url)], soon()).await;
    let (live, took) = stage.until("live", is_live).await;
    eprintln!("live after {took:?}");
    let acked = live.bytes_acked.expect("this machine lets us look");
    let more = |report: &DestinationReport| report.bytes_acked > Some(acked + 50_000);
    let (later, _) = stage.until("delivered further", more).await;
    assert!(later.sent_media_s > live.sent_media_s && later.bitrate_kbps > 100);
    assert_eq!((later.connections, later.dropped_frames), (1, 0));
    assert!(
        nginx.statistics().await.contains(KEY),
        "published under its key"
    );

    let running = publishers(&url);
    assert_eq!(running.len(), 1, "{running:?}");
    assert!(
        !running[0].1.contains(KEY),
        "the key is in argv: {}",
        running[0].1
    );
    let environment = std::fs::read(format!("/proc/{}/environ", running[0].0)).expect("ours");
    assert!(!String::from_utf8_lossy(&environment).contains(KEY));

    let watched = watch(&format!("{url}/{KEY}")).await;
    assert_eq!(watched, "", "a viewer's decoder complains");
    let took = stage.stop().await;
    assert!(took < Duration::from_secs(8), "closing took {took:?}");
    assert!(
        !nginx.statistics().await.contains("<publishing/>"),
        "it was unpublished"
    );
    let said = logs().last(1000).join("\n");
    assert!(!said.contains(KEY), "the key is in the log");
}

/// What a decoder complains about in two seconds of the stream.
async fn watch(url: &str) -> String {
    let spec = Spec::new("ffmpeg")
        .args([
            "-nostdin",
            "-v",
            "error",
            "-rw_timeout",
            "5000000",
            "-i",
            url,
        ])
        .args(["-t", "2", "-f", "null", "-"]);
    let limits = CaptureLimits {
        timeout: PATIENCE,
        max_bytes: 1 << 20,
    };
    let seen = supervise::capture(spec, limits).await.expect("runs");
    assert_eq!(seen.exit, ExitReason::Code(0));
    String::from_utf8_lossy(&seen.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_port_is_tried_again_and_given_up_after_the_asked_for_tries() {
    let url = "rtmp://127.0.0.1:1/refused";
    let retry = RetryConfig {
        max_attempts: Some(2),
        ..soon()
    };
    let stage = Stage::start(vec![keyed("nobody", url)], retry).await;
    let waits = |report: &DestinationReport| report.state == DestinationState::Backoff;
    let (waiting, _) = stage.until("waiting", waits).await;
    assert!(waiting.will_retry && waiting.next_retry_at.is_some());
    assert_eq!(error_type(&waiting), "connection_refused");
    let gone = |report: &DestinationReport| report.state == DestinationState::Stopped;
    let (given_up, _) = stage.until("given up", gone).await;
    assert_eq!((given_up.connections, given_up.retry_count), (3, 2));
    assert!(!given_up.will_retry);
    let exhausted = stage
        .fanout()
        .exhausted()
        .expect("the only one is given up");
    assert_eq!(exhausted.error_type, "connection_refused");
    stage.stop().await;

    let events: Vec<serde_json::Value> = logs()
        .last(1000)
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|event: &serde_json::Value| event["destination"] == "nobody")
        .filter(|event| event["error_type"] == "connection_refused")
        .collect();
    let told = |field: &str| events.iter().map(|e| e[field].clone()).collect::<Vec<_>>();
    assert_eq!(told("will_retry"), [true, true, false]);
    assert_eq!(told("retry_count"), [1, 2, 2]);
    assert!(events[0]["retry_in_ms"].is_number());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_closes_at_publish_is_shown_as_rejected_and_not_accused() {
    let nginx = Nginx::start().await;
    let destination = keyed("platform", &nginx.url("guarded"));
    let stage = Stage::start(vec![destination], soon()).await;
    let rejected = |report: &DestinationReport| report.state == DestinationState::Rejected;
    let (report, _) = stage.until("rejected", rejected).await;
    assert_eq!(
        (error_type(&report), report.retry_count),
        ("closed_at_publish", 3)
    );
    assert!(
        report.will_retry,
        "the operator may mend it at the platform"
    );
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_key_is_said_at_once_and_what_to_do() {
    let mut destination = keyed("platform", "rtmp://127.0.0.1:1/live");
    destination.key_env = Some("NOT_SET".to_owned());
    let stage = Stage::start(vec![destination], soon()).await;
    let gone = |report: &DestinationReport| report.state == DestinationState::Stopped;
    let (report, _) = stage.until("given up", gone).await;
    let error = report.error.expect("a reason");
    assert_eq!(error.error_type, "key_missing");
    assert!(error.message.contains("NOT_SET") && error.hint.contains("environment"));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_ffmpeg_and_a_crashed_server_are_connected_again() {
    let mut nginx = Nginx::start().await;
    let url = nginx.url("live");
    let stage = Stage::start(vec![keyed("platform", &url)], soon()).await;
    stage.until("live", is_live).await;

    kill(publishers(&url)[0].0, Signal::SIGKILL).expect("it runs");
    let again = |report: &DestinationReport| is_live(report) && report.connections == 2;
    let (report, took) = stage.until("live again", again).await;
    eprintln!("after a killed FFmpeg: live again after {took:?}");
    assert_eq!(error_type(&report), "ffmpeg_exited");
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(publishers(&url).len(), 1, "never two publishers");

    nginx.crash().await;
    let lost = |report: &DestinationReport| error_type(report) == "connection_lost";
    stage.until("lost", lost).await;
    let refused = |report: &DestinationReport| error_type(report) == "connection_refused";
    stage.until("refused", refused).await;
    nginx.run().await;
    let (_, took) = stage.until("live again", is_live).await;
    eprintln!("after a crashed server: live again after {took:?}");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_torn_down_in_time() {
    let nginx = Nginx::start().await;
    let url = nginx.url("live");
    let stage = Stage::start(vec![keyed("platform", &url)], soon()).await;
    stage.until("live", is_live).await;
    nginx.freeze();
    let (report, took) = stage.until("noticed", |report| !is_live(report)).await;
    eprintln!("a frozen server: torn down after {took:?}");
    assert_eq!(error_type(&report), "stalled");
    // Five seconds, and what a busy machine adds to them.
    assert!(took < Duration::from_secs(8), "{took:?}");
    nginx.thaw();
    stage.until("live again", is_live).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_configuration_touches_only_what_changed() {
    let nginx = Nginx::start().await;
    let kept = DestinationConfig {
        name: "kept".to_owned(),
        url: format!("{}/kept", nginx.url("live")),
        key_env: None,
        renew_after_s: None,
    };
    let renamed = keyed("renamed", &nginx.url("live"));
    let stage = Stage::start(vec![kept.clone(), keyed("old", &renamed.url)], soon()).await;
    stage.until("live", is_live).await;
    stage.fanout().reconfigure(&[kept, renamed], soon());
    let began = std::time::Instant::now();
    let second = loop {
        let second = stage.fanout().reports().remove(1);
        if is_live(&second) {
            break second;
        }
        assert!(began.elapsed() < PATIENCE, "{second:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    // The same key at the same server: it was never refused for a publisher that was still there.
    assert_eq!((second.name.as_str(), second.retry_count), ("renamed", 0));
    assert_eq!(stage.report().connections, 1, "the other was not touched");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_srt_a_change_of_size_reaches_the_viewer() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("bound").port();
    drop(socket);
    let listen = format!("srt://127.0.0.1:{port}?mode=listener");
    let spec = Spec::new("ffmpeg")
        .args(["-nostdin", "-v", "level+info", "-nostats", "-i", &listen])
        .args([
            "-t",
            "9",
            "-vf",
            "showinfo",
            "-autoscale",
            "0",
            "-f",
            "null",
            "-",
        ]);
    let limits = CaptureLimits {
        timeout: PATIENCE,
        max_bytes: 4 << 20,
    };
    let viewer = tokio::spawn(supervise::capture(spec, limits));
    let url = format!("srt://127.0.0.1:{port}");
    let stage = Stage::start(vec![keyed("srt", &url)], soon()).await;
    stage.change_clip(Clip::make(320, 180).await);
    stage.until("live", is_live).await;
    assert!(publishers(&url).iter().all(|(_, line)| !line.contains(KEY)));
    let seen = viewer.await.expect("no panic").expect("runs");
    let said = String::from_utf8_lossy(&seen.stderr);
    for size in [" s:640x360 ", " s:320x180 "] {
        assert!(said.contains(size), "{size} is missing");
    }
    stage.stop().await;
}
