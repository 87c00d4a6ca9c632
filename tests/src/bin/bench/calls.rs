//! How soon the controller answers when 200 call at once, and how soon a killed worker is replaced.

use std::time::Duration;

use e2e::controller::Setup;
use e2e::media;
use e2e::process;
use e2e::rtmp::Receiver;
use e2e::storm::{Answered, Call, percentile, storm};
use e2e::wait;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::table::Table;

const SOON: Duration = Duration::from_secs(20);
const CALLS: usize = 1_000;
const AT_ONCE: usize = 200;

pub(crate) fn measure(table: &mut Table) {
    answers(table);
    kills(table);
}

/// A stop answers when the worker is gone: how long that takes is the worker's business, and is told
/// apart from what the controller answers by itself.
fn waits_for_an_end(answered: &Answered) -> bool {
    answered.call == Call::Stop && answered.status == 200
}

fn answers(table: &mut Table) {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let receiver = Receiver::start();
    let names: Vec<String> = (0..5).map(|number| format!("s{number}")).collect();
    let mut setup = Setup::local(folder.path());
    for name in &names {
        let to = format!("{}/{name}", receiver.url());
        let destinations = json!([{ "name": "out", "url": to }]);
        let config = json!({ "format": media::format(), "destinations": destinations });
        setup = setup.stream(name, config);
    }
    let controller = setup.start();
    let all = storm(controller.address(), &names, CALLS, AT_ONCE, 1);
    let times = |wanted: &dyn Fn(&Answered) -> bool| -> Vec<Duration> {
        let of = all.iter().filter(|answered| wanted(answered));
        of.map(|answered| answered.took).collect()
    };
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    let quick = times(&|answered| !waits_for_an_end(answered));
    table.at_most(
        "1,000 start/stop/skip, 200 at once: answer, p99",
        ms(percentile(&quick, 0.99)),
        100.0,
        "ms",
    );
    table.note("the same, median", ms(percentile(&quick, 0.5)), "ms");
    for (what, call) in [
        ("of those, `start`, p99", Call::Start),
        ("of those, `skip`, p99", Call::Skip),
    ] {
        let of = times(&|answered| answered.call == call);
        table.note(what, ms(percentile(&of, 0.99)), "ms");
    }
    let stops = times(&waits_for_an_end);
    table.note(
        "stops that wait for a worker's end, p99",
        ms(percentile(&stops, 0.99)),
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
