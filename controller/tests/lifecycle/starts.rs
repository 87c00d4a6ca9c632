//! What is started, refused, stopped and changed at an operator's wish, and at the controller's start.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::timeout;

use super::site::{SOON, Site, is_alive, pid, stream, until};
use super::{error_type, workers};

#[tokio::test]
async fn start_and_stop_are_refused_where_they_make_no_sense() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    assert_eq!(controller.post("/streams/stop").await.0, 404);
    let worker = controller.on_air().await;
    assert_eq!(controller.post("/streams/start").await.0, 409);
    assert_eq!(controller.call("DELETE", "/streams/main", "").await.0, 409);
    assert_eq!(controller.post("/streams/main/skip").await.0, 202);

    let (code, status) = controller.post("/streams/stop").await;
    assert_eq!(code, 200);
    assert_eq!(status["state"], "stopped");
    assert!(!is_alive(worker), "stop answers when the worker is gone");
    assert_eq!(controller.call("DELETE", "/streams/main", "").await.0, 204);
    assert_eq!(controller.post("/streams/main/start").await.0, 404);
}

#[tokio::test]
async fn many_who_start_and_stop_at_once_leave_one_worker_or_none() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let storm = async {
        for round in 0..10 {
            let calls = (0..8).map(|caller| {
                let path = if (round + caller) % 2 == 0 {
                    "/streams/start"
                } else {
                    "/streams/stop"
                };
                controller.post(path)
            });
            for (code, answer) in futures_util::future::join_all(calls).await {
                assert!([200, 202, 404, 409].contains(&code), "{code} {answer}");
            }
            controller.status().await;
            let workers = workers(&site);
            assert!(workers.len() <= 1, "{workers:?}");
        }
    };
    timeout(Duration::from_secs(120), storm)
        .await
        .expect("it ends");
    // Refused when it is stopped already.
    controller.post("/streams/stop").await;
    until(SOON, "no worker is left", async || {
        workers(&site).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_stream_key_reaches_the_worker_and_nothing_else() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let worker = controller.on_air().await;
    let log = site.read("logs/main.log");
    assert!(log.contains("generation 1 with 1 stream keys"), "{log}");
    for file in ["cmdline", "environ"] {
        let text = std::fs::read(format!("/proc/{worker}/{file}")).unwrap();
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains("canary"), "{file}: {text}");
    }
    for file in [
        "run/main.job.json",
        "stream_state.json",
        "controller.err",
        "logs/main.log",
    ] {
        let text = site.read(file);
        assert!(!text.is_empty(), "{file}");
        assert!(!text.contains("canary"), "{file}: {text}");
    }
    assert!(!controller.status().await.to_string().contains("canary"));
}

#[tokio::test]
async fn a_stream_whose_key_is_not_set_is_not_started() {
    let site = Site::new();
    site.write_config(
        &format!(
            r#"{{"version": 1, "streams": {{"main": {}}}}}"#,
            stream("a.mp4")
        )
        .replace("MAIN_KEY", "OTHER_KEY"),
    );
    let controller = site.controller().await;
    let (code, answer) = controller.post("/streams/start").await;
    assert_eq!(code, 422);
    let problem = &answer["error"]["problems"][0];
    assert_eq!(problem["path"], "destinations[0].key_env");
    assert_eq!(controller.status().await["state"], "stopped");

    let theft = stream("a.mp4").replace("MAIN_KEY", "STORAGE_SECRET_ACCESS_KEY");
    assert_eq!(controller.call("PUT", "/streams/main", &theft).await.0, 422);
}

#[tokio::test]
async fn a_running_stream_takes_a_new_configuration_or_says_that_it_must_be_restarted() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let worker = controller.on_air().await;

    let two = stream("b.mp4").replace(
        r#""destinations": ["#,
        r#""destinations": [{"name": "second", "url": "rtmp://127.0.0.1:2/live/x"}, "#,
    );
    let (code, answer) = controller.call("PUT", "/streams/main", &two).await;
    assert!((200..300).contains(&code), "{answer}");
    until(SOON, "the worker has both destinations", async || {
        let status = controller.status().await;
        (status["destinations"].as_array()?.len() == 2).then_some(())
    })
    .await;

    let other_format = two.replacen('{', r#"{"format": {"fps": 25}, "#, 1);
    let (code, answer) = controller.call("PUT", "/streams/main", &other_format).await;
    assert!((200..300).contains(&code), "{answer}");
    let status = controller.status().await;
    assert_eq!(status["restart_needed"], true);
    assert_eq!(pid(&status), worker, "nothing is taken off air unasked");
    assert!(site.read("stream_config.json").contains("\"fps\": 25"));
}

#[tokio::test]
async fn autostart_puts_a_stream_on_air_with_the_controller() {
    let site = Site::new();
    let main = stream("a.mp4").replacen('{', r#"{"autostart": true, "#, 1);
    site.write_config(&format!(
        r#"{{"version": 1, "streams": {{"main": {main}}}}}"#
    ));
    let controller = site.controller().await;
    let status = controller.state("running").await;
    assert_eq!(status["desired"], "running");
}

#[tokio::test]
async fn an_autostart_without_ffmpeg_waits_for_it_and_can_be_stopped() {
    let mut site = Site::new();
    let main = stream("a.mp4").replacen('{', r#"{"autostart": true, "#, 1);
    site.write_config(&format!(
        r#"{{"version": 1, "streams": {{"main": {main}}}}}"#
    ));
    site.variable("FFMPEG_BIN", "/nowhere/ffmpeg");
    let controller = site.controller().await;
    let status = controller.state("backoff").await;
    assert_eq!(error_type(&status), "preflight_failed", "{status}");
    assert_eq!(status["preflight"]["outcome"], "failed");
    assert_eq!(status["restarts"], 0);
    let next: Timestamp = status["next_restart_at"].as_str().unwrap().parse().unwrap();
    let since: Timestamp = status["since"].as_str().unwrap().parse().unwrap();
    let wait = next.duration_since(since).as_secs();
    assert!((45..=75).contains(&wait), "tried again in {wait} s");
    assert!(workers(&site).is_empty());
    let message = status["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("/nowhere/ffmpeg") && message.contains("FFMPEG_BIN"),
        "{message}"
    );

    let (code, status) = controller.post("/streams/stop").await;
    assert_eq!((code, &status["state"]), (200, &"stopped".into()));
    controller.crash().await;
    site.variable("FFMPEG_BIN", "ffmpeg");
    let controller = site.controller().await;
    let status = controller.state("running").await;
    assert_eq!(status["preflight"]["checks"][0]["name"], "ffmpeg");
    assert_eq!(status["preflight"]["checks"][0]["outcome"], "ok");
    let found = until(SOON, "the destination was tried", async || {
        let status = controller.status().await;
        let checks = status["preflight"]["checks"].as_array()?.clone();
        checks
            .into_iter()
            .find(|check| check["name"] == "destination/main")
    })
    .await;
    assert_eq!(found["outcome"], "warning", "{found}");
}

#[tokio::test]
async fn one_of_two_keys_is_enough_to_start_unasked() {
    let site = Site::new();
    let main = stream("a.mp4").replacen('{', r#"{"autostart": true, "#, 1).replace(
        r#""destinations": ["#,
        r#""destinations": [{"name": "b", "url": "rtmp://127.0.0.1:1/b", "key_env": "B_KEY"}, "#,
    );
    site.write_config(&format!(
        r#"{{"version": 1, "streams": {{"main": {main}}}}}"#
    ));
    let controller = site.controller().await;
    let status = controller.state("running").await;
    let checks = status["preflight"]["checks"].as_array().unwrap();
    let key = checks
        .iter()
        .find(|check| check["name"] == "key/b")
        .unwrap();
    assert_eq!(key["outcome"], "warning", "{key}");
    controller.post("/streams/stop").await;
    assert_eq!(
        controller.post("/streams/start").await.0,
        422,
        "asked for, all must be there"
    );
}
