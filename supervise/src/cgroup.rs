//! Control groups of this process's children, where the service manager allows them.
//!
//! A unit with `Delegate=yes` hands its cgroup over to the service. A child put into a group below
//! it can be found again by name after its parent has gone, with every process that descends from
//! it, and the kernel tells when the last of them has ended. A pidfd knows one process and is lost
//! with its holder.
//!
//! Nothing here writes `cgroup.subtree_control`: with controllers switched on for its children, the
//! unit's own group could hold no process any more, and systemd could not start the unit again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};
use tokio::io::Interest;

use crate::watch::{self, Watched};

/// Where the unified hierarchy is mounted; elsewhere nothing is delegated.
const MOUNT: &str = "/sys/fs/cgroup";
/// What systemd marks a group with that it has handed over; the second one only for root's eyes,
/// and the only one before systemd 251.
const MARKS: [&str; 2] = ["user.delegate", "trusted.delegate"];

/// This process's own cgroup, handed over to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegated {
    dir: PathBuf,
}

/// A group below [`Delegated`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    dir: PathBuf,
}

// === impl Delegated ===

impl Delegated {
    /// The cgroup of this process, if the service manager has delegated it.
    pub fn find() -> Option<Self> {
        let lines = fs::read_to_string("/proc/self/cgroup").ok()?;
        let dir = Path::new(MOUNT).join(own_group(&lines)?);
        let marked = MARKS.iter().any(|mark| is_set(&dir, mark));
        let writable = [dir.clone(), dir.join("cgroup.procs")]
            .iter()
            .all(|path| access(path, AccessFlags::W_OK).is_ok());
        (marked && writable).then_some(Self { dir })
    }

    /// Makes the group `name`; one that is there already is taken.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn create(&self, name: &str) -> io::Result<Cgroup> {
        let dir = self.dir.join(name);
        match fs::create_dir(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(Cgroup { dir }),
        }
    }

    /// The groups there are.
    pub fn groups(&self) -> Vec<Cgroup> {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return Vec::new();
        };
        entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| Cgroup { dir: entry.path() })
            .collect()
    }
}

// === impl Cgroup ===

impl Cgroup {
    /// Its name.
    pub fn name(&self) -> &str {
        let name = self.dir.file_name().and_then(|name| name.to_str());
        name.unwrap_or_default()
    }

    /// What a child writes to between fork and exec, see [`crate::Spec::cgroup`].
    ///
    /// # Errors
    /// When the group is gone.
    pub fn entrance(&self) -> io::Result<OwnedFd> {
        let procs = OpenOptions::new().write(true).open(self.procs())?;
        Ok(procs.into())
    }

    /// Whether any process is in it; zombies are not.
    pub fn is_populated(&self) -> bool {
        // What cannot be read is gone.
        fs::read_to_string(self.events()).is_ok_and(|text| populated(&text))
    }

    /// Whether process `pid` is in it.
    pub fn holds(&self, pid: i32) -> bool {
        self.pids().contains(&pid)
    }

    /// The processes in it, each looked for again after it was pinned.
    pub fn members(&self) -> Vec<Watched> {
        self.pids()
            .into_iter()
            .filter_map(|pid| Watched::open(pid).ok())
            .filter(|watched| self.holds(watched.pid()))
            .collect()
    }

    /// Returns when no process is in it any more. Must be called inside the runtime.
    ///
    /// # Errors
    /// When the kernel does not let this process watch it.
    pub async fn emptied(&self) -> io::Result<()> {
        let events = match File::open(self.events()) {
            Ok(events) => events,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let events = watch::register(events.into(), Interest::PRIORITY)?;
        let mut text = [0; 256];
        loop {
            match rustix::io::pread(events.get_ref(), &mut text, 0) {
                Ok(length) if populated(&String::from_utf8_lossy(&text[..length])) => {}
                // A group that was removed was empty.
                _ => return Ok(()),
            }
            // The kernel notes a change that came after the read, so none is missed.
            events.ready(Interest::PRIORITY).await?.clear_ready();
        }
    }

    /// Has the kernel kill all that is in it, children that are being born included.
    ///
    /// # Errors
    /// When the group is gone or not ours.
    pub fn kill(&self) -> io::Result<()> {
        let all_at_once = OpenOptions::new()
            .write(true)
            .open(self.dir.join("cgroup.kill"))
            .and_then(|mut file| file.write_all(b"1"));
        match all_at_once {
            // Before Linux 5.14: one by one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => self
                .members()
                .iter()
                .try_for_each(|member| member.signal(rustix::process::Signal::KILL)),
            done => done,
        }
    }

    /// Removes the empty group; one that is gone already is no error.
    ///
    /// # Errors
    /// When it is not empty.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn procs(&self) -> PathBuf {
        self.dir.join("cgroup.procs")
    }

    fn events(&self) -> PathBuf {
        self.dir.join("cgroup.events")
    }

    fn pids(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.procs()).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

/// The path below the mount, from the lines of `/proc/self/cgroup`.
fn own_group(lines: &str) -> Option<&str> {
    let path = lines.lines().find_map(|line| line.strip_prefix("0::"))?;
    // The root belongs to nobody.
    path.strip_prefix('/').filter(|path| !path.is_empty())
}

fn is_set(dir: &Path, mark: &str) -> bool {
    let mut value = [0_u8; 8];
    rustix::fs::getxattr(dir, mark, &mut value[..]).is_ok_and(|length| &value[..length] == b"1")
}

fn populated(events: &str) -> bool {
    events.lines().any(|line| line == "populated 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_the_unified_one() {
        let hybrid = "9:name=systemd:/x\n0::/system.slice/a.service\n";
        assert_eq!(own_group(hybrid), Some("system.slice/a.service"));
        assert_eq!(own_group("0::/\n"), None);
        assert_eq!(own_group("4:memory:/x\n"), None);
    }

    #[test]
    fn events_tell_whether_anyone_is_there() {
        assert!(populated("populated 1\nfrozen 0\n"));
        assert!(!populated("populated 0\nfrozen 0\n"));
        assert!(!populated(""));
    }
}
