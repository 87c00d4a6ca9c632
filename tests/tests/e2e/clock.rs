//! The clock jumps by a day, either way: what is on air, and how long anything waits, does not follow it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::controller::{self, Controller, Setup, to_one};
use e2e::media;
use e2e::process;
use e2e::rtmp::Receiver;
use e2e::viewer::Report;
use e2e::wait;
use nix::sys::signal::Signal;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(40);

/// Debian's place of the library that tells a process another time; not for the monotonic clock, which
/// no jump moves.
const FAKETIME: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

/// The time of a controller and its workers.
pub(crate) struct Clock {
    file: PathBuf,
}

impl Clock {
    /// Has all that is set up live by this clock, which is right at first; `None` where that cannot be done.
    pub(crate) fn of(mut setup: Setup) -> Option<(Self, Setup)> {
        let Some(library) = FAKETIME.iter().find(|path| Path::new(path).exists()) else {
            super::skipped("faketime is not installed");
            return None;
        };
        let clock = Self {
            file: setup.directory().join("clock"),
        };
        clock.set("+0d");
        let variables = [
            ("LD_PRELOAD", (*library).to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", clock.file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        let script = setup.directory().join("worker");
        worker_under(&variables, &script);
        for (name, value) in &variables {
            setup = setup.variable(name, value);
        }
        let setup = setup.variable("WORKER_BIN", &script.display().to_string());
        Some((clock, setup))
    }

    /// By how much it is wrong, as `+1d` or in seconds.
    pub(crate) fn set(&self, offset: &str) {
        let staged = self.file.with_extension("new");
        fs::write(&staged, offset).expect("writing the clock");
        fs::rename(&staged, &self.file).expect("setting the clock");
    }
}

/// A worker is started with a clean environment; a script in its place sets the clock again.
fn worker_under(variables: &[(&str, String)], at: &Path) {
    let exports: String = variables
        .iter()
        .map(|(name, value)| format!("export {name}='{value}'\n"))
        .collect();
    let worker = controller::binary("stream-worker");
    let script = format!("#!/bin/sh\n{exports}exec '{}' \"$@\"\n", worker.display());
    fs::write(at, script).expect("writing the script");
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).expect("making it executable");
}

fn lived_on(controller: &Controller, worker: &Value, checked_on: &str) {
    // Three health checks, and all that waits for ten seconds of silence.
    wait::observe(Duration::from_secs(12));
    let status = controller.status("main");
    assert_eq!(
        (&status["state"], &status["pid"]),
        (&"running".into(), worker),
        "{status:#}"
    );
    let checked = status["last_health_check"].as_str().expect("a time");
    assert!(
        checked.starts_with(checked_on),
        "{checked} is not of {checked_on}"
    );
    let health = controller.get("/health");
    assert_eq!(health["status"], "ok", "{health:#}");
    assert!(health["uptime_s"].as_u64() < Some(300), "{health:#}");
}

fn today_plus(days: i64) -> String {
    let output = process::run("date", &["-u", "+%F", "-d", &format!("{days} days")], SOON);
    let said = output.expect("date").stdout;
    String::from_utf8(said).expect("a date").trim().to_owned()
}

#[test]
fn a_clock_that_jumps_by_a_day_either_way_moves_nothing_but_the_dates() {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let receiver = Receiver::start();
    let setup = Setup::local(folder.path()).stream("main", to_one(&receiver.url()));
    let Some((clock, setup)) = Clock::of(setup) else {
        return;
    };
    let controller = setup.start();
    controller.start("main");
    let worker = controller.wait_state("main", "running", SOON)["pid"].clone();
    receiver.wait_for_span(1_000, SOON);

    clock.set("+1d");
    lived_on(&controller, &worker, &today_plus(1));
    clock.set("-1d");
    lived_on(&controller, &worker, &today_plus(-1));
    Report::of(&receiver.only_connection().messages).assert_seamless(media::FPS);

    // A wait that is under way ends in its own time, whichever way the clock goes meanwhile.
    for (number, offset) in [(1, "+1d"), (2, "-1d")] {
        process::signal(controller.worker_pid("main"), Signal::SIGKILL);
        clock.set(offset);
        receiver.wait_for_media(number, SOON);
        controller.wait_state("main", "running", SOON);
    }
    let log = controller.logs();
    assert!(!log.contains("worker_unresponsive"), "nobody was silent");
    // The machine may well hold it up for a second; the clock would have for a day.
    let lost = log
        .lines()
        .filter(|line| line.contains("the worker was held up"));
    let lost = lost.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let longest_ms = lost
        .filter_map(|event| event["late_ms"].as_f64())
        .fold(0.0, f64::max);
    assert!(longest_ms < 3_600_000.0, "{longest_ms} ms were lost");
    controller.stop("main");
}
