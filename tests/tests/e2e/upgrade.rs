//! A worker becomes another program while it is on air: the platform notices nothing.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::controller::{Controller, Setup, binary, to_one};
use e2e::media::{self, Clip};
use e2e::process::{self, Process};
use e2e::rtmp::Receiver;
use e2e::viewer::{self, Report};
use e2e::wait;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(40);
const UPGRADES: usize = 10;

/// An installed worker that can be replaced as `install.sh` does: by another file of the same name.
struct Installed {
    folder: tempfile::TempDir,
}

impl Installed {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let installed = Self { folder };
        installed.again();
        installed
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("stream-worker")
    }

    /// The real worker, as another file.
    fn again(&self) {
        let new = self.folder.path().join("new");
        fs::copy(binary("stream-worker"), &new).expect("copied");
        fs::rename(new, self.path()).expect("moved");
    }

    /// A script in its place.
    fn script(&self, text: &str, mode: u32) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).expect("written");
        fs::set_permissions(&new, fs::Permissions::from_mode(mode)).expect("set");
        fs::rename(new, self.path()).expect("moved");
    }
}

fn start(installed: &Installed, folder: &Path, config: Value) -> Controller {
    let worker = installed.path().display().to_string();
    let controller = Setup::local(folder)
        .variable("WORKER_BIN", &worker)
        .stream("main", config)
        .start();
    controller.start("main");
    controller
}

fn upgrade(controller: &Controller) -> e2e::http::Answer {
    controller.call("POST", "/streams/main/upgrade", &Value::Null)
}

/// Descriptors of a process, and its children that are zombies.
fn belongings(pid: i32) -> (usize, usize) {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("running")
        .count();
    let is_zombie = |process: &Process| process.parent == pid && process.state == 'Z';
    (
        descriptors,
        process::all().iter().filter(|p| is_zombie(p)).count(),
    )
}

/// Upgrades ten times, `every` apart, and checks what a viewer and an operator see of it.
#[expect(clippy::print_stderr, reason = "the test runner shows it on request")]
fn ten_upgrades(
    controller: &Controller,
    receiver: &Receiver,
    installed: &Installed,
    every: Duration,
) {
    let pid = controller.worker_pid("main");
    let started_at = controller.status("main")["started_at"].clone();
    let mut took = Vec::new();
    let mut held = Vec::new();
    for number in 1..=UPGRADES {
        wait::observe(every);
        installed.again();
        let done = upgrade(controller).expect(200).json();
        assert_eq!(
            (&done["number"], &done["outcome"]),
            (&json!(number), &json!("done"))
        );
        took.push(done["took_ms"].as_u64().expect("a number"));
        held.push(belongings(pid));
        assert_eq!(controller.worker_pid("main"), pid, "the same process");
    }
    wait::observe(Duration::from_secs(2));
    let status = controller.status("main");
    assert_eq!(status["started_at"], started_at, "{status:#}");
    assert_eq!(status["restarts"], 0, "{status:#}");
    assert_eq!(status["destinations"][0]["connections"], 1, "{status:#}");
    let memory_kib = Process::read(pid).expect("running").pss_kib();
    controller.stop("main");
    let report = Report::of(&receiver.only_connection().messages);
    eprintln!(
        "upgrades took {took:?} ms; descriptors and zombies {held:?}; memory {memory_kib} KiB; \
         longest step {} ms, longest arrival hole {:?}",
        report.longest_step_ms, report.longest_arrival_hole
    );
    report.assert_seamless(media::FPS);
    let descriptors = |(count, _): &(usize, usize)| *count;
    let (early, late) = (
        held[..3].iter().map(descriptors).max(),
        held[7..].iter().map(descriptors).min(),
    );
    assert!(
        late <= early.map(|count| count + 4),
        "descriptors grow: {held:?}"
    );
    assert!(held[9].1 <= 1, "zombies stay: {held:?}");
    let left = controller.family();
    assert_eq!(left.len(), 1, "only the controller is left: {left:#?}");
}

#[test]
fn ten_upgrades_over_joins_of_copied_items_are_one_unbroken_session() {
    let files = media::ten();
    let named: Vec<_> = files
        .iter()
        .map(|(k, f)| (k.as_str(), f.as_path()))
        .collect();
    let folder = media::folder(&named);
    let (installed, receiver) = (Installed::new(), Receiver::start());
    let controller = start(&installed, folder.path(), to_one(&receiver.url()));
    receiver.wait_for_span(1_000, SOON);
    ten_upgrades(
        &controller,
        &receiver,
        &installed,
        Duration::from_millis(1_300),
    );
    let known: Vec<_> = files.iter().map(|(_, file)| media::packets(file)).collect();
    let passages = viewer::passages(&receiver.only_connection().messages, &known);
    for (at, passage) in passages[..passages.len() - 1].iter().enumerate() {
        assert_eq!(passage.file, at % known.len(), "{passages:?}");
        assert_eq!(
            passage.pictures.0, passage.pictures.1,
            "every picture once: {passage:?}"
        );
        assert!(
            passage.av_error_ms() <= 20,
            "picture and sound moved apart: {passage:?}"
        );
    }
}

#[test]
fn ten_upgrades_on_a_transcoded_item_are_one_unbroken_session() {
    let clip = Clip {
        name: "foreign.mkv",
        seconds: 60.0,
        size: (480, 270),
        ..Clip::default()
    };
    let folder = media::folder(&[("foreign.mkv", &clip.file())]);
    let (installed, receiver) = (Installed::new(), Receiver::start());
    let controller = start(&installed, folder.path(), to_one(&receiver.url()));
    receiver.wait_for_span(1_000, SOON);
    let status = controller.wait_on_air("main", "foreign.mkv", SOON);
    assert_eq!(status["on_air"]["fit"]["how"], "transcode", "{status:#}");
    ten_upgrades(
        &controller,
        &receiver,
        &installed,
        Duration::from_millis(700),
    );
}

#[test]
fn ten_upgrades_on_the_slate_are_one_unbroken_session() {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let (installed, receiver) = (Installed::new(), Receiver::start());
    let controller = start(&installed, folder.path(), to_one(&receiver.url()));
    receiver.wait_for_span(1_000, SOON);
    let take = json!({ "take": "slate" });
    controller
        .call("POST", "/streams/main/source", &take)
        .expect(202);
    controller.wait("main", "slate on air", SOON, |s| {
        s["on_air"]["kind"] == "slate"
    });
    ten_upgrades(
        &controller,
        &receiver,
        &installed,
        Duration::from_millis(500),
    );
}

#[test]
fn a_destination_that_waits_for_its_next_try_goes_on_waiting() {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let (installed, receiver) = (Installed::new(), Receiver::start());
    let mut config = to_one(&receiver.url());
    config["retry"] = json!({ "initial_s": 40 });
    let nowhere = json!({ "name": "nowhere", "url": "rtmp://127.0.0.1:9/live/key" });
    config["destinations"].as_array_mut().unwrap().push(nowhere);
    let controller = start(&installed, folder.path(), config);
    let waits = |s: &Value| {
        s["destinations"][1]["state"] == "backoff" && s["destinations"][0]["state"] == "live"
    };
    let before = controller.wait("main", "one waits", SOON, waits)["destinations"][1].clone();
    installed.again();
    upgrade(&controller).expect(200);
    let after = controller.wait("main", "it still waits", SOON, waits)["destinations"][1].clone();
    for field in ["state", "since", "retry_count", "connections", "error"] {
        assert_eq!(after[field], before[field], "{field}: {after:#}");
    }
    // Within the same minute, or at the two ends of one.
    let second_of = |it: &Value| it["next_retry_at"].as_str().unwrap()[17..21].parse::<f64>();
    let moved = (second_of(&after).unwrap() - second_of(&before).unwrap()).abs();
    assert!(!(2.0..58.0).contains(&moved), "{before:#} {after:#}");
    controller.stop("main");
    Report::of(&receiver.only_connection().messages).assert_seamless(media::FPS);
}

#[test]
fn a_program_that_cannot_go_on_leaves_the_old_one_on_air() {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let (installed, receiver) = (Installed::new(), Receiver::start());
    let controller = start(&installed, folder.path(), to_one(&receiver.url()));
    receiver.wait_for_span(1_000, SOON);
    let pid = controller.worker_pid("main");
    let refused = |what: &str| {
        let answer = upgrade(&controller).expect(502).json();
        assert_eq!(
            answer["error"]["code"], "upgrade_refused",
            "{what}: {answer:#}"
        );
        let message = answer["error"]["message"].as_str().unwrap().to_owned();
        eprintln!("{what}: {message}");
        assert_eq!(controller.worker_pid("main"), pid, "{what}");
    };
    fs::remove_file(installed.path()).unwrap();
    refused("missing");
    installed.script("#!/bin/sh\necho ok\n", 0o644);
    refused("not executable");
    installed.script("\x7fELF of another machine", 0o755);
    refused("of another machine");
    installed.script("#!/bin/sh\necho broken >&2\nexit 1\n", 0o755);
    refused("says no");
    installed.script("#!/bin/sh\nsleep 60\n", 0o755);
    refused("says nothing");
    // It says that it can and then cannot: by then the process has become it, and has to become
    // again what it was. The way back leads through a script that undoes what this one spoils.
    let real = binary("stream-worker").display().to_string();
    let way_back = folder.path().join("way-back");
    let undo = "#!/bin/sh\nLOG_FORMAT=json exec /proc/self/fd/$TRUE_PREVIOUS \"$@\"\n";
    fs::write(&way_back, undo).unwrap();
    fs::set_permissions(&way_back, fs::Permissions::from_mode(0o755)).unwrap();
    let liar = format!(
        "#!/bin/sh\n[ \"$1\" = --check-resume ] && echo ok && exit\n\
         exec 9<{}\nexport TRUE_PREVIOUS=$4\n\
         LOG_FORMAT=spoiled exec {real} --resume $2 --previous 9\n",
        way_back.display()
    );
    installed.script(&liar, 0o755);
    refused("cannot after all");
    installed.again();
    let done = upgrade(&controller).expect(200).json();
    assert_eq!(done["outcome"], "done", "the next one can: {done:#}");
    wait::observe(Duration::from_secs(1));
    controller.stop("main");
    Report::of(&receiver.only_connection().messages).assert_seamless(media::FPS);
}

#[test]
fn a_newer_worker_is_shown_and_put_into_every_stream_on_request() {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let (installed, receiver) = (Installed::new(), Receiver::start());
    let controller = start(&installed, folder.path(), to_one(&receiver.url()));
    receiver.wait_for_span(1_000, SOON);
    let all = || {
        let answer = controller.call("POST", "/streams/upgrade", &Value::Null);
        answer.expect(200).json()["streams"].clone()
    };
    assert_eq!(controller.status("main")["upgrade_available"], false);
    assert_eq!(all(), json!([]), "nothing is newer");
    installed.again();
    controller.wait("main", "it is shown", SOON, |s| {
        s["upgrade_available"] == true
    });
    let done = all();
    assert_eq!(done[0]["stream_id"], "main", "{done:#}");
    assert_eq!(done[0]["upgrade"]["outcome"], "done", "{done:#}");
    controller.wait("main", "it is done", SOON, |s| {
        s["upgrade_available"] == false && s["upgrade"]["number"] == 1
    });
    controller.stop("main");
    let answer = upgrade(&controller).expect(404).json();
    assert_eq!(answer["error"]["code"], "not_running", "{answer:#}");
    Report::of(&receiver.only_connection().messages).assert_seamless(media::FPS);
}

/// Half a request at the worker's control socket: an upgrade waits a moment for the rest of it, with nothing
/// going out.
fn half_a_request(controller: &Controller) -> UnixStream {
    let path = controller.directory().join("run/main.sock");
    let mut socket = UnixStream::connect(path).expect("the worker listens");
    socket.write_all(b"GET /v1/status HT").expect("sent");
    socket
}

#[test]
fn a_worker_that_is_ended_in_the_middle_of_an_upgrade_is_ended() {
    const LOST: Duration = Duration::from_secs(10);
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let (installed, receiver) = (Installed::new(), Receiver::start());
    let controller = start(&installed, folder.path(), to_one(&receiver.url()));
    receiver.wait_for_span(1_000, SOON);

    // Told to stop while it is between two programs. Nobody tells it twice.
    let pid = controller.worker_pid("main");
    installed.again();
    let _held_up = half_a_request(&controller);
    let mut socket = UnixStream::connect(controller.directory().join("run/main.sock")).unwrap();
    let body = json!({ "program": installed.path() }).to_string();
    let head = "POST /v1/upgrade HTTP/1.1\r\nHost: worker\r\nContent-Type: application/json";
    write!(
        socket,
        "{head}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 202");
    wait::observe(Duration::from_millis(120));
    process::signal(pid, Signal::SIGTERM);
    wait::until("it has heard that it is to stop", LOST, || {
        Process::read(pid)
            .is_none_or(|it| it.state == 'Z')
            .then_some(())
    });
    receiver.wait_for_media(1, SOON);

    // Killed there: whoever asked for the upgrade is not left waiting.
    let pid = controller.wait_state("main", "running", SOON)["pid"].as_i64();
    installed.again();
    let _held_up = half_a_request(&controller);
    let (answer, took) = std::thread::scope(|scope| {
        let asked = scope.spawn(|| (upgrade(&controller), Instant::now()));
        wait::observe(Duration::from_millis(150));
        process::signal(i32::try_from(pid.unwrap()).unwrap(), Signal::SIGKILL);
        let killed = Instant::now();
        let (answer, answered) = asked.join().unwrap();
        (answer, answered.saturating_duration_since(killed))
    });
    assert!(took < LOST, "{took:?}: {}", answer.text());
    assert!([200, 502].contains(&answer.status), "{}", answer.text());
    receiver.wait_for_media(2, SOON);
    assert!(process::workers(&controller.family()).len() <= 1);
}
