//! The preview runs while someone watches, and costs nothing otherwise.

use std::time::Duration;

use e2e::controller::{Controller, Setup};
use e2e::http::Answer;
use e2e::media::{self, bad};
use e2e::process;
use e2e::s3::Bucket;
use e2e::wait;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(40);

fn get(controller: &Controller, path: &str) -> Answer {
    controller.call("GET", path, &Value::Null)
}

/// Segments of a playlist, in order.
fn segments(playlist: &str) -> Vec<String> {
    let lines = playlist.lines().filter(|line| line.ends_with(".ts"));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_stream_without_destinations_can_be_watched_in_a_player() {
    let bucket = Bucket::with(&[("a.mp4", &bad::good()), ("b.mkv", &media::ten()[2].1)]);
    let controller = Setup::new(bucket.environment())
        .stream(
            "main",
            json!({ "format": media::format(), "destinations": [] }),
        )
        .start();
    controller.start("main");
    controller.wait_state("main", "running", SOON);
    // Only items are read, nothing is written, while nobody watches.
    wait::observe(Duration::from_secs(1));
    let status = controller.status("main");
    assert_eq!(status["preview"], "idle", "{status:#}");
    assert_eq!(controller.ffmpegs("hls").len(), 0);

    let mut watched: Vec<String> = Vec::new();
    let mut film = Vec::new();
    wait::until("10 s of preview", Duration::from_secs(60), || {
        let playlist = get(&controller, "/preview/main/index.m3u8");
        if playlist.status != 200 {
            assert_eq!(playlist.json()["error"]["code"], "preview_starting");
            return None;
        }
        for name in segments(&playlist.text()) {
            if !watched.contains(&name) {
                let segment = get(&controller, &format!("/preview/main/{name}"));
                film.extend(segment.expect(200).body);
                watched.push(name);
            }
        }
        let length: f64 = duration(&film);
        (length >= 10.0).then_some(())
    });
    assert_eq!(controller.status("main")["preview"], "running");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("watched.ts");
    std::fs::write(&file, &film).unwrap();
    // Every picture decodes, across the change from one item's parameters to the other's.
    let name = file.to_string_lossy();
    let args = ["-v", "error", "-xerror", "-i", &name, "-f", "null", "-"];
    let output = process::run("ffmpeg", &args, Duration::from_secs(30)).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    for path in [
        "/preview/main/../main.sock",
        "/preview/main/%2e%2e%2fmain.sock",
        "/preview/main/index.txt",
    ] {
        assert_eq!(get(&controller, path).status, 404, "{path}");
    }
    let gone = |status: &Value| status["preview"] == "idle" && controller.ffmpegs("hls").is_empty();
    controller.wait(
        "main",
        "the end of the preview",
        Duration::from_secs(100),
        gone,
    );
}

/// Seconds of a transport stream that is not yet complete.
fn duration(film: &[u8]) -> f64 {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("part.ts");
    std::fs::write(&file, film).expect("writing it");
    let probed = media::probe(&file);
    let text = probed["format"]["duration"].as_str().unwrap_or("0");
    text.parse().unwrap_or(0.0)
}
