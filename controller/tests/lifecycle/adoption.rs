//! Workers that outlive their controller, and what the next one makes of them.

use nix::sys::signal::Signal;
use serde_json::Value;
use supervise::ExitReason;
use tokio::time::Instant;

use super::site::{SOON, Site, is_alive, pid, until};
use super::{AT_ONCE, TOLD, gone, kill};

#[tokio::test]
async fn the_second_controller_is_refused_and_told_who_is_the_first() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let worker = controller.on_air().await;
    let asked = Instant::now();
    let (exit, said) = site.refused().await;
    assert_eq!(exit, ExitReason::Code(75));
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    let holder = format!("process {}", controller.child.pid());
    assert!(said.contains(&holder), "{said}");
    assert_eq!(pid(&controller.status().await), worker);
}

#[tokio::test]
async fn a_worker_outlives_a_killed_controller_and_is_adopted_by_the_next() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let worker = controller.on_air().await;
    controller.crash().await;
    assert!(is_alive(worker));

    let controller = site.controller().await;
    let status = controller.state("running").await;
    assert_eq!(pid(&status), worker);
    assert_eq!(status["restarts"], 0);

    let killed = Instant::now();
    kill(worker, Signal::SIGKILL);
    controller.noticed(1).await;
    let took = killed.elapsed();
    assert!(took < TOLD, "noticed after {took:?}");
    let second = pid(&controller.state("running").await);
    controller.crash().await;

    let controller = site.controller().await;
    assert_eq!(pid(&controller.state("running").await), second);
    assert_eq!(controller.post("/streams/stop").await.0, 200);
    assert!(!is_alive(second));
}

/// What it says has none of the fields that came later, and its job none of the settings.
#[tokio::test]
async fn a_worker_of_the_previous_protocol_is_adopted_and_looked_after() {
    let site = Site::with_script("previous");
    let controller = site.controller().await;
    let worker = controller.on_air().await;
    controller.crash().await;
    let path = "run/main.job.json";
    let mut job: Value = serde_json::from_str(&site.read(path)).unwrap();
    for later in ["cache_max_bytes", "allow_argv_secrets"] {
        job.as_object_mut().unwrap().remove(later);
    }
    storage::atomic::write(&site.path(path), job.to_string().as_bytes()).unwrap();

    let controller = site.controller().await;
    let status = controller.state("running").await;
    assert_eq!((pid(&status), &status["restarts"]), (worker, &0.into()));
    let checked = status["last_health_check"].clone();
    until(SOON, "it is looked after", async || {
        let status = controller.status().await;
        assert_eq!(pid(&status), worker, "{status}");
        (status["last_health_check"] != checked).then_some(())
    })
    .await;
    assert_eq!(controller.post("/streams/main/skip").await.0, 202);

    kill(worker, Signal::SIGKILL);
    controller.noticed(1).await;
    let status = controller.state("running").await;
    assert_ne!(pid(&status), worker);
    assert_eq!(controller.post("/streams/stop").await.0, 200);
}

#[tokio::test]
async fn a_worker_that_no_controller_can_talk_to_is_gone_before_another_starts() {
    let site = Site::with_script("deaf");
    let controller = site.controller().await;
    let (code, status) = controller.post("/streams/start").await;
    assert_eq!((code, status["state"].as_str()), (202, Some("starting")));
    // It must not end with its controller, or there is nothing to find.
    let first = until(SOON, "a worker", async || {
        let status = controller.status().await;
        status["pid"].is_number().then(|| pid(&status))
    })
    .await;
    controller.crash().await;
    assert!(is_alive(first));

    let controller = site.controller().await;
    assert!(!is_alive(first));
    let status = until(SOON, "another worker", async || {
        let status = controller.status().await;
        status["pid"].is_number().then_some(status)
    })
    .await;
    assert_ne!(pid(&status), first);
    assert_eq!(status["desired"], "running");
}

#[tokio::test]
async fn workers_of_streams_that_are_gone_are_ended() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let worker = controller.on_air().await;
    controller.crash().await;
    site.write_config(r#"{"version": 1, "streams": {}}"#);
    let controller = site.controller().await;
    gone(worker).await;
    assert_eq!(controller.get("/streams/main").await.0, 404);
}

#[tokio::test]
async fn sigterm_leaves_the_stream_on_air_and_sigint_does_not() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let worker = controller.on_air().await;
    let asked = Instant::now();
    assert_eq!(controller.end(Signal::SIGTERM).await, ExitReason::Code(0));
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    assert!(is_alive(worker));

    let controller = site.controller().await;
    assert_eq!(pid(&controller.state("running").await), worker);
    assert_eq!(controller.end(Signal::SIGINT).await, ExitReason::Code(0));
    assert!(!is_alive(worker));

    // The wish outlives the end of the controller.
    let controller = site.controller().await;
    let again = pid(&controller.state("running").await);
    assert!(is_alive(again));
    controller.end(Signal::SIGINT).await;
    assert!(!is_alive(again));
}
