//! How soon the controller answers when 1,000 call at once, and how soon a killed worker is replaced.

use std::time::Duration;

use e2e::controller::Setup;
use e2e::media;
use e2e::process;
use e2e::rtmp::Receiver;
use e2e::storm::{Answered, Call, Targets, percentile, storm};
use e2e::wait;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::table::Table;

const SOON: Duration = Duration::from_secs(20);
const CALLS: usize = 1_000;

pub(crate) fn measure(table: &mut Table) {
    answers(table);
    kills(table);
}

/// A stop answers when the worker is gone: how long that takes is the worker's business, and is told
/// apart from what the controller answers by itself.
fn waits_for_an_end(answered: &Answered) -> bool {
    answered.call == Call::Stop && answered.status == 200
}

/// Five streams that are started and stopped, and one that stays on air, all of them skipped.
fn answers(table: &mut Table) {
    let folder = media::folder(&[
        ("long.mp4", &media::long()),
        ("ten.mp4", &media::ten()[0].1),
    ]);
    let receiver = Receiver::start();
    let names: Vec<String> = (0..5).map(|number| format!("s{number}")).collect();
    let stays = "stays";
    let mut setup = Setup::local(folder.path());
    for name in names.iter().map(String::as_str).chain([stays]) {
        let to = format!("{}/{name}", receiver.url());
        let destinations = json!([{ "name": "out", "url": to }]);
        let config = json!({ "format": media::format(), "destinations": destinations });
        setup = setup.stream(name, config);
    }
    let controller = setup.start();
    controller.start(stays);
    controller.wait_state(stays, "running", SOON);
    let targets = Targets {
        streams: &names,
        stays: Some(stays),
    };
    for (at_once, what) in [
        (CALLS, "1,000 start/stop/skip, all at once: answer, p99"),
        (200, "the same, 200 at once: answer, p99"),
    ] {
        let all = storm(controller.address(), targets, CALLS, at_once, 1);
        tell(table, what, &all);
        for name in &names {
            wait::until("the streams rest", SOON, || {
                let path = format!("/streams/{name}/stop");
                let answer = controller.call("POST", &path, &Value::Null);
                (answer.status == 404).then_some(())
            });
        }
    }
}

fn tell(table: &mut Table, what: &'static str, all: &[Answered]) {
    let times = |wanted: &dyn Fn(&Answered) -> bool| -> Vec<Duration> {
        let of = all.iter().filter(|answered| wanted(answered));
        of.map(|answered| answered.took).collect()
    };
    let ms = |times: Vec<Duration>, share| percentile(&times, share).as_secs_f64() * 1_000.0;
    let quick = |answered: &Answered| !waits_for_an_end(answered);
    let accepted = |answered: &Answered| answered.status == 202;
    let is = |answered: &Answered, call| answered.call == call && quick(answered);
    table.at_most(what, ms(times(&quick), 0.99), 100.0, "ms");
    table.note("– median", ms(times(&quick), 0.5), "ms");
    for (what, call) in [
        ("– `start` that starts, p99", Call::Start),
        ("– `skip` that skips, p99", Call::Skip),
    ] {
        let of = times(&|answered| is(answered, call) && accepted(answered));
        table.note(what, ms(of, 0.99), "ms");
    }
    let refused = times(&|answered| quick(answered) && !accepted(answered));
    table.note("– what is refused, p99", ms(refused, 0.99), "ms");
    let stops = times(&waits_for_an_end);
    table.note(
        "– `stop` that waits for a worker's end, p99",
        ms(stops, 0.99),
        "ms",
    );
}

fn kills(table: &mut Table) {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let receiver = Receiver::start();
    let config = e2e::controller::to_one(&receiver.url());
    let controller = Setup::local(folder.path()).stream("main", config).start();
    controller.start("main");
    let mut worst = Duration::ZERO;
    for kill in 0..5 {
        receiver.wait_for_media(kill, SOON);
        wait::observe(Duration::from_secs(5));
        process::signal(controller.worker_pid("main"), Signal::SIGKILL);
        let back = receiver.wait_for_media(kill + 1, SOON);
        let last = receiver.look(|all| all[kill].frames().last().map(|m| m.arrived));
        worst = worst.max(last.map_or(worst, |last| back - last));
    }
    table.at_most(
        "worker killed: no media, worst of 5",
        worst.as_secs_f64(),
        2.0,
        "s",
    );
}
