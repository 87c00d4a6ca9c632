//! A real OBS whose owner switches a source on and off: how soon they are on air, and the programme again.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use e2e::controller::Setup;
use e2e::media;
use e2e::obs::Obs;
use e2e::obs::owner::{SCENE, SOURCE, newest_session, prepared, told_to_stream};
use e2e::stage::{self, Stage};
use e2e::storm::percentile;
use e2e::viewer::{self, Report};
use e2e::wait;
use jiff::Timestamp;
use serde_json::Value;

use crate::table::Table;

const ROUNDS: u32 = 20;
const SOON: Duration = Duration::from_secs(40);
/// Between two rounds: another part of the second in which OBS is looked at, each time.
const PAUSE: Duration = Duration::from_millis(1_000);
const SHIFT: Duration = Duration::from_millis(137);

/// What the rounds took, each.
#[derive(Default)]
struct Times {
    on: Vec<Duration>,
    until_told: Vec<Duration>,
    until_media: Vec<Duration>,
    off: Vec<Duration>,
}

pub(crate) fn measure(table: &mut Table) {
    let Some(obs) = Obs::start() else {
        return table.skipped("source switched on in OBS → on air", "obs is not installed");
    };
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let setup = Setup::local(folder.path())
        .variable("OBS_WEBSOCKET_URL", &obs.url())
        .variable("OBS_OWNER_SOURCES", SOURCE);
    let stage = Stage::start(setup, stage::main(), "long.mp4");
    let times = rounds(&obs, &stage);
    stage.controller.stop("main");
    let connections = stage.receiver().connections();
    let report = Report::of(&connections[0].messages);
    let seconds = |times: &[Duration], share| percentile(times, share).as_secs_f64();
    let rounds = f64::from(ROUNDS);
    table.note(
        "OBS's owner on air and off again, debounce 5 s: rounds",
        rounds,
        "",
    );
    table.at_most(
        "– source on → on air at the receiver, p95",
        seconds(&times.on, 0.95),
        8.0,
        "s",
    );
    table.note("– the same, median", seconds(&times.on, 0.5), "s");
    table.note(
        "– of it, source on → OBS is told to stream, p95",
        seconds(&times.until_told, 0.95),
        "s",
    );
    table.note(
        "– of it, told → its media is ready, p95",
        seconds(&times.until_media, 0.95),
        "s",
    );
    table.at_most(
        "– source off → programme at the receiver, p95",
        seconds(&times.off, 0.95),
        8.0,
        "s",
    );
    table.at_most("– RTMP connections", connections.len() as f64, 1.0, "");
    table.at_most(
        "– longest step between pictures",
        report.longest_step_ms as f64,
        35.0,
        "ms",
    );
}

fn rounds(obs: &Obs, stage: &Stage) -> Times {
    let key = stage.new_key("main");
    let key = key["key"].as_str().expect("a key");
    let mut hand = prepared(obs, &stage.ingest, key);
    let film = media::packets(&media::long());
    let film: HashSet<u64> = film.iter().map(|tag| tag.digest).collect();
    let mut times = Times::default();
    for round in 0..ROUNDS {
        wait::observe(PAUSE + SHIFT * round);
        let (on, on_wall) = (Instant::now(), Timestamp::now());
        hand.switch(SCENE, SOURCE, true);
        let aired = viewer::first_picture(stage.receiver(), &film, false, on);
        let media_at = wait::until("its media is in the record", SOON, || {
            let session = newest_session(&stage.controller);
            let at = session["media_at"].as_str()?.parse::<Timestamp>().ok()?;
            (at > on_wall).then_some(at)
        });
        let told_at = told_to_stream(&stage.controller);
        times.on.push(aired - on);
        times.until_told.push(between(on_wall, told_at));
        times.until_media.push(between(told_at, media_at));
        wait::observe(PAUSE);

        let off = Instant::now();
        hand.switch(SCENE, SOURCE, false);
        let back = viewer::first_picture(stage.receiver(), &film, true, off);
        times.off.push(back - off);
        wait::until("OBS stops", SOON, || (!hand.streams()).then_some(()));
        stage
            .controller
            .wait("main", "its session is over", SOON, |_| {
                newest_session(&stage.controller)["ended"] != Value::Null
            });
    }
    times
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    let took = to.duration_since(from).try_into();
    took.expect("the one comes after the other")
}
