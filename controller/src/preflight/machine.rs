//! What the machine itself must give: directories, room, a clock, the keys.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use indicatif::BinaryBytes;
use jiff::Timestamp;
use nix::sys::statvfs::statvfs;
use storage::model::StreamConfig;

use super::{Finding, Verdict};
use crate::config::Config;

/// Logs and state of weeks fit in it; below, something else is filling the disk.
const SCARCE_BYTES: u64 = 1 << 30;
/// Sockets, jobs and the segments of a preview.
const SCARCE_RUNTIME_BYTES: u64 = 32 << 20;
/// Each document, log and segment takes one.
const SCARCE_INODES: u64 = 1_000;
/// A clock before this is one that was never set.
const LONG_AGO: &str = "2025-01-01T00:00:00Z";

/// A directory and what hangs on it.
struct Wanted {
    name: &'static str,
    path: PathBuf,
    /// What it means when nothing can be written there.
    unwritable: Verdict,
    scarce_bytes: u64,
}

/// Looks at directories and clock.
pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let layout = config.layout.clone();
    let wanted = [
        // A stream goes on without being remembered; nothing runs without sockets and jobs.
        (
            "STATE_DIR",
            layout.state_dir,
            Verdict::Missing,
            SCARCE_BYTES,
        ),
        (
            "RUNTIME_DIR",
            layout.runtime_dir,
            Verdict::Fatal,
            SCARCE_RUNTIME_BYTES,
        ),
        (
            "CACHE_DIR",
            layout.cache_dir,
            Verdict::Missing,
            SCARCE_BYTES,
        ),
    ]
    .map(|(name, path, unwritable, scarce_bytes)| Wanted {
        name,
        path,
        unwritable,
        scarce_bytes,
    });
    let mut findings: Vec<Finding> =
        tokio::task::spawn_blocking(move || wanted.iter().map(directory).collect())
            .await
            .expect("looking at directories does not panic");
    findings.push(clock(Timestamp::now()));
    findings
}

/// One that is not there yet must be possible to make: so its nearest ancestor is looked at.
fn directory(wanted: &Wanted) -> Finding {
    let (name, dir) = (wanted.name, wanted.path.display());
    let Some(there) = wanted.path.ancestors().find(|path| path.exists()) else {
        let message = format!("{dir}: nothing of its path exists; mount or create it");
        return Finding::new(wanted.unwritable, name, message);
    };
    if let Err(error) = write_a_page(there) {
        let hint = storage::atomic::DiskFault::of(&error).hint();
        let message = format!("{} is not writable ({error}): {hint}", there.display());
        return Finding::new(wanted.unwritable, name, message);
    }
    room(wanted, there)
}

/// A full disk still makes files; it is their content that has no place.
fn write_a_page(dir: &Path) -> io::Result<()> {
    tempfile::tempfile_in(dir)?.write_all(&[0; 4096])
}

fn room(wanted: &Wanted, there: &Path) -> Finding {
    let (name, dir) = (wanted.name, wanted.path.display());
    let disk = match statvfs(there) {
        Ok(disk) => disk,
        Err(error) => {
            return Finding::doubtful(name, format_args!("{dir}: free space unknown ({error})"));
        }
    };
    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
    let found = format!("{dir} is writable, {} free", BinaryBytes(free));
    // File systems without a table of inodes tell none at all.
    if disk.files() > 0 && disk.files_available() < SCARCE_INODES {
        let left = disk.files_available();
        return Finding::doubtful(name, format_args!("{found}, {left} inodes: remove files"));
    }
    if free < wanted.scarce_bytes {
        return Finding::doubtful(name, format_args!("{found}: make room"));
    }
    Finding::fine(name, found)
}

/// Whether the clock was ever set; whether it agrees with the world, the bucket tells.
fn clock(now: Timestamp) -> Finding {
    let long_ago: Timestamp = LONG_AGO.parse().expect("a literal timestamp");
    let shown = now.strftime("%F %T UTC");
    if now < long_ago {
        return Finding::missing(
            "clock",
            format_args!(
                "{shown} cannot be: certificates and signed addresses fail. Set it \
                 (timedatectl set-ntp true)"
            ),
        );
    }
    Finding::fine("clock", shown)
}

/// One finding for each destination; a stream that has no key for any has nowhere to go.
pub(super) fn keys(config: &Config, stream: &StreamConfig) -> Vec<Finding> {
    let unset = |name: &str| config.keyring.secret(name).is_none();
    let keyless = |name: &Option<String>| name.as_deref().is_some_and(unset);
    let nowhere = !stream.destinations.is_empty()
        && stream.destinations.iter().all(|to| keyless(&to.key_env));
    let keys = stream.destinations.iter().map(|to| {
        let what = format!("key/{}", to.name);
        match &to.key_env {
            None => Finding::fine(what, "its address needs no key"),
            Some(name) if !unset(name) => Finding::fine(what, format_args!("{name} is set")),
            Some(name) => Finding::new(
                if nowhere {
                    Verdict::Fatal
                } else {
                    Verdict::Missing
                },
                what,
                format_args!(
                    "{name} is not set: put the stream key into the environment file or a systemd \
                     credential, and restart the controller"
                ),
            ),
        }
    });
    keys.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_never_set_is_told() {
        let found = clock(Timestamp::UNIX_EPOCH);
        assert_eq!(found.verdict, Verdict::Missing);
        assert!(found.message.starts_with("1970-01-01") && found.message.contains("timedatectl"));
    }
}
