//! Workers that die, fail, hang or do not let go.

use std::time::Duration;

use futures_util::future::Either;
use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::time::Instant;

use super::site::{SOON, Site, is_alive, pid, stream, until};
use super::{TOLD, error_type, kill};

#[tokio::test]
async fn a_worker_that_dies_is_noticed_at_once_and_started_again() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let mut worker = controller.on_air().await;
    let mut seen = 0;
    for kills in 1..=4 {
        let killed_at = Timestamp::now();
        kill(worker, Signal::SIGKILL);
        let status = controller.noticed(kills).await;
        // A busy machine may let the quarter of a second that it lasts pass between two looks.
        if status["state"] == "backoff" {
            seen += 1;
            let noticed: Timestamp = status["since"].as_str().unwrap().parse().unwrap();
            let took = noticed.duration_since(killed_at);
            assert!(took.unsigned_abs() < TOLD, "noticed after {took:?}");
            assert_eq!(error_type(&status), "worker_killed");
            assert_eq!(status["exit_code"], Value::Null);
            assert!(status["next_restart_at"].is_string(), "{status}");
        }
        let status = controller.state("running").await;
        assert_ne!(pid(&status), worker);
        assert_eq!(status["restarts"], kills);
        assert_eq!(status["error"], Value::Null);
        worker = pid(&status);
    }
    assert!(seen > 0, "the wait before a restart was never shown");
}

#[tokio::test]
async fn a_worker_that_fails_is_retried_with_growing_waits() {
    let site = Site::with_script("exit-70");
    let controller = site.controller().await;
    let asked = Instant::now();
    assert_eq!(controller.post("/streams/start").await.0, 202);
    let status = until(SOON, "two restarts", async || {
        let status = controller.status().await;
        (status["restarts"] == 2 && status["state"] == "backoff").then_some(status)
    })
    .await;
    // 1 s and 2 s, each 20 % shorter at the least.
    assert!(asked.elapsed() >= Duration::from_millis(2400));
    assert_eq!(error_type(&status), "worker_failed");
    assert_eq!(status["exit_code"], 70);
    assert_eq!(status["desired"], "running");
}

#[tokio::test]
async fn what_no_retry_can_fix_is_an_error_until_someone_starts_it_again() {
    let site = Site::with_script("exit-78");
    let controller = site.controller().await;
    assert_eq!(controller.post("/streams/start").await.0, 202);
    let status = controller.state("error").await;
    assert_eq!(error_type(&status), "worker_cannot_run");
    assert_eq!(status["exit_code"], 78);
    assert_eq!(status["restarts"], 0);

    let put = controller
        .call("PUT", "/streams/main", &stream("a.mp4"))
        .await;
    assert!((200..300).contains(&put.0), "{put:?}");
    controller.on_air().await;
}

#[tokio::test]
async fn a_worker_deaf_to_sigterm_is_killed_after_ten_seconds() {
    let site = Site::with_script("stubborn");
    let controller = site.controller().await;
    let worker = controller.on_air().await;
    let asked = Instant::now();
    let (code, status) = controller.post("/streams/stop").await;
    let took = asked.elapsed();
    assert_eq!((code, &status["state"]), (200, &Value::from("stopped")));
    assert!(!is_alive(worker));
    assert!(took >= Duration::from_millis(9_500), "after {took:?}");
}

#[tokio::test]
async fn a_worker_that_hangs_is_told_and_replaced() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let first = controller.on_air().await;
    kill(first, Signal::SIGSTOP);
    until(SOON, "it is told", async || {
        let status = controller.status().await;
        (status["state"] == "degraded" && error_type(&status) == "worker_unresponsive")
            .then_some(())
    })
    .await;
    let status = until(Duration::from_secs(90), "it is replaced", async || {
        let status = controller.status().await;
        (status["state"] == "running" && pid(&status) != first).then_some(status)
    })
    .await;
    assert!(!is_alive(first));
    assert_eq!(status["restarts"], 1);
}

#[tokio::test]
async fn a_crash_loop_is_not_forgotten_by_the_next_controller() {
    let site = Site::with_script("exit-70");
    let controller = site.controller().await;
    assert_eq!(controller.post("/streams/start").await.0, 202);
    until(SOON, "two restarts", async || {
        let status = controller.status().await;
        let written = site.read("stream_state.json").contains("\"failures\": 3");
        (status["state"] == "backoff" && written).then_some(())
    })
    .await;
    controller.crash().await;
    let controller = site.controller().await;
    let status = until(SOON, "it failed again", async || {
        let status = controller.status().await;
        (error_type(&status) == "worker_failed" && status["next_restart_at"].is_string())
            .then_some(status)
    })
    .await;
    let next: Timestamp = status["next_restart_at"].as_str().unwrap().parse().unwrap();
    let since: Timestamp = status["since"].as_str().unwrap().parse().unwrap();
    // The fourth rung is 8 s, 20 % shorter at the least.
    let wait = next.duration_since(since).as_millis();
    assert!((6_000..10_000).contains(&wait), "waits {wait} ms");
}

#[tokio::test]
async fn a_hung_worker_that_is_told_its_configuration_holds_up_only_who_saved_it() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let worker = controller.on_air().await;
    kill(worker, Signal::SIGSTOP);
    let mut others = 0;
    // On a busy machine one of them may be answered too late for it to tell.
    for item in ["b.mp4", "c.mp4", "d.mp4"] {
        let config = stream(item).replace(
            r#""destinations": ["#,
            r#""destinations": [{"name": "second", "url": "rtmp://127.0.0.1:2/live/x"}, "#,
        );
        let saved = std::pin::pin!(controller.call("PUT", "/streams/main", &config));
        let other = std::pin::pin!(async {
            until(SOON, "it is on disk", async || {
                let file = site.read("stream_config.json");
                file.contains(item).then_some(())
            })
            .await;
            assert_eq!(controller.post("/streams/main/start").await.0, 409);
            let another = format!(r#"{{"programme": {{"items": [{{"key": "{item}"}}]}}}}"#);
            let (code, answer) = controller.call("PUT", "/streams/other", &another).await;
            assert!([200, 201].contains(&code), "{code} {answer:#}");
        });
        let saved = match futures_util::future::select(saved, other).await {
            Either::Left((saved, other)) => {
                other.await;
                saved
            }
            Either::Right(((), saved)) => {
                others += 1;
                saved.await
            }
        };
        assert_eq!((saved.0, &saved.1["applied"]), (200, &"live".into()));
    }
    assert!(others > 0, "all others waited for the worker");
    kill(worker, Signal::SIGCONT);
    until(SOON, "it has taken the newest", async || {
        let status = controller.status().await;
        (status["destinations"].as_array()?.len() == 2).then_some(())
    })
    .await;
}
