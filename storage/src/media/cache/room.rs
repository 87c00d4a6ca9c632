//! The files of the cache's directory: what there is, and making room among it.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::sys::statvfs::statvfs;

use super::{FREE_FLOOR_BYTES, Meta};

/// An object of the cache, whole or not.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    /// What it takes, or will take.
    pub(super) size_bytes: u64,
    on_disk: u64,
    pub(super) whole: bool,
    opened: SystemTime,
}

/// `DIR/<name>.<extension>`.
pub(super) fn file(dir: &Path, name: &str, extension: &str) -> PathBuf {
    dir.join(format!("{name}.{extension}"))
}

/// Everything there is.
pub(super) fn entries(dir: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for found in fs::read_dir(dir)? {
        let file_name = found?.file_name();
        let name = file_name
            .to_str()
            .and_then(|name| name.strip_suffix(".json"));
        // Temporary files of a description that is being written are hidden.
        let Some(name) = name.filter(|name| !name.starts_with('.')) else {
            continue;
        };
        // Another process may be removing it.
        entries.extend(entry(dir, name));
    }
    Ok(entries)
}

fn entry(dir: &Path, name: &str) -> Option<Entry> {
    let json = fs::read(file(dir, name, "json")).ok()?;
    let meta = serde_json::from_slice::<Meta>(&json).ok();
    let (held, whole) = match fs::metadata(file(dir, name, "media")) {
        Ok(held) => (Some(held), true),
        Err(_) => (fs::metadata(file(dir, name, "part")).ok(), false),
    };
    let opened = held.as_ref().and_then(|held| held.modified().ok());
    let on_disk = held.map_or(0, |held| held.len());
    let size_bytes = meta.as_ref().map_or(on_disk, |meta| meta.size_bytes);
    Some(Entry {
        name: name.to_owned(),
        size_bytes,
        on_disk,
        // What cannot be understood is no object, and the first to go.
        whole: whole && meta.is_some_and(|meta| meta.size_bytes == on_disk),
        opened: opened.unwrap_or(SystemTime::UNIX_EPOCH),
    })
}

/// Whether an object may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Made,
    /// More than `CACHE_MAX_BYTES` would be kept.
    None,
    /// Less than [`FREE_FLOOR_BYTES`] of the disk would stay free.
    DiskFull,
}

/// Removes the least recently opened until `size_bytes` more may be kept as `name`, of which `more`
/// have yet to be written; nothing, where all of it would not be enough. The caller holds the
/// directory's lock.
pub(super) fn make(
    dir: &Path,
    max_bytes: u64,
    name: &str,
    (size_bytes, more): (u64, u64),
    keep: &HashSet<String>,
) -> io::Result<Room> {
    let mut entries = entries(dir)?;
    entries.retain(|entry| entry.name != name);
    entries.sort_by_key(|entry| entry.opened);
    let mut sum: u64 = entries.iter().map(|entry| entry.size_bytes).sum();
    entries.retain(|entry| !keep.contains(&entry.name) && !is_being_written(dir, entry));
    let needed_bytes = FREE_FLOOR_BYTES.saturating_add(more);
    let removable: u64 = entries.iter().map(|entry| entry.size_bytes).sum();
    if (sum - removable).saturating_add(size_bytes) > max_bytes {
        return Ok(Room::None);
    }
    let on_disk: u64 = entries.iter().map(|entry| entry.on_disk).sum();
    if free_bytes(dir)?.saturating_add(on_disk) < needed_bytes {
        return Ok(Room::DiskFull);
    }
    for victim in entries {
        let fits = sum.saturating_add(size_bytes) <= max_bytes;
        if fits && free_bytes(dir)? >= needed_bytes {
            return Ok(Room::Made);
        }
        remove(dir, &victim.name)?;
        sum -= victim.size_bytes;
    }
    match free_bytes(dir)? >= needed_bytes {
        true => Ok(Room::Made),
        false => Ok(Room::DiskFull),
    }
}

/// Removes an object; what describes it last, so that what is left by a crash is still counted.
pub(super) fn remove(dir: &Path, name: &str) -> io::Result<()> {
    for extension in ["part", "media", "json"] {
        match fs::remove_file(file(dir, name, extension)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn is_being_written(dir: &Path, entry: &Entry) -> bool {
    let part = OpenOptions::new()
        .write(true)
        .open(file(dir, &entry.name, "part"));
    !entry.whole && part.is_ok_and(|part| part.try_lock().is_err())
}

fn free_bytes(dir: &Path) -> io::Result<u64> {
    let disk = statvfs(dir)?;
    Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
}
