//! A real MediaMTX, configured as `deploy/mediamtx.yml` has it, where there is one.

use std::path::PathBuf;
use std::time::Duration;

use e2e::media::{self, Clip};
use e2e::mediamtx::Plan;
use e2e::process::{self, Child};
use e2e::wait;
use serde_json::{Value, json};

use crate::live_stage::{SOON, Stage};
use crate::skipped;

/// As an encoder sends: with B-frames.
fn feed() -> PathBuf {
    Clip {
        name: "owner.flv",
        seconds: 20.0,
        gop: 30,
        ..Clip::default()
    }
    .file()
}

fn publish(container: &str, url: &str) -> Child {
    let mut command = process::command("ffmpeg");
    command.args(["-v", "error", "-re", "-stream_loop", "-1", "-i"]);
    command.arg(feed()).args(["-c", "copy", "-f", container]);
    if container == "rtsp" {
        command.args(["-rtsp_transport", "tcp"]);
    }
    command.arg(url).stderr(std::process::Stdio::null());
    Child::spawn(&mut command)
}

fn stage(plan: &Plan) -> Stage {
    let input = json!({ "name": "owner", "url": format!("rtsp://{}/live/main/in", plan.rtsp) });
    Stage::set_up(json!({ "live_inputs": [input] }), |setup| {
        setup.variable("MEDIAMTX_API_URL", &format!("http://{}", plan.api))
    })
}

fn wait_seen(stage: &Stage, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    wait::within(SOON, || {
        last = stage.controller.get("/health")["mediamtx"].clone();
        wanted(&last).then_some(())
    })
    .unwrap_or_else(|| panic!("{what}: {last:#}"));
    last
}

/// Where each protocol publishes, by FFmpeg's name of its container.
fn ways(plan: &Plan, key: &str) -> [(&'static str, String); 3] {
    [
        (
            "flv",
            format!("rtmp://{}/live/main/in?key={key}", plan.rtmp),
        ),
        (
            "rtsp",
            format!("rtsp://owner:{key}@{}/live/main/in", plan.rtsp),
        ),
        (
            "mpegts",
            format!(
                "srt://{}?streamid=publish:live/main/in:owner:{key}",
                plan.srt
            ),
        ),
    ]
}

/// Everything on one stage, in the order in which an owner meets it.
#[test]
fn its_publishers_take_the_air_and_its_end_leaves_it_untouched() {
    let Some(plan) = Plan::new() else {
        return skipped("there is no mediamtx on the PATH");
    };
    let stage = stage(&plan);
    let seen = wait_seen(&stage, "it is told to be away", |seen| {
        !seen["error"].is_null()
    });
    assert_eq!(seen["error"]["type"], "mediamtx_unreachable", "{seen:#}");

    let mut mediamtx = plan.start(stage.controller.address());
    wait_seen(&stage, "it answers", |seen| seen["reachable"] == true);
    let key = &stage.key;
    let mut wrong = publish(
        "flv",
        &format!("rtmp://{}/live/main/in?key=guess", plan.rtmp),
    );
    assert!(!wrong.wait(SOON).success(), "{}", mediamtx.log());
    assert_eq!(stage.kind(), "programme");

    let ways = ways(&plan, key);
    for (container, url) in &ways {
        take_the_air_and_leave(&stage, container, url);
    }
    let hooks = wait::until("all hooks have run", SOON, || {
        let hooks = mediamtx.hooks();
        (hooks.len() >= 2 * ways.len()).then_some(hooks)
    });
    for event in ["ready", "not-ready"] {
        let told = format!("{event} live/main/in 0");
        assert_eq!(
            hooks.iter().filter(|hook| **hook == told).count(),
            ways.len(),
            "{hooks:?}"
        );
    }

    let _owner = publish(ways[0].0, &ways[0].1);
    stage.wait_kind("live");
    mediamtx.kill();
    stage.wait_kind("programme");
    let seen = wait_seen(&stage, "its end is told", |seen| seen["reachable"] == false);
    assert_eq!(seen["error"]["type"], "mediamtx_unreachable", "{seen:#}");
    let _again = plan.start(stage.controller.address());
    wait_seen(&stage, "it is back", |seen| seen["reachable"] == true);
    let _owner = publish(ways[0].0, &ways[0].1);
    stage.wait_kind("live");
    stage.controller.stop("main");
    stage.assert_seamless();
    for (whose, log) in [
        ("the controller", stage.controller.logs()),
        ("MediaMTX", mediamtx.log()),
    ] {
        assert!(!log.contains(key), "{whose} shows a key: {log}");
    }
}

fn take_the_air_and_leave(stage: &Stage, container: &str, url: &str) {
    let mut publisher = publish(container, url);
    stage.wait_kind("live");
    let seen = wait_seen(stage, "its path is listed", |seen| {
        seen["paths"][0]["usable"] == true && seen["paths"][0]["inbound_bytes"].as_u64() > Some(0)
    });
    assert_eq!(seen["paths"][0]["name"], "live/main/in", "{seen:#}");
    let input = stage.wait_input("it is told", |input| input["on_air"] == true);
    assert_eq!(input["copied"], true, "{container}: {input:#}");
    wait::observe(Duration::from_secs(2));
    publisher.kill();
    stage.wait_kind("programme");
    wait_seen(stage, "its end is seen", |seen| seen["paths"] == json!([]));
}

#[test]
fn a_passthrough_stream_can_be_watched_at_it() {
    let Some(plan) = Plan::new() else {
        return skipped("there is no mediamtx on the PATH");
    };
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let out = format!("rtmp://{}/live/main/out", plan.rtmp);
    let controller = e2e::controller::Setup::local(folder.path())
        .stream("main", json!({
            "format": media::format(),
            "destinations": [{ "name": "here", "url": out }],
            "live_inputs": [{ "name": "owner", "url": format!("rtsp://{}/live/main/in", plan.rtsp) }],
        }))
        .start();
    let mediamtx = plan.start(controller.address());
    controller.start("main");
    controller.wait("main", "it is pushed", SOON, |status| {
        status["destinations"][0]["state"] == "live"
    });
    let made = controller.call("POST", "/ingest/keys", &json!({})).json();
    let key = made["key"].as_str().expect("a key");
    let _owner = publish(
        "flv",
        &format!("rtmp://{}/live/main/in?key={key}", plan.rtmp),
    );
    controller.wait("main", "live", SOON, |status| {
        status["on_air"]["kind"] == "live"
    });
    let watched = format!("rtsp://{}/live/main/out", plan.rtsp);
    let (code, said) = controller.script("play_test.sh", &[&watched, "3"]);
    assert_eq!(code, 0, "{said}\n{}", mediamtx.log());
    let pictures: u32 = said
        .split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .expect(&said);
    assert!(pictures >= 45, "{said}");
}
