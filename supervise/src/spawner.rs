//! The one thread that forks.
//!
//! `PR_SET_PDEATHSIG` fires when the *thread* that forked ends, not the process. A child forked from
//! a worker thread of the runtime, or from its blocking pool, would be killed whenever that thread
//! is retired. So one thread lives as long as the process and does every fork. It also reaps the
//! children whose handles were dropped, and replaces the process's image ([`crate::reexec`]).
//!
//! That thread is one of its own, or the main thread ([`here`]). A process that re-executes itself
//! needs the latter: `execve` ends all threads but the caller, which becomes the main thread. A child
//! forked by any other would get its death signal then, in this image or in the next.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::command::{Group, Input, Output, Priority, SpawnError, Spec};
use crate::reexec::{self, Image};
use crate::unreaped::Unreaped;

/// How often dropped children are looked at. Only zombies wait for it.
const REAP_EVERY: Duration = Duration::from_millis(500);

/// Where the copies of passed descriptors start: above every number a child is given one at.
const SOURCES_FROM: RawFd = 64;

enum Request {
    Spawn {
        spec: Box<Spec>,
        reply: Sender<Result<Child, SpawnError>>,
    },
    Reap(Unreaped),
    /// Answered only when it failed.
    Replace {
        image: Box<Image>,
        reply: Sender<io::Error>,
    },
    WelcomeSignals,
    /// The work this thread serves is done.
    End,
}

static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();

/// Makes the calling thread the one that forks, while `work` runs in another; returns when that has
/// ended. No child can be started afterwards.
///
/// # Panics
/// When `work` does, and when a child was started before.
pub fn here<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let (sender, requests) = channel();
    let end = sender.clone();
    assert!(
        SPAWNER.set(sender).is_ok(),
        "the thread that forks was chosen already"
    );
    std::thread::scope(|scope| {
        let working = std::thread::Builder::new()
            .name("work".into())
            .spawn_scoped(scope, move || {
                let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
                // The receiver is below, and waits for exactly this.
                let _ = end.send(Request::End);
                done
            })
            .expect("a process that cannot start its second thread cannot do anything");
        serve(&requests);
        match working.join() {
            Ok(Ok(done)) => done,
            Ok(Err(panic)) | Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Forks and executes `spec` on the spawner thread, and waits for `execve` to have succeeded.
pub(crate) fn spawn(spec: Spec) -> Result<Child, SpawnError> {
    let (reply, answer) = channel();
    let spec = Box::new(spec);
    spawner()
        .send(Request::Spawn { spec, reply })
        .expect("the spawner thread never ends: its sender is a static");
    answer
        .recv()
        .expect("the spawner thread answers every request and does not panic")
}

/// Takes over a child nobody will wait for, so that it does not stay a zombie.
pub(crate) fn reap_later(child: Unreaped) {
    // It can only fail while the process is being torn down; init reaps then.
    let _ = spawner().send(Request::Reap(child));
}

/// Replaces this process's image; returns only when that failed.
pub(crate) fn replace(image: Image) -> io::Error {
    let (reply, failed) = channel();
    let image = Box::new(image);
    let asked = spawner().send(Request::Replace { image, reply });
    let answer = asked
        .map_err(|_| ())
        .and_then(|()| failed.recv().map_err(|_| ()));
    // Without an answer the process is ending.
    answer.unwrap_or_else(|()| io::ErrorKind::BrokenPipe.into())
}

/// See [`reexec::welcome_signals`].
pub(crate) fn welcome_signals() {
    // It can only fail while the process is ending.
    let _ = spawner().send(Request::WelcomeSignals);
}

fn spawner() -> &'static Sender<Request> {
    SPAWNER.get_or_init(|| {
        let (sender, requests) = channel();
        std::thread::Builder::new()
            .name("spawner".into())
            .spawn(move || serve(&requests))
            .expect("a process that cannot start its second thread cannot do anything");
        sender
    })
}

fn serve(requests: &Receiver<Request>) {
    let mut dropped: Vec<Unreaped> = Vec::new();
    loop {
        let request = if dropped.is_empty() {
            requests.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            requests.recv_timeout(REAP_EVERY)
        };
        match request {
            Ok(Request::Spawn { spec, reply }) => {
                // The caller is blocked on the answer, so it is there.
                let _ = reply.send(fork_exec(*spec));
            }
            Ok(Request::Reap(child)) => dropped.push(child),
            Ok(Request::Replace { image, reply }) => {
                // The caller is blocked on the answer, so it is there.
                let _ = reply.send(reexec::exec(&image));
            }
            Ok(Request::WelcomeSignals) => reexec::unblock_signals(),
            Ok(Request::End) => return,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        dropped.retain(|child| child.try_wait().is_none());
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the place that gives children a group, a death signal and clean descriptors"
)]
fn fork_exec(spec: Spec) -> Result<Child, SpawnError> {
    let program = spec.program;
    let refused = |source| SpawnError::Refused {
        program: program.clone(),
        source,
    };
    let mut command = Command::new(&program);
    command
        .args(&spec.args)
        .env_clear()
        .envs(spec.env)
        .stdin(spec.stdin)
        .stdout(spec.stdout)
        .stderr(spec.stderr);
    if let Some(cwd) = &spec.cwd {
        command.current_dir(cwd);
    }
    if spec.group == Group::OwnGroup {
        command.process_group(0);
    }
    let passed = spec
        .extra_fds
        .into_iter()
        .map(|(fd, number)| PassedFd::new(&fd, number))
        .collect::<io::Result<Vec<_>>>()
        .map_err(refused)?;
    prepare_child(
        &mut command,
        spec.group,
        spec.dies_with_parent,
        spec.cgroup.as_ref().map(AsRawFd::as_raw_fd),
        spec.priority,
        passed.iter().map(PassedFd::numbers).collect(),
    );
    // These live until here: their descriptors must be open at the fork.
    let child = command.spawn();
    drop((passed, spec.cgroup));
    child.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => SpawnError::Missing {
            program: program.clone(),
            source,
        },
        _ => refused(source),
    })
}

/// Registers what the child does between fork and exec.
#[expect(
    unsafe_code,
    reason = "what runs between fork and exec cannot be said to std in any other way; proof below"
)]
fn prepare_child(
    command: &mut Command,
    group: Group,
    dies_with_parent: bool,
    cgroup: Option<RawFd>,
    priority: Priority,
    passed: Vec<(RawFd, RawFd)>,
) {
    let parent = rustix::process::getpid();
    let before_exec = move || {
        if group == Group::OwnSession {
            rustix::process::setsid()?;
        }
        if dies_with_parent {
            let kill = rustix::process::Signal::KILL;
            rustix::process::set_parent_process_death_signal(Some(kill))?;
            // The parent may have died before the line above: then no signal will come.
            if rustix::process::getppid() != Some(parent) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        // Before any number is given away, and before anything of the child's own runs.
        if let Some(entrance) = cgroup {
            enter(entrance)?;
        }
        // A child that stays as it is does its work all the same.
        let _as_before = crate::priority::take(priority);
        close_at_exec_from(3);
        for &(source, number) in &passed {
            duplicate_to(source, number)?;
        }
        Ok(())
    };
    // SAFETY: in the forked child only async-signal-safe work is allowed, because another thread
    // may have held a lock, the allocator's for instance, at the fork. `before_exec` makes system
    // calls (setsid, prctl, getppid, write, getpriority, setpriority, close_range, dup2), reads a vector that was allocated before
    // the fork, and builds `io::Error`s from a code or a kind, which allocates nothing. It does not
    // touch descriptors that std still needs, see `PassedFd`.
    unsafe {
        command.pre_exec(before_exec);
    }
}

/// Moves this process into the group whose `cgroup.procs` is open as `entrance`.
#[expect(unsafe_code, reason = "writing to a bare number; proof below")]
fn enter(entrance: RawFd) -> io::Result<()> {
    // SAFETY: called only between fork and exec, while the parent holds the descriptor open; the
    // byte is a literal. "0" names whoever writes it.
    if unsafe { libc::write(entrance, b"0".as_ptr().cast(), 1) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Marks every descriptor from `first` on to be closed by `execve`: whatever a library or our own
/// parent left inheritable ends here.
#[expect(unsafe_code, reason = "close_range has no safe wrapper; proof below")]
fn close_at_exec_from(first: libc::c_uint) {
    // SAFETY: CLOSE_RANGE_CLOEXEC closes nothing now and takes no pointers; the descriptors stay
    // valid for everyone who holds them in this process. On a kernel before 5.11 it fails and
    // changes nothing; what Rust opened is close-on-exec in any case.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
    }
}

#[expect(unsafe_code, reason = "dup2 onto a chosen number; proof below")]
fn duplicate_to(source: RawFd, number: RawFd) -> io::Result<()> {
    // SAFETY: called only between fork and exec, where whatever `number` was in the parent is not
    // used any more, see `PassedFd` for the one exception and why it is none.
    if unsafe { libc::dup2(source, number) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A descriptor on its way to a child.
///
/// `source` lies above all target numbers, so that passing one cannot overwrite another's source.
/// `_placeholder` occupies the target number in this process if it was free: std opens a pipe right
/// before it forks, through which the child reports a failed exec, and that pipe must not get the
/// number that `dup2` is about to replace.
struct PassedFd {
    source: OwnedFd,
    number: RawFd,
    _placeholder: OwnedFd,
}

impl PassedFd {
    fn new(fd: &OwnedFd, number: RawFd) -> io::Result<Self> {
        if !(3..SOURCES_FROM).contains(&number) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self {
            source: rustix::io::fcntl_dupfd_cloexec(fd, SOURCES_FROM)?,
            number,
            _placeholder: rustix::io::fcntl_dupfd_cloexec(fd, number)?,
        })
    }

    fn numbers(&self) -> (RawFd, RawFd) {
        (self.source.as_raw_fd(), self.number)
    }
}

impl From<Input> for Stdio {
    fn from(input: Input) -> Self {
        match input {
            Input::Null => Stdio::null(),
            Input::Piped => Stdio::piped(),
            Input::File(file) => file.into(),
        }
    }
}

impl From<Output> for Stdio {
    fn from(output: Output) -> Self {
        match output {
            Output::Null => Stdio::null(),
            Output::Piped => Stdio::piped(),
            Output::File(file) => file.into(),
        }
    }
}
