//! What to run and what it inherits: nothing that is not named here.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// A process to be started.
///
/// Its environment is exactly [`Spec::env`]; its descriptors are 0–2 and [`Spec::extra_fds`].
#[derive(Debug)]
pub struct Spec {
    /// Path, or a name to be found in the `PATH` of [`Spec::env`].
    pub program: PathBuf,
    /// Arguments after the program's name. Seen by every user of the machine: never a secret.
    pub args: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Descriptor 0.
    pub stdin: Input,
    /// Descriptor 1.
    pub stdout: Output,
    /// Descriptor 2.
    pub stderr: Output,
    /// Descriptors the child finds at the given numbers (3 or more).
    pub extra_fds: Vec<(OwnedFd, i32)>,
    /// What signals from a terminal reach it, and what is signalled with it.
    pub group: Group,
    /// Killed by the kernel when this process ends, however it ends, and when its handle is dropped.
    pub dies_with_parent: bool,
    /// Working directory; `None`: this process's.
    pub cwd: Option<PathBuf>,
    /// Control group it is in from its first instruction, see [`crate::cgroup::Cgroup::entrance`];
    /// `None`: this process's.
    pub cgroup: Option<OwnedFd>,
    /// When it gets its turn where cores are short.
    pub priority: Priority,
}

/// Where standard input comes from.
#[derive(Debug)]
pub enum Input {
    /// `/dev/null`.
    Null,
    /// A pipe, see [`crate::Child::take_stdin`].
    Piped,
    /// This file.
    File(File),
}

/// Where an output goes.
#[derive(Debug)]
pub enum Output {
    /// `/dev/null`.
    Null,
    /// A pipe, see [`crate::Child::take_stdout`].
    Piped,
    /// This file.
    File(File),
}

/// The process group the child leads. Its number is the child's pid either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// A group of its own in this session.
    OwnGroup,
    /// A session of its own: no terminal, no hang-up from ours.
    OwnSession,
}

/// Who goes first where cores are short. See [`crate::priority`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// With this process: for those of ours who only pass things on, and must not be late.
    Ours,
    /// As other programs of the machine do.
    Usual,
    /// After them: for what prepares or looks.
    Background,
}

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The program is not there, or not executable for this user.
    #[error("cannot run {}: not found or not executable; check the path and its permissions", program.display())]
    Missing {
        /// As asked for.
        program: PathBuf,
        /// From `execve`.
        source: io::Error,
    },
    /// The machine refused: out of processes, memory or descriptors.
    #[error("cannot start {}", program.display())]
    Refused {
        /// As asked for.
        program: PathBuf,
        /// From `fork`, `pipe` or `pidfd_open`.
        source: io::Error,
    },
}

// === impl Spec ===

impl Spec {
    /// `program` without arguments: no input, no output, errors piped, in its own group, dying with
    /// this process, with [`minimal_env`].
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: minimal_env(),
            stdin: Input::Null,
            stdout: Output::Null,
            stderr: Output::Piped,
            extra_fds: Vec::new(),
            group: Group::OwnGroup,
            dies_with_parent: true,
            cwd: None,
            cgroup: None,
            priority: Priority::Usual,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets one variable; an earlier value of the same name is replaced.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.retain(|(known, _)| known != name.as_ref());
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets standard input.
    #[must_use]
    pub fn stdin(mut self, input: Input) -> Self {
        self.stdin = input;
        self
    }

    /// Sets standard output.
    #[must_use]
    pub fn stdout(mut self, output: Output) -> Self {
        self.stdout = output;
        self
    }

    /// Sets standard error.
    #[must_use]
    pub fn stderr(mut self, output: Output) -> Self {
        self.stderr = output;
        self
    }

    /// Passes `fd` on as descriptor `number`.
    #[must_use]
    pub fn fd(mut self, fd: impl Into<OwnedFd>, number: i32) -> Self {
        self.extra_fds.push((fd.into(), number));
        self
    }

    /// Sets the group.
    #[must_use]
    pub fn group(mut self, group: Group) -> Self {
        self.group = group;
        self
    }

    /// Lets it live on when this process ends or drops its handle.
    #[must_use]
    pub fn outlives_parent(mut self) -> Self {
        self.dies_with_parent = false;
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    /// Has it start in the control group of this entrance; where it cannot, it does not start.
    #[must_use]
    pub fn cgroup(mut self, entrance: OwnedFd) -> Self {
        self.cgroup = Some(entrance);
        self
    }

    /// Sets when it gets its turn, from its first instruction on.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }
}

/// What a child needs of this process's environment to run at all, and nothing that may hold a
/// secret: `PATH`, `HOME`, `LANG`, `TMPDIR`, `SSL_CERT_FILE`, `SSL_CERT_DIR`; and a resolver that
/// gives up in seconds (a name server that drops packets would otherwise hold FFmpeg for 10 s and
/// make it deaf to SIGTERM meanwhile).
pub fn minimal_env() -> Vec<(OsString, OsString)> {
    const PASSED: [&str; 6] = [
        "PATH",
        "HOME",
        "LANG",
        "TMPDIR",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ];
    PASSED
        .iter()
        .filter_map(|name| Some(((*name).into(), std::env::var_os(name)?)))
        .chain([("RES_OPTIONS".into(), "timeout:1 attempts:1".into())])
        .collect()
}
