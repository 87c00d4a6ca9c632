//! A directory that refuses writes, whoever holds the drill.
//!
//! Its mode stops everybody but root. Root is stopped by a mount that is read-only, in a mount namespace of
//! the drill's own: nobody else on the machine sees it, and it ends with the drill's last process, however that
//! comes. Where mounts are not permitted, as in most containers, what the drill starts goes without the capability
//! by which root passes over modes. The kernel gives both to a thread and what comes of it, so [`prepare`] is
//! called before there are others.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

/// What [`mount`] is given for what it does not look at.
const NONE: Option<&str> = None;
/// Of a state directory.
const OPEN: u32 = 0o750;
const CLOSED: u32 = 0o550;

/// How a directory can be made to refuse writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Means {
    /// Not at all.
    #[default]
    Nothing,
    /// By its mode.
    Mode,
    /// By a read-only mount over it.
    Mount,
}

/// A directory that refuses writes until this is lifted or dropped.
#[derive(Debug)]
pub(super) struct Refusal {
    directory: PathBuf,
}

/// Finds out by what means this process can, and prepares for it. To be called while this thread is the only one.
pub fn prepare() -> Means {
    if !nix::unistd::geteuid().is_root() {
        Means::Mode
    } else if own_mounts().is_ok() {
        Means::Mount
    } else if remove_capability_from_bounding_set(CapabilitySet::DAC_OVERRIDE).is_ok() {
        Means::Mode
    } else {
        Means::Nothing
    }
}

fn own_mounts() -> Result<(), Errno> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let apart = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(NONE, "/", NONE, apart, NONE)
}

/// Has `directory` take writes again, whether or not it refused them.
pub(super) fn lift(directory: &Path) -> anyhow::Result<()> {
    match umount2(directory, MntFlags::MNT_DETACH) {
        // Nothing is mounted there, or never could be.
        Ok(()) | Err(Errno::EINVAL | Errno::EPERM | Errno::ENOENT) => {}
        Err(error) => {
            return Err(error).with_context(|| format!("unmounting {}", directory.display()));
        }
    }
    permit(directory, OPEN)
}

fn permit(directory: &Path, mode: u32) -> anyhow::Result<()> {
    std::fs::set_permissions(directory, Permissions::from_mode(mode))
        .with_context(|| format!("changing the permissions of {}", directory.display()))
}

fn mount_read_only(directory: &Path) -> Result<(), Errno> {
    let bind = MsFlags::MS_BIND;
    // Over itself: what is open for writing would forbid to turn the file system below.
    mount(Some(directory), directory, NONE, bind, NONE)?;
    let turn = bind | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(NONE, directory, NONE, turn, NONE)
}

// === impl Refusal ===

impl Refusal {
    /// Of `directory`, by `means`; `None` where there are none.
    pub(super) fn of(directory: &Path, means: Means) -> anyhow::Result<Option<Self>> {
        // Whatever of it was done is undone, also when the rest fails.
        let refusal = Self {
            directory: directory.to_owned(),
        };
        match means {
            Means::Nothing => return Ok(None),
            Means::Mode => permit(directory, CLOSED)?,
            Means::Mount => mount_read_only(directory)
                .with_context(|| format!("mounting {} read-only", directory.display()))?,
        }
        Ok(Some(refusal))
    }

    /// Ends it.
    pub(super) fn lift(self) -> anyhow::Result<()> {
        lift(&self.directory)
    }
}

impl Drop for Refusal {
    fn drop(&mut self) {
        // A drill that is interrupted; after `lift` there is nothing left to do.
        let _lifted = lift(&self.directory);
    }
}
