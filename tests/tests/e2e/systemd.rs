//! The service under a real systemd: what `systemctl` and a crash do to the streams.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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

const SOON: Duration = Duration::from_secs(20);

struct World {
    service: Service,
    receiver: Receiver,
}

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

/// Asks for the status all the time, one connection a call.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(service: &Service) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            answered: Arc::default(),
            failed: Arc::default(),
            threads: Vec::new(),
        };
        for _ in 0..2 {
            let (address, stop) = (service.address, Arc::clone(&load.stop));
            let (answered, failed) = (Arc::clone(&load.answered), Arc::clone(&load.failed));
            load.threads.push(std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    match ask(address) {
                        Ok(()) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => failed
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(error),
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            }));
        }
        load
    }

    /// Panics when a call failed that may not; gives how many were answered.
    fn finish(mut self, may_fail: impl Fn(&str) -> bool) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a thread that does not panic");
        }
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.retain(|error| !may_fail(error));
        assert!(
            failed.is_empty(),
            "{} calls failed: {failed:?}",
            failed.len()
        );
        self.answered.load(Ordering::Relaxed)
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
        machine.systemctl("restart");
        adopted(&service);
    }
    let answered = load.finish(|_| false);
    assert!(answered > 50, "only {answered} calls were made");

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
        Duration::from_secs(50),
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

    // A worker that dies is replaced in a group of its own once the first one's is empty: what it
    // has left there, even in a session of its own, is killed.
    let left = Child::spawn(process::command("setsid").args(["sleep", "600"]));
    let procs = "/sys/fs/cgroup/system.slice/stream-controller.service/w-main-1/cgroup.procs";
    fs::write(service.machine.path(procs), left.pid().to_string()).unwrap();
    process::signal(service.worker(), Signal::SIGKILL);
    receiver.wait_for_media(1, SOON);
    assert_eq!(Process::read(left.pid()).map(|p| p.state), Some('Z'));
    service.wait("on air again", SOON, |status| status["state"] == "running");
    assert_eq!(Service::group_of(service.worker()), "w-main-2");
    assert_eq!(service.groups(), ["w-main-2"]);

    // Installing again changes nothing; another address moves the API and no stream.
    let worker = service.worker();
    let said = service.run_installer(&[]);
    assert!(said.contains("nothing has changed"), "{said}");
    service.move_to(free_address());
    let said = service.run_installer(&["--dry-run"]);
    assert!(said.contains(&service.address.to_string()), "{said}");
    assert!(service.call("GET", "/health/live").is_err(), "a dry run");
    service.run_installer(&[]);
    service.wait("there", SOON, |status| status["state"] == "running");
    assert_eq!(service.worker(), worker);

    // Who calls meanwhile must not have it started again.
    let callers = Load::start(&service);
    let begun = Instant::now();
    service.machine.systemctl("stop");
    assert!(
        begun.elapsed() < Duration::from_secs(12),
        "{:?}",
        begun.elapsed()
    );
    assert!(receiver.look(|all| all[1].unpublished), "said goodbye");
    let left = service.machine.processes();
    let ours = |name: &str| name.starts_with("stream-") || name.starts_with("ffmpeg");
    assert!(!left.iter().any(|p| ours(&p.name)), "{left:#?}");
    assert!(service.groups().is_empty(), "{:?}", service.groups());
    let state = service
        .machine
        .path("/var/lib/stream-controller/stream_state.json");
    let state: Value = serde_json::from_slice(&fs::read(state).unwrap()).unwrap();
    assert_eq!(state["streams"]["main"]["desired"], "running", "{state:#}");
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
    wait::until("the orphan is gone", Duration::from_secs(12), || {
        let processes = service.machine.processes();
        let found = processes.iter().any(|p| p.name == "stream-worker");
        (!found && service.groups().is_empty()).then_some(())
    });
}
