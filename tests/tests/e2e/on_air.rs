//! The main job: a bucket goes in, one unbroken session comes out.

use std::time::Duration;

use e2e::controller::{Controller, Setup, to_one};
use e2e::media::{self, bad};
use e2e::nginx::Nginx;
use e2e::rtmp::Receiver;
use e2e::s3::Bucket;
use e2e::viewer::{self, Report};
use e2e::{process, wait};
use serde_json::json;

const SOON: Duration = Duration::from_secs(40);

#[test]
fn ten_files_of_a_signed_bucket_are_one_unbroken_session() {
    let files = media::ten();
    let objects: Vec<_> = files
        .iter()
        .map(|(k, f)| (k.as_str(), f.as_path()))
        .collect();
    let bucket = Bucket::with(&objects);
    let receiver = Receiver::start();
    let nginx = Nginx::start();
    let mut destinations = vec![json!({ "name": "out", "url": format!("{}/key", receiver.url()) })];
    match &nginx {
        Some(nginx) => {
            destinations.push(json!({ "name": "nginx", "url": format!("{}/key", nginx.url()) }))
        }
        None => super::skipped("nginx with its RTMP module is not installed"),
    }
    let controller = Setup::new(bucket.environment())
        .variable("CACHE_MAX_BYTES", "0")
        .stream(
            "main",
            json!({ "format": media::format(), "destinations": destinations }),
        )
        .start();

    controller.start("main");
    // One round takes 36 s; two more items show that the programme begins again.
    receiver.wait_for_span(43_000, Duration::from_secs(90));
    let status = controller.status("main");
    assert_eq!(status["state"], "running", "{status:#}");
    assert_eq!(status["programme"]["problems"], json!([]), "{status:#}");
    assert_eq!(status["restarts"], 0);
    controller.stop("main");

    let connection = receiver.only_connection();
    Report::of(&connection.messages).assert_seamless(media::FPS);
    let known: Vec<_> = files.iter().map(|(_, file)| media::packets(file)).collect();
    let passages = viewer::passages(&connection.messages, &known);
    let order: Vec<_> = passages.iter().map(|passage| passage.file).collect();
    assert_eq!(order[..11], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0], "{order:?}");
    for passage in &passages[..10] {
        assert_eq!(
            passage.pictures.0, passage.pictures.1,
            "every picture once: {passage:?}"
        );
        assert!(
            passage.av_error_ms() <= 20,
            "picture and sound moved apart: {passage:?}"
        );
    }

    let seen = bucket.seen();
    let reads = || {
        seen.iter()
            .filter(|s| s.method == "GET" && s.path.contains('-'))
    };
    assert!(
        reads().count() >= 10 && reads().all(|s| s.by_signed_url),
        "{seen:#?}"
    );
    assert!(seen.iter().all(|s| s.status < 400), "{seen:#?}");
    if let Some(nginx) = nginx {
        let recordings = nginx.recordings();
        assert_eq!(recordings.len(), 1, "one session at the platform");
        let tags = media::packets(&recordings[0]);
        assert!(tags.len() > 3_000, "{} packets recorded", tags.len());
    }
}

#[test]
fn a_local_stream_is_on_air_in_1500_ms_and_off_in_2_s() {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let receiver = Receiver::start();
    let controller = Setup::local(folder.path())
        .stream("main", to_one(&receiver.url()))
        .start();
    let mut starts = Vec::new();
    let mut stops = Vec::new();
    // The best of three: another test may hold the processors during one of them.
    for number in 0..3 {
        let asked = controller.start("main");
        starts.push(receiver.wait_for_media(number, SOON) - asked);
        controller.wait_state("main", "running", SOON);
        assert_goes_first(&controller);
        stops.push(controller.stop("main"));
        let status = controller.status("main");
        assert_eq!(status["state"], "stopped", "{status:#}");
        assert!(status["pid"].is_null());
        assert!(
            receiver.look(|all| all[number].unpublished),
            "a clean goodbye"
        );
    }
    let best = |all: &[Duration]| all.iter().min().copied().unwrap();
    // Twice what is promised, which `scripts/bench.sh` measures on a machine of its own.
    assert!(best(&starts) <= Duration::from_secs(3), "{starts:?}");
    assert!(best(&stops) <= Duration::from_secs(4), "{stops:?}");
    let left = controller.family();
    assert_eq!(left.len(), 1, "only the controller is left: {left:#?}");
}

/// Where the controller may go before FFmpeg, a worker that is on air does as well.
fn assert_goes_first(controller: &Controller) {
    let first = process::niceness(controller.pid());
    if first.iter().any(|nice| *nice != -10) {
        return e2e::skipped(&format!("priorities: the controller has {first:?}"));
    }
    let worker = controller.worker_pid("main");
    wait::until("it goes first", SOON, || {
        let threads = process::niceness(worker);
        threads.iter().all(|nice| *nice == -10).then_some(())
    });
    for ffmpeg in controller.ffmpegs("flv") {
        let threads = process::niceness(ffmpeg.pid);
        assert!(threads.iter().all(|nice| *nice >= 0), "{threads:?}");
    }
}

#[test]
fn a_changed_configuration_reaches_a_running_stream() {
    let bucket = Bucket::with(&[("a.mp4", &media::long()), ("b/c.mp4", &bad::good())]);
    let (first, second) = (Receiver::start(), Receiver::start());
    let mut config = to_one(&first.url());
    config["programme"] = json!({ "items": [{ "key": "a.mp4" }] });
    let controller = Setup::new(bucket.environment())
        .stream("main", config.clone())
        .start();
    controller.start("main");
    controller.wait_on_air("main", "a.mp4", SOON);
    let pid = controller.worker_pid("main");

    let more = json!({ "name": "more", "url": format!("{}/key", second.url()) });
    config["destinations"].as_array_mut().unwrap().push(more);
    config["programme"] = json!({ "items": [{ "key": "a.mp4" }, { "prefix": "b/" }] });
    controller.call("PUT", "/streams/main", &config).expect(200);
    second.wait_for_span(2_000, SOON);
    controller
        .call("POST", "/streams/main/skip", &json!(null))
        .expect(202);
    controller.wait_on_air("main", "b/c.mp4", SOON);

    let take = |what: &str| {
        let body = json!({ "take": what });
        controller
            .call("POST", "/streams/main/source", &body)
            .expect(202);
    };
    take("slate");
    controller.wait("main", "slate on air", SOON, |s| {
        s["on_air"]["kind"] == "slate"
    });
    take("programme");
    controller.wait("main", "programme on air", SOON, |s| {
        s["on_air"]["kind"] == "programme"
    });

    config["destinations"].as_array_mut().unwrap().remove(1);
    controller.call("PUT", "/streams/main", &config).expect(200);
    wait::until("the removed destination ends", SOON, || {
        second.look(|all| all[0].closed).map(drop)
    });
    assert_eq!(
        controller.worker_pid("main"),
        pid,
        "no restart for any of it"
    );
    controller.stop("main");
    Report::of(&first.only_connection().messages).assert_seamless(media::FPS);
    assert_eq!(second.media_connections(), 1);
}

#[test]
fn an_automatic_format_is_that_of_the_files() {
    let bucket = Bucket::with(&[("a.mp4", &bad::good()), ("b.mp4", &media::ten()[3].1)]);
    let receiver = Receiver::start();
    let mut config = to_one(&receiver.url());
    config["format"] = json!("auto");
    let controller = Setup::new(bucket.environment())
        .stream("main", config)
        .start();
    controller.start("main");
    receiver.wait_for_span(4_000, SOON);
    let status = controller.status("main");
    let format = &status["format"];
    assert_eq!(
        (&format["width"], &format["fps"]),
        (&json!(640), &json!(30)),
        "{status:#}"
    );
    assert_eq!(status["on_air"]["fit"]["how"], "copy", "{status:#}");
}
