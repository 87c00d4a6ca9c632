//! A disk that is full or read-only: nothing goes off air for it, it is told, and it heals.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::controller::{Controller, Setup, to_one};
use e2e::media;
use e2e::process;
use e2e::rtmp::Receiver;
use e2e::viewer::Report;
use e2e::wait;
use jiff::Timestamp;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::record;

const SOON: Duration = Duration::from_secs(40);
/// The newest state is on a disk that takes it again.
const HEALED: Duration = Duration::from_secs(20);

/// A small file system, seen by this test's thread and what it starts. Declared after the controller,
/// so that it is let go of before the directory is removed.
struct Disk {
    at: PathBuf,
}

/// What is wrong with it.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Full,
    ReadOnly,
}

impl Disk {
    /// `None` where no file system may be mounted.
    fn mount(at: &Path) -> Option<Self> {
        const NONE: Option<&str> = None;
        fs::create_dir_all(at).expect("the mount point");
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).ok()?;
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).ok()?;
        let size = Some("size=8m,mode=755");
        mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), size).ok()?;
        Some(Self { at: at.to_owned() })
    }

    fn spoil(&self, fault: Fault) {
        match fault {
            Fault::Full => {
                let mut filler = File::create(self.filler()).expect("a file to fill it with");
                let zeros = vec![0; 64 * 1024];
                while filler.write_all(&zeros).is_ok() {}
            }
            // Over itself: what is open for writing would forbid to turn the disk itself.
            Fault::ReadOnly => {
                const NONE: Option<&str> = None;
                let (bind, turn) = (
                    MsFlags::MS_BIND,
                    MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY,
                );
                mount(Some(&self.at), &self.at, NONE, bind, NONE).expect("a second mount");
                mount(NONE, &self.at, NONE, turn, NONE).expect("read-only");
            }
        }
    }

    fn heal(&self, fault: Fault) {
        match fault {
            Fault::Full => fs::remove_file(self.filler()).expect("removing the filler"),
            Fault::ReadOnly => umount2(&self.at, MntFlags::MNT_DETACH).expect("unmounting"),
        }
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whatever is still mounted ends with the last process that sees it.
        while umount2(&self.at, MntFlags::MNT_DETACH).is_ok() {}
    }
}

/// All parts of the stream's journal.
fn journal(state: &Path) -> String {
    let parts = fs::read_dir(state.join("streams/main/air")).expect("a journal");
    let texts = parts.filter_map(|part| fs::read_to_string(part.ok()?.path()).ok());
    texts.collect()
}

fn health(controller: &Controller) -> Value {
    controller.get("/health")
}

fn nothing_goes_off_air(fault: Fault, refusal: (u16, &str)) {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let receiver = Receiver::start();
    let setup = Setup::local(folder.path()).stream("main", to_one(&receiver.url()));
    let state = setup.directory().join("state");
    let cache = state.join("cache").display().to_string();
    let Some(disk) = Disk::mount(&state) else {
        return super::skipped("mounting a file system is not permitted");
    };
    let mut controller = setup.variable("CACHE_DIR", &cache).start();
    let disk = disk;
    controller.start("main");
    controller.wait_state("main", "running", SOON);
    receiver.wait_for_span(1_000, SOON);

    disk.spoil(fault);
    let other = json!({ "destinations": [] });
    let answer = controller
        .call("PUT", "/streams/other", &other)
        .expect(refusal.0);
    assert_eq!(answer.json()["error"]["code"], refusal.1);
    controller
        .call("GET", "/streams/other", &Value::Null)
        .expect(404);
    let lost = goes_on(&mut controller, &receiver, &state);

    disk.heal(fault);
    process::signal(controller.worker_pid("main"), Signal::SIGKILL);
    receiver.wait_for_media(4, SOON);
    is_written_again(&controller, &receiver, &state, lost);
    controller.call("PUT", "/streams/other", &other);
    controller.get("/streams/other");
    controller.stop("main");
    for connection in receiver.connections() {
        Report::of(&connection.messages).assert_seamless(media::FPS);
    }
    drop(disk);
}

/// On a disk that takes nothing: a connection that is lost, a worker that is killed, a stop and a start, and another
/// controller. When the connection was lost.
fn goes_on(controller: &mut Controller, receiver: &Receiver, state: &Path) -> i64 {
    // What the worker saw outlives it: on a full disk there is room left for it, and what was only opened
    // before can be written to still.
    receiver.drop_connections();
    receiver.wait_for_media(1, SOON);
    wait::until("the connection is in the journal", SOON, || {
        (journal(state).matches("\"delivering\"").count() == 2).then_some(())
    });
    let lost = Timestamp::now().as_millisecond();
    let before = controller.worker_pid("main");
    process::signal(before, Signal::SIGKILL);
    receiver.wait_for_media(2, SOON);
    controller.wait_state("main", "running", SOON);
    wait::until("it is told", SOON, || {
        let health = health(controller);
        (health["status"] == "degraded" && health["problem"].is_string()).then_some(())
    });
    controller.stop("main");
    controller.start("main");
    receiver.wait_for_media(3, SOON);
    let worker = controller.wait_state("main", "running", SOON)["pid"].clone();

    // A controller that starts on such a disk serves, and finds its worker.
    controller.kill();
    controller.start_again();
    assert_eq!(
        controller.wait_state("main", "running", SOON)["pid"],
        worker
    );
    lost
}

/// The disk takes it again, and gets the newest state and the record of what was `lost` before.
fn is_written_again(controller: &Controller, receiver: &Receiver, state: &Path, lost: i64) {
    wait::until("the newest state is on disk", HEALED, || {
        let text = fs::read(state.join("stream_state.json")).ok()?;
        let file: Value = serde_json::from_slice(&text).ok()?;
        let main = &file["streams"]["main"];
        (main["desired"] == "running" && main["restarts"] == 1).then_some(())
    });
    wait::until("it is well again", HEALED, || {
        (health(controller)["status"] == "ok").then_some(())
    });
    // The air record is on the same disk.
    wait::until(
        "the loss seen by the first worker is in the record",
        SOON,
        || {
            let mut gaps = record::gaps(controller).into_iter();
            gaps.find(|gap| {
                gap["cause"] == "destination_lost" && record::time_ms(&gap["end"]) < lost
            })
        },
    );
    let well = Timestamp::now().as_millisecond();
    receiver.wait_for_span(3_000, SOON);
    process::signal(controller.worker_pid("main"), Signal::SIGKILL);
    receiver.wait_for_media(5, SOON);
    wait::until("the gap since is in the record", SOON, || {
        let mut gaps = record::gaps(controller).into_iter();
        gaps.find(|gap| gap["cause"] == "worker_crashed" && record::time_ms(&gap["start"]) > well)
    });
}

#[test]
fn a_full_disk_takes_nothing_off_air_and_is_written_to_when_there_is_room() {
    nothing_goes_off_air(Fault::Full, (507, "disk_full"));
}

#[test]
fn a_read_only_disk_takes_nothing_off_air_and_is_written_to_when_it_can_be() {
    nothing_goes_off_air(Fault::ReadOnly, (503, "not_saved"));
}
