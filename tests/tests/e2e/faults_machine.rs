//! A machine that runs out of something: memory, processes, time on its processors.

use std::time::Duration;

use e2e::controller::{Controller, Setup};
use e2e::group::{Group, Resource};
use e2e::media;
use e2e::process::Process;
use e2e::rtmp::Receiver;
use e2e::viewer::Report;
use e2e::wait;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(40);

/// Streams `a` and `b` of one long file, each with its key at a receiver of its own; `a` is on air.
struct World {
    controller: Controller,
    a: Receiver,
    b: Receiver,
    _folder: tempfile::TempDir,
}

fn world() -> World {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let (a, b) = (Receiver::start(), Receiver::start());
    let to = |receiver: &Receiver| e2e::controller::to_one(&receiver.url());
    let setup = Setup::local(folder.path());
    let world = World {
        controller: setup.stream("a", to(&a)).stream("b", to(&b)).start(),
        a,
        b,
        _folder: folder,
    };
    on_air(&world.controller, "a", &world.a);
    world
}

fn on_air(controller: &Controller, id: &str, receiver: &Receiver) {
    controller.start(id);
    controller.wait_state(id, "running", SOON);
    receiver.wait_for_span(1_000, SOON);
}

fn is_unbroken(controller: &Controller, id: &str, worker: i32, receiver: &Receiver) {
    let status = controller.wait_state(id, "running", SOON);
    assert_eq!(
        (&status["pid"], &status["restarts"]),
        (&worker.into(), &0.into()),
        "{status:#}"
    );
    Report::of(&receiver.only_connection().messages).assert_seamless(media::FPS);
}

fn is_gone(pid: i32) -> bool {
    Process::read(pid).is_none_or(|process| process.state == 'Z')
}

/// Whoever is killed dies when it is its turn to run.
fn wait_until_gone(pid: i32) {
    wait::until("the end of who was to be killed", SOON, || {
        is_gone(pid).then_some(())
    });
}

#[test]
fn memory_that_runs_out_costs_only_what_the_kernel_killed() {
    const LIMIT: u64 = 32 << 20;
    let group = match Group::of(Resource::Memory) {
        Ok(group) => group,
        Err(why) => return super::skipped(&why),
    };
    group.limit_memory(LIMIT);
    let world = world();
    let controller = &world.controller;
    on_air(controller, "b", &world.b);
    let (worker, other) = (controller.worker_pid("a"), controller.worker_pid("b"));

    // The FFmpeg that publishes: its destination connects again, and nothing else happens.
    let port = world.a.address().port().to_string();
    let publisher = controller.ffmpegs(&port).pop().expect("a publisher").pid;
    group.exhaust_memory(publisher, LIMIT);
    wait_until_gone(publisher);
    assert!(group.killed_for_memory() > 0, "it was to be killed");
    world.a.wait_for_media(1, SOON);
    assert_eq!(controller.wait_state("a", "running", SOON)["pid"], worker);

    // The worker: its stream starts again, and nothing else happens.
    group.exhaust_memory(worker, LIMIT);
    wait_until_gone(worker);
    world.a.wait_for_media(2, SOON);
    let told = |status: &Value| status["state"] == "running" && status["restarts"] == 1;
    controller.wait("a", "its restart", SOON, told);

    is_unbroken(controller, "b", other, &world.b);
    assert_eq!(world.a.media_connections(), 3);
    assert!(!is_gone(controller.pid()));
}

#[test]
fn a_machine_that_starts_no_process_is_waited_for() {
    let group = match Group::of(Resource::Processes) {
        Ok(group) => group,
        Err(why) => return super::skipped(&why),
    };
    let world = world();
    let controller = &world.controller;
    let worker = controller.worker_pid("a");
    group.add(controller.pid());
    group.forbid_processes();

    controller.start("b");
    let refused = |status: &Value| {
        status["state"] == "backoff" && status["error"]["type"] == "machine_exhausted"
    };
    let first = controller.wait("b", "the machine's refusal", SOON, refused);
    assert!(first["next_restart_at"].is_string(), "{first:#}");
    let tries = |status: &Value| status["restarts"].as_u64();
    let again = |status: &Value| refused(status) && tries(status) > tries(&first);
    controller.wait("b", "another try", SOON, again);
    assert_eq!(controller.status("a")["state"], "running");

    group.allow_processes();
    controller.wait_state("b", "running", SOON);
    world.b.wait_for_media(0, SOON);
    is_unbroken(controller, "a", worker, &world.a);
}

/// What all of them have used of the processors so far.
fn used(controller: &Controller) -> Duration {
    controller.family().iter().map(|process| process.cpu).sum()
}

#[test]
fn a_processor_with_too_little_time_for_all_of_them_kills_nothing() {
    const MEASURED_S: u32 = 3;
    let group = match Group::of(Resource::Processor) {
        Ok(group) => group,
        Err(why) => return super::skipped(&why),
    };
    let world = world();
    let controller = &world.controller;
    let worker = controller.worker_pid("a");
    let before = used(controller);
    wait::observe(Duration::from_secs(MEASURED_S.into()));
    let needed = (used(controller) - before) / MEASURED_S;

    for process in controller.family() {
        group.add(process.pid);
    }
    // Less than they need, so that in each second they stand still for a while and fall behind; how much that is
    // depends on what else the machine does.
    let mut given = needed * 2 / 3;
    let before = world.a.look(|all| all[0].messages.len());
    wait::until("held up in six seconds", Duration::from_secs(90), || {
        group.limit_processor(given);
        let earlier = group.held_up();
        wait::observe(Duration::from_secs(2));
        let held_up = group.held_up();
        if held_up == earlier {
            given = given * 2 / 3;
        }
        (held_up >= 6).then_some(())
    });
    let during = world.a.look(|all| all[0].messages.len()) - before;
    group.free_processor();

    let status = controller.wait_state("a", "running", SOON);
    assert_eq!(
        (&status["pid"], &status["restarts"]),
        (&worker.into(), &0.into()),
        "{status:#}"
    );
    assert_eq!(controller.get("/health")["status"], "ok");
    assert!(during > 0, "nothing came");
    let log = controller.logs();
    for told in ["worker_unresponsive", "ffmpeg_stalled"] {
        assert!(!log.contains(told), "{told} was nobody's fault");
    }
    let report = Report::of(&world.a.only_connection().messages);
    report.assert_decodable();
    report.assert_no_hole_over(Duration::from_secs(5));
}
