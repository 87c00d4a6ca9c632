//! A new process that copies nothing.
//!
//! `fork` has every page of this process copied at the next write to it, by whichever thread, until the child has
//! executed its program, and marks them for that in any case. In a controller or worker of some threads each of these
//! writes is a fault that stops the other cores too, and an FFmpeg is started often. So the child shares the memory
//! until it executes (`CLONE_VM | CLONE_VFORK`), and the thread that made it waits until then, as in posix_spawn(3),
//! which cannot set a death signal.
//!
//! What that asks for (vfork(2), "Caveats"): the child has a stack of its own, everything it needs was laid out before
//! it is made, it makes system calls only, and no handler of a signal runs in it.

use std::cell::UnsafeCell;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::command::{Group, Input, Output, Priority, SpawnError, Spec};

/// Where the copies of the child's descriptors start: above every number it is given one at.
const SOURCES_FROM: RawFd = 64;
/// Of the child's stack, which holds a few frames of system calls.
const STACK_BYTES: usize = 128 * 1024;
/// Highest number of a signal (signal(7)).
const LAST_SIGNAL: libc::c_int = 64;
/// Where programs are when the environment does not tell (execvp(3)).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// A process that was made, and this side of its pipes.
#[derive(Debug)]
pub(crate) struct Forked {
    /// Its number, which stays taken until its status is collected.
    pub(crate) pid: Pid,
    /// To its standard input, where that is piped.
    pub(crate) stdin: Option<OwnedFd>,
    /// From its standard output, likewise.
    pub(crate) stdout: Option<OwnedFd>,
    /// From its standard error, likewise.
    pub(crate) stderr: Option<OwnedFd>,
}

/// All that the child does, laid out before there is one.
struct Plan {
    parent: Option<rustix::process::Pid>,
    group: Group,
    dies_with_parent: bool,
    cgroup: Option<OwnedFd>,
    priority: Priority,
    cwd: Option<CString>,
    /// Which descriptor it finds at which number. The sources lie above all numbers, so that giving
    /// one away cannot overwrite another's source.
    descriptors: Vec<(OwnedFd, RawFd)>,
    /// Where the program may be; the first that is there is executed.
    programs: Vec<CString>,
    args: Strings,
    env: Strings,
    /// Why it did not become the program.
    failure: UnsafeCell<Option<Failure>>,
}

#[derive(Debug, Clone, Copy)]
enum Failure {
    /// While it got ready.
    Before(i32),
    /// `execve`.
    Exec(i32),
}

/// Texts in the form that `execve` takes.
struct Strings {
    _texts: Vec<CString>,
    /// To each of them, and a null at the end.
    pointers: Vec<*const libc::c_char>,
}

/// Makes the process and waits for `execve` to have succeeded.
///
/// The calling thread must live as long as the child is to where that dies with its parent.
///
/// # Errors
/// `Missing` when it is the program's fault, `Refused` otherwise.
pub(crate) fn fork_exec(spec: Spec) -> Result<Forked, SpawnError> {
    let program = spec.program.clone();
    let made = prepare(spec).and_then(|(plan, ours)| Ok((clone(&plan)?, ours, plan)));
    let refused = |source| SpawnError::Refused {
        program: program.clone(),
        source,
    };
    let (pid, [stdin, stdout, stderr], plan) = made.map_err(refused)?;
    let Some(failure) = plan.failure.into_inner() else {
        return Ok(Forked {
            pid,
            stdin,
            stdout,
            stderr,
        });
    };
    // Nothing ran: all there is to collect is that it gave up.
    let _gone = waitpid(pid, None);
    Err(match failure {
        Failure::Before(code) => refused(io::Error::from_raw_os_error(code)),
        Failure::Exec(code) => match io::Error::from_raw_os_error(code) {
            source if is_missing(&source) => SpawnError::Missing { program, source },
            source => refused(source),
        },
    })
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory
    )
}

/// The plan, and this side of the pipes: to the child's input, from its outputs.
fn prepare(spec: Spec) -> io::Result<(Plan, [Option<OwnedFd>; 3])> {
    let (stdin, to_stdin) = spec.stdin.open()?;
    let (stdout, from_stdout) = spec.stdout.open()?;
    let (stderr, from_stderr) = spec.stderr.open()?;
    let mut descriptors = Vec::new();
    for (fd, number) in [(stdin, 0), (stdout, 1), (stderr, 2)] {
        descriptors.push((rustix::io::fcntl_dupfd_cloexec(fd, SOURCES_FROM)?, number));
    }
    for (fd, number) in spec.extra_fds {
        if !(3..SOURCES_FROM).contains(&number) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        descriptors.push((rustix::io::fcntl_dupfd_cloexec(fd, SOURCES_FROM)?, number));
    }
    let program = spec.program.as_os_str().to_owned();
    let plan = Plan {
        parent: Some(rustix::process::getpid()),
        group: spec.group,
        dies_with_parent: spec.dies_with_parent,
        cgroup: spec.cgroup,
        priority: spec.priority,
        cwd: spec.cwd.as_deref().map(text).transpose()?,
        descriptors,
        programs: candidates(&spec.program, &spec.env)?,
        args: Strings::new(std::iter::once(program).chain(spec.args))?,
        env: Strings::new(spec.env.into_iter().map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            name
        }))?,
        failure: UnsafeCell::new(None),
    };
    Ok((plan, [to_stdin, from_stdout, from_stderr]))
}

/// Where `program` may be: a name without a slash in every directory of the child's `PATH` (execvp(3)).
fn candidates(program: &Path, env: &[(OsString, OsString)]) -> io::Result<Vec<CString>> {
    if program.as_os_str().as_bytes().contains(&b'/') {
        return Ok(vec![text(program)?]);
    }
    let path = env.iter().find(|(name, _)| name == "PATH");
    let path = path.map_or(OsStr::new(DEFAULT_PATH), |(_, value)| value);
    std::env::split_paths(path)
        .map(|dir| text(dir.join(program)))
        .collect()
}

fn text(text: impl AsRef<OsStr>) -> io::Result<CString> {
    Ok(CString::new(text.as_ref().as_bytes())?)
}

/// Makes the child; returns when it has become its program or has given up.
#[expect(
    unsafe_code,
    reason = "std cannot share memory with a child; proof below"
)]
fn clone(plan: &Plan) -> io::Result<Pid> {
    let mut stack = vec![0_u128; STACK_BYTES / size_of::<u128>()];
    let top = stack.as_mut_ptr_range().end;
    // The child begins with the mask of this thread: a handler of ours must not run in it.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    // SAFETY: `child` gets the plan, which outlives it in this memory: with CLONE_VFORK this thread goes on
    // only after the child has executed its program or ended. `top` is the aligned upper end of a stack that
    // nobody else uses until then; stacks grow down on every machine that Rust's Linux targets are of but
    // parisc. The child leaves neither function by a panic, see `become_program`.
    let pid = unsafe {
        libc::clone(
            child,
            top.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            ptr::from_ref(plan).cast_mut().cast(),
        )
    };
    let made = if pid < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(Pid::from_raw(pid))
    };
    mask.thread_set_mask()?;
    made
}

/// The child's whole life in this program.
#[expect(unsafe_code, reason = "the first function of a stack; proof below")]
extern "C" fn child(plan: *mut libc::c_void) -> libc::c_int {
    // SAFETY: it is the plan that `clone` was called with, which lives as long as the child shares this memory;
    // the only other thread that knows of it is suspended.
    unsafe {
        let plan: &Plan = &*plan.cast_const().cast();
        *plan.failure.get() = Some(plan.become_program());
        libc::_exit(127)
    }
}

// === impl Plan ===

impl Plan {
    /// Returns only when it failed.
    ///
    /// Whatever is called here must be a system call or nearly: no allocation, no lock (another thread may hold
    /// it, and goes on meanwhile), no panic. Errors are codes of the kernel, which take no memory.
    #[expect(unsafe_code, reason = "execve has no safe wrapper; proof below")]
    fn become_program(&self) -> Failure {
        if let Err(error) = self.get_ready() {
            return Failure::Before(error.raw_os_error().unwrap_or(libc::EIO));
        }
        let mut failed = libc::ENOENT;
        for program in &self.programs {
            // SAFETY: a text with its end, and two lists of such texts with a null at their end, all of which
            // live in the plan.
            unsafe {
                libc::execve(
                    program.as_ptr(),
                    self.args.pointers.as_ptr(),
                    self.env.pointers.as_ptr(),
                );
            }
            match io::Error::last_os_error().raw_os_error() {
                // As execvp(3) does: it may be in the next directory.
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                Some(libc::EACCES) => failed = libc::EACCES,
                code => return Failure::Exec(code.unwrap_or(libc::EIO)),
            }
        }
        Failure::Exec(failed)
    }

    fn get_ready(&self) -> io::Result<()> {
        forget_handlers();
        match self.group {
            Group::OwnGroup => rustix::process::setpgid(None, None)?,
            Group::OwnSession => drop(rustix::process::setsid()?),
        }
        if self.dies_with_parent {
            let kill = rustix::process::Signal::KILL;
            rustix::process::set_parent_process_death_signal(Some(kill))?;
            // The parent may have died before the line above: then no signal will come.
            if rustix::process::getppid() != self.parent {
                return Err(io::Error::from_raw_os_error(libc::EPIPE));
            }
        }
        // Before any number is given away, and before anything of the child's own runs.
        if let Some(entrance) = &self.cgroup {
            // "0" names whoever writes it.
            rustix::io::write(entrance, b"0")?;
        }
        // A child that stays as it is does its work all the same.
        let _as_before = crate::priority::take(self.priority);
        if let Some(cwd) = &self.cwd {
            rustix::process::chdir(cwd.as_c_str())?;
        }
        close_at_exec_from(3);
        for (source, number) in &self.descriptors {
            duplicate_to(source.as_raw_fd(), *number)?;
        }
        // No handler is left that could run here.
        SigSet::empty().thread_set_mask()?;
        Ok(())
    }
}

/// Has every signal do to the child what it does by itself. Those that this process ignores stay ignored, except
/// SIGPIPE, which Rust ignores and no other program expects to be.
#[expect(
    unsafe_code,
    reason = "handlers as they are, whoever set them; proof below"
)]
fn forget_handlers() {
    for signal in 1..=LAST_SIGNAL {
        // SAFETY: called only in the child, whose table of handlers is its own (no CLONE_SIGHAND). An action of
        // zeros is the default without flags. Those that cannot be changed are refused, which is as good.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, ptr::null(), &raw mut action);
            if action.sa_sigaction != libc::SIG_IGN || signal == libc::SIGPIPE {
                let default: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, &raw const default, ptr::null_mut());
            }
        }
    }
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
    // SAFETY: called only in the child, whose table of descriptors is its own (no CLONE_FILES); whatever `number`
    // was in the parent is not used here, for all that is still needed lies above `SOURCES_FROM` or is a plan's.
    if unsafe { libc::dup2(source, number) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

// === impl Strings ===

impl Strings {
    fn new(texts: impl Iterator<Item = OsString>) -> io::Result<Self> {
        let texts = texts.map(text).collect::<io::Result<Vec<_>>>()?;
        let pointers = texts.iter().map(|text| CStr::as_ptr(text));
        Ok(Self {
            pointers: pointers.chain([ptr::null()]).collect(),
            _texts: texts,
        })
    }
}

// === impl Input ===

impl Input {
    /// The child's end, and ours where it is piped.
    fn open(self) -> io::Result<(OwnedFd, Option<OwnedFd>)> {
        match self {
            Self::Null => Ok((null(OFlags::RDONLY)?, None)),
            Self::Piped => {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
                Ok((read, Some(write)))
            }
            Self::File(file) => Ok((file.into(), None)),
        }
    }
}

// === impl Output ===

impl Output {
    /// The child's end, and ours where it is piped.
    fn open(self) -> io::Result<(OwnedFd, Option<OwnedFd>)> {
        match self {
            Self::Null => Ok((null(OFlags::WRONLY)?, None)),
            Self::Piped => {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
                Ok((write, Some(read)))
            }
            Self::File(file) => Ok((file.into(), None)),
        }
    }
}

fn null(how: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        "/dev/null",
        how | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}
