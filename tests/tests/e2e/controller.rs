//! The controller: what it refuses, what it notices, and what survives it.

use std::fs;
use std::time::{Duration, Instant};

use e2e::controller::{Controller, Setup, to_one};
use e2e::flv::Track;
use e2e::media;
use e2e::pressure::Pressure;
use e2e::process;
use e2e::rtmp::Receiver;
use e2e::viewer::{self, Report};
use e2e::wait;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::record::{gaps, time_ms, wall_ms};

const SOON: Duration = Duration::from_secs(40);

/// Of what is told by the kernel; whatever asked for it would take 5 s.
const AT_ONCE: Duration = Duration::from_secs(3);
/// Until a worker that hangs is told.
const UNRESPONSIVE: Duration = Duration::from_secs(8);

struct World {
    controller: Controller,
    receiver: Receiver,
    _folder: tempfile::TempDir,
}

/// A stream of one long local file.
fn world(change: impl FnOnce(&mut Value)) -> World {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let receiver = Receiver::start();
    let mut config = to_one(&receiver.url());
    change(&mut config);
    World {
        controller: Setup::local(folder.path()).stream("main", config).start(),
        receiver,
        _folder: folder,
    }
}

fn code(answer: &e2e::http::Answer) -> String {
    answer.json()["error"]["code"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn calls_that_cannot_be_obeyed_say_why() {
    let world = world(|_| {});
    let call = |method: &str, path: &str, body: Value| world.controller.call(method, path, &body);
    let named = |id: &str| json!({ "stream_id": id });

    let answer = call("POST", "/streams/stop", named("main")).expect(404);
    assert_eq!(code(&answer), "not_running");
    let answer = call("POST", "/streams/start", named("other")).expect(404);
    assert_eq!(code(&answer), "unknown_stream");
    let id = answer.json()["error"]["request_id"].clone();
    assert_eq!(answer.header("x-request-id"), id.as_str());

    // The only stream need not be named.
    call("POST", "/streams/start", Value::Null).expect(202);
    let answer = call("POST", "/streams/start", named("main")).expect(409);
    assert_eq!(code(&answer), "already_running");
    call("POST", "/streams/stop", Value::Null).expect(200);
    call("POST", "/streams/stop", Value::Null).expect(404);
    call("GET", "/nothing", Value::Null).expect(404);
    call("DELETE", "/health", Value::Null).expect(405);
}

#[test]
fn every_mistake_of_a_configuration_is_listed_at_once() {
    let world = world(|_| {});
    let wrong = json!({
        "autostart": "yes",
        "colour": "red",
        "format": { "width": 641, "height": 360, "fps": 0 },
        "programme": { "items": [{ "prefix": 7 }], "order": "backwards" },
        "destinations": [
            { "name": "a", "url": "http://127.0.0.1/live" },
            { "name": "a", "url": "file:///etc/passwd" },
            { "name": "b c", "url": "rtmp://127.0.0.1/live" }
        ],
        "retry": { "initial_s": -1 }
    });
    let answer = world
        .controller
        .call("PUT", "/streams/new", &wrong)
        .expect(422);
    let problems = answer.json()["error"]["problems"].clone();
    let paths: Vec<_> = problems
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["path"].to_string())
        .collect();
    let all = paths.join(" ");
    for path in [
        "autostart",
        "colour",
        "width",
        "fps",
        "prefix",
        "order",
        "destinations[0].url",
        "destinations[1].url",
        "destinations[1].name",
        "destinations[2].name",
        "initial_s",
    ] {
        assert!(all.contains(path), "{path} is not among {problems:#}");
    }
    world
        .controller
        .call("GET", "/streams/new", &Value::Null)
        .expect(404);
    for id in [
        "..",
        "%2e%2e",
        "..%2fmain",
        "Main",
        "a%20b",
        "-x",
        "main%00",
    ] {
        let answer = world
            .controller
            .call("PUT", &format!("/streams/{id}"), &json!({}));
        assert!(
            [404, 405, 422].contains(&answer.status),
            "{id}: {}",
            answer.text()
        );
    }
    let stray: Vec<_> = fs::read_dir(world.controller.directory())
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(
        stray.len(),
        4,
        "state, run, cache, controller.log and nothing else: {stray:?}"
    );
    let unusual = json!({ "stream_id": "main", "force": true });
    world
        .controller
        .call("POST", "/streams/start", &unusual)
        .expect(422);
}

#[test]
fn a_killed_worker_is_replaced_and_goes_on_in_the_item() {
    let world = world(|_| {});
    let controller = &world.controller;
    controller.start("main");
    world.receiver.wait_for_span(11_000, SOON);
    let pid = controller.worker_pid("main");
    let killed = Instant::now();
    process::signal(pid, Signal::SIGKILL);
    let status = controller.wait("main", "noticed", SOON, |s| {
        s["restarts"] == 1 || s["state"] == "backoff"
    });
    let noticed = killed.elapsed();
    assert!(noticed < AT_ONCE, "noticed after {noticed:?}");
    assert!(status["error"]["message"].as_str().is_some(), "{status:#}");
    world.receiver.wait_for_media(1, SOON);
    controller.wait_state("main", "running", SOON);
    assert_ne!(controller.worker_pid("main"), pid);
    world.receiver.wait_for_span(3_000, SOON);
    controller.stop("main");

    let connections = world.receiver.connections();
    assert_eq!(connections.len(), 2, "never two at once, and one restart");
    assert!(connections[0].closed.unwrap() <= connections[1].opened);
    let file = media::packets(&media::long());
    let place = |connection: usize, last: bool| {
        let messages = &connections[connection].messages;
        let passages = viewer::passages(messages, std::slice::from_ref(&file));
        let passage = passages.first().expect("the item");
        let mut pictures = messages
            .iter()
            .filter(|m| m.tag.track == Track::Video && m.tag.is_frame());
        let picture = if last {
            pictures.next_back()
        } else {
            pictures.next()
        };
        picture.unwrap().tag.pts_ms - passage.video_shift_ms.0
    };
    let (was, is) = (place(0, true), place(1, false));
    // Written down every 5 s, and begun at the keyframe before that: one a second in this file.
    assert!(
        (was - 6_500..was + 1_000).contains(&is),
        "was at {was} ms, goes on at {is} ms"
    );
    Report::of(&connections[1].messages).assert_seamless(media::FPS);
}

#[test]
fn five_kills_leave_the_viewer_dark_for_two_seconds_each_at_most() {
    let world = world(|_| {});
    let asked = world.controller.start("main");
    // What a start takes here, of which a restart is one, and the pause before it.
    let start = world.receiver.wait_for_media(0, SOON) - asked;
    let limit = (start * 2).max(Duration::from_secs(2));
    let mut dark = Vec::new();
    for kill in 0..5 {
        world.receiver.wait_for_media(kill, SOON);
        world.receiver.wait_for_span(4_000, SOON);
        world.controller.wait_state("main", "running", SOON);
        process::signal(world.controller.worker_pid("main"), Signal::SIGKILL);
        let back = world.receiver.wait_for_media(kill + 1, SOON);
        let last = world.receiver.look(|all| {
            let last = all[kill].frames().last();
            last.map(|message| message.arrived)
        });
        dark.push(back - last.expect("it was on air"));
    }
    let status = world.controller.wait_state("main", "running", SOON);
    assert_eq!(status["restarts"], 5, "{status:#}");
    assert_eq!(world.receiver.connections().len(), 6, "one publisher each");
    dark.sort();
    // The promise is for each; on a machine that is busy with other tests some may be late.
    assert!(dark[2] <= limit, "{dark:?}, a start takes {start:?}");
    assert!(dark[4] <= limit * 3, "{dark:?}, a start takes {start:?}");
}

/// A pulse is written four times a second, and what lies in pipes is sent without the worker.
const NEAR_MS: i64 = 1_000;

/// How much later than `instant` the gap begins.
fn off_ms(gap: &Value, instant: Instant) -> i64 {
    time_ms(&gap["start"]) - wall_ms(instant)
}

#[track_caller]
fn assert_since(gap: &Value, instant: Instant) {
    let off = off_ms(gap, instant);
    assert!(off.abs() <= NEAR_MS, "{off} ms off: {gap:#}");
}

#[test]
fn a_frozen_worker_is_told_replaced_and_can_be_stopped() {
    let world = world(|_| {});
    world.controller.start("main");
    world.receiver.wait_for_span(1_000, SOON);
    process::signal(world.controller.worker_pid("main"), Signal::SIGSTOP);
    let (frozen, pressure) = (Instant::now(), Pressure::now());
    let status = world.controller.wait("main", "told", SOON, |status| {
        status["error"]["type"] == "worker_unresponsive"
    });
    let (told, limit) = (frozen.elapsed(), pressure.allows(UNRESPONSIVE));
    assert!(told <= limit, "told after {told:?}");
    assert_eq!(status["state"], "degraded", "{status:#}");
    assert!(!status["error"]["hint"].is_null(), "{status:#}");
    world.receiver.wait_for_media(1, Duration::from_secs(90));
    let status = world.controller.wait_state("main", "running", SOON);
    assert_eq!(status["restarts"], 1, "{status:#}");
    // It was dark from the moment at which it hung, not from its end.
    wait::until("the gap since is in the record", SOON, || {
        // A machine that held the worker up for a second has made such a gap itself.
        let mut gaps = gaps(&world.controller).into_iter();
        gaps.find(|gap| {
            gap["cause"] == "worker_unresponsive" && off_ms(gap, frozen).abs() <= NEAR_MS
        })
    });

    // The same of one that does not live to tell it.
    world.receiver.wait_for_span(1_000, SOON);
    process::signal(world.controller.worker_pid("main"), Signal::SIGSTOP);
    let frozen = Instant::now();
    wait::observe(Duration::from_secs(2));
    process::signal(world.controller.worker_pid("main"), Signal::SIGKILL);
    world.receiver.wait_for_media(2, SOON);
    let gap = wait::until("the next gap is in the record", SOON, || {
        let mut gaps = gaps(&world.controller).into_iter();
        gaps.find(|gap| gap["cause"] == "worker_crashed")
    });
    assert_since(&gap, frozen);
    world.controller.wait_state("main", "running", SOON);

    process::signal(world.controller.worker_pid("main"), Signal::SIGSTOP);
    world.controller.stop("main");
    wait::until("its FFmpegs are gone, too", SOON, || {
        (world.controller.family().len() == 1).then_some(())
    });
}

#[test]
fn a_killed_controller_is_not_noticed_by_the_viewer() {
    let mut world = world(|_| {});
    world.controller.start("main");
    world.receiver.wait_for_span(2_000, SOON);
    let worker = world.controller.worker_pid("main");
    world.controller.kill();
    wait::observe(Duration::from_secs(2));
    world.controller.start_again();
    let status = world.controller.wait_state("main", "running", SOON);
    assert_eq!(status["pid"], worker, "adopted: {status:#}");
    assert!(
        status["on_air"]["position_s"].as_f64() > Some(2.0),
        "{status:#}"
    );

    // A controller that is told to go leaves the worker on air, too.
    world.controller.signal(Signal::SIGTERM);
    assert_eq!(world.controller.wait_exit(SOON).code(), Some(0));
    world.controller.start_again();
    let status = world.controller.wait_state("main", "running", SOON);
    assert_eq!(status["pid"], worker, "adopted again: {status:#}");
    world.receiver.wait_for_span(6_000, SOON);

    // And an adopted worker that dies is noticed at once.
    process::signal(worker, Signal::SIGKILL);
    let killed = Instant::now();
    world.controller.wait("main", "noticed", SOON, |s| {
        s["restarts"] == 1 || s["state"] == "backoff"
    });
    let noticed = killed.elapsed();
    assert!(noticed < AT_ONCE, "noticed after {noticed:?}");
    world.receiver.wait_for_media(1, SOON);
    world.controller.wait_state("main", "running", SOON);
    world.controller.stop("main");
    Report::of(&world.receiver.connections()[0].messages).assert_seamless(media::FPS);
    assert_eq!(world.receiver.connections().len(), 2);
}

#[test]
fn ctrl_c_stops_the_streams_with_the_controller() {
    let mut world = world(|config| config["autostart"] = json!(true));
    world.receiver.wait_for_span(1_000, SOON);
    world.controller.signal(Signal::SIGINT);
    assert_eq!(world.controller.wait_exit(SOON).code(), Some(0));
    assert!(world.receiver.look(|all| all[0].unpublished));
    wait::until("all are gone", SOON, || {
        let family = world.controller.family();
        family.iter().all(|p| p.state == 'Z').then_some(())
    });
    // It was wanted on air, so it is again.
    world.controller.start_again();
    world.receiver.wait_for_media(1, SOON);
}

#[test]
fn a_second_controller_refuses_and_names_the_first() {
    let world = world(|_| {});
    let (code, said) = world.controller.start_second();
    assert_ne!(code, 0);
    assert!(said.contains(&world.controller.pid().to_string()), "{said}");
    assert_eq!(world.controller.get("/health")["status"], "ok");
}

#[test]
fn a_missing_token_or_setting_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let run = |variables: &[(&str, &str)]| {
        let directory = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new("timeout");
        command
            .arg("10")
            .arg(e2e::controller::binary("stream-controller"))
            .env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap());
        for name in ["STATE_DIR", "RUNTIME_DIR", "CACHE_DIR"] {
            command.env(name, directory.path().join(name));
        }
        command.envs(variables.iter().copied());
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (
            process::code(output.status),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let local = folder.path().to_str().unwrap();
    let (code, said) = run(&[
        ("STORAGE_PROVIDER", "local"),
        ("STORAGE_LOCAL_DIR", local),
        ("CONTROLLER_BIND", "0.0.0.0:0"),
    ]);
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("CONTROLLER_API_TOKEN"), "{said}");

    let (code, said) = run(&[
        ("STORAGE_PROVIDER", "s3"),
        ("CONTROLLER_BIND", "nonsense"),
        ("STORAGE_URL_TTL_SECS", "soon"),
    ]);
    assert_eq!(code, 64, "{said}");
    for name in ["STORAGE_BUCKET", "CONTROLLER_BIND", "STORAGE_URL_TTL_SECS"] {
        assert!(said.contains(name), "all at once: {said}");
    }
}
