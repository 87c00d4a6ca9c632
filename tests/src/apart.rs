//! Parts of the machine that belong to one test alone: a network, a resolver, process numbers.
//!
//! Each is a namespace of the calling thread, handed on to the threads and processes it starts from then
//! on, and gone with the last of them.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use crate::process::{self, Child, Process};
use crate::wait;

const SOON: Duration = Duration::from_secs(5);

/// A network that is nothing but a loopback.
#[derive(Debug)]
pub struct Network(());

impl Network {
    /// Takes the calling thread into a new one.
    ///
    /// # Errors
    /// Why it cannot be had here.
    pub fn alone() -> Result<Self, String> {
        unshare(CloneFlags::CLONE_NEWNET)
            .map_err(|error| format!("no network namespace: {error}"))?;
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        match up {
            Ok(status) if status.success() => Ok(Self(())),
            _ => Err("`ip` does not bring the loopback up".into()),
        }
    }

    /// Loses every `100 / per_cent`th packet from and to a TCP port on arrival, at random.
    ///
    /// # Errors
    /// Why it cannot be had here.
    pub fn lose(&self, per_cent: u32, port: u16) -> Result<(), String> {
        // Arrival, because who sends is told of what is dropped on departure.
        let rules = ["dport", "sport"].map(|end| {
            format!("add rule inet loss arrival tcp {end} {port} numgen random mod 100 < {per_cent} counter drop")
        });
        let table = "add table inet loss";
        let chain = "add chain inet loss arrival { type filter hook input priority 0; }";
        let script = [table, chain, &rules[0], &rules[1]].join("\n");
        nft(&[&script]).map(drop)
    }

    /// How many packets were lost.
    pub fn lost(&self) -> u64 {
        let listed = nft(&["list table inet loss"]).expect("it was made before");
        let words: Vec<&str> = listed.split_whitespace().collect();
        let counts = words.windows(2).filter(|pair| pair[0] == "packets");
        counts.filter_map(|pair| pair[1].parse::<u64>().ok()).sum()
    }

    /// Has every name asked for by those who are started from now on go to the resolver that this gives.
    ///
    /// # Errors
    /// Why it cannot be had here.
    pub fn resolver(&self) -> Result<Resolver, String> {
        const NONE: Option<&str> = None;
        let folder = tempfile::tempdir().expect("a temporary directory");
        let failed = |error: nix::Error| format!("no mount namespace: {error}");
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).map_err(failed)?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(NONE, "/", NONE, private, NONE).map_err(failed)?;
        for (name, text) in [
            ("resolv.conf", "nameserver 127.0.0.1\n"),
            ("nsswitch.conf", "hosts: files dns\n"),
        ] {
            let (own, at) = (folder.path().join(name), Path::new("/etc").join(name));
            fs::write(&own, text).expect("a small file");
            mount(Some(&own), &at, NONE, MsFlags::MS_BIND, NONE).map_err(failed)?;
        }
        let socket =
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).map_err(|error| error.to_string())?;
        let silent = Arc::new(AtomicBool::new(false));
        let of_thread = Arc::clone(&silent);
        std::thread::spawn(move || answer(&socket, &of_thread));
        Ok(Resolver {
            silent,
            _folder: folder,
        })
    }
}

/// A name server that knows every name: it is this machine.
#[derive(Debug)]
pub struct Resolver {
    silent: Arc<AtomicBool>,
    _folder: TempDir,
}

impl Resolver {
    /// From now on questions are lost, or not any more.
    pub fn silence(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }
}

/// The server's thread; ends with the test process.
fn answer(socket: &UdpSocket, silent: &AtomicBool) {
    const HEADER: usize = 12;
    let mut packet = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut packet) {
        if silent.load(Ordering::Relaxed) || length < HEADER {
            continue;
        }
        // One question: labels up to an empty one, then its type and class.
        let labels = packet[HEADER..length].iter().position(|byte| *byte == 0);
        let Some(question) = labels
            .map(|end| HEADER..HEADER + end + 5)
            .filter(|q| q.end <= length)
        else {
            continue;
        };
        let is_ipv4 = packet[question.end - 4..question.end - 2] == [0, 1];
        let mut said = packet[..2].to_vec();
        said.extend([0x81, 0x80, 0, 1, 0, u8::from(is_ipv4), 0, 0, 0, 0]);
        said.extend(&packet[question]);
        if is_ipv4 {
            // The name of the question, an address, for no second, of four bytes.
            said.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
        }
        drop(socket.send_to(&said, from));
    }
}

fn nft(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("nft").args(arguments).output();
    let output = output.map_err(|error| format!("nft: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("nft: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// Process numbers of their own for what the calling thread starts from now on.
///
/// The thread itself stays outside, where the same processes have other numbers, and starts no more threads.
#[derive(Debug)]
pub struct Numbers {
    init: Child,
}

impl Numbers {
    /// Begins to count anew.
    ///
    /// # Errors
    /// Why it cannot be had here.
    pub fn anew() -> Result<Self, String> {
        // The first process: reaps what its parent has left, and its end is the end of all others.
        const INIT: &str = "mount -t proc proc /proc && sleep infinity & wait";
        unshare(CloneFlags::CLONE_NEWPID).map_err(|error| format!("no PID namespace: {error}"))?;
        let mut command = process::command("unshare");
        command
            .args(["--mount", "bash", "-c", INIT])
            .stderr(Stdio::null());
        let mut init = Child::spawn(&mut command);
        let pid = init.pid();
        let ready = wait::within(SOON, || {
            let sleeps = |p: &Process| p.name == "sleep";
            let family = process::family(Some(pid), Path::new("no arguments name this"));
            (init.exit().is_some() || family.iter().any(sleeps)).then_some(())
        });
        match (ready, init.exit()) {
            (Some(()), None) => Ok(Self { init }),
            _ => Err("no /proc can be mounted in a PID namespace".into()),
        }
    }

    /// Words that put a command where `/proc` shows these numbers.
    pub fn entrance(&self) -> Vec<String> {
        let mounts = format!("--mount=/proc/{}/ns/mnt", self.init.pid());
        vec!["nsenter".into(), mounts, "--".into()]
    }

    /// Starts a process that has the given number, which is free, and takes every signal without doing
    /// anything about it; `None` when somebody else always got the number.
    pub fn stranger(&self, number: i32) -> Option<Stranger> {
        const SCRIPT: &str = r#"
            number=$1
            for attempt in 1 2 3 4 5 6 7 8 9 10; do
                echo $((number - 1)) >/proc/sys/kernel/ns_last_pid
                env --block-signal sleep 300 &
                [ $! -eq "$number" ] && wait
                kill -KILL $!
            done"#;
        let entrance = self.entrance();
        let mut command = process::command(&entrance[0]);
        command.args(&entrance[1..]);
        command.args(["sh", "-c", SCRIPT, "sh", &number.to_string()]);
        let mut shell = Child::spawn(&mut command);
        let pid = wait::within(SOON, || {
            let family = process::family(Some(shell.pid()), Path::new("no arguments name this"));
            let found = family
                .iter()
                .find(|p| p.name == "sleep" && inner(p.pid) == Some(number));
            let ended = shell.exit().is_some();
            found.map(|p| Some(p.pid)).or(ended.then_some(None))
        });
        Some(Stranger {
            pid: pid??,
            _shell: shell,
        })
    }
}

/// A process that nobody has any business with.
#[derive(Debug)]
pub struct Stranger {
    pid: i32,
    _shell: Child,
}

impl Stranger {
    /// Its number, as its own namespace counts; `None` when it has ended.
    pub fn number(&self) -> Option<i32> {
        inner(self.pid)
    }

    /// Whether it was ever sent a signal.
    pub fn was_signalled(&self) -> bool {
        let pending = ["SigPnd", "ShdPnd"].map(|name| status(self.pid, name));
        pending
            .iter()
            .any(|set| set.as_deref().is_none_or(|set| set.contains(|c| c != '0')))
    }
}

/// The number of a process in the innermost namespace it is in.
fn inner(pid: i32) -> Option<i32> {
    status(pid, "NSpid")?
        .split_whitespace()
        .last()?
        .parse()
        .ok()
}

fn status(pid: i32, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.map(|value| value.trim().to_owned())
}
