//! The proof that no worker of a stream is left: two publishers on one key must be impossible.
//!
//! The controller locks `RUNTIME_DIR/<id>.lease` (`flock`) and hands the locked descriptor to the
//! worker it starts. The lock belongs to that open file, so it lasts exactly as long as the worker's
//! process, however that ends, and outlives the controller. A worker that has not made its socket
//! yet, that hangs, or whose job file was lost is still held by it. Nothing is started without it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::libc::O_NOFOLLOW;
use supervise::watch::Watched;

/// The lease of a stream, held by this process until it is handed on or dropped.
#[derive(Debug)]
pub(super) struct Lease(File);

// === impl Lease ===

impl Lease {
    /// Takes the lease at `path`; `None` when a process has it.
    ///
    /// # Errors
    /// When the file cannot be made or locked.
    pub(super) fn acquire(path: &Path) -> io::Result<Option<Self>> {
        // std opens close-on-exec: no other child can carry the lease away.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(O_NOFOLLOW)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl From<Lease> for OwnedFd {
    fn from(lease: Lease) -> Self {
        lease.0.into()
    }
}

/// Processes that have the file at `path` open: the holder of the lease, found by what it holds.
/// The file is looked at again after each process was pinned, so a reused number cannot be taken
/// for a holder. Processes of other users are not seen; none of them can hold a file of mode 0600.
pub(super) fn holders(path: &Path) -> Vec<Watched> {
    let Ok(lease) = std::fs::metadata(path) else {
        return Vec::new();
    };
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    processes
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own && has_open(*pid, &lease))
        .filter_map(|pid| {
            let watched = Watched::open(pid).ok()?;
            (has_open(pid, &lease) && !watched.has_exited()).then_some(watched)
        })
        .collect()
}

fn has_open(pid: i32, lease: &std::fs::Metadata) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors
        .filter_map(Result::ok)
        .filter_map(|entry| std::fs::metadata(entry.path()).ok())
        .any(|file| file.dev() == lease.dev() && file.ino() == lease.ino())
}

#[cfg(test)]
mod tests {
    use supervise::{Output, Spec};

    use super::*;

    #[tokio::test]
    async fn the_lease_lasts_as_long_as_the_process_it_was_handed_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("main.lease");
        let lease = Lease::acquire(&path).unwrap().unwrap();
        let mut child = supervise::spawn(
            Spec::new("sleep")
                .arg("60")
                .stderr(Output::Null)
                .fd(lease, 3),
        )
        .unwrap();
        assert!(Lease::acquire(&path).unwrap().is_none());
        let holders = holders(&path);
        assert_eq!(
            holders.iter().map(Watched::pid).collect::<Vec<_>>(),
            [child.pid().as_raw()]
        );

        child.kill_now();
        child.wait().await;
        assert!(Lease::acquire(&path).unwrap().is_some());
    }
}
