//! The controller at its worst moments: killed at any instant of a call, on a disk that fails, and with its
//! worker's number in somebody else's hands.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use e2e::apart::Numbers;
use e2e::controller::{Controller, Setup, to_one};
use e2e::media;
use e2e::process::{self, Child, Process};
use e2e::rtmp::Receiver;
use e2e::storm::draw;
use e2e::viewer::Report;
use e2e::{http, wait};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(40);
/// Nothing that is not wanted may run for longer: twelve seconds, and as long again on a busy machine.
const ORPHANED: Duration = Duration::from_secs(24);
const SEED: u64 = 20_261_121;

/// What there is of a stream, as far as a caller knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum There {
    Nothing,
    Stopped,
    Wanted,
}

/// The calls that lead through all of them.
#[derive(Debug, Clone, Copy)]
enum Call {
    Create,
    Start,
    Stop,
    Delete,
}

impl Call {
    fn after(self) -> There {
        match self {
            Self::Create | Self::Stop => There::Stopped,
            Self::Start => There::Wanted,
            Self::Delete => There::Nothing,
        }
    }

    /// One that makes sense now; what is stopped is deleted or started.
    fn next(there: There, delete: bool) -> Self {
        match there {
            There::Nothing => Self::Create,
            There::Stopped if delete => Self::Delete,
            There::Stopped => Self::Start,
            There::Wanted => Self::Stop,
        }
    }

    /// Makes it; `false` when nobody answered.
    fn make(self, controller: &Controller, config: &Value) -> bool {
        let (method, path, body) = match self {
            Self::Create => ("PUT", "/streams/main", config.to_string()),
            Self::Start => ("POST", "/streams/main/start", String::new()),
            Self::Stop => ("POST", "/streams/main/stop", String::new()),
            Self::Delete => ("DELETE", "/streams/main", String::new()),
        };
        let headers = [("Content-Type", "application/json")];
        let (address, body) = (controller.address(), body.as_bytes());
        match http::request(address, method, path, &headers, body, SOON) {
            Ok(answer) => {
                assert!(answer.status < 300, "{self:?}: {}", answer.text());
                true
            }
            Err(_) => false,
        }
    }
}

fn there(controller: &Controller) -> There {
    let answer = controller.call("GET", "/streams/status?stream_id=main", &Value::Null);
    match answer.status {
        404 => There::Nothing,
        _ if answer.json()["desired"] == "running" => There::Wanted,
        _ => There::Stopped,
    }
}

fn workers(controller: &Controller) -> Vec<Process> {
    let family = controller.family();
    process::workers(&family).into_iter().cloned().collect()
}

/// Calls until the controller is killed, `instant` from now: what there was for certain, and what there is if the
/// unanswered call was done.
fn until_killed(
    controller: &Controller,
    config: &Value,
    from: There,
    (instant, delete): (Duration, bool),
) -> [There; 2] {
    let (pid, mut known) = (controller.pid(), from);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            wait::observe(instant);
            process::signal(pid, Signal::SIGKILL);
        });
        loop {
            let call = Call::next(known, delete);
            if !call.make(controller, config) {
                return [known, call.after()];
            }
            known = call.after();
        }
    })
}

#[test]
fn killed_at_any_instant_of_a_call_it_is_before_or_after_and_never_between() {
    const KILLS: u64 = 30;
    /// A slow machine gets through fewer.
    const BUDGET: Duration = Duration::from_secs(24);
    let begun = Instant::now();
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let receiver = Receiver::start();
    let config = to_one(&receiver.url());
    let mut controller = Setup::local(folder.path()).start();
    let mut known = There::Nothing;
    let mut kill = 0;
    while kill < KILLS && (begun.elapsed() < BUDGET || kill < KILLS / 3) {
        kill += 1;
        let drawn = draw(SEED, kill);
        let when = (Duration::from_millis(drawn % 800), drawn.is_multiple_of(3));
        let allowed = until_killed(&controller, &config, known, when);
        controller.kill();
        controller.start_again();
        known = there(&controller);
        assert!(
            allowed.contains(&known),
            "kill {kill}: {known:?} is none of {allowed:?}"
        );
        let wanted = usize::from(known == There::Wanted);
        wait::until("as many workers as are wanted", ORPHANED, || {
            let running = workers(&controller);
            assert!(running.len() <= 1, "kill {kill}: two workers: {running:#?}");
            (running.len() == wanted).then_some(())
        });
    }

    if known == There::Wanted {
        assert!(Call::Stop.make(&controller, &config));
    }
    wait::until("no worker is left", ORPHANED, || {
        workers(&controller).is_empty().then_some(())
    });
    // As the platform saw it: nobody brought media while another did.
    let mut spans: Vec<_> = receiver.connections().iter().filter_map(span).collect();
    spans.sort();
    assert!(
        spans.windows(2).all(|pair| pair[0].1 <= pair[1].0),
        "two publishers at once"
    );
}

fn span(connection: &e2e::rtmp::Connection) -> Option<(Instant, Instant)> {
    let first = connection.frames().next()?.arrived;
    Some((first, connection.frames().last()?.arrived))
}

/// `strace` on a running process, until it is dropped.
struct Strace {
    _strace: Child,
    trace: PathBuf,
}

impl Strace {
    /// Has the system calls that `fault` names fail; `None` when it may not.
    fn on(pid: i32, fault: &str, folder: &Path) -> Option<Self> {
        let trace = folder.join("strace.log");
        let call = fault.split(':').next()?;
        let mut command = process::command("strace");
        command.args(["-f", "-qq", "-p", &pid.to_string()]);
        command
            .arg(format!("--trace={call}"))
            .arg(format!("--inject={fault}"));
        command.arg("-o").arg(&trace);
        command.stderr(Stdio::null());
        let mut strace = Child::spawn(&mut command);
        let held = wait::within(SOON, || {
            let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
            let all = threads.flatten().all(|thread| {
                let status = fs::read_to_string(thread.path().join("status"));
                status.is_ok_and(|status| !status.contains("TracerPid:\t0"))
            });
            (all || strace.exit().is_some()).then_some(())
        });
        (held.is_some() && strace.exit().is_none()).then(|| Self {
            _strace: strace,
            trace,
        })
    }

    /// How many calls have failed for it.
    fn hits(&self) -> usize {
        let trace = fs::read_to_string(&self.trace).unwrap_or_default();
        trace.matches("(INJECTED)").count()
    }
}

#[test]
fn a_disk_that_fails_at_any_step_of_a_save_changes_nothing_and_heals() {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let receiver = Receiver::start();
    let setup = Setup::local(folder.path()).stream("main", to_one(&receiver.url()));
    let controller = setup.start();
    controller.start("main");
    controller.wait_state("main", "running", SOON);
    receiver.wait_for_span(1_000, SOON);
    let worker = controller.worker_pid("main");
    let file = controller.directory().join("state/stream_config.json");
    let other = |loops: bool| json!({ "destinations": [], "programme": { "loop": loops } });
    controller
        .call("PUT", "/streams/other", &other(true))
        .expect(201);

    // All of them, then the n-th of a thread alone: a save is flushed and renamed twice, its good copy too.
    for fault in [
        "fsync:error=EIO",
        "rename:error=EIO",
        "fsync:error=EIO:when=1",
        "fsync:error=EIO:when=2",
        "fsync:error=EIO:when=3",
        "rename:error=EIO:when=1",
        "rename:error=EIO:when=2",
    ] {
        let before = fs::read(&file).unwrap();
        let Some(strace) = Strace::on(controller.pid(), fault, controller.directory()) else {
            return super::skipped("strace is not installed, or may not attach");
        };
        let answer = controller.call("PUT", "/streams/other", &other(false));
        assert!(strace.hits() > 0, "{fault} was to fail");
        drop(strace);
        let in_force = controller.get("/streams/other")["programme"]["loop"].clone();
        let is_old = fs::read(&file).unwrap() == before;
        if fault.contains("when=") && answer.status == 200 {
            // A step after the one that counts.
            assert!(in_force == false && !is_old, "{fault}: said to be saved");
        } else {
            assert_eq!(
                answer.expect(503).json()["error"]["code"],
                "not_saved",
                "{fault}"
            );
            assert!(in_force == true && is_old, "{fault}: said not to be saved");
        }
        assert_eq!(leftovers(&file), [""; 0], "{fault}");
        controller
            .call("PUT", "/streams/other", &other(false))
            .expect(200);
        assert_eq!(controller.get("/streams/other")["programme"]["loop"], false);
        controller
            .call("PUT", "/streams/other", &other(true))
            .expect(200);
        assert_eq!(controller.status("main")["pid"], worker);
    }
    wait::until("it is well again", SOON, || {
        (controller.get("/health")["status"] == "ok").then_some(())
    });
    assert_eq!(controller.worker_pid("main"), worker);
    Report::of(&receiver.only_connection().messages).assert_seamless(media::FPS);
}

/// Temporary files beside a document.
fn leftovers(document: &Path) -> Vec<String> {
    let folder = document.parent().expect("a document has a folder");
    let names = fs::read_dir(folder).expect("it is there").flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| name.contains("stream_config") && name.ends_with(".tmp"))
        .collect()
}

#[test]
fn a_stranger_who_got_a_dead_workers_number_is_never_signalled() {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let receiver = Receiver::start();
    let numbers = match Numbers::anew() {
        Ok(numbers) => numbers,
        Err(why) => return super::skipped(&why),
    };
    let setup = Setup::local(folder.path()).stream("main", to_one(&receiver.url()));
    let mut controller = setup.under(numbers.entrance()).start();
    controller.start("main");
    controller.wait_state("main", "running", SOON);
    receiver.wait_for_media(0, SOON);
    let number = controller.worker_pid("main");

    controller.kill();
    let worker = workers(&controller)
        .pop()
        .expect("it outlives its controller")
        .pid;
    assert_ne!(worker, number, "out here it has another number");
    process::signal(worker, Signal::SIGKILL);
    wait::until("its number is free", SOON, || {
        Process::read(worker).is_none().then_some(())
    });
    let Some(stranger) = numbers.stranger(number) else {
        return super::skipped("the number of the next process cannot be set");
    };
    assert_eq!(stranger.number(), Some(number));

    controller.start_again();
    let status = controller.wait_state("main", "running", SOON);
    assert_ne!(
        status["pid"], number,
        "a stranger was taken for the worker: {status:#}"
    );
    receiver.wait_for_media(1, SOON);
    controller.stop("main");
    assert_eq!(stranger.number(), Some(number), "the stranger was killed");
    assert!(!stranger.was_signalled(), "the stranger was signalled");
}
