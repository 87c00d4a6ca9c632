//! What a viewer sees at joins and while a source fails.

use std::fs;
use std::time::Duration;

use e2e::controller::{Controller, Setup};
use e2e::media;
use e2e::process;
use e2e::rtmp::{Connection, Receiver};
use e2e::s3::{Bucket, Fault};
use e2e::stage::{self, Stage};
use e2e::viewer::{self, AAC_FRAME_MS, Report};
use nix::sys::signal::Signal;

use crate::table::Table;

const SOON: Duration = Duration::from_secs(20);

pub(crate) fn measure(table: &mut Table) {
    ten_files(table);
    dead_source(table);
    stalled_source(table);
}

/// What a viewer of one stream has got when all of this has happened.
fn seen(
    setup: Setup,
    first: &str,
    happens: impl FnOnce(&Controller, &Receiver),
) -> Vec<Connection> {
    let stage = Stage::start(setup, stage::main(), first);
    happens(&stage.controller, stage.receiver());
    stage.controller.stop("main");
    stage.receiver().connections()
}

fn ten_files(table: &mut Table) {
    let files = media::ten();
    let objects: Vec<_> = files
        .iter()
        .map(|(k, f)| (k.as_str(), f.as_path()))
        .collect();
    let bucket = Bucket::with(&objects);
    let setup = Setup::new(bucket.environment());
    let connections = seen(setup, &files[0].0, |_, receiver| {
        receiver.wait_for_span(75_000, Duration::from_secs(100));
    });
    let messages = &connections[0].messages;
    let report = Report::of(messages);
    let known: Vec<_> = files.iter().map(|(_, file)| media::packets(file)).collect();
    let passages = viewer::passages(messages, &known);
    let apart = passages.iter().map(viewer::Passage::av_error_ms).max();
    let joins = passages.len().saturating_sub(1);
    table.note("ten files, two rounds: joins", joins as f64, "");
    table.at_most("– RTMP connections", connections.len() as f64, 1.0, "");
    table.at_most(
        "– longest step between pictures",
        report.longest_step_ms as f64,
        35.0,
        "ms",
    );
    let hole = report.longest_audio_hole_ms.max(0.0);
    table.at_most("– longest hole in the sound", hole, AAC_FRAME_MS, "ms");
    table.at_most(
        "– picture against sound, worst",
        apart.unwrap_or(0) as f64,
        20.0,
        "ms",
    );
    table.at_most(
        "– decode times out of order",
        report.decode_order_errors as f64,
        0.0,
        "",
    );
}

fn dead_source(table: &mut Table) {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let setup = Setup::local(folder.path());
    let connections = seen(setup, "long.mp4", |controller, receiver| {
        receiver.wait_for_span(6_000, SOON);
        for source in controller.ffmpegs("/m/") {
            process::signal(source.pid, Signal::SIGKILL);
        }
        receiver.wait_for_span(16_000, SOON);
    });
    let report = Report::of(&connections[0].messages);
    table.at_most(
        "source killed: longest hole",
        worst_hole_ms(&report),
        500.0,
        "ms",
    );
}

fn stalled_source(table: &mut Table) {
    let bucket = Bucket::with(&[("long.mp4", &media::long())]);
    let size = fs::metadata(media::long()).expect("a fixture").len();
    bucket.fault("long.mp4", Fault::stall_after(size / 4));
    let setup = Setup::new(bucket.environment());
    let connections = seen(setup, "long.mp4", |_, receiver| {
        receiver.wait_for_span(35_000, Duration::from_secs(60));
    });
    let report = Report::of(&connections[0].messages);
    table.at_most(
        "source stalled: longest hole",
        worst_hole_ms(&report),
        500.0,
        "ms",
    );
}

/// The longest time for which picture, sound or supply stood still.
fn worst_hole_ms(report: &Report) -> f64 {
    let arrival = report.longest_arrival_hole.as_secs_f64() * 1000.0;
    let picture = report.longest_step_ms as f64;
    picture
        .max(report.longest_audio_hole_ms)
        .max(arrival)
        .round()
}
