//! The media store goes away: what is kept is played, else the programme waits where it is.

use std::time::{Duration, SystemTime};

use e2e::controller::{Controller, Setup, to_one};
use e2e::media::{self, Clip};
use e2e::pressure::Pressure;
use e2e::process;
use e2e::rtmp::Receiver;
use e2e::s3::{Bucket, Fault, Line};
use e2e::viewer::{self, Report};
use e2e::wait;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::air::{last_frame, programme_after, record};

const SOON: Duration = Duration::from_secs(40);
const HOLE: Duration = Duration::from_millis(500);
/// Between keyframes of the film.
const GOP: Duration = Duration::from_secs(1);
/// How long the store is away where nothing is kept.
const OUTAGE: Duration = Duration::from_secs(9);
/// Until the item is on air again after the store is back.
const BACK: Duration = Duration::from_secs(3);
/// From the last picture of a worker that is killed to the first of the next.
const DARK: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
enum Outage {
    Line(Line),
    Every(u16),
    Skewed,
    /// No answer comes while it lasts.
    Late,
    /// Every body ends before its first byte.
    Truncated,
    /// A byte comes at once, media do not.
    Slow,
}

impl Outage {
    fn begin(self, bucket: &Bucket) {
        match self {
            Self::Line(line) => bucket.line(line),
            Self::Every(status) => bucket.fault("", Fault::Status(status)),
            Self::Skewed => bucket.fault("", Fault::Skewed),
            Self::Late => bucket.fault("", Fault::Late(Duration::from_secs(30))),
            Self::Truncated => bucket.fault("mp4", Fault::Cut(0)),
            Self::Slow => bucket.fault("mp4", Fault::Slow(2_000)),
        }
        if !matches!(self, Self::Line(_)) {
            // An answer that is on its way already would go on for minutes.
            bucket.line(Line::Cut);
            wait::observe(Duration::from_millis(300));
            bucket.line(Line::Up);
        }
    }

    fn end(self, bucket: &Bucket) {
        bucket.clear_faults();
        bucket.line(Line::Up);
    }

    fn error_types(self) -> &'static [&'static str] {
        match self {
            Self::Line(_) | Self::Late | Self::Truncated | Self::Slow => {
                &["storage_unreachable", "storage_timeout"]
            }
            Self::Every(403) => &["access_denied"],
            Self::Every(503) => &["storage_throttled"],
            Self::Every(_) => &["storage_failed"],
            Self::Skewed => &["clock_skew"],
        }
    }
}

fn is_programme(status: &Value) -> bool {
    status["on_air"]["kind"] == "programme"
}

/// Items that were on air, by the worker's own account.
fn aired(controller: &Controller) -> Vec<String> {
    let record = record(controller);
    let programme = record.iter().filter(|entry| {
        let event = &entry["event"];
        event["kind"] == "on_air" && event["source"] == "programme"
    });
    let items = programme.filter_map(|entry| entry["event"]["item"].as_str());
    items.map(str::to_owned).collect()
}

#[test]
fn the_programme_goes_on_where_it_was_however_the_store_went_away() {
    let kinds = [
        Outage::Line(Line::Cut),
        Outage::Every(403),
        Outage::Every(500),
        Outage::Every(503),
        Outage::Skewed,
    ];
    // Side by side: each of them mostly waits.
    std::thread::scope(|scope| {
        for kind in kinds {
            scope.spawn(move || goes_on_where_it_was(kind));
        }
    });
}

#[test]
fn the_programme_goes_on_where_it_was_when_the_store_answered_late_in_part_or_slowly() {
    std::thread::scope(|scope| {
        for kind in [Outage::Late, Outage::Truncated, Outage::Slow] {
            scope.spawn(move || goes_on_where_it_was(kind));
        }
    });
}

fn goes_on_where_it_was(kind: Outage) {
    let film = media::long();
    let bucket = Bucket::with(&[("a.mp4", &film), ("b.mp4", &film)]);
    // Else all of the film would lie in the kernels' buffers before the outage.
    bucket.fault("mp4", Fault::Slow(250_000));
    let receiver = Receiver::start();
    let controller = Setup::new(bucket.environment())
        .variable("CACHE_MAX_BYTES", "0")
        .stream("main", to_one(&receiver.url()))
        .start();
    controller.start("main");
    controller.wait("main", "three seconds of it", SOON, |status| {
        let on_air = &status["on_air"];
        on_air["item"] == "a.mp4" && on_air["position_s"].as_f64() >= Some(3.0)
    });
    kind.begin(&bucket);
    // What cut the answers under way may be told first.
    let why = format!("{kind:?}: the slate says why");
    let status = controller.wait("main", &why, SOON, |status| {
        let told = status["programme"]["storage"]["type"].as_str();
        let is_told = told.is_some_and(|told| kind.error_types().contains(&told));
        is_told && status["on_air"]["slate"] == "storage_unreachable"
    });
    assert_eq!(status["state"], "degraded", "{kind:?}: {status:#}");
    wait::observe(OUTAGE);
    let problems = &controller.status("main")["programme"]["problems"];
    assert_eq!(
        problems.as_array().map(Vec::len),
        Some(0),
        "{kind:?}: no item is to blame: {problems:#}"
    );
    kind.end(&bucket);
    let (back_at, pressure) = (SystemTime::now(), Pressure::now());
    let status = controller.wait("main", "the item", SOON, is_programme);
    let limit = pressure.allows(BACK);
    let took = programme_after(&controller, back_at);
    assert!(took <= limit, "{kind:?}: back after {took:?}");
    assert_eq!(status["on_air"]["item"], "a.mp4", "{kind:?}");
    let span_ms = receiver.look(|all| Report::of(&all[0].messages).span_ms);
    receiver.wait_for_span(span_ms + 3_000, SOON);
    controller.stop("main");
    let messages = receiver.only_connection().messages;
    let report = Report::of(&messages);
    report.assert_decodable();
    report.assert_no_hole_over(HOLE);
    viewer::assert_continues(&messages, &media::packets(&film), GOP);
}

/// Three items of eight seconds, all of them kept.
fn kept_stream(bucket: &Bucket, receiver: &Receiver) -> Controller {
    let disk = nix::sys::statvfs::statvfs(&std::env::temp_dir()).expect("a file system");
    let free_bytes = disk.blocks_available() * disk.fragment_size();
    assert!(
        free_bytes > 1 << 30,
        "nothing is kept with less free space: {free_bytes} bytes"
    );
    let controller = Setup::new(bucket.environment())
        .stream("main", to_one(&receiver.url()))
        .start();
    controller.start("main");
    controller.wait("main", "all is kept", Duration::from_secs(60), |status| {
        status["programme"]["cache"]["objects"] == 3
    });
    controller
}

fn three() -> Bucket {
    let clip = |name| Clip {
        name,
        seconds: 8.0,
        gop: 30,
        ..Clip::default()
    };
    let [a, b, c] = ["kept-a.mp4", "kept-b.mp4", "kept-c.mp4"].map(|name| clip(name).file());
    Bucket::with(&[("a.mp4", &a), ("b.mp4", &b), ("c.mp4", &c)])
}

/// Of a file, what the kernels hold is played on: so the items are short.
#[test]
fn a_network_that_says_nothing_is_an_outage_too_and_meets_the_next_item_at_hand() {
    let bucket = three();
    let receiver = Receiver::start();
    let controller = Setup::new(bucket.environment())
        .variable("CACHE_MAX_BYTES", "0")
        .stream("main", to_one(&receiver.url()))
        .start();
    controller.start("main");
    wait::until("the next item is opened", SOON, || {
        let log = controller.worker_log();
        let mut opened = log.lines().filter(|line| line.contains("opened: "));
        opened.any(|line| line.contains("b.mp4")).then_some(())
    });
    // Of eight: the first is in the kernels' hands, and of the next what is read ahead.
    receiver.wait_for_span(5_000, SOON);
    bucket.line(Line::Silent);
    let status = controller.wait("main", "the slate", Duration::from_secs(90), |status| {
        status["on_air"]["slate"] == "storage_unreachable"
    });
    let problems = status["programme"]["problems"].as_array().map(Vec::len);
    assert_eq!(problems, Some(0), "{status:#}");
    let aired = aired(&controller);
    assert!(
        aired.starts_with(&["a.mp4".to_owned(), "b.mp4".to_owned()]),
        "{aired:?}"
    );
    bucket.line(Line::Up);
    let (back_at, pressure) = (SystemTime::now(), Pressure::now());
    let status = controller.wait("main", "an item", SOON, is_programme);
    let limit = pressure.allows(BACK);
    let took = programme_after(&controller, back_at);
    eprintln!("silence: back after {took:?} of {limit:?}");
    assert!(took <= limit, "back after {took:?}: {status:#}");
    let span_ms = receiver.look(|all| Report::of(&all[0].messages).span_ms);
    receiver.wait_for_span(span_ms + 2_000, SOON);
    controller.stop("main");
    let report = Report::of(&receiver.only_connection().messages);
    report.assert_decodable();
    report.assert_no_hole_over(HOLE);
}

#[test]
fn an_outage_is_carried_by_what_is_kept_and_so_is_a_new_worker() {
    let bucket = three();
    let receiver = Receiver::start();
    let controller = kept_stream(&bucket, &receiver);
    bucket.line(Line::Cut);
    let mut aired = Vec::new();
    wait::until("all three in the outage", Duration::from_secs(120), || {
        let status = controller.status("main");
        let on_air = &status["on_air"];
        assert_eq!(on_air["kind"], "programme", "no slate: {status:#}");
        let item = on_air["item"].as_str().unwrap_or_default().to_owned();
        let from_cache = on_air["from_cache"] == true;
        if from_cache && aired.last() != Some(&item) {
            aired.push(item);
        }
        (aired.len() >= 4).then_some(())
    });
    let status = controller.status("main");
    assert!(
        status["programme"]["cache"]["hits"].as_u64() >= Some(3),
        "{status:#}"
    );
    assert!(!status["programme"]["storage"].is_null(), "{status:#}");
    let messages = receiver.only_connection().messages;
    let report = Report::of(&messages);
    report.assert_decodable();
    report.assert_no_hole_over(HOLE);

    process::signal(controller.worker_pid("main"), Signal::SIGKILL);
    let pressure = Pressure::now();
    let item = wait::until("back on air", SOON, || {
        let on_air = receiver.media_connections() >= 2;
        let status = controller.status("main");
        let again = on_air && is_programme(&status) && status["restarts"] != 0;
        again.then(|| status["on_air"].clone())
    });
    let connections = receiver.connections();
    let first = connections[1].frames().next().expect("media").arrived;
    let dark = first - last_frame(&connections[0]);
    eprintln!("a killed worker and no store: dark for {dark:?}");
    assert!(dark <= pressure.allows(DARK), "dark for {dark:?}");
    assert_eq!(item["from_cache"], true, "{item:#}");
    assert!(
        !controller
            .worker_log()
            .contains("the media store cannot be reached")
    );

    bucket.line(Line::Up);
    controller.wait("main", "the store is back", SOON, |status| {
        status["programme"]["storage"].is_null() && is_programme(status)
    });
    controller.stop("main");
}

#[test]
fn a_signed_address_that_expires_in_mid_file_is_made_anew() {
    let bucket = Bucket::with(&[("long.mp4", &media::long())]);
    let receiver = Receiver::start();
    bucket.fault("long.mp4", Fault::Cut(400_000));
    // The first that strikes: what is not expired is cut.
    bucket.fault("long.mp4", Fault::Expired(Duration::from_secs(3)));
    let controller = Setup::new(bucket.environment())
        .variable("CACHE_MAX_BYTES", "0")
        .stream("main", to_one(&receiver.url()))
        .start();
    controller.start("main");
    receiver.wait_for_span(20_000, Duration::from_secs(60));
    let status = controller.status("main");
    controller.stop("main");
    assert!(is_programme(&status), "{status:#}");
    let mut addresses: Vec<String> = bucket.seen().into_iter().map(|seen| seen.query).collect();
    addresses.sort();
    addresses.dedup();
    assert!(
        addresses.len() > 3,
        "a new address each time: {}",
        addresses.len()
    );
    let report = Report::of(&receiver.only_connection().messages);
    report.assert_decodable();
    report.assert_no_hole_over(HOLE);
}

#[test]
fn an_object_that_fails_alone_is_skipped_and_a_bucket_that_was_emptied_is_told() {
    let bucket = three();
    let receiver = Receiver::start();
    bucket.fault("b.mp4", Fault::Status(503));
    let controller = Setup::new(bucket.environment())
        .variable("CACHE_MAX_BYTES", "0")
        .stream("main", to_one(&receiver.url()))
        .start();
    controller.start("main");
    controller.wait_on_air("main", "c.mp4", Duration::from_secs(60));
    let status = controller.status("main");
    assert_eq!(
        status["programme"]["problems"][0]["key"], "b.mp4",
        "{status:#}"
    );
    assert!(status["programme"]["storage"].is_null(), "{status:#}");
    bucket.empty();
    controller.wait("main", "the slate", Duration::from_secs(60), |status| {
        status["on_air"]["kind"] == "slate"
    });
    let status = controller.status("main");
    assert!(
        status["programme"]["storage"].is_null(),
        "it answers: {status:#}"
    );
    receiver.wait_for_span(2_000, SOON);
    controller.stop("main");
    Report::of(&receiver.only_connection().messages).assert_no_hole_over(HOLE);
}
