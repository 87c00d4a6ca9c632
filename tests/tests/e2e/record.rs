//! The air record against what the receiver logged: no dark second is missing, none is invented.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use e2e::controller::{Controller, Setup, to_one};
use e2e::exposition::Scrape;
use e2e::media;
use e2e::process;
use e2e::rtmp::{Connection, Manners, Receiver};
use e2e::viewer::Report;
use e2e::wait;
use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::air::{TOLERANCE, last_frame};

const SOON: Duration = Duration::from_secs(40);
/// Within one connection, what a busy machine may hold up but no fault makes.
const HOLE: Duration = Duration::from_secs(1);

const MAIN: &str = "stream=\"main\"";
const OUT: &str = "stream=\"main\",destination=\"out\"";

/// When the receiver got nothing, by its own log.
#[derive(Debug, Clone, Copy)]
struct Hole {
    start_ms: i64,
    end_ms: i64,
}

/// The receiver's `Instant`s as wall-clock milliseconds.
pub(crate) fn wall_ms(instant: Instant) -> i64 {
    let at = SystemTime::now() - instant.elapsed();
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(since.as_millis()).expect("before the year 292 million")
}

/// From the last frame of each connection to the first of the next; within one there was none.
fn holes(receiver: &Receiver) -> Vec<Hole> {
    let mut connections = receiver.connections();
    connections.retain(Connection::has_media);
    for connection in &connections {
        Report::of(&connection.messages).assert_no_hole_over(HOLE);
    }
    let first = |connection: &Connection| connection.frames().next().map(|m| m.arrived);
    let pairs = connections.windows(2);
    pairs
        .map(|pair| Hole {
            start_ms: wall_ms(last_frame(&pair[0])),
            end_ms: wall_ms(first(&pair[1]).expect("media")),
        })
        .collect()
}

fn first_frame_ms(receiver: &Receiver) -> i64 {
    wall_ms(receiver.wait_for_media(0, SOON))
}

/// Ended gaps, oldest first.
pub(crate) fn gaps(controller: &Controller) -> Vec<Value> {
    let answer = controller.get("/health/incidents?window=24h&destination=out");
    let mut gaps = answer["incidents"].as_array().expect("a list").clone();
    gaps.retain(|gap| !gap["end"].is_null());
    gaps.reverse();
    gaps
}

pub(crate) fn time_ms(value: &Value) -> i64 {
    let text = value.as_str().expect("a time");
    text.parse::<Timestamp>()
        .expect("RFC 3339")
        .as_millisecond()
}

/// Waits for the gap of this number to be in the record with its end, and for media to flow again.
fn wait_for_gap(controller: &Controller, receiver: &Receiver, number: usize) {
    wait::until(&format!("gap {number} in the record"), SOON, || {
        (gaps(controller).len() > number).then_some(())
    });
    receiver.wait_for_span(1_500, SOON);
}

fn assert_near(what: &str, recorded: i64, logged: i64) {
    let off = recorded - logged;
    assert!(
        off.unsigned_abs() <= TOLERANCE.as_millis() as u64,
        "{what}: the record is {off} ms off the receiver"
    );
}

/// A stream of one long local file, on air and recorded.
fn world() -> (Controller, Receiver, tempfile::TempDir) {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let receiver = Receiver::start();
    let controller = Setup::local(folder.path())
        .stream("main", to_one(&receiver.url()))
        .start();
    controller.start("main");
    wait_for_gap(&controller, &receiver, 0);
    (controller, receiver, folder)
}

#[test]
fn every_gap_in_the_record_is_one_that_the_receiver_saw() {
    let (mut controller, receiver, _folder) = world();
    assert_near(
        "first delivery",
        time_ms(&gaps(&controller)[0]["end"]),
        first_frame_ms(&receiver),
    );

    // An output's FFmpeg is killed.
    let port = receiver.address().port().to_string();
    for ffmpeg in controller.ffmpegs(&port) {
        process::signal(ffmpeg.pid, Signal::SIGKILL);
    }
    wait_for_gap(&controller, &receiver, 1);
    tidy_up(&controller);
    // The platform hangs up.
    receiver.drop_connections();
    wait_for_gap(&controller, &receiver, 2);
    // The worker is killed.
    process::signal(controller.worker_pid("main"), Signal::SIGKILL);
    wait_for_gap(&controller, &receiver, 3);
    assert_measured(&controller);
    // Controller and worker are killed at once, and nobody looks for a while.
    let worker = controller.worker_pid("main");
    let scraped = scrape(&controller);
    controller.kill();
    process::signal(worker, Signal::SIGKILL);
    controller.start_again();
    controller.wait_state("main", "running", SOON);
    wait_for_gap(&controller, &receiver, 4);

    let gaps = gaps(&controller);
    assert_told(&gaps, &receiver);
    let uptime = controller.get("/health/uptime");
    let out = &uptime["streams"][0]["destinations"][0];
    let dark: f64 = gaps.iter().filter_map(|gap| gap["length_s"].as_f64()).sum();
    let told = out["dark_s"].as_f64().expect("seconds");
    assert!(
        (told - dark).abs() < 0.01,
        "{told} s dark, of gaps of {dark} s"
    );

    // Its counters say the same, and none fell because another controller counts.
    let now = scrape(&controller);
    now.assert_grown_since(&scraped);
    assert_counted(&now, dark);
}

/// Somebody tidies up: the record and the logs are there again, with what was in them.
fn tidy_up(controller: &Controller) {
    let state = controller.directory().join("state");
    fs::remove_dir_all(state.join("logs")).expect("logs");
    for name in ["history.db-wal", "history.db-shm", "history.db"] {
        fs::remove_file(state.join(name)).expect("a record");
    }
    wait::until("record and log are there again", SOON, || {
        let log = fs::read_to_string(state.join("logs/main.log")).ok()?;
        (log.contains("is begun anew") && state.join("history.db").exists()).then_some(())
    });
    assert_eq!(gaps(controller).len(), 2);
    let told = controller.controller_log();
    assert_eq!(told.matches("history_removed").count(), 1, "{told}");
}

/// All the gaps by their causes, each with the ends that the receiver saw.
fn assert_told(gaps: &[Value], receiver: &Receiver) {
    let causes: Vec<_> = gaps
        .iter()
        .filter_map(|gap| gap["cause"].as_str())
        .collect();
    let wanted = [
        "starting",
        "destination_lost",
        "destination_lost",
        "worker_crashed",
        "worker_crashed",
    ];
    assert_eq!(causes, wanted, "{gaps:#?}");
    let holes = holes(receiver);
    assert_eq!(holes.len(), 4, "{holes:?}\n{gaps:#?}");
    for (gap, hole) in gaps[1..].iter().zip(&holes) {
        let cause = &gap["cause"];
        assert_near(
            &format!("start of {cause}"),
            time_ms(&gap["start"]),
            hole.start_ms,
        );
        assert_near(
            &format!("end of {cause}"),
            time_ms(&gap["end"]),
            hole.end_ms,
        );
        assert_eq!(gap["recovery"], "automatic", "{gap:#}");
    }
}

fn assert_counted(now: &Scrape, dark: f64) {
    let (mut begun, mut seconds) = (0.0, 0.0);
    for cause in ["starting", "destination_lost", "worker_crashed"] {
        let labels = format!("{OUT},cause=\"{cause}\"");
        begun += now.value("destination_gaps_begun_total", &labels);
        seconds += now.value("destination_gap_seconds_total", &labels);
    }
    assert_eq!(begun, 5.0);
    assert!((seconds - dark).abs() < 0.01, "{seconds} s of {dark} s");
    let count = |family| now.value(family, OUT);
    let wanted = count("destination_wanted_seconds_total");
    let delivered = count("destination_delivered_seconds_total");
    assert!(
        (wanted - delivered - dark).abs() < 0.01,
        "{wanted} s wanted"
    );
    assert_eq!(count("destination_deliveries_begun_total"), 5.0);
    assert_eq!(now.value("stream_worker_starts_total", MAIN), 3.0);
    let by_themselves = format!("{OUT},recovery=\"automatic\"");
    let recoveries = now.value("destination_recoveries_total", &by_themselves);
    assert_eq!(recoveries, 5.0, "the start, and every fault");
}

/// Every ten seconds there is a sample of what the stream costs and of what its destination gets.
fn assert_measured(controller: &Controller) {
    let from = Timestamp::now() - Duration::from_secs(600);
    let points = |query: &str, destination: &Value| {
        let path = format!("/health/metrics?stream_id=main&from={from}{query}");
        let answer = controller.get(&path);
        assert_eq!(answer["step_s"], 10, "{answer:#}");
        let mut series = answer["series"].as_array().into_iter().flatten();
        let mine = series.find(|series| series["destination"] == *destination);
        let points = mine.and_then(|series| series["points"].as_array());
        points.cloned().unwrap_or_default()
    };
    let (stream, out) = (Value::Null, Value::from("out"));
    wait::until("a sample of the stream", SOON, || {
        points("", &stream).into_iter().find(|point| {
            point["cpu_percent"].as_f64() > Some(0.0)
                && point["memory_bytes"].as_u64() > Some(1_000_000)
        })
    });
    let sample = wait::until("a sample of the destination", SOON, || {
        points("&destination=out", &out)
            .into_iter()
            .find(|point| point["state"] == "live" && point["bitrate_kbps"].as_u64() > Some(0))
    });
    for measured in ["dropped_frames", "rtt_ms", "unacked_bytes"] {
        assert!(sample[measured].is_number(), "{measured}: {sample:#}");
    }
    assert!(points("&destination=out", &stream).is_empty(), "only of it");
    let only = points("&metric=bitrate_kbps", &out);
    let names = |point: &Value| point.as_object().map(|point| point.len());
    assert!(
        !only.is_empty() && only.iter().all(|point| names(point) == Some(2)),
        "{only:#?}"
    );
    assert!(points("&metric=bitrate_kbps", &stream).is_empty());
}

fn scrape(controller: &Controller) -> Scrape {
    let answer = controller.call("GET", "/metrics", &Value::Null);
    Scrape::read(&answer.expect(200).text())
}

#[test]
fn what_the_operator_did_is_not_held_against_the_stream() {
    let (controller, receiver, _folder) = world();
    controller.stop("main");
    let stopped = Instant::now();
    wait::observe(Duration::from_secs(2));
    let pause = stopped.elapsed();
    controller.start("main");
    wait_for_gap(&controller, &receiver, 1);

    let causes: Vec<_> = gaps(&controller)
        .iter()
        .map(|gap| gap["cause"].clone())
        .collect();
    assert_eq!(causes, ["starting", "starting"]);
    let hole = holes(&receiver)[0];
    let dark = gaps(&controller)[1]["length_s"].as_f64().expect("seconds");
    let seen = (hole.end_ms - hole.start_ms) as f64 / 1000.0;
    assert!(
        dark + pause.as_secs_f64() <= seen + TOLERANCE.as_secs_f64(),
        "{dark} s dark of {seen} s"
    );

    let uptime = controller.get("/health/uptime?window=7d&stream_id=main");
    let out = &uptime["streams"][0]["destinations"][0];
    assert!(
        out["recovery"]["max_s"].is_null(),
        "a start is no recovery: {out:#}"
    );
    assert_eq!(out["by_hand"], 0, "{out:#}");
    let availability = out["availability"].as_f64().expect("a share");
    let scraped = scrape(&controller).value("destination_availability_ratio", OUT);
    assert!(
        (scraped - availability).abs() < 0.2,
        "{scraped}, {availability}"
    );
    let (code, text) = controller.script("check_status.sh", &[]);
    assert!(
        code == 0 && text.contains("main/out") && text.contains("longest gap"),
        "{text}"
    );

    // A configuration that connects anew is meant, too; what is lost and then stopped never recovered.
    let elsewhere = to_one(&format!("{}-elsewhere", receiver.url()));
    let answer = controller.call("PUT", "/streams/main", &elsewhere);
    answer.expect(200);
    wait_for_gap(&controller, &receiver, 2);
    receiver.behave(Manners::Refuse);
    receiver.drop_connections();
    wait::until("the loss is in the record", SOON, || {
        let answer = controller.get("/health/incidents?cause=destination_lost");
        let lost = answer["incidents"].as_array()?;
        (lost.len() == 1).then_some(())
    });
    controller.stop("main");
    let told: Vec<_> = gaps(&controller)
        .iter()
        .map(|gap| {
            let words = ["cause", "recovery"].map(|name| gap[name].as_str().unwrap_or("-"));
            (words.join(" "), gap["planned"] == true)
        })
        .collect();
    let expected = [
        ("starting automatic", false),
        ("starting automatic", false),
        ("operator planned", true),
        ("destination_lost stopped", false),
    ];
    assert_eq!(
        told,
        expected.map(|(words, planned)| (words.to_owned(), planned))
    );
    let uptime = controller.get("/health/uptime?stream_id=main");
    let out = &uptime["streams"][0]["destinations"][0];
    assert_eq!(
        (&out["stopped"], &out["planned"]["gaps"]),
        (&1.into(), &1.into())
    );
    assert!(out["recovery"]["max_s"].is_null(), "{out:#}");
}
