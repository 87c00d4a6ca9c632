//! The journal's files: appended to line by line, rotated by size.
//!
//! 1. A process begins a part of its own, one above the highest of its generation.
//! 2. A line is written whole. Where the disk takes a piece of it, the rest follows at the next
//!    try, before anything else: a reader sees a line grow, never one inside another.
//! 3. After a batch the file is synced; a sync that fails is not repeated on what it was for.
//! 4. At 1 MiB the next part is begun; beyond 64 the oldest go.
//! 5. Room for some thousand lines is taken beforehand, beyond the end of the part: what a worker notes while the
//!    disk is full is in the file all the same, and outlives the worker.
//! 6. A part that somebody removed is followed by the next: nobody would read what is written into it. Numbers are
//!    not used again, because the reader has its place by them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use storage::model::{AirEntry, AirPart};

/// A part is closed at this size.
const PART_BYTES: u64 = 1024 * 1024;
/// Room taken beyond the end of a part.
const RESERVE_BYTES: u64 = 256 * 1024;
/// Parts kept for a controller that does not come.
const PARTS: usize = 64;

/// The files of one process.
#[derive(Debug)]
pub(super) struct Parts {
    directory: PathBuf,
    generation: u64,
    part_bytes: u64,
    /// Number of the part begun last.
    begun: u32,
    open: Option<Part>,
}

/// The one written to.
#[derive(Debug)]
struct Part {
    file: File,
    bytes: u64,
    /// The disk has given room as far as this.
    room_bytes: u64,
    /// What is left of a line whose beginning is in the file.
    rest: Vec<u8>,
}

impl Parts {
    /// In `directory`; touches nothing yet.
    pub(super) fn new(directory: PathBuf, generation: u64) -> Self {
        Self {
            directory,
            generation,
            part_bytes: PART_BYTES,
            begun: 0,
            open: None,
        }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes as many entries as the disk takes; answers those that are left, in order.
    pub(super) fn append(&mut self, entries: Vec<AirEntry>) -> (Vec<AirEntry>, io::Result<()>) {
        let mut entries = entries.into_iter().peekable();
        let mut result = Ok(());
        while result.is_ok() && entries.peek().is_some() {
            result = self.writable().and_then(|part| {
                // A line is the part's own from its first byte on.
                if let Some(entry) = entries.next() {
                    part.rest = line(&entry)?;
                }
                part.finish()
            });
        }
        let synced = match &self.open {
            Some(part) => part.file.sync_data(),
            None => Ok(()),
        };
        (entries.collect(), result.and(synced))
    }

    /// The part that the next line goes to, with nothing left of the one before.
    fn writable(&mut self) -> io::Result<&mut Part> {
        if self.open.as_ref().is_some_and(Part::is_removed) {
            self.open = None;
        }
        if let Some(part) = &mut self.open {
            part.finish()?;
            if part.bytes >= self.part_bytes {
                part.give_back();
                part.file.sync_data()?;
                self.open = None;
            }
        }
        if self.open.is_none() {
            // Held before anything else can fail: the next try goes on with it.
            self.open = Some(self.begin()?);
            self.forget_oldest()?;
        }
        let part = self.open.as_mut().expect("opened above");
        part.reserve();
        Ok(part)
    }

    fn begin(&mut self) -> io::Result<Part> {
        fs::create_dir_all(&self.directory)?;
        let own = |name: &AirPart| name.generation == self.generation;
        let newest = self.names()?.into_iter().filter(own).max();
        let name = AirPart {
            generation: self.generation,
            part: newest.map_or(0, |newest| newest.part).max(self.begun) + 1,
        };
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(self.directory.join(name.to_string()))?;
        self.begun = name.part;
        Ok(Part {
            file,
            bytes: 0,
            room_bytes: 0,
            rest: Vec::new(),
        })
    }

    fn forget_oldest(&self) -> io::Result<()> {
        let mut names = self.names()?;
        names.sort_unstable();
        let surplus = names.len().saturating_sub(PARTS);
        for name in &names[..surplus] {
            match fs::remove_file(self.directory.join(name.to_string())) {
                // The controller has read it, and removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<AirPart>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            names.extend(entry?.file_name().to_str().and_then(AirPart::parse));
        }
        Ok(names)
    }
}

impl Part {
    fn is_removed(&self) -> bool {
        self.file.metadata().is_ok_and(|file| file.nlink() == 0)
    }

    /// Takes room ahead, once half of it is used. A disk that gives none now is asked again at the next
    /// line, which it may not take either; a file system that cannot do it loses nothing by it.
    fn reserve(&mut self) {
        if self.room_bytes.saturating_sub(self.bytes) < RESERVE_BYTES / 2
            && fallocate(
                &self.file,
                FallocateFlags::KEEP_SIZE,
                self.bytes,
                RESERVE_BYTES,
            )
            .is_ok()
        {
            self.room_bytes = self.bytes + RESERVE_BYTES;
        }
    }

    /// Gives back what was not used of it.
    fn give_back(&self) {
        // Otherwise the controller does when it removes the part.
        let _ = self.file.set_len(self.bytes);
    }

    fn finish(&mut self) -> io::Result<()> {
        let written = write_rest(&mut self.file, &mut self.rest);
        self.bytes += written.bytes;
        written.result
    }
}

struct Written {
    bytes: u64,
    result: io::Result<()>,
}

/// Writes `rest`; what was not taken stays in it.
fn write_rest(to: &mut impl Write, rest: &mut Vec<u8>) -> Written {
    let mut bytes = 0;
    let result = loop {
        if rest.is_empty() {
            break Ok(());
        }
        match to.write(rest) {
            Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => {
                rest.drain(..taken);
                bytes += taken as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    Written { bytes, result }
}

fn line(entry: &AirEntry) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests;
