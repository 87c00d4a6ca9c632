//! The record of live sessions against what the receiver logged.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use e2e::media;
use e2e::process;
use e2e::viewer::{self, Passage};
use e2e::wait;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::live_stage::{SOON, Stage, feed};
use crate::record::{time_ms, wall_ms};

/// From its release to the receiver: as much as a connection's first keyframe was old, and a little.
const MOST_BEHIND_MS: i64 = 3_000;

/// By how much that may differ between two moments on a busy machine.
const UNEVEN_MS: i64 = 1_000;

/// Sessions that are over, oldest first.
fn sessions(stage: &Stage, count: usize) -> Vec<Value> {
    wait::until(&format!("{count} sessions in the record"), SOON, || {
        let answer = stage.controller.get("/health/transitions?stream_id=main");
        let mut sessions = answer["sessions"].as_array().expect("a list").clone();
        sessions.retain(|session| !session["off_at"].is_null());
        sessions.reverse();
        (sessions.len() == count).then_some(sessions)
    })
}

/// When the receiver saw the feed begin and the programme come back, each time, by the wall clock.
fn seen(stage: &Stage) -> Vec<(i64, i64)> {
    let files = [media::packets(&feed()), media::packets(&media::long())];
    let passages = viewer::passages(&stage.receiver.only_connection().messages, &files);
    let mut changes: Vec<&Passage> = Vec::new();
    for passage in &passages {
        if changes.last().is_none_or(|last| last.file != passage.file) {
            changes.push(passage);
        }
    }
    let pairs = changes.windows(2).filter(|pair| pair[0].file == 0);
    pairs
        .map(|pair| (wall_ms(pair[0].began), wall_ms(pair[1].began)))
        .collect()
}

fn is_in_order(session: &Value) -> bool {
    let times = ["asked_at", "media_at", "on_air_at", "off_at"].map(|name| time_ms(&session[name]));
    times.is_sorted()
}

/// Asks for the live input and hangs up before the worker could answer.
fn ask_and_hang_up(stage: &Stage) {
    let worker = stage.controller.worker_pid("main");
    process::signal(worker, Signal::SIGSTOP);
    let (address, body) = (stage.controller.address(), r#"{"take":"live"}"#);
    let head = format!(
        "POST /streams/main/source HTTP/1.1\r\nHost: {address}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut caller = TcpStream::connect(address).expect("the controller");
    caller.write_all((head + body).as_bytes()).expect("asked");
    wait::until("what is asked is in the record", SOON, || {
        let answer = stage.controller.get("/health/transitions?stream_id=main");
        answer["sessions"][0]["off_at"].is_null().then_some(())
    });
    drop(caller);
    process::signal(worker, Signal::SIGCONT);
}

#[test]
fn each_session_is_recorded_with_its_times_as_the_receiver_saw_them() {
    let stage = Stage::with(json!([{ "name": "studio", "ingest": true, "grace_s": 0 }]));
    // It comes by itself and is lost.
    let mut publisher = stage.publish(&feed(), &["-c", "copy"]);
    stage.wait_kind("live");
    wait::observe(Duration::from_secs(1));
    publisher.kill();
    stage.wait_kind("programme");
    // It comes by itself, is sent away, asked for, and sent away.
    let _publisher = stage.publish(&feed(), &["-c", "copy"]);
    stage.wait_kind("live");
    wait::observe(Duration::from_secs(1));
    stage.take("programme");
    stage.wait_kind("programme");
    wait::observe(Duration::from_secs(1));
    stage.take("live");
    stage.wait_kind("live");
    wait::observe(Duration::from_secs(1));
    stage.take("programme");
    stage.wait_kind("programme");

    let sessions = sessions(&stage, 3);
    let told: Vec<_> = sessions
        .iter()
        .map(|it| {
            (
                it["input"].clone(),
                it["asked_by"].clone(),
                it["ended"].clone(),
            )
        })
        .collect();
    let wanted = [
        ("auto", "lost"),
        ("auto", "given_back"),
        ("api", "given_back"),
    ];
    let wanted = wanted.map(|(by, end)| (json!("studio"), json!(by), json!(end)));
    assert_eq!(told, wanted, "{sessions:#?}");
    assert!(sessions.iter().all(is_in_order), "{sessions:#?}");
    // The receiver is behind, always by as much.
    let seen = wait::until("the receiver has the last join too", SOON, || {
        Some(seen(&stage)).filter(|seen| seen.len() == 3)
    });
    for (session, (began, ended)) in sessions.iter().zip(seen) {
        let behind = began - time_ms(&session["on_air_at"]);
        let behind_at_end = ended - time_ms(&session["off_at"]);
        assert!(
            (0..MOST_BEHIND_MS).contains(&behind) && (behind - behind_at_end).abs() <= UNEVEN_MS,
            "{behind} ms behind at the beginning, {behind_at_end} ms at the end of {session:#}"
        );
    }

    let steps = &stage.controller.get("/health/transitions")["steps"];
    let counts = [
        ("asked_to_media", 1),
        ("media_to_on_air", 3),
        ("asked_to_on_air", 1),
        ("loss_to_programme", 1),
    ];
    for (step, count) in counts {
        assert_eq!(steps[step]["count"], count, "{step}: {steps:#}");
        for time in ["p50_s", "p95_s", "max_s"] {
            // A cut waits for a clean point for a quarter of a second at most, on a machine that has time.
            let seconds = steps[step][time].as_f64().expect("seconds");
            assert!((0.0..=4.0).contains(&seconds), "{step}: {steps:#}");
        }
    }

    // Whoever asked need not be there for the answer.
    ask_and_hang_up(&stage);
    stage.wait_kind("live");
    stage.take("programme");
    stage.wait_kind("programme");
    let session = self::sessions(&stage, 4).remove(3);
    let told = (&session["asked_by"], &session["input"]);
    assert_eq!(told, (&json!("api"), &json!("studio")), "{session:#}");
    stage.assert_seamless();
}
