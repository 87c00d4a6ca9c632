//! Children of the harness, and what `/proc` says of anybody's.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait;

/// A command whose process the kernel ends with the thread that started it, so that nothing is
/// left behind by a test that was killed.
pub fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]);
    command.arg(program.as_ref());
    command.stdin(Stdio::null());
    command
}

/// Runs to the end, with all output taken; ended by `timeout` after `limit`.
///
/// # Errors
/// When it cannot be started.
pub fn run(program: impl AsRef<Path>, args: &[&str], limit: Duration) -> Result<Output> {
    let program = program.as_ref();
    Command::new("timeout")
        .args(["--kill-after=1", &limit.as_secs().to_string()])
        .arg(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {}", program.display()))
}

/// A running child; killed when dropped.
#[derive(Debug)]
pub struct Child {
    child: std::process::Child,
    ended: Option<ExitStatus>,
}

impl Child {
    /// Starts it.
    pub fn spawn(command: &mut Command) -> Self {
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("starting {command:?}: {error}"));
        Self { child, ended: None }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a Linux process id")
    }

    /// Sends a signal; a process that is gone already is no error.
    pub fn signal(&self, signal: Signal) {
        if self.ended.is_none() {
            self::signal(self.pid(), signal);
        }
    }

    /// How it ended, if it has.
    pub fn exit(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("waiting for an own child");
        }
        self.ended
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        wait::until("the process ends", limit, || self.exit())
    }

    /// Kills it and waits.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait(Duration::from_secs(30));
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.exit().is_none() {
            self.signal(Signal::SIGKILL);
            drop(self.child.wait());
        }
    }
}

/// Ends every process whose arguments name `mark` once this process has ended, however it did.
///
/// A worker outlives its controller, and would outlive a test that is killed.
#[derive(Debug)]
pub struct LastWill {
    /// Waits for the end of the pipe that this process holds.
    shell: std::process::Child,
}

impl LastWill {
    /// Starts the shell that waits.
    pub fn about(mark: &Path) -> Self {
        const SCRIPT: &str = r#"
            read -r _
            for process in /proc/[0-9]*; do
                case $(tr '\0' ' ' 2>/dev/null <"$process/cmdline") in
                    sh\ -c*) ;;
                    *"$MARK"*) kill -KILL "${process#/proc/}" ;;
                esac
            done"#;
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT]).env("MARK", mark);
        command.stdin(Stdio::piped()).stderr(Stdio::null());
        let shell = command.spawn().expect("starting sh");
        Self { shell }
    }
}

impl Drop for LastWill {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        drop(self.shell.wait());
    }
}

/// Sends a signal; a process that is gone already is no error.
pub fn signal(pid: i32, signal: Signal) {
    let _gone = kill(Pid::from_raw(pid), signal);
}

/// The niceness of each thread of a process.
pub fn niceness(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let stats = threads.into_iter().flatten().flatten();
    stats
        .filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok())
        // The name, which comes before, may hold anything: proc_pid_stat(5), field 19.
        .filter_map(|stat| stat.rsplit_once(')')?.1.split(' ').nth(17)?.parse().ok())
        .collect()
}

/// `128 + n` for a signal, like a shell.
pub fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// One process as `/proc` shows it.
#[derive(Debug, Clone)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Its parent.
    pub parent: i32,
    /// Name of the program, at most 15 characters.
    pub name: String,
    /// Arguments, separated by NUL.
    pub arguments: Vec<u8>,
    /// `Z` for one that ended and was not waited for.
    pub state: char,
    /// Time on the processor, reaped children included.
    pub cpu: Duration,
}

impl Process {
    /// Reads one; `None` when it is gone.
    pub fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in brackets and may hold anything, brackets and blanks included.
        let (head, tail) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let ticks: u64 = fields
            .get(11..15)?
            .iter()
            .filter_map(|f| f.parse::<u64>().ok())
            .sum();
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            name,
            arguments: fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default(),
            state: fields.first()?.chars().next()?,
            // USER_HZ is 100 on every Linux that FFmpeg is packaged for.
            cpu: Duration::from_millis(ticks * 10),
        })
    }

    /// The arguments as text.
    pub fn command_line(&self) -> String {
        String::from_utf8_lossy(&self.arguments).replace('\0', " ")
    }

    /// Its environment, NUL-separated; empty when it is gone.
    pub fn environment(&self) -> Vec<u8> {
        fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default()
    }

    /// Its share of memory, in KiB; 0 when it is gone.
    pub fn pss_kib(&self) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.pid);
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("Pss:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    }
}

/// All processes of the machine.
pub fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Process::read)
        .collect()
}

/// The workers among `processes`, without those that have ended. A worker's child has its parent's name
/// and arguments until it becomes the FFmpeg it is started for, and is none.
pub fn workers(processes: &[Process]) -> Vec<&Process> {
    let is_named = |process: &&Process| process.name == "stream-worker";
    let named: Vec<i32> = processes.iter().filter(is_named).map(|p| p.pid).collect();
    let is_one = |process: &&Process| {
        !matches!(process.state, 'Z' | 'X') && !named.contains(&process.parent)
    };
    processes.iter().filter(is_named).filter(is_one).collect()
}

/// `root`, those whose arguments name `mark`, and everything that descends from either.
pub fn family(root: Option<i32>, mark: &Path) -> Vec<Process> {
    let mark = mark.as_os_str().as_encoded_bytes();
    let (mut family, mut others): (Vec<_>, Vec<_>) = all().into_iter().partition(|process| {
        Some(process.pid) == root
            || process
                .arguments
                .windows(mark.len())
                .any(|window| window == mark)
    });
    loop {
        let is_child = |p: &Process| family.iter().any(|parent| parent.pid == p.parent);
        let (children, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(is_child);
        others = rest;
        if children.is_empty() {
            return family;
        }
        family.extend(children);
    }
}
