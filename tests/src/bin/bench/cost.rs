//! Processor time and memory of one copied 720p stream.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::controller::{Controller, Setup};
use e2e::media::{self, Clip};
use e2e::process::{self, Child, Process};
use e2e::rtmp::Receiver;
use e2e::wait;
use serde_json::json;

use crate::table::Table;

/// Long enough that the end of the file, and with it one join, is always inside.
const WINDOW: Duration = Duration::from_secs(60);
/// Until start-up costs are over.
const SETTLE: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_secs(20);

struct Cost {
    cpu: Duration,
    pss_kib: u64,
}

/// A minute of 720p at 2.5 Mbit/s.
fn film() -> PathBuf {
    let clip = Clip {
        name: "film.mp4",
        seconds: 55.0,
        size: (1280, 720),
        kbps: 2500,
        ..Clip::default()
    };
    clip.file()
}

pub(crate) fn measure(table: &mut Table) {
    let film = film();
    let receiver = Receiver::start();
    let mut command = process::command("ffmpeg");
    command
        .args(["-v", "error", "-re", "-stream_loop", "-1", "-i"])
        .arg(&film);
    command.args([
        "-c",
        "copy",
        "-f",
        "flv",
        &format!("{}/key", receiver.url()),
    ]);
    let ffmpeg = Child::spawn(&mut command);
    receiver.wait_for_media(0, SOON);
    let pid = ffmpeg.pid();
    let bare = over_window(|| Process::read(pid).into_iter().collect());
    drop(ffmpeg);

    let folder = media::folder(&[("film.mp4", &film)]);
    let receiver = Receiver::start();
    let begun = Instant::now();
    let controller = Setup::local(folder.path())
        .stream("main", on(&receiver))
        .start();
    wait::until("the controller is ready", SOON, || {
        let answer = controller.call("GET", "/health/ready", &json!(null));
        (answer.status == 200).then_some(())
    });
    let start_up = begun.elapsed();
    start_and_stop(&controller, &receiver, table, start_up);

    let before = receiver.media_connections();
    controller.start("main");
    receiver.wait_for_media(before, SOON);
    let worker_pid = controller.worker_pid("main");
    let ours = over_window(|| controller.family());
    let worker_kib = Process::read(worker_pid).map_or(0, |process| process.pss_kib());

    let share = |cost: &Cost| cost.cpu.as_secs_f64() / WINDOW.as_secs_f64() * 100.0;
    table.ratio(
        "CPU of one core, all processes",
        share(&bare),
        share(&ours),
        2.5,
        "%",
    );
    let mib = |kib: u64| kib as f64 / 1024.0;
    table.at_most("memory of the worker (PSS)", mib(worker_kib), 15.0, "MiB");
    table.at_most(
        "memory of all processes (PSS)",
        mib(ours.pss_kib),
        150.0,
        "MiB",
    );
    table.against(mib(bare.pss_kib), "MiB");
}

fn on(receiver: &Receiver) -> serde_json::Value {
    json!({
        "format": { "width": 1280, "height": 720, "fps": 30, "video_kbps": 3000, "audio_kbps": 128 },
        "destinations": [{ "name": "out", "url": format!("{}/key", receiver.url()) }]
    })
}

fn over_window(processes: impl Fn() -> Vec<Process>) -> Cost {
    wait::observe(SETTLE);
    let cpu = || {
        processes()
            .iter()
            .map(|process| process.cpu)
            .sum::<Duration>()
    };
    let before = cpu();
    wait::observe(WINDOW / 2);
    let pss_kib = processes().iter().map(Process::pss_kib).sum();
    wait::observe(WINDOW / 2);
    Cost {
        // Children that ended and were waited for are counted with their parent.
        cpu: cpu().saturating_sub(before),
        pss_kib,
    }
}

fn start_and_stop(
    controller: &Controller,
    receiver: &Receiver,
    table: &mut Table,
    start_up: Duration,
) {
    let mut starts = Vec::new();
    let mut stops = Vec::new();
    for number in 0..5 {
        let asked = controller.start("main");
        starts.push(receiver.wait_for_media(number, SOON) - asked);
        wait::observe(Duration::from_secs(2));
        stops.push(controller.stop("main"));
    }
    let worst = |all: &[Duration]| all.iter().max().expect("five of them").as_secs_f64();
    table.at_most(
        "`start` to first media, worst of 5",
        worst(&starts),
        1.5,
        "s",
    );
    table.at_most("`stop`, worst of 5", worst(&stops), 2.0, "s");
    table.note("controller started and ready", start_up.as_secs_f64(), "s");
}
