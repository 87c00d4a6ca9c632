//! The service under a real systemd: what `systemctl` and a crash do to the streams.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fs, io};

use e2e::nginx::free_address;
use e2e::process::{Child, Process};
use e2e::rtmp::Receiver;
use e2e::systemd::{SOCKET, Service, UNIT};
use e2e::viewer::Report;
use e2e::{canary, http, media, process, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(40);

struct World {
    service: Service,
    receiver: Receiver,
}

const INSTALLED: &str = "/opt/stream-controller/current/scripts/install.sh";

/// An installed service with its stream on air; says why where there can be none.
fn world() -> Option<World> {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let receiver = Receiver::start();
    let installed = Service::install(folder.path(), &receiver.url(), canary::STREAM_KEY);
    let service = installed.map_err(|why| super::skipped(&why)).ok()?;
    let answer = service.call("POST", "/streams/start").expect("an answer");
    answer.expect(202);
    service.wait("on air", SOON, |status| status["state"] == "running");
    receiver.wait_for_span(2_000, SOON);
    Some(World { service, receiver })
}

/// Callers that ask for the status all the time, one connection a call.
struct Load {
    stop: Arc<AtomicBool>,
    calls: Arc<Mutex<Calls>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Calls {
    /// From before the connection was made until the whole answer was there.
    answered: Vec<(Instant, Instant)>,
    failed: Vec<String>,
}

impl Load {
    fn start(service: &Service) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            calls: Arc::default(),
            threads: Vec::new(),
        };
        for _ in 0..2 {
            let (address, stop) = (service.address, Arc::clone(&load.stop));
            let calls = Arc::clone(&load.calls);
            load.threads.push(std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let asked = ask(address);
                    let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
                    match asked {
                        Ok(()) => calls.answered.push((begun, Instant::now())),
                        Err(error) => calls.failed.push(error),
                    }
                    drop(calls);
                    std::thread::sleep(Duration::from_millis(5));
                }
            }));
        }
        load
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `disturb` while calls are made: one was answered before it, one was under way during it, and
    /// one was begun after it.
    fn across(&self, disturb: impl FnOnce()) {
        let answered = |what: &str, wanted: &dyn Fn(Instant, Instant) -> bool| {
            wait::until(what, SOON, || {
                let calls = self.calls();
                let mut found = calls.answered.iter();
                found
                    .any(|(begun, ended)| wanted(*begun, *ended))
                    .then_some(())
            });
        };
        let here = Instant::now();
        answered("a call before", &|begun, _| begun >= here);
        let from = Instant::now();
        disturb();
        let to = Instant::now();
        answered("a call meanwhile", &|begun, ended| {
            begun < to && ended > from
        });
        answered("a call afterwards", &|begun, _| begun >= to);
    }

    /// Panics when a call failed that may not.
    fn finish(mut self, may_fail: impl Fn(&str) -> bool) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a thread that does not panic");
        }
        let mut failed = std::mem::take(&mut self.calls().failed);
        failed.retain(|error| !may_fail(error));
        let count = failed.len();
        assert!(failed.is_empty(), "{count} calls failed: {failed:?}");
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn ask(address: std::net::SocketAddr) -> Result<(), String> {
    let answer: io::Result<_> = http::request(address, "GET", "/streams/status", &[], &[], SOON);
    match answer {
        Ok(answer) if answer.status == 200 => Ok(()),
        Ok(answer) => Err(format!("{}: {}", answer.status, answer.text())),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn systemd_restarts_and_crashes_of_the_controller_are_not_noticed() {
    let Some(World { service, receiver }) = world() else {
        return;
    };
    let machine = &service.machine;
    let worker = service.worker();
    assert_eq!(Service::group_of(worker), "w-main-1");
    let since = service.status()["since"].clone();
    let adopted = |service: &Service| {
        let status = service.status();
        assert_eq!(status["state"], "running", "{status:#}");
        assert_eq!(status["since"], since, "{status:#}");
        assert!(status["on_air"].is_object(), "{status:#}");
        assert_eq!(service.worker(), worker);
    };

    let load = Load::start(&service);
    for _ in 0..5 {
        load.across(|| machine.systemctl("restart"));
        adopted(&service);
    }
    load.finish(|_| false);

    // A crash takes along what it was answering, and refuses nobody.
    let load = Load::start(&service);
    for _ in 0..3 {
        let before = service.controller().expect("a controller");
        process::signal(before, Signal::SIGKILL);
        wait::until("another controller", SOON, || {
            service.controller().filter(|now| *now != before)
        });
        service.wait("adopted", SOON, |status| status["on_air"].is_object());
        adopted(&service);
    }
    load.finish(|error| !error.contains("refused"));

    let before = service.controller().expect("a controller");
    let frozen = Instant::now();
    process::signal(before, Signal::SIGSTOP);
    wait::until(
        "the watchdog has it replaced",
        Duration::from_secs(90),
        || service.controller().filter(|now| *now != before),
    );
    assert!(frozen.elapsed() > Duration::from_secs(10));
    service.wait("adopted", SOON, |status| status["on_air"].is_object());
    adopted(&service);
    assert_eq!(service.groups(), ["w-main-1"]);

    assert_eq!(receiver.look(|all| all[0].key.clone()), canary::STREAM_KEY);
    canary::assert_clean("the journal", machine.journal().as_bytes());
    for process in machine.processes() {
        canary::assert_clean(&process.command_line(), &process.arguments);
        canary::assert_clean(&process.command_line(), &process.environment());
    }
    Report::of(&receiver.only_connection().messages).assert_seamless(media::FPS);
}

#[test]
fn systemd_stop_ends_the_streams_and_start_resumes_them() {
    let Some(World {
        mut service,
        receiver,
    }) = world()
    else {
        return;
    };
    let machine = &service.machine;
    let said = machine.succeed(&["systemd-analyze", "verify", UNIT, SOCKET]);
    assert!(said.trim().is_empty(), "{said}");
    // In tenths; of what is left, most is that it must reach the network.
    let exposure = ["systemd-analyze", "security", "--threshold=15", UNIT];
    machine.succeed(&exposure);

    a_dead_worker_leaves_nothing(&service, &receiver);

    // Installing again changes nothing; another address moves the API and no stream.
    let worker = service.worker();
    let said = service.run_installer(&[]);
    assert!(said.contains("nothing has changed"), "{said}");
    service.move_to(free_address());
    let said = service.run_installer(&["--dry-run"]);
    assert!(said.contains(&service.address.to_string()), "{said}");
    assert!(service.call("GET", "/health/live").is_err(), "a dry run");
    // As an operator does who has changed the settings: with what is installed.
    let said = service.machine.succeed(&[INSTALLED]);
    assert!(said.contains("is current already"), "{said}");
    service.wait("there", SOON, |status| status["state"] == "running");
    assert_eq!(service.worker(), worker);

    // Who calls meanwhile must not have it started again.
    let callers = Load::start(&service);
    let begun = Instant::now();
    service.machine.systemctl("stop");
    // Before systemd would have killed them all, after 30 s.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(25), "{took:?}");
    assert!(receiver.look(|all| all[1].unpublished), "said goodbye");
    assert_nothing_is_left_but_the_wish(&service);
    // A stopped service stays stopped, whoever calls.
    assert!(service.call("GET", "/health/live").is_err());
    assert_eq!(service.machine.property("ActiveState"), "inactive");

    drop(callers);
    service.machine.systemctl("start");
    receiver.wait_for_media(2, SOON);
    let connections = receiver.connections();
    for pair in connections.windows(2) {
        assert!(
            pair[0].closed.unwrap() <= pair[1].opened,
            "one publisher at a time"
        );
    }

    // The worker of a stream that is configured no more is an orphan to the next controller.
    let config = "/var/lib/stream-controller/stream_config.json";
    let empty = r#"{ "version": 1, "streams": {} }"#;
    service.machine.write(config, empty);
    let controller = service.controller().expect("a controller");
    process::signal(controller, Signal::SIGKILL);
    wait::until("the orphan is gone", SOON, || {
        let processes = service.machine.processes();
        let found = processes.iter().any(|p| p.name == "stream-worker");
        (!found && service.groups().is_empty()).then_some(())
    });
}

/// A worker that dies is replaced in a group of its own once the first one's is empty: what it
/// has left there, even in a session of its own, is killed.
fn a_dead_worker_leaves_nothing(service: &Service, receiver: &Receiver) {
    let left = Child::spawn(process::command("setsid").args(["sleep", "600"]));
    let procs = "/sys/fs/cgroup/system.slice/stream-controller.service/w-main-1/cgroup.procs";
    fs::write(service.machine.path(procs), left.pid().to_string()).expect("its control group");
    process::signal(service.worker(), Signal::SIGKILL);
    receiver.wait_for_media(1, SOON);
    assert_eq!(Process::read(left.pid()).map(|p| p.state), Some('Z'));
    service.wait("on air again", SOON, |status| status["state"] == "running");
    assert_eq!(Service::group_of(service.worker()), "w-main-2");
    assert_eq!(service.groups(), ["w-main-2"]);
}

fn assert_nothing_is_left_but_the_wish(service: &Service) {
    let left = service.machine.processes();
    let ours = |name: &str| name.starts_with("stream-") || name.starts_with("ffmpeg");
    assert!(!left.iter().any(|p| ours(&p.name)), "{left:#?}");
    assert!(service.groups().is_empty(), "{:?}", service.groups());
    let state = service
        .machine
        .path("/var/lib/stream-controller/stream_state.json");
    let state = fs::read(state).expect("the state is kept");
    let state: Value = serde_json::from_slice(&state).expect("it is JSON");
    assert_eq!(state["streams"]["main"]["desired"], "running", "{state:#}");
}
