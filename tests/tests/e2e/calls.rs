//! A thousand calls at once, and workers killed meanwhile: no worker is lost or doubled, nothing is left
//! behind, and in the end each stream is as it was wanted.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use e2e::controller::{Controller, Setup};
use e2e::media;
use e2e::process::{self, Process};
use e2e::rtmp::Receiver;
use e2e::storm::{Answered, Call, Targets, draw, storm};
use e2e::wait;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(40);
const STREAMS: usize = 5;
const SEED: u64 = 20_261_121;

fn five(receiver: &Receiver, folder: &std::path::Path) -> (Controller, Vec<String>) {
    let names: Vec<String> = (0..STREAMS).map(|number| format!("s{number}")).collect();
    let mut setup = Setup::local(folder);
    for name in &names {
        let config = json!({
            "format": media::format(),
            "destinations": [{ "name": "out", "url": format!("{}/{name}", receiver.url()) }]
        });
        setup = setup.stream(name, config);
    }
    (setup.start(), names)
}

/// Workers by stream, from the arguments of every process of the controller's family.
fn workers(controller: &Controller) -> BTreeMap<String, Vec<i32>> {
    let mut workers: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for process in process::workers(&controller.family()) {
        let arguments = process.command_line();
        let job = arguments
            .split(' ')
            .find(|word| word.ends_with(".job.json"));
        let name = job.and_then(|job| job.rsplit('/').next()?.strip_suffix(".job.json"));
        if let Some(name) = name {
            workers
                .entry(name.to_owned())
                .or_default()
                .push(process.pid);
        }
    }
    workers
}

fn all(streams: &[String]) -> Targets<'_> {
    let stays = None;
    Targets { streams, stays }
}

fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Until it is dropped: looks for two workers of one stream, and kills one now and then.
fn nemesis(controller: &Controller, over: &AtomicBool) -> Vec<String> {
    let mut doubles = Vec::new();
    let mut round = 0;
    while !over.load(Ordering::Relaxed) {
        let found = workers(controller);
        for (name, pids) in &found {
            // Reading all processes is no snapshot: what was seen first may have ended before its
            // successor was seen. Two that are both there afterwards were there together.
            let again: Vec<Process> = pids.iter().filter_map(|pid| Process::read(*pid)).collect();
            let together = process::workers(&again);
            if together.len() > 1 {
                doubles.push(format!("{name}: {together:?}"));
            }
        }
        round += 1;
        if round % 20 == 0 {
            let all: Vec<i32> = found.into_values().flatten().collect();
            if let Some(pid) = all.get(draw(SEED, round) as usize % all.len().max(1)) {
                process::signal(*pid, Signal::SIGKILL);
            }
        }
        wait::observe(Duration::from_millis(25));
    }
    doubles
}

fn assert_known_answers(answers: &[Answered]) {
    for Answered {
        call, status, text, ..
    } in answers
    {
        let known: &[u16] = match call {
            Call::Start => &[202, 409],
            Call::Stop => &[200, 404],
            // 502: its worker was killed a moment ago.
            Call::Skip => &[202, 404, 409, 502],
        };
        assert!(known.contains(status), "{call:?}: {status} {text}");
    }
}

#[test]
fn a_thousand_calls_lose_and_double_no_worker() {
    let folder = media::folder(&[("a.mp4", &media::long()), ("b.mp4", &media::ten()[0].1)]);
    let receiver = Receiver::start();
    let (controller, names) = five(&receiver, folder.path());
    let before = descriptors(controller.pid());

    let over = AtomicBool::new(false);
    let (answers, doubles) = thread::scope(|scope| {
        let nemesis = scope.spawn(|| nemesis(&controller, &over));
        let answers = storm(controller.address(), all(&names), 1_000, 200, SEED);
        over.store(true, Ordering::Relaxed);
        (answers, nemesis.join().expect("it does not panic"))
    });
    assert_eq!(answers.len(), 1_000);
    assert_known_answers(&answers);
    assert_eq!(doubles, [""; 0], "two workers of one stream");

    for name in &names {
        let wanted = controller.status(name)["desired"] == "running";
        let state = if wanted { "running" } else { "stopped" };
        let status = controller.wait_state(name, state, SOON);
        let found = workers(&controller).remove(name).unwrap_or_default();
        let told: Vec<i64> = status["pid"].as_i64().into_iter().collect();
        let found: Vec<i64> = found.into_iter().map(i64::from).collect();
        assert_eq!(found, told, "{name}: {status:#}");
        if wanted {
            controller.stop(name);
        }
    }
    wait::until("nothing is left running", SOON, || {
        let family = controller.family();
        let alive = family.iter().filter(|process| process.state != 'Z');
        (alive.count() == 1).then_some(())
    });
    for left in ["sock", "job.json"] {
        for name in &names {
            let path = controller.directory().join(format!("run/{name}.{left}"));
            assert!(!path.exists(), "{} was left behind", path.display());
        }
    }
    wait::until("its descriptors are given back", SOON, || {
        (descriptors(controller.pid()) <= before + 10).then_some(())
    });
    one_publisher_at_a_time(&receiver);
}

/// As the platform sees it: for each key, a connection ends before the next brings media.
fn one_publisher_at_a_time(receiver: &Receiver) {
    let mut by_key: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for connection in receiver.connections() {
        let first = connection.frames().next().map(|message| message.arrived);
        if let Some(first) = first {
            let last = connection.frames().last().map_or(first, |m| m.arrived);
            by_key
                .entry(connection.key)
                .or_default()
                .push((first, last));
        }
    }
    for (key, mut spans) in by_key {
        spans.sort();
        for pair in spans.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "{key}: two publishers at once");
        }
    }
}

#[test]
fn a_controller_short_of_descriptors_keeps_its_streams_and_recovers() {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let receiver = Receiver::start();
    let (controller, _) = five(&receiver, folder.path());
    controller.start("s0");
    controller.wait_state("s0", "running", SOON);
    let pid = controller.pid().to_string();
    let spare = descriptors(controller.pid()) + 8;
    let limit = format!("--nofile={spare}:4096");
    let limited = process::run("prlimit", &["--pid", &pid, &limit], SOON);
    assert!(limited.expect("prlimit").status.success());

    let hold: Vec<TcpStream> = (0..40)
        .filter_map(|_| TcpStream::connect(controller.address()).ok())
        .collect();
    wait::observe(Duration::from_secs(2));
    let busy = Process::read(controller.pid()).expect("it runs").cpu;
    wait::observe(Duration::from_secs(2));
    let spent = Process::read(controller.pid()).expect("it runs").cpu - busy;
    // One that spins takes a whole core, or half of one of a busy machine.
    assert!(
        spent < Duration::from_millis(600),
        "it spins: {spent:?} of 2 s"
    );
    drop(hold);
    let status = controller.wait_state("s0", "running", SOON);
    assert_eq!(status["restarts"], 0, "{status:#}");
    assert_eq!(receiver.connections().len(), 1);
}

/// Sends `head`, then bytes of a body until the other side has had enough; its answer.
fn send(address: SocketAddr, head: &str, body: &[u8], times: usize) -> String {
    let mut socket = TcpStream::connect(address).expect("it accepts");
    socket.set_read_timeout(Some(SOON)).expect("a socket");
    socket.set_write_timeout(Some(SOON)).expect("a socket");
    socket.write_all(head.as_bytes()).expect("the head");
    for _ in 0..times {
        if socket.write_all(body).is_err() {
            break;
        }
    }
    let mut answer = vec![0; 4096];
    let read = socket.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[test]
fn bodies_without_end_and_json_without_bottom_are_refused_and_hold_nobody_up() {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let receiver = Receiver::start();
    let (controller, _) = five(&receiver, folder.path());
    let address = controller.address();
    let head = |length: u64| {
        format!(
            "PUT /streams/new HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n"
        )
    };
    let before = Process::read(controller.pid()).expect("it runs").pss_kib();
    let answer = send(address, &head(10 << 30), &[b' '; 64 * 1024], 1_000);
    assert!(answer.contains(" 413 "), "{answer}");
    let deep = vec![b'['; 200_000];
    let answer = send(address, &head(deep.len() as u64), &deep, 1);
    assert!(
        answer.contains(" 400 ") || answer.contains(" 422 "),
        "{answer}"
    );

    // Many who never finish their sentence.
    let mut idle: Vec<TcpStream> = (0..300)
        .map(|_| TcpStream::connect(address).expect("it accepts"))
        .collect();
    for socket in &mut idle {
        socket
            .write_all(b"POST /streams/start HTTP/1.1\r\nHost:")
            .expect("a part");
    }
    let answers = storm(address, all(&["s0".to_owned()]), 20, 1, SEED);
    assert_known_answers(&answers);
    let health: Value = controller.get("/health");
    assert_eq!(health["status"], "ok");
    let after = Process::read(controller.pid()).expect("it runs").pss_kib();
    assert!(
        after < before + 50 * 1024,
        "{before} KiB became {after} KiB"
    );
}
