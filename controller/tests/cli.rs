//! The subcommands, as an operator calls them.

#![expect(
    clippy::unwrap_used,
    reason = "a harness that cannot do its part is a failed test"
)]

use std::path::Path;
use std::time::Duration;

use supervise::{CaptureLimits, ExitReason, Spec, capture};

/// Exit, standard output and standard error of one call.
async fn call(
    dir: &Path,
    variables: &[(&str, &str)],
    arguments: &[&str],
) -> (ExitReason, String, String) {
    let mut spec = Spec::new(env!("CARGO_BIN_EXE_stream-controller"))
        .env("STATE_DIR", dir)
        .env("WORKER_BIN", env!("CARGO_BIN_EXE_stream-controller"))
        .args(arguments);
    for (name, value) in variables {
        spec = spec.env(name, value);
    }
    let limits = CaptureLimits {
        timeout: Duration::from_secs(90),
        max_bytes: 64 * 1024,
    };
    let said = capture(spec, limits).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (said.exit, text(said.stdout), text(said.stderr))
}

fn line<'a>(said: &'a str, what: &str) -> &'a str {
    let found = said
        .lines()
        .find(|line| line.split_whitespace().nth(1) == Some(what));
    found.unwrap_or_else(|| panic!("no line about {what} in\n{said}"))
}

#[tokio::test]
async fn check_tells_each_thing_that_is_missing_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("media")).unwrap();
    let (exit, said, _) = call(dir.path(), &[], &["check"]).await;
    assert_eq!(exit, ExitReason::Code(0), "{said}");
    assert!(line(&said, "ffmpeg").starts_with("ok"));
    assert!(line(&said, "STATE_DIR").contains(" free"));
    let media = line(&said, "media");
    assert!(
        media.starts_with("warn") && media.contains("media upload"),
        "{media}"
    );

    let config = br#"{"version": 1, "streams": {"main": {"destinations": [
        {"name": "a", "url": "rtmps://a.example/live", "key_env": "A_KEY"},
        {"name": "b", "url": "rtmps://b.example/live", "key_env": "B_KEY"}]}}}"#;
    storage::atomic::write(&dir.path().join("stream_config.json"), config).unwrap();
    let broken = [
        ("FFMPEG_BIN", "/nowhere/ffmpeg"),
        ("STORAGE_LOCAL_DIR", "/nowhere/media"),
        ("A_KEY", "canary-1234"),
    ];
    let (exit, said, _) = call(dir.path(), &broken, &["check"]).await;
    assert_eq!(exit, ExitReason::Code(1), "{said}");
    assert!(line(&said, "ffmpeg").starts_with("FAIL") && said.contains("apt-get install ffmpeg"));
    assert!(line(&said, "media").contains("STORAGE_LOCAL_DIR"), "{said}");
    assert!(line(&said, "main/key/a").starts_with("ok"));
    assert!(line(&said, "main/key/b").contains("B_KEY is not set"));
    let nowhere = line(&said, "main/destination/a");
    assert!(nowhere.contains("a.example has no address"), "{nowhere}");
    assert!(said.ends_with("5 to repair first\n"), "{said}");
    assert!(!said.contains("canary"), "no key is shown");

    let (exit, said, _) = call(dir.path(), &broken, &["check", "--json"]).await;
    assert_eq!(exit, ExitReason::Code(1));
    let told: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&told["ok"], &told["preflight"]["outcome"]),
        (&false.into(), &"failed".into())
    );
    assert!(
        told["preflight"]["checks"].as_array().unwrap().len() > 10,
        "{told}"
    );
}

/// An FFmpeg that lists everything and cannot open its encoder.
const WITHOUT_ENCODER: &str = r#"#!/bin/sh
case " $* " in *" libx264 "*) echo "no licence for libx264" >&2; exit 1 ;; esac
exec ffmpeg "$@"
"#;

#[tokio::test]
async fn check_renders_the_slate_and_looks_at_the_machine_whatever_the_streams_are() {
    let dir = tempfile::tempdir().unwrap();
    let media = dir.path().join("media");
    std::fs::create_dir(&media).unwrap();
    let picture = Spec::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc=s=64x36"])
        .args(["-frames:v", "1"])
        .arg(media.join("good.png"));
    let limits = CaptureLimits {
        timeout: Duration::from_secs(30),
        max_bytes: 64 * 1024,
    };
    capture(picture, limits).await.unwrap();
    storage::atomic::write(&media.join("bad.png"), b"not a picture").unwrap();
    storage::atomic::write(&media.join("empty.jpg"), b"").unwrap();
    storage::atomic::write(&media.join("torn.mp4"), &[7; 50_000]).unwrap();
    let config = br#"{"version": 1, "streams": {
        "good": {"slate": {"key": "good.png"}}, "bad": {"slate": {"key": "bad.png"}},
        "empty": {"slate": {"key": "empty.jpg"}}, "gone": {"slate": {"key": "gone.png"}}}}"#;
    let document = dir.path().join("stream_config.json");
    storage::atomic::write(&document, config).unwrap();
    let (exit, said, _) = call(dir.path(), &[], &["check"]).await;
    assert_eq!(exit, ExitReason::Code(1), "{said}");
    assert!(line(&said, "card").starts_with("ok"), "{said}");
    assert!(line(&said, "good/slate").starts_with("ok"), "{said}");
    for (what, why) in [
        ("bad/slate", "bad.png cannot be rendered (bad.png: "),
        ("empty/slate", "empty.jpg is empty"),
        ("gone/slate", "there is no such object"),
    ] {
        let told = line(&said, what);
        assert!(told.starts_with("FAIL") && told.contains(why), "{told}");
        assert!(told.contains("a generated card stands in"), "{told}");
    }
    let item = line(&said, "good/item");
    assert!(item.starts_with("FAIL") && item.contains("torn.mp4") && item.contains("Upload again"));

    // Nothing is known of the streams, and FFmpeg is not what it says it is.
    let ffmpeg = dir.path().join("ffmpeg");
    storage::atomic::write(&ffmpeg, WITHOUT_ENCODER.as_bytes()).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&ffmpeg, executable).unwrap();
    storage::atomic::write(&document, b"{\"version\": 1, \"str").unwrap();
    let variables = [("FFMPEG_BIN", ffmpeg.to_str().unwrap())];
    let (exit, said, _) = call(dir.path(), &variables, &["check"]).await;
    assert_eq!(exit, ExitReason::Code(1), "{said}");
    assert!(line(&said, "streams").starts_with("FAIL"), "{said}");
    assert!(line(&said, "encoders").starts_with("ok"), "{said}");
    let card = line(&said, "card");
    assert!(
        card.starts_with("FAIL") && card.contains("no licence"),
        "{card}"
    );
    assert!(line(&said, "STATE_DIR").starts_with("ok"), "{said}");
    assert!(said.ends_with("2 to repair first\n"), "{said}");
}

#[tokio::test]
async fn media_are_uploaded_listed_and_addressed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("media")).unwrap();
    let file = dir.path().join("film.mp4");
    storage::atomic::write(&file, b"0123456789").unwrap();
    let file = file.to_str().unwrap();
    for (arguments, key) in [
        (&["media", "upload", file][..], "film.mp4"),
        (
            &["media", "upload", file, "--key", "shows/one.mp4"],
            "shows/one.mp4",
        ),
        (
            &["media", "upload", file, "--key", "shows/"],
            "shows/film.mp4",
        ),
    ] {
        let (exit, said, error) = call(dir.path(), &[], arguments).await;
        assert_eq!(
            (exit, said),
            (ExitReason::Code(0), format!("uploaded {key} (10 B)\n")),
            "{error}"
        );
    }
    let (_, said, _) = call(dir.path(), &[], &["media", "list", "shows/"]).await;
    let keys: Vec<_> = said
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    assert_eq!(keys, ["shows/film.mp4", "shows/one.mp4", "B"], "{said}");
    let (_, said, _) = call(dir.path(), &[], &["media", "url", "film.mp4"]).await;
    assert!(
        said.starts_with("http://127.0.0.1:8080/local-media/film.mp4?"),
        "{said}"
    );

    let (exit, _, error) = call(dir.path(), &[], &["media", "url", "nothing.mp4"]).await;
    assert_eq!(exit, ExitReason::Code(1));
    assert!(
        error.contains("nothing.mp4") && error.contains("media list"),
        "{error}"
    );
    let (exit, _, error) = call(dir.path(), &[], &["media", "upload", "/nowhere/a.mp4"]).await;
    assert_eq!(exit, ExitReason::Code(1));
    assert!(error.contains("cannot read /nowhere/a.mp4"), "{error}");
}

#[tokio::test]
async fn workers_are_looked_for_whatever_the_other_settings_are() {
    let dir = tempfile::tempdir().unwrap();
    let broken = [("STORAGE_PROVIDER", "nonsense"), ("RUST_LOG", "=,=")];
    for arguments in [&["workers", "list"][..], &["workers", "stop"]] {
        let (exit, said, errors) = call(dir.path(), &broken, arguments).await;
        assert_eq!(exit, ExitReason::Code(0), "{errors}");
        assert_eq!(said, "no worker runs\n");
    }
    let gone = dir.path().join("gone");
    let (exit, _, errors) = call(&gone, &[], &["workers", "stop"]).await;
    assert_eq!(exit, ExitReason::Code(1));
    assert!(errors.contains("STATE_DIR"), "{errors}");
}
