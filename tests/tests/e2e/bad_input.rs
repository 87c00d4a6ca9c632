//! Whatever is in the bucket, the session holds, and the operator learns why an item did not air.

use std::time::Duration;

use e2e::controller::{Controller, Setup, to_one};
use e2e::media::{self, bad, bad::Fate};
use e2e::rtmp::Receiver;
use e2e::s3::Bucket;
use e2e::viewer::Report;
use e2e::wait;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(40);
/// The longest standstill a viewer may be shown.
const HOLE: Duration = Duration::from_millis(500);

fn of_fate(wanted: &[Fate]) -> Vec<bad::Bad> {
    let mut all = bad::all();
    all.retain(|bad| wanted.contains(&bad.fate));
    all
}

fn bucket_of(files: &[bad::Bad]) -> Bucket {
    let bucket = Bucket::with(&[("good.mp4", &bad::good())]);
    for bad in files {
        bucket.put(bad.key, &bad.file);
    }
    bucket
}

fn problem_keys(status: &Value) -> Vec<String> {
    let problems = status["programme"]["problems"].as_array();
    let keys = problems
        .into_iter()
        .flatten()
        .filter_map(|p| p["key"].as_str());
    keys.map(str::to_owned).collect()
}

fn skips_logged(controller: &Controller, key: &str) -> usize {
    let log = controller.worker_log();
    let about = |line: &&str| line.contains("item skipped") && line.contains(&format!("\"{key}\""));
    log.lines().filter(about).count()
}

#[test]
fn files_that_do_not_fit_are_transcoded_into_the_same_session() {
    let files = of_fate(&[Fate::Airs]);
    let bucket = bucket_of(&files);
    let receiver = Receiver::start();
    let controller = Setup::new(bucket.environment())
        .stream("main", to_one(&receiver.url()))
        .start();
    controller.start("main");
    let mut aired = Vec::new();
    wait::until("every file on air", Duration::from_secs(150), || {
        let on_air = controller.status("main")["on_air"].clone();
        let key = on_air["item"].as_str()?.to_owned();
        if !aired.contains(&key) {
            aired.push(key);
        }
        (aired.len() == files.len() + 1).then_some(())
    });
    let status = controller.status("main");
    assert_eq!(problem_keys(&status), [""; 0], "{status:#}");

    let media = controller.get("/media?stream_id=main");
    for object in media["objects"].as_array().unwrap() {
        let copied = ["good.mp4", "moov-at-end.mp4", "wrong-extension.mkv"];
        let key = object["key"].as_str().unwrap();
        let how = &object["fit"]["how"];
        let expected = if copied.contains(&key) {
            "copy"
        } else {
            "transcode"
        };
        // Silence is made on the fly, so a file without sound is copied.
        assert!(
            *how == expected || (key == "video-only.mp4" && *how == "copy"),
            "{object:#}"
        );
    }
    let reason = |key: &str| {
        let objects = media["objects"].as_array().unwrap();
        let object = objects.iter().find(|o| o["key"] == key).unwrap();
        object["fit"].to_string()
    };
    assert!(
        reason("hevc.mp4").contains("hevc"),
        "{}",
        reason("hevc.mp4")
    );
    assert!(
        reason("portrait.mp4").contains("360"),
        "{}",
        reason("portrait.mp4")
    );
    controller.stop("main");
    Report::of(&receiver.only_connection().messages).assert_seamless(media::FPS);
}

#[test]
fn files_that_cannot_be_played_are_skipped_and_told_once() {
    let files = of_fate(&[Fate::Skipped]);
    let bucket = bucket_of(&files);
    let receiver = Receiver::start();
    let controller = Setup::new(bucket.environment())
        .stream("main", to_one(&receiver.url()))
        .start();
    controller.start("main");
    let status = controller.wait(
        "main",
        "all problems told",
        Duration::from_secs(80),
        |status| {
            let keys = problem_keys(status);
            files
                .iter()
                .all(|bad| keys.iter().any(|key| key == bad.key))
        },
    );
    for problem in status["programme"]["problems"].as_array().unwrap() {
        for part in ["type", "message", "hint"] {
            let text = problem["error"][part].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{part} of {problem:#}");
        }
        assert_ne!(problem["key"], "good.mp4");
    }
    // Some rounds later nothing has been told twice, and the good file airs all the time.
    receiver.wait_for_span(20_000, Duration::from_secs(60));
    for bad in &files {
        assert_eq!(
            skips_logged(&controller, bad.key),
            1,
            "{}: {}",
            bad.key,
            controller.worker_log()
        );
    }
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    assert!(
        !controller.logs().contains(&format!("\"{}\"", host.trim())),
        "a playlist was followed"
    );
    controller.stop("main");
    let report = Report::of(&receiver.only_connection().messages);
    report.assert_decodable();
    report.assert_no_hole_over(HOLE);
}

#[test]
fn a_truncated_file_airs_as_far_as_it_goes() {
    let bucket = bucket_of(&of_fate(&[Fate::AirsInPart]));
    let receiver = Receiver::start();
    let controller = Setup::new(bucket.environment())
        .stream("main", to_one(&receiver.url()))
        .start();
    controller.start("main");
    let problem = |status: &Value| problem_keys(status).contains(&"truncated.mp4".to_owned());
    controller.wait("main", "the file is told to be short", SOON, problem);
    controller.wait_on_air("main", "good.mp4", SOON);
    receiver.wait_for_span(12_000, SOON);
    assert_eq!(skips_logged(&controller, "truncated.mp4"), 1);
    controller.stop("main");
    let report = Report::of(&receiver.only_connection().messages);
    report.assert_decodable();
    report.assert_no_hole_over(HOLE);
}

#[test]
fn an_object_deleted_before_it_airs_is_skipped() {
    let bucket = Bucket::with(&[
        ("a.mp4", &media::long()),
        ("b.mp4", &media::long()),
        ("c.mp4", &media::long()),
    ]);
    let receiver = Receiver::start();
    let controller = Setup::new(bucket.environment())
        .stream("main", to_one(&receiver.url()))
        .start();
    controller.start("main");
    let status = controller.wait_on_air("main", "a.mp4", SOON);
    assert_eq!(status["programme"]["items"], 3);
    bucket.delete("b.mp4");
    controller
        .call("POST", "/streams/main/skip", &json!(null))
        .expect(202);
    let status = controller.wait_on_air("main", "c.mp4", SOON);
    // A listing may have come between, after which it is no item any more.
    if status["programme"]["items"] == 3 {
        let problem = &status["programme"]["problems"][0];
        assert_eq!(problem["key"], "b.mp4", "{status:#}");
        assert_eq!(problem["error"]["type"], "no_such_key", "{status:#}");
    }
    controller.wait("main", "it is no item any more", SOON, |status| {
        status["programme"]["items"] == 2
    });
    let log = controller.worker_log();
    let skip = log.lines().find(|line| line.contains("item skipped"));
    assert!(skip.is_some_and(|it| it.contains("no_such_key")), "{log}");
    assert_eq!(skips_logged(&controller, "b.mp4"), 1);
    controller.stop("main");
    Report::of(&receiver.only_connection().messages).assert_no_hole_over(HOLE);
}

#[test]
fn an_empty_bucket_shows_the_slate_and_is_played_soon_after_it_was_filled() {
    let bucket = Bucket::start();
    let receiver = Receiver::start();
    let controller = Setup::new(bucket.environment())
        .stream("main", to_one(&receiver.url()))
        .start();
    let begun = controller.start("main");
    let slate = |s: &Value| s["on_air"]["kind"] == "slate";
    let status = controller.wait("main", "the slate", SOON, slate);
    receiver.wait_for_span(2_000, SOON);
    let status = if status["programme"]["error"].is_null() {
        controller.status("main")
    } else {
        status
    };
    assert_eq!(status["programme"]["items"], 0, "{status:#}");
    assert!(
        !status["programme"]["error"]["hint"].is_null(),
        "{status:#}"
    );
    let status = controller.wait_state("main", "degraded", SOON);
    assert!(!status["on_air"]["reason"].is_null(), "{status:#}");
    let looks = || {
        bucket
            .seen()
            .iter()
            .filter(|s| s.query.contains("list-type"))
            .count()
    };
    bucket.put("new.mp4", &bad::good());
    // By then it has been empty for a few seconds: it is looked at every two.
    controller.wait_on_air("main", "new.mp4", SOON);
    let (looks, seconds) = (looks(), begun.elapsed().as_secs());
    // The first ones are of the pre-flight and of the worker's beginning.
    let most = 5 + usize::try_from(seconds / 2).unwrap();
    assert!(looks <= most, "not all the time: {looks} in {seconds} s");
    controller.wait_state("main", "running", SOON);
    controller.stop("main");
    Report::of(&receiver.only_connection().messages).assert_seamless(media::FPS);
}
