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
        timeout: Duration::from_secs(30),
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
