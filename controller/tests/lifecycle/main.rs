//! The life of streams and of the controller itself, with the real controller, real processes and a
//! scripted worker: what the operator sees, and what is left running.

#![expect(
    clippy::unwrap_used,
    reason = "a harness that cannot do its part is a failed test"
)]

mod launch;
mod site;

use std::time::Duration;

use jiff::Timestamp;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;
use storage::document::Opened;
use storage::model::StreamStateFile;
use supervise::ExitReason;
use tokio::time::{Instant, timeout};

use site::{SOON, Site, is_alive, pid, stream, until};

fn kill(pid: i32, signal: Signal) {
    nix::sys::signal::kill(Pid::from_raw(pid), signal).unwrap();
}

fn error_type(status: &Value) -> &str {
    status["error"]["type"].as_str().unwrap_or_default()
}

async fn gone(pid: i32) {
    until(SOON, "the process is gone", async || {
        (!is_alive(pid)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_dies_is_noticed_within_100_ms_and_started_again() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let first = controller.on_air().await;

    let killed_at = Timestamp::now();
    kill(first, Signal::SIGKILL);
    let status = controller.state("backoff").await;
    let noticed: Timestamp = status["since"].as_str().unwrap().parse().unwrap();
    let took = noticed.duration_since(killed_at);
    assert!(took.as_millis() <= 100, "{took:?}");
    assert_eq!(error_type(&status), "worker_killed");
    assert_eq!(status["exit_code"], Value::Null);
    assert!(status["next_restart_at"].is_string(), "{status}");

    let status = controller.state("running").await;
    assert_ne!(pid(&status), first);
    assert_eq!(status["restarts"], 1);
    assert_eq!(status["error"], Value::Null);
}

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
    assert!(
        (9_500..11_500).contains(&took.as_millis()),
        "stopped after {took:?}"
    );
}

#[tokio::test]
async fn a_worker_that_hangs_is_told_and_replaced() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let first = controller.on_air().await;
    kill(first, Signal::SIGSTOP);
    let patience = Duration::from_secs(25);
    until(patience, "it is told", async || {
        let status = controller.status().await;
        (status["state"] == "degraded" && error_type(&status) == "worker_unresponsive")
            .then_some(())
    })
    .await;
    let status = until(Duration::from_secs(60), "it is replaced", async || {
        let status = controller.status().await;
        (status["state"] == "running" && pid(&status) != first).then_some(status)
    })
    .await;
    assert!(!is_alive(first));
    assert_eq!(status["restarts"], 1);
}

#[tokio::test]
async fn the_second_controller_is_refused_and_told_who_is_the_first() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let worker = controller.on_air().await;
    let asked = Instant::now();
    let (exit, said) = site.refused().await;
    assert_eq!(exit, ExitReason::Code(75));
    assert!(asked.elapsed() < Duration::from_secs(1));
    let holder = format!("process {}", controller.child.pid());
    assert!(said.contains(&holder), "{said}");
    assert_eq!(pid(&controller.status().await), worker);
}

#[tokio::test]
async fn a_configuration_broken_by_hand_is_told_and_what_was_in_force_runs_on() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let worker = controller.on_air().await;
    controller.end(Signal::SIGTERM).await;
    let broken = "{\n  \"version\": 1,\n  \"streams\": {,}\n}\n";
    site.write_config(broken);

    let controller = site.controller().await;
    assert_eq!(pid(&controller.state("running").await), worker);
    let (_, health) = controller.get("/health").await;
    let problem = health["problem"].as_str().unwrap();
    assert_eq!(health["status"], "degraded");
    assert!(problem.contains("line 3, column 15"), "{problem}");
    assert!(problem.contains("stream_config.json.bak"), "{problem}");
    let refused = controller
        .call("PUT", "/streams/main", &stream("b.mp4"))
        .await;
    assert!(refused.0 >= 400, "{refused:?}");
    assert_eq!(site.read("stream_config.json"), broken);

    site.write_config(&site.read("stream_config.json.bak"));
    controller.signal(Signal::SIGHUP);
    until(SOON, "it is well again", async || {
        let (_, health) = controller.get("/health").await;
        (health["status"] == "ok").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_configuration_without_a_good_copy_is_refused_with_its_place_and_left_alone() {
    let site = Site::new();
    let broken = "{\n  \"version\": 1,\n  \"streams\": {,}\n}\n";
    site.write_config(broken);
    let (exit, said) = site.refused().await;
    assert_eq!(exit, ExitReason::Code(78));
    assert!(said.contains("line 3, column 15"), "{said}");
    assert_eq!(site.read("stream_config.json"), broken);
}

#[tokio::test]
async fn a_damaged_state_file_is_replaced_by_its_good_copy_and_kept() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let worker = controller.on_air().await;
    // The copy is one write older than the file: one with the wish in it is to be there.
    until(SOON, "a good copy that knows of the stream", async || {
        let copy = std::fs::read_to_string(site.path("stream_state.json.bak"));
        copy.is_ok_and(|copy| copy.contains("running"))
            .then_some(())
    })
    .await;
    controller.crash().await;
    kill(worker, Signal::SIGKILL);
    let damaged = site.read("stream_state.json").replace("run", "r\u{0}n");
    storage::atomic::write(&site.path("stream_state.json"), damaged.as_bytes()).unwrap();

    let controller = site.controller().await;
    controller.state("running").await;
    let said = site.read("controller.err");
    assert!(
        said.contains("state_recovered") && said.contains("line "),
        "{said}"
    );
    assert_eq!(site.read("stream_state.json.corrupt"), damaged);
    assert!(site.read("stream_state.json").contains("running"));
    let (_, health) = controller.get("/health").await;
    assert_eq!(health["status"], "ok", "{health}");
}

#[tokio::test]
async fn a_damaged_state_file_is_whole_again_before_anything_changes() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let worker = controller.on_air().await;
    controller.crash().await;
    let damaged = "{ \"version\": 1, \"streams\": oops";
    storage::atomic::write(&site.path("stream_state.json"), damaged.as_bytes()).unwrap();

    // What is adopted as it was is no change to write down.
    let controller = site.controller().await;
    assert_eq!(pid(&controller.state("running").await), worker);
    until(SOON, "the state file is whole", async || {
        let read = storage::document::read(&site.path("stream_state.json"));
        matches!(read, Ok(Opened::<StreamStateFile>::Loaded { .. })).then_some(())
    })
    .await;
    assert_eq!(site.read("stream_state.json.corrupt"), damaged);
    assert_eq!(controller.get("/health").await.1["status"], "ok");
}

#[tokio::test]
async fn without_any_state_what_is_found_on_air_stays_and_it_is_told() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let worker = controller.on_air().await;
    controller.crash().await;
    for name in ["stream_state.json", "stream_state.json.bak"] {
        storage::atomic::write(&site.path(name), b"\0\0\0\0").unwrap();
    }
    let controller = site.controller().await;
    assert_eq!(pid(&controller.state("running").await), worker);
    let (_, health) = controller.get("/health").await;
    assert_eq!(health["status"], "degraded", "{health}");
    assert!(health["problem"].as_str().unwrap().contains("autostart"));
    controller.crash().await;
    let controller = site.controller().await;
    assert_eq!(pid(&controller.state("running").await), worker);
    assert_eq!(controller.get("/health").await.1["status"], "ok");
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

    let killed_at = Timestamp::now();
    kill(worker, Signal::SIGKILL);
    let status = controller.state("backoff").await;
    let noticed: Timestamp = status["since"].as_str().unwrap().parse().unwrap();
    let took = noticed.duration_since(killed_at);
    assert!(took.as_millis() <= 100, "{took:?}");
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
    controller.state("backoff").await;
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
    assert!(asked.elapsed() < Duration::from_secs(1));
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
async fn sighup_takes_over_an_edited_file_and_leaves_a_broken_one() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let worker = controller.on_air().await;

    site.write_config("{");
    controller.signal(Signal::SIGHUP);
    until(SOON, "the mistake is logged", async || {
        site.read("controller.err")
            .contains("config_unusable")
            .then_some(())
    })
    .await;
    assert_eq!(pid(&controller.status().await), worker);
    let refused = controller
        .call("PUT", "/streams/main", &stream("b.mp4"))
        .await;
    assert!(refused.0 >= 400, "{refused:?}");
    assert_eq!(site.read("stream_config.json"), "{");

    let (main, shop) = (stream("a.mp4"), stream("b.mp4"));
    site.write_config(&format!(
        r#"{{"version": 1, "streams": {{"main": {main}, "shop": {shop}}}}}"#
    ));
    controller.signal(Signal::SIGHUP);
    until(SOON, "the new stream is there", async || {
        (controller.get("/streams/shop").await.0 == 200).then_some(())
    })
    .await;
    assert_eq!(pid(&controller.status().await), worker);
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
    let wait = next.duration_since(Timestamp::now()).as_secs();
    assert!((50..=60).contains(&wait), "tried again in {wait} s");
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
    timeout(Duration::from_secs(60), storm)
        .await
        .expect("it ends");
    // Refused when it is stopped already.
    controller.post("/streams/stop").await;
    until(SOON, "no worker is left", async || {
        workers(&site).is_empty().then_some(())
    })
    .await;
}

/// Every worker of the site that runs.
fn workers(site: &Site) -> Vec<i32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| site.is_worker(*pid) && is_alive(*pid))
        .collect()
}
