//! A writer or a lock's holder that is killed, and a disk that is full or read-only.
//!
//! The writer is this test binary started again. Under `strace` it is killed at every single system call
//! of a save; without `strace` at random instants.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jiff::Timestamp;
use programme::Position;
use storage::atomic::DiskFault;
use storage::document::{self, Document, DocumentError, Opened, backup_path};
use storage::lock::{DirLock, LockError};
use storage::model::PositionFile;

const PATH: &str = "STORAGE_CRASH_TEST_PATH";

fn position(item_s: f64) -> PositionFile {
    PositionFile {
        version: 1,
        position: Position::default(),
        item_s,
        block: None,
        at: Timestamp::UNIX_EPOCH,
    }
}

/// The other process's part, run by the tests below and by nobody else.
fn as_child(role: &str) -> Option<PathBuf> {
    let path = std::env::var_os(PATH)?;
    std::env::args()
        .any(|argument| argument == role)
        .then(|| path.into())
}

/// This binary, to run one role of it.
fn role(role: &str, path: &Path) -> (PathBuf, [String; 4], PathBuf) {
    let arguments = [role, "--exact", "--ignored", "--nocapture"].map(str::to_owned);
    (std::env::current_exe().unwrap(), arguments, path.to_owned())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a child to be killed is the subject here, and storage lies below supervise"
)]
fn spawn(command: &mut Command) -> std::process::Child {
    command.spawn().unwrap()
}

fn is_installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|dir| dir.join(program).exists())
}

/// Either the document before or the one after, whole, and a writer can go on.
fn assert_sound(path: &Path, allowed: &[f64]) {
    let opened = document::read::<PositionFile>(path).unwrap();
    let Opened::Loaded { value, .. } = &opened else {
        panic!("not whole: {opened:?}");
    };
    assert!(allowed.contains(&value.item_s), "{}", value.item_s);
    let copy = document::read::<PositionFile>(&backup_path(path)).unwrap();
    assert!(matches!(copy, Opened::Loaded { .. }), "copy: {copy:?}");
    let (mut document, again) = Document::open(path).unwrap();
    assert_eq!(again, opened);
    document.save(value).unwrap();
    let names = fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(names, 2, "something was left behind");
}

fn prepared(dir: &Path) -> PathBuf {
    let path = dir.join("position.json");
    let (mut document, _) = Document::open(&path).unwrap();
    document.save(&position(0.0)).unwrap();
    document.save(&position(1.0)).unwrap();
    path
}

#[test]
#[ignore = "a role of the tests in this file"]
fn save_once() {
    let Some(path) = as_child("save_once") else {
        return;
    };
    let (mut document, _) = Document::open(path).unwrap();
    document.save(&position(2.0)).unwrap();
}

#[test]
#[ignore = "a role of the tests in this file"]
fn save_forever() {
    let Some(path) = as_child("save_forever") else {
        return;
    };
    let (mut document, _) = Document::open(path).unwrap();
    for n in 2.. {
        document.save(&position(f64::from(n))).unwrap();
        println!("saved {n}");
    }
}

#[test]
fn killed_at_any_system_call_of_a_save_leaves_the_old_or_the_new() {
    if !is_installed("strace") {
        return skipped("strace is not installed");
    }
    let mut killed = 0;
    for call in [
        "openat", "write", "fsync", "linkat", "rename", "renameat", "unlink", "close",
    ] {
        for nth in 1..200 {
            let dir = tempfile::tempdir().unwrap();
            let path = prepared(dir.path());
            let (program, arguments, document) = role("save_once", &path);
            let mut child = spawn(
                Command::new("strace")
                    .args(["-f", "-qq", "-o", "/dev/null"])
                    .arg(format!("--inject=?{call}:signal=SIGKILL:when={nth}"))
                    .arg(program)
                    .args(arguments)
                    .env(PATH, document)
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null()),
            );
            let status = child.wait().unwrap();
            assert_sound(&path, &[1.0, 2.0]);
            if status.success() {
                break;
            }
            assert_eq!(status.signal(), Some(9), "{call} {nth}: {status}");
            killed += 1;
        }
    }
    println!("killed {killed} times");
    assert!(killed >= 20, "killed only {killed} times");
}

#[test]
fn killed_at_any_instant_leaves_a_whole_document() {
    for round in 0..20_u32 {
        let dir = tempfile::tempdir().unwrap();
        let path = prepared(dir.path());
        let (program, arguments, document) = role("save_forever", &path);
        let mut child = spawn(
            Command::new(program)
                .args(arguments)
                .env(PATH, document)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null()),
        );
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let saved = lines
            .map(Result::unwrap)
            .filter_map(|line| line.rsplit_once("saved ")?.1.parse::<u32>().ok())
            .find(|n| *n > 5 + round)
            .unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let opened = document::read::<PositionFile>(&path).unwrap();
        let Opened::Loaded { value, .. } = opened else {
            panic!("not whole: {opened:?}");
        };
        // What the writer had been told is saved is saved.
        assert!(
            value.item_s >= f64::from(saved),
            "{} < {saved}",
            value.item_s
        );
        assert_sound(&path, &[value.item_s]);
    }
}

#[test]
fn a_child_that_outlives_the_holder_does_not_have_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".lock");
    let lock = DirLock::acquire(&path).unwrap();
    // Has executed when this returns.
    let mut child = spawn(Command::new("sleep").arg("60"));
    let descriptors = fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap();
    let open: Vec<_> = descriptors
        // One it closes just now, as a dynamic loader does, is not one it was given.
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!open.is_empty() && !open.contains(&path), "{open:?}");
    drop(lock);
    DirLock::acquire(&path).unwrap();
}

#[test]
#[ignore = "a role of the tests in this file"]
fn hold_the_lock() {
    let Some(path) = as_child("hold_the_lock") else {
        return;
    };
    let _lock = DirLock::acquire(&path).unwrap();
    println!("locked");
    // Until the pipe's other end is gone, or this process is.
    std::io::stdin().lines().for_each(drop);
}

#[test]
fn a_killed_holder_holds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".lock");
    let (program, arguments, document) = role("hold_the_lock", &path);
    let mut child = spawn(
        Command::new(program)
            .args(arguments)
            .env(PATH, document)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null()),
    );
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("locked")));
    let held = DirLock::acquire(&path).unwrap_err();
    let holder = i32::try_from(child.id()).unwrap();
    assert!(
        matches!(held, LockError::Held { pid: Some(pid), .. } if pid == holder),
        "{held}"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    DirLock::acquire(&path).unwrap();
}

#[test]
#[ignore = "a role of the tests in this file"]
fn save_to_a_full_disk() {
    let Some(path) = as_child("save_to_a_full_disk") else {
        return;
    };
    let (mut document, _) = Document::open(&path).unwrap();
    document.save(&position(1.0)).unwrap();
    let filler = path.with_file_name("filler");
    let mut full = fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut full, &[1; 4096]).is_ok() {}
    assert_fault(document.save(&position(2.0)), DiskFault::Full);
    let opened = document::read::<PositionFile>(&path).unwrap();
    assert!(matches!(opened, Opened::Loaded { value, .. } if value.item_s == 1.0));
    // The space is free when the last handle is closed.
    drop(full);
    fs::remove_file(filler).unwrap();
    document.save(&position(3.0)).unwrap();
}

#[test]
#[ignore = "a role of the tests in this file"]
fn save_to_a_read_only_disk() {
    let Some(path) = as_child("save_to_a_read_only_disk") else {
        return;
    };
    let (mut document, opened) = Document::open(path).unwrap();
    assert_eq!(opened, Opened::Absent);
    assert_fault(document.save(&position(2.0)), DiskFault::ReadOnly);
}

fn assert_fault(saved: Result<u64, DocumentError>, fault: DiskFault) {
    match saved {
        Err(DocumentError::Disk(error)) => assert_eq!(error.fault, fault, "{error}"),
        other => panic!("expected {fault:?}, got {other:?}"),
    }
}

/// Runs a role in a mount namespace of its own, with a small file system at the document's directory.
/// `None` where the machine does not allow that.
fn on_a_small_disk(name: &str, options: &str) -> Option<bool> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("position.json");
    let (program, arguments, document) = role(name, &path);
    let script = format!("mount -t tmpfs -o {options} tmpfs \"$1\" || exit 77; shift; exec \"$@\"");
    let mut child = spawn(
        Command::new("unshare")
            .args([
                "--user",
                "--map-root-user",
                "--mount",
                "sh",
                "-c",
                &script,
                "sh",
            ])
            .arg(dir.path())
            .arg(program)
            .args(arguments)
            .env(PATH, document)
            .stdin(Stdio::null())
            .stderr(Stdio::null()),
    );
    let status = child.wait().unwrap();
    // 1 is unshare's own refusal; a failed test ends with 101.
    match status.code() {
        Some(1 | 77) => None,
        _ => Some(status.success()),
    }
}

#[test]
fn a_full_disk_is_named_and_heals() {
    match on_a_small_disk("save_to_a_full_disk", "size=64k") {
        Some(passed) => assert!(passed),
        None => skipped("no mount namespace here"),
    }
}

#[test]
fn a_read_only_disk_is_named() {
    match on_a_small_disk("save_to_a_read_only_disk", "ro") {
        Some(passed) => assert!(passed),
        None => skipped("no mount namespace here"),
    }
}

/// Says which test did not run and why; `scripts/test.sh` counts these lines.
fn skipped(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Past the test runner's capture, so that it is seen although the test passes.
    let line = format!("SKIPPED {test}: {why}\n");
    std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
}
