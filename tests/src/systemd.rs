//! systemd as PID 1 in namespaces of its own, with stream-controller installed as a service.
//!
//! It shares the network with the test, so a receiver at the loopback and the API are reached as
//! ever. All of it ends with the test, however that ends: the kernel kills PID 1 with the process
//! that started it, and everything else with PID 1.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::unistd::Uid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::controller::{binary, repository};
use crate::http::{self, Answer};
use crate::nginx::free_address;
use crate::process::{self, Child, Process};
use crate::wait;

const BOOT: &str = include_str!("systemd/boot.sh");
const BOOT_LIMIT: Duration = Duration::from_secs(60);
const CALL_LIMIT: Duration = Duration::from_secs(40);
/// The unit.
pub const UNIT: &str = "stream-controller.service";
/// The unit that holds its address.
pub const SOCKET: &str = "stream-controller.socket";

/// A running machine; ends when dropped.
#[derive(Debug)]
pub struct Machine {
    boot: Child,
    pid1: i32,
    cgroup: String,
    scratch: TempDir,
}

impl Machine {
    /// Boots one.
    ///
    /// # Errors
    /// Why it cannot be had here.
    pub fn boot() -> Result<Self, String> {
        if !Uid::effective().is_root() {
            return Err("needs root".into());
        }
        for program in ["/lib/systemd/systemd", "/usr/bin/dbus-daemon"] {
            if !Path::new(program).exists() {
                return Err(format!("{program} is not installed"));
            }
        }
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let cgroup = format!("e2e-{}-{number}", std::process::id());
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let log = scratch.path().join("boot.log");
        let mut command = process::command("unshare");
        command.args(["--mount", "bash", "-c", BOOT, "boot.sh"]);
        command.arg(scratch.path()).arg(&cgroup);
        command.arg(repository()).arg(binaries());
        let errors = fs::File::create(&log).expect("the log of the boot");
        command.stdout(Stdio::null()).stderr(errors);
        let mut boot = Child::spawn(&mut command);
        let said = || fs::read_to_string(&log).unwrap_or_default();
        let found = wait::within(BOOT_LIMIT, || {
            if boot.exit().is_some() {
                return Some(None);
            }
            let pid1 = systemd_below(boot.pid())?;
            let (_, state) = enter(pid1, &["systemctl", "is-system-running"]);
            ["running", "degraded"]
                .contains(&state.trim())
                .then_some(Some(pid1))
        });
        let Some(Some(pid1)) = found else {
            remove_groups(&cgroup);
            let last = said()
                .lines()
                .last()
                .unwrap_or("it does not come up")
                .to_owned();
            return Err(format!("systemd cannot be booted in a namespace: {last}"));
        };
        Ok(Self {
            boot,
            pid1,
            cgroup,
            scratch,
        })
    }

    /// Runs a command inside: its exit code and all it said.
    pub fn run(&self, command: &[&str]) -> (i32, String) {
        enter(self.pid1, command)
    }

    /// The same for a command that must succeed.
    pub fn succeed(&self, command: &[&str]) -> String {
        let (code, said) = self.run(command);
        assert_eq!(code, 0, "{command:?}: {said}\n{}", self.journal());
        said
    }

    /// `systemctl VERB stream-controller`, which must succeed.
    pub fn systemctl(&self, verb: &str) {
        self.succeed(&["systemctl", verb, UNIT]);
    }

    /// A property of the unit.
    pub fn property(&self, name: &str) -> String {
        let said = self.succeed(&["systemctl", "show", "--value", "--property", name, UNIT]);
        said.trim().to_owned()
    }

    /// Where a path inside is found from outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.pid1))
    }

    /// Writes a file inside, with its folder.
    pub fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().expect("below the root")).expect("a folder inside");
        fs::write(path, text).expect("a file inside");
    }

    /// What the unit has logged.
    pub fn journal(&self) -> String {
        self.run(&["journalctl", "--no-pager", "--output=cat", "--unit", UNIT])
            .1
    }

    /// Everything that runs inside.
    pub fn processes(&self) -> Vec<Process> {
        process::family(Some(self.pid1), Path::new("no arguments name this"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.boot.kill();
        let _gone = wait::within(Duration::from_secs(5), || {
            Process::read(self.pid1).is_none().then_some(())
        });
        remove_groups(&self.cgroup);
        // The folder is only a mount point to this side.
        let _ = self.scratch.path();
    }
}

/// stream-controller as `scripts/install.sh` leaves it, and its REST client.
#[derive(Debug)]
pub struct Service {
    /// The machine it runs on.
    pub machine: Machine,
    /// Where the API is.
    pub address: SocketAddr,
}

impl Service {
    /// Boots a machine and installs the built binaries on it: one stream, `main`, of the files in
    /// `media` to `url`, its stream key a credential.
    ///
    /// # Errors
    /// Why it cannot be had here.
    pub fn install(media: &Path, url: &str, key: &str) -> Result<Self, String> {
        let machine = Machine::boot()?;
        let service = Self {
            machine,
            address: free_address(),
        };
        let machine = &service.machine;
        service.settings();
        let config = json!({ "version": 1, "streams": { "main": {
            "format": crate::media::format(),
            "destinations": [{ "name": "out", "url": url, "key_env": "YOUTUBE_STREAM_KEY" }]
        }}});
        machine.write(
            "/var/lib/stream-controller/stream_config.json",
            &config.to_string(),
        );
        machine.write("/etc/credstore/stream-controller.youtube-stream-key", key);
        let folder = machine.path("/var/lib/stream-controller/media");
        fs::create_dir_all(&folder).expect("a folder inside");
        for file in fs::read_dir(media).expect("the media").flatten() {
            fs::copy(file.path(), folder.join(file.file_name())).expect("a copy inside");
        }
        service.run_installer(&[]);
        Ok(service)
    }

    /// Has it listen elsewhere from the next installation on.
    pub fn move_to(&mut self, address: SocketAddr) {
        self.address = address;
        self.settings();
    }

    fn settings(&self) {
        let text = format!("CONTROLLER_BIND={}\nRUST_LOG=info\n", self.address);
        self.machine
            .write("/etc/stream-controller/stream-controller.env", &text);
    }

    /// Runs `scripts/install.sh`; gives what it said.
    pub fn run_installer(&self, arguments: &[&str]) -> String {
        let script = repository()
            .join("scripts/install.sh")
            .display()
            .to_string();
        let binaries = binaries().display().to_string();
        let mut command = vec![script.as_str(), "--bin-dir", &binaries];
        command.extend(arguments);
        self.machine.succeed(&command)
    }

    /// One call.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn call(&self, method: &str, path: &str) -> std::io::Result<Answer> {
        http::request(self.address, method, path, &[], &[], CALL_LIMIT)
    }

    /// The stream's status.
    pub fn status(&self) -> Value {
        let answer = self.call("GET", "/streams/status");
        answer
            .unwrap_or_else(|error| panic!("{error}\n{}", self.machine.journal()))
            .expect(200)
            .json()
    }

    /// Polls the status until it is as wanted.
    pub fn wait(&self, what: &str, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        wait::within(limit, || {
            last = self.status();
            wanted(&last).then_some(())
        })
        .unwrap_or_else(|| panic!("{what}: {last:#}\n{}", self.machine.journal()));
        last
    }

    /// The controller's process id, as this side sees it; `None` while there is none.
    pub fn controller(&self) -> Option<i32> {
        let processes = self.machine.processes();
        let found = processes.iter().find(|p| p.name == "stream-controll");
        found.map(|p| p.pid)
    }

    /// The worker's process id, as this side sees it.
    pub fn worker(&self) -> i32 {
        let processes = self.machine.processes();
        let workers = process::workers(&processes);
        assert_eq!(workers.len(), 1, "one worker: {workers:#?}");
        workers[0].pid
    }

    /// The last part of a process's control group.
    pub fn group_of(pid: i32) -> String {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let unified = text.lines().find_map(|line| line.strip_prefix("0::"));
        let last = unified.and_then(|path| path.rsplit('/').next());
        last.unwrap_or_default().to_owned()
    }

    /// The groups below the unit's own.
    pub fn groups(&self) -> Vec<String> {
        let folder = self
            .machine
            .path(&format!("/sys/fs/cgroup/system.slice/{UNIT}"));
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }
}

fn binaries() -> PathBuf {
    let controller = binary("stream-controller");
    controller.parent().expect("a folder").to_owned()
}

fn systemd_below(parent: i32) -> Option<i32> {
    let all = process::all();
    let found = all
        .iter()
        .find(|p| p.parent == parent && p.name == "systemd");
    found.map(|p| p.pid)
}

fn enter(pid1: i32, command: &[&str]) -> (i32, String) {
    let output = Command::new("timeout")
        .args(["60", "nsenter", "--target", &pid1.to_string()])
        .args([
            "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--root", "--wd", "--",
        ])
        .args(command)
        .stdin(Stdio::null())
        .output()
        .expect("starting nsenter");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (process::code(output.status), said)
}

/// What is left of the machine's control groups, innermost first.
fn remove_groups(name: &str) {
    const SCRIPT: &str = r#"
        mount --make-rprivate / && mount -t cgroup2 cgroup2 /mnt && cd /mnt &&
        find "./$0" -depth -type d -exec rmdir {} +"#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", SCRIPT, name]);
    // What stays is an empty group, which is in nobody's way.
    drop(command.stderr(Stdio::null()).status());
}
