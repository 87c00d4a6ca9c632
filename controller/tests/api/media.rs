//! What can be played, and how more is brought, with real files and the real `ffprobe`.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use supervise::{CaptureLimits, ExitReason, Spec, capture};
use tokio::time::Instant;

use crate::server::{Server, until};

async fn clip(to: &Path, arguments: &[&str]) {
    let limits = CaptureLimits {
        timeout: Duration::from_secs(60),
        max_bytes: 64 * 1024,
    };
    let spec = Spec::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-f", "lavfi", "-i"])
        .args(arguments)
        .arg(to);
    let made = capture(spec, limits).await.unwrap();
    assert_eq!(
        made.exit,
        ExitReason::Code(0),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

async fn listed(server: &Server, path: &str) -> Value {
    until("every object is looked into", async || {
        let list = server.get(path).await.json();
        (list["pending"] == 0).then_some(list)
    })
    .await
}

fn object<'a>(list: &'a Value, key: &str) -> &'a Value {
    let objects = list["objects"].as_array().unwrap();
    objects.iter().find(|object| object["key"] == key).unwrap()
}

#[tokio::test]
async fn media_are_listed_with_length_and_fit() {
    let server = Server::plain().await;
    let fits = "testsrc2=size=1280x720:rate=30:duration=1";
    let x264 = [
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-crf",
        "35",
        "-pix_fmt",
        "yuv420p",
        "-profile:v",
        "main",
    ];
    clip(
        &server.path("media/fits.mp4"),
        &[&[fits][..], &x264].concat(),
    )
    .await;
    let small = "testsrc2=size=320x240:rate=30:duration=1";
    clip(
        &server.path("media/small.mp4"),
        &[&[small][..], &x264].concat(),
    )
    .await;
    storage::atomic::write(&server.path("media/text.mp4"), b"not a film").unwrap();
    storage::atomic::write(&server.path("media/notes.txt"), b"not listed").unwrap();

    let list = listed(&server, "/media").await;
    assert_eq!(list["objects"].as_array().unwrap().len(), 3);
    let fits = object(&list, "fits.mp4");
    assert_eq!(fits["fit"], json!({"how": "copy"}), "{fits}");
    assert!((fits["duration_s"].as_f64().unwrap() - 1.0).abs() < 0.05);
    let small = object(&list, "small.mp4");
    assert_eq!(small["fit"]["how"], "transcode");
    assert_eq!(small["fit"]["video"][0]["what"], "size");
    assert_eq!(small["fit"]["video"][0]["has"], "320×240");
    assert_eq!(object(&list, "text.mp4")["fit"]["how"], "unplayable");
    assert_eq!(
        server.get("/media?prefix=sm").await.json()["objects"][0]["key"],
        "small.mp4"
    );

    let config = json!({"format": {"width": 320, "height": 240}}).to_string();
    server.call("PUT", "/streams/tiny", &config).await;
    let list = listed(&server, "/media?stream_id=tiny").await;
    assert_eq!(object(&list, "small.mp4")["fit"]["how"], "copy");
    assert_eq!(object(&list, "fits.mp4")["fit"]["how"], "transcode");
    server
        .get("/media?stream_id=other")
        .await
        .refused(404, "unknown_stream");
}

#[tokio::test]
async fn a_slow_look_does_not_hold_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let slow = dir.path().join("ffprobe");
    storage::atomic::write(&slow, b"#!/bin/sh\nexec sleep 60\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&slow, mode).unwrap();
    let server = Server::with(&[("FFPROBE_BIN", slow.to_str().unwrap())]).await;
    storage::atomic::write(&server.path("media/a.mp4"), b"whatever").unwrap();
    let asked = Instant::now();
    let list = server.get("/media").await.json();
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(30), "half of the look: {took:?}");
    assert_eq!(list["pending"], 1);
    assert_eq!(list["objects"][0]["fit"], json!({"how": "pending"}));
    assert_eq!(list["objects"][0]["size_bytes"], 8);
}

#[tokio::test]
async fn an_upload_address_takes_one_object_from_anyone_who_has_it() {
    let server = Server::with(&[("CONTROLLER_API_TOKEN", "correct-horse-battery")]).await;
    let headers = [
        ("authorization", "Bearer correct-horse-battery"),
        ("content-type", "application/json"),
    ];
    let ask = async |body: &'static str| {
        server
            .send("POST", "/media/upload-url", &headers, body)
            .await
    };
    let target = ask(r#"{"key": "shows/new.mp4"}"#).await.json();
    assert_eq!(target["method"], "PUT");
    assert_eq!(target["headers"]["Content-Type"], "video/mp4");
    let url = target["url"].as_str().unwrap();
    let path = url
        .strip_prefix(&format!("http://{}", server.address))
        .unwrap();
    let large = vec![7_u8; 1024 * 1024];
    let put = server.send("PUT", path, &[], large.clone()).await;
    assert_eq!(put.status, 200, "{:?}", put.body);
    assert_eq!(
        std::fs::read(server.path("media/shows/new.mp4")).unwrap(),
        large
    );
    let elsewhere = path.replace("new.mp4", "other.mp4");
    let refused = server.send("PUT", &elsewhere, &[], "x").await;
    refused.refused(403, "bad_signature");
    ask(r#"{"key": "../outside.mp4"}"#)
        .await
        .refused(422, "invalid_key");
    assert!(
        !server.log().contains("signature="),
        "no signature in the log"
    );
}
