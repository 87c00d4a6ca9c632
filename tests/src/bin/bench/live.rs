//! Live feeds: a hundred takeovers in one session, and five streams that are live at once.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::controller::Setup;
use e2e::media::{self, Clip};
use e2e::process::Child;
use e2e::rtmp::{Message, Receiver};
use e2e::stage::{OnAir, Stage, publish};
use e2e::storm::percentile;
use e2e::viewer::{self, AAC_FRAME_MS, Report, Shown};
use e2e::wait;
use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::table::Table;

const TAKEOVERS: usize = 100;
/// After them: how often an encoder falls silent instead.
const SILENCES: usize = 20;
/// On air between coming and going.
const LIVE: Duration = Duration::from_millis(500);
const STREAMS: usize = 5;
const TOGETHER: Duration = Duration::from_secs(30);
const SETTLED: Duration = Duration::from_secs(20);
const TEN_SECONDS: Duration = Duration::from_secs(10);

/// A keyframe each second; longer than anybody is live here.
fn feed() -> PathBuf {
    let clip = Clip {
        name: "bench-feed.flv",
        seconds: 60.0,
        b_frames: 0,
        gop: 30,
        ..Clip::default()
    };
    clip.file()
}

pub(crate) fn measure(table: &mut Table) {
    takeovers(table);
    together(table);
}

fn on_air(names: impl Iterator<Item = String>) -> (TempDir, Stage) {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let streams = names.map(|name| (name, Receiver::start(), json!({})));
    let setup = Setup::local(folder.path());
    let stage = Stage::start(setup, streams.collect(), "long.mp4");
    (folder, stage)
}

/// When an encoder began, and when it ended.
type Round = (Instant, Instant);

fn round(stage: &Stage, end: impl Fn(&mut Child)) -> Round {
    let came = Instant::now();
    let mut publisher = publish(&feed(), &["-c", "copy"], &stage.address("main"));
    stage.wait_kind("main", "live");
    wait::observe(LIVE);
    let went = Instant::now();
    end(&mut publisher);
    stage.wait_kind("main", "programme");
    publisher.kill();
    wait::observe(LIVE);
    (came, went)
}

fn takeovers(table: &mut Table) {
    let (_folder, stage) = on_air(["main".to_owned()].into_iter());
    let killed = (0..TAKEOVERS).map(|_| round(&stage, Child::kill));
    let mut rounds: Vec<Round> = killed.collect();
    let silent = |publisher: &mut Child| publisher.signal(Signal::SIGSTOP);
    rounds.extend((0..SILENCES).map(|_| round(&stage, silent)));
    wait::observe(Duration::from_secs(2));
    let steps = stage.controller.get("/health/transitions")["steps"].clone();
    stage.controller.stop("main");

    let connections = stage.receiver().connections();
    let messages = &connections[0].messages;
    let report = Report::of(messages);
    let files = [feed(), media::long()].map(|file| media::packets(&file));
    let changes = changes(&viewer::shown(messages, &files));
    table.note(
        "takeovers through the ingest",
        (changes.len() / 2) as f64,
        "",
    );
    table.at_most("– RTMP connections", connections.len() as f64, 1.0, "");
    let step_ms = report.longest_step_ms as f64;
    table.at_most("– longest step between pictures", step_ms, 35.0, "ms");
    let hole_ms = report.longest_audio_hole_ms.max(0.0);
    table.at_most("– longest hole in the sound", hole_ms, AAC_FRAME_MS, "ms");
    table.at_most(
        "– media time against the clock, at the end",
        drift(messages),
        250.0,
        "ms",
    );
    times(table, &rounds, &changes);
    let p95_of = |step: &str| steps[step]["p95_s"].as_f64().unwrap_or(f64::NAN);
    // Noticed and acted upon in one turn of 40 ms: what is over is the wait for a clean point.
    let ready = p95_of("media_to_on_air");
    table.note("– of it, ready in hand → cut, p95, as recorded", ready, "s");
}

/// What the rounds took until a viewer saw it.
fn times(table: &mut Table, rounds: &[Round], changes: &[Instant]) {
    if changes.len() != 2 * rounds.len() {
        return table.at_most(
            "– changes of the picture that were not asked for",
            changes.len().abs_diff(2 * rounds.len()) as f64,
            0.0,
            "",
        );
    }
    let taken = rounds.iter().zip(changes.chunks(2));
    let on: Vec<_> = taken.clone().map(|((came, _), at)| at[0] - *came).collect();
    let off: Vec<_> = taken.map(|((_, went), at)| at[1] - *went).collect();
    let (killed, silent) = off.split_at(TAKEOVERS);
    let worst = |times: &[Duration]| percentile(times, 1.0).as_secs_f64();
    // The publisher's own start is in it.
    table.at_most(
        "– encoder started → on air at the receiver, p95",
        p95(&on),
        2.0,
        "s",
    );
    table.at_most(
        "– encoder killed → programme at the receiver, worst",
        worst(killed),
        1.0,
        "s",
    );
    table.note("– the same, p95", p95(killed), "s");
    table.at_most(
        "– encoder silent → programme at the receiver, worst of 20",
        worst(silent),
        1.0,
        "s",
    );
}

/// When the feed came, and the programme again, each time.
fn changes(shown: &[Shown]) -> Vec<Instant> {
    let pairs = shown.windows(2).filter(|pair| pair[0].file != pair[1].file);
    pairs.map(|pair| pair[1].arrived).collect()
}

fn p95(times: &[Duration]) -> f64 {
    percentile(times, 0.95).as_secs_f64()
}

/// By how much media ran ahead of the clock or fell behind it: at the end, compared with the beginning,
/// each over ten seconds, so that no single arrival counts.
fn drift(messages: &[Message]) -> f64 {
    let frames: Vec<_> = messages.iter().filter(|m| m.tag.is_frame()).collect();
    let (first, last) = (frames[0], frames[frames.len() - 1]);
    let lead_ms = |message: &Message| {
        let took_ms = (message.arrived - first.arrived).as_secs_f64() * 1_000.0;
        (message.tag.dts_ms - first.tag.dts_ms) as f64 - took_ms
    };
    let mean_ms = |within: &dyn Fn(&Message) -> bool| {
        let leads: Vec<f64> = frames
            .iter()
            .filter(|message| within(message))
            .map(|message| lead_ms(message))
            .collect();
        leads.iter().sum::<f64>() / leads.len() as f64
    };
    // What a connection is given at its start is over by then.
    let at_first = mean_ms(&|message| {
        let at = message.arrived - first.arrived;
        (SETTLED..SETTLED + TEN_SECONDS).contains(&at)
    });
    let at_last = mean_ms(&|message| last.arrived - message.arrived < TEN_SECONDS);
    (at_last - at_first).abs().round()
}

fn together(table: &mut Table) {
    let (_folder, stage) = on_air((0..STREAMS).map(|number| format!("s{number}")));
    let publishers = stage.publish_to_all(&feed());
    stage.wait_all("live");
    let begun = Instant::now();
    wait::observe(TOGETHER);
    let dropped = stage.streams.iter().map(|OnAir { stream, .. }| {
        let status = stage.controller.status(stream);
        assert_eq!(status["on_air"]["kind"], "live", "{stream}: {status:#}");
        status["destinations"][0]["dropped_frames"].as_f64()
    });
    let dropped: f64 = dropped.map(|count| count.unwrap_or(0.0)).sum();
    drop(publishers);
    let (mut step_ms, mut hole, mut connections) = (0, Duration::ZERO, 0);
    for OnAir { receiver, .. } in &stage.streams {
        let all = receiver.connections();
        connections = connections.max(all.len());
        let mut live = all[0].messages.clone();
        live.retain(|message| message.arrived >= begun);
        let report = Report::of(&live);
        step_ms = step_ms.max(report.longest_step_ms);
        hole = hole.max(report.longest_arrival_hole);
    }
    table.note("streams live at once, each copied", STREAMS as f64, "");
    table.at_most("– RTMP connections of each", connections as f64, 1.0, "");
    table.at_most(
        "– longest step between pictures",
        step_ms as f64,
        35.0,
        "ms",
    );
    table.at_most("– frames dropped", dropped, 0.0, "");
    let hole_ms = (hole.as_secs_f64() * 1_000.0).round();
    table.at_most(
        "– longest time in which nothing arrived",
        hole_ms,
        250.0,
        "ms",
    );
}
