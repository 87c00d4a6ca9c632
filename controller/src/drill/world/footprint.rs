//! What the drill's controller and workers use, and what they have left on the disk.

use std::path::Path;

use super::World;
use crate::drill::family;

/// What the controller and all workers use at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Resident memory of controller and workers.
    pub resident_kib: u64,
    /// Their open descriptors.
    pub descriptors: u64,
    /// They and their children.
    pub processes: u64,
    /// Anywhere in the drill's directory: state, sockets, cache, logs, what was left by accident.
    pub files: u64,
}

// === impl World ===

impl World {
    /// What is in use now.
    ///
    /// # Errors
    /// When a worker is missing, or `/proc` cannot be read.
    pub async fn footprint(&mut self) -> anyhow::Result<Footprint> {
        let mut members = vec![self.controller_process()?];
        for number in 0..self.channels.len() {
            members.push(self.worker(number).await?);
        }
        let mut found = Footprint {
            resident_kib: 0,
            descriptors: 0,
            processes: 0,
            files: 0,
        };
        for member in &members {
            found.resident_kib += family::resident_kib(member).unwrap_or_default();
            found.descriptors += family::descriptors(member).unwrap_or_default() as u64;
            found.processes += 1 + family::children(member, "")?.len() as u64;
        }
        found.files = files_below(self.directory.path())?;
        Ok(found)
    }
}

fn files_below(directory: &Path) -> std::io::Result<u64> {
    let mut count = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        count += match entry.file_type()?.is_dir() {
            true => files_below(&entry.path())?,
            false => 1,
        };
    }
    Ok(count)
}
