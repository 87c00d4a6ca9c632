//! Replacing this process's program by another that goes on with its children.
//!
//! `execve` keeps the process: its number, its children, its control group, and every descriptor
//! that is not closed at exec. It ends all threads but the one that calls it, so that one must be the
//! one that forked the children, or their death signal fires: [`crate::spawner_here`].
//!
//! The new image first calls [`end_strays`] with the children it was handed, and
//! [`welcome_signals`] once it can receive them: between the two images signals wait.

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::unistd::Pid;
use rustix::io::FdFlags;

use crate::spawner;
use crate::unreaped::{self, Unreaped};

/// What a process becomes.
#[derive(Debug)]
pub struct Image {
    /// Path of the program.
    pub program: PathBuf,
    /// All arguments, the program's name first. Seen by every user of the machine.
    pub args: Vec<String>,
    /// Descriptors it finds under their present numbers, besides 0 to 2.
    pub keep: Vec<RawFd>,
}

/// Becomes `image`; returns only when that failed, and nothing has changed then. Blocks.
pub fn become_image(image: Image) -> io::Error {
    spawner::replace(image)
}

/// Signals that were held back since the image before are delivered from now on.
pub fn welcome_signals() {
    spawner::welcome_signals();
}

/// Children of this process that nobody has collected.
pub fn children() -> Vec<Pid> {
    unreaped::all()
}

/// Kills and collects those of `children` that are not `handed_over`: nobody holds them any more.
pub fn end_strays(children: &[Pid], handed_over: &[Pid]) {
    for stray in children.iter().filter(|pid| !handed_over.contains(pid)) {
        // One that has ended is a zombie until it is collected below: its number is still its own.
        let _ended_already = nix::sys::signal::killpg(*stray, Signal::SIGKILL);
        spawner::reap_later(Unreaped::new(*stray));
    }
}

/// A descriptor on its way from one image to the next: a number that stays open because nobody owns
/// it meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedFd(RawFd);

// === impl PassedFd ===

impl PassedFd {
    /// Lets go of `fd`.
    pub fn new(fd: impl Into<OwnedFd>) -> Self {
        Self(fd.into().into_raw_fd())
    }

    /// The descriptor that the image before passed under this number.
    pub fn from_number(number: RawFd) -> Self {
        Self(number)
    }

    /// Under which it is passed.
    pub fn number(&self) -> RawFd {
        self.0
    }

    /// Owns it again; it is closed in children from now on.
    ///
    /// # Errors
    /// When nothing is open under the number.
    #[expect(unsafe_code, reason = "a number becomes an owner; proof below")]
    pub fn take(self) -> io::Result<OwnedFd> {
        if self.0 < 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: only its flags are read and set; a number that is not open is an error.
        let borrowed = unsafe { BorrowedFd::borrow_raw(self.0) };
        rustix::io::fcntl_setfd(borrowed, FdFlags::CLOEXEC)?;
        // SAFETY: it is open (the line above), and nobody else owns it: `new` gave it up in this
        // image or in the one before, which passed it under this number; `self` is used up here.
        Ok(unsafe { OwnedFd::from_raw_fd(self.0) })
    }
}

/// On the spawner thread.
pub(crate) fn exec(image: &Image) -> io::Error {
    let before = match hold_signals() {
        Ok(before) => before,
        Err(errno) => return errno.into(),
    };
    let failed = match try_exec(image) {
        Err(error) => error,
        Ok(never) => match never {},
    };
    for &number in &image.keep {
        // What cannot be set again was not open.
        let _closed = set_close_at_exec(number, FdFlags::CLOEXEC);
    }
    // It was read a moment ago, so it can be set.
    let _restored = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
    failed
}

fn try_exec(image: &Image) -> io::Result<Infallible> {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::from);
    let program = text(image.program.as_os_str().as_bytes())?;
    let args: Vec<CString> = image
        .args
        .iter()
        .map(|arg| text(arg.as_bytes()))
        .collect::<io::Result<_>>()?;
    for &number in &image.keep {
        set_close_at_exec(number, FdFlags::empty())?;
    }
    Ok(nix::unistd::execv(&program, &args)?)
}

#[expect(unsafe_code, reason = "flags are set by number; proof below")]
fn set_close_at_exec(number: RawFd, flags: FdFlags) -> io::Result<()> {
    // SAFETY: only the flags of whatever is open under the number are set; -1 is not borrowed.
    let fd = unsafe { BorrowedFd::borrow_raw(number.max(0)) };
    debug_assert_eq!(fd.as_raw_fd(), number);
    Ok(rustix::io::fcntl_setfd(fd, flags)?)
}

/// A mask outlives `execve`, a handler does not: unmasked, a signal would end the new image before
/// it can listen.
fn hold_signals() -> nix::Result<SigSet> {
    let mut held = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        held.add(signal);
    }
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&held), Some(&mut before))?;
    Ok(before)
}

/// On the spawner thread, whose children get an empty mask from `std` in any case.
pub(crate) fn unblock_signals() {
    // Fails only for a way of setting that does not exist.
    let _set = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}
