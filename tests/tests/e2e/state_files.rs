//! Documents in every state a power cut, a dying disk, another release or an editor leaves them in:
//! what is on air stays, what was wanted comes back, and nothing that could be read is lost.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use e2e::controller::{Controller, Setup, to_one};
use e2e::media;
use e2e::process;
use e2e::rtmp::Receiver;
use e2e::wait;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(40);

/// Ways to spoil a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Torn,
    Empty,
    Nul,
    BitFlip,
    DuplicateKey,
    WrongType,
    WrongVersion,
    FutureVersion,
    Huge,
    LinkToDevice,
    Pipe,
    Directory,
    Gone,
}

const ALL: [Damage; 13] = [
    Damage::Torn,
    Damage::Empty,
    Damage::Nul,
    Damage::BitFlip,
    Damage::DuplicateKey,
    Damage::WrongType,
    Damage::WrongVersion,
    Damage::FutureVersion,
    Damage::Huge,
    Damage::LinkToDevice,
    Damage::Pipe,
    Damage::Directory,
    Damage::Gone,
];

impl Damage {
    fn inflict(self, path: &Path) {
        let good = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let text = String::from_utf8(good.clone()).expect("JSON");
        fs::remove_file(path).expect("removing it");
        let put = |bytes: &[u8]| fs::write(path, bytes).expect("spoiling it");
        match self {
            Self::Torn => put(&good[..good.len() / 2]),
            Self::Empty => put(b""),
            Self::Nul => put(&vec![0; good.len()]),
            Self::BitFlip => {
                let mut bytes = good;
                bytes[0] ^= 0x04;
                put(&bytes);
            }
            Self::DuplicateKey => put(text.replacen('{', "{ \"version\": 1,", 1).as_bytes()),
            Self::WrongType => put(br#"{ "version": 1, "streams": 7 }"#),
            Self::WrongVersion => put(text.replace("\"version\": 1", "\"version\": 0").as_bytes()),
            Self::FutureVersion => {
                put(text.replace("\"version\": 1", "\"version\": 99").as_bytes());
            }
            Self::Huge => {
                let file = File::create(path).expect("a new file");
                file.set_len(2 << 30).expect("a large file");
            }
            Self::LinkToDevice => symlink("/dev/zero", path).expect("a link"),
            Self::Pipe => nix::unistd::mkfifo(path, Mode::S_IRWXU).expect("a pipe"),
            Self::Directory => fs::create_dir(path).expect("a directory"),
            Self::Gone => {}
        }
    }

    /// Takes away what stands at `path`, whatever it is.
    fn clear(self, path: &Path) {
        match self {
            Self::Directory => fs::remove_dir(path).expect("removing a directory"),
            Self::Gone => {}
            _ => fs::remove_file(path).expect("removing a file"),
        }
    }
}

struct World {
    controller: Controller,
    receiver: Receiver,
    _folder: tempfile::TempDir,
}

/// A stream of one long local file, on air.
fn world() -> World {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let receiver = Receiver::start();
    let world = World {
        controller: Setup::local(folder.path())
            .stream("main", to_one(&receiver.url()))
            .start(),
        receiver,
        _folder: folder,
    };
    world.controller.start("main");
    world.controller.wait_state("main", "running", SOON);
    world.receiver.wait_for_span(500, SOON);
    world
}

impl World {
    fn state(&self, name: &str) -> std::path::PathBuf {
        self.controller.directory().join("state").join(name)
    }

    /// The controller is killed, `spoil` happens, the next one starts.
    fn restart_after(&mut self, spoil: impl FnOnce(&Self)) {
        self.controller.kill();
        spoil(self);
        // Panics when it is held up.
        self.controller.start_again();
    }

    fn health(&self) -> Value {
        self.controller.get("/health")
    }

    fn is_on_air_with(&self, worker: &Value, what: impl std::fmt::Debug) {
        let status = self.controller.wait_state("main", "running", SOON);
        assert_eq!(&status["pid"], worker, "{what:?}: {status:#}");
    }
}

#[test]
fn no_damage_to_the_state_touches_what_is_on_air() {
    let mut world = world();
    let worker = world.controller.status("main")["pid"].clone();
    let path = world.state("stream_state.json");
    for damage in ALL {
        world.restart_after(|_| damage.inflict(&path));
        world.is_on_air_with(&worker, damage);
        if matches!(damage, Damage::FutureVersion | Damage::Directory) {
            // Nothing is written over it; it is told until somebody takes it away.
            wait::until("it is told", SOON, || {
                (world.health()["status"] == "degraded").then_some(())
            });
            damage.clear(&path);
            wait::until("it is written again", SOON, || {
                (world.health()["status"] == "ok" && path.is_file()).then_some(())
            });
        }
        wait::until("a whole file is there again", SOON, || {
            let file: Value = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
            (file["streams"]["main"]["desired"] == "running").then_some(())
        });
        wait::until("all is well", SOON, || {
            (world.health()["status"] == "ok").then_some(())
        });
    }
    assert_eq!(world.receiver.connections().len(), 1, "nobody reconnected");
}

#[test]
fn what_was_wanted_comes_back_after_a_power_cut_that_spoilt_the_state() {
    let mut world = world();
    for damage in [Damage::Torn, Damage::Nul, Damage::Empty] {
        let before = world.receiver.media_connections();
        let worker = world.controller.worker_pid("main");
        let path = world.state("stream_state.json");
        world.restart_after(|_| {
            process::signal(worker, Signal::SIGKILL);
            damage.inflict(&path);
        });
        world.receiver.wait_for_media(before, SOON);
        world.controller.wait_state("main", "running", SOON);
    }
}

#[test]
fn a_damaged_configuration_is_told_and_what_was_in_force_stays_on_air() {
    let mut world = world();
    let worker = world.controller.status("main")["pid"].clone();
    let path = world.state("stream_config.json");
    let good = fs::read(&path).expect("the configuration");
    for damage in ALL {
        world.restart_after(|_| damage.inflict(&path));
        world.is_on_air_with(&worker, damage);
        let health = world.health();
        assert_eq!(health["status"], "degraded", "{damage:?}: {health:#}");
        let problem = health["problem"].as_str().unwrap_or_default();
        assert!(
            problem.contains("stream_config.json"),
            "{damage:?}: {problem}"
        );
        let refused = world.controller.call("PUT", "/streams/new", &json!({}));
        assert!(refused.status >= 400, "{damage:?}: nothing is overwritten");

        damage.clear(&path);
        fs::write(&path, &good).expect("correcting it");
        world.controller.signal(Signal::SIGHUP);
        wait::until("it is well again", SOON, || {
            (world.health()["status"] == "ok").then_some(())
        });
    }
    world.is_on_air_with(&worker, "the end");
    assert_eq!(world.receiver.connections().len(), 1, "nobody reconnected");
}

#[test]
fn a_worker_starts_whatever_its_position_is() {
    let world = world();
    let path = world.state("streams/main/position.json");
    wait::until("a position", SOON, || path.is_file().then_some(()));
    for damage in ALL {
        let before = world.receiver.media_connections();
        process::signal(world.controller.worker_pid("main"), Signal::SIGKILL);
        damage.inflict(&path);
        world.receiver.wait_for_media(before, SOON);
        let status = world.controller.wait_state("main", "running", SOON);
        assert_eq!(
            status["on_air"]["kind"], "programme",
            "{damage:?}: {status:#}"
        );
        if matches!(damage, Damage::FutureVersion | Damage::Directory) {
            damage.clear(&path);
        }
        wait::until("it is written again", SOON, || {
            let text = fs::read(&path).ok().filter(|_| path.is_file())?;
            serde_json::from_slice::<Value>(&text).ok()
        });
        // So that the next kill is not taken for a crash loop.
        world.controller.stop("main");
        let before = world.receiver.media_connections();
        world.controller.start("main");
        world.receiver.wait_for_media(before, SOON);
    }
}

#[test]
fn two_controllers_never_share_a_directory() {
    let world = world();
    let (code, said) = world.controller.start_second();
    assert_eq!(code, 75, "{said}");
    assert_eq!(world.health()["status"], "ok");
}
