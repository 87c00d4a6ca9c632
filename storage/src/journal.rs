//! Reading what workers wrote down of what their viewers could see.
//!
//! A stream's journal is a directory of parts, each a file of lines ([`AirEntry`]); the order of
//! names is the order of time. Rules of writing and reading: `docs/design/air-record.md`. A line this
//! build does not understand is skipped and counted, never a reason to stop.
//!
//! Everything here blocks on the disk.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde::Deserialize;

use crate::model::AirEntry;
use crate::model::air::{AIR_VERSION, AirPart};

/// Digits of a pulse.
const PULSE_DIGITS: usize = 20;

/// What was read of a part.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chunk {
    /// Understood lines, in order.
    pub entries: Vec<AirEntry>,
    /// Where to read on.
    pub offset: u64,
    /// Bytes behind `offset`: a line that is not finished, or more than was asked for.
    pub rest_bytes: u64,
    /// Lines that were not understood.
    pub skipped: Skipped,
}

/// Lines that were not understood.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Of a newer version of the journal.
    pub newer: u64,
    /// Of this version, with an event this build does not know.
    pub unknown: u64,
    /// Damaged.
    pub damaged: u64,
}

/// The parts of the journal in `dir`, oldest first. A directory that is not there has none; files of
/// other names are none.
///
/// # Errors
/// When the directory cannot be read.
pub fn parts(dir: &Path) -> io::Result<Vec<AirPart>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut parts = Vec::new();
    for entry in entries {
        parts.extend(entry?.file_name().to_str().and_then(AirPart::parse));
    }
    parts.sort_unstable();
    Ok(parts)
}

/// Reads finished lines of a part from `offset` on, `max_bytes` at most, or one line if that is longer.
///
/// # Errors
/// When the file cannot be read.
pub fn read(path: &Path, offset: u64, max_bytes: u64) -> io::Result<Chunk> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut chunk = Chunk {
        offset,
        ..Chunk::default()
    };
    file.seek(SeekFrom::Start(offset))?;
    let mut text = Vec::new();
    file.by_ref().take(max_bytes).read_to_end(&mut text)?;
    if !text.contains(&b'\n') {
        file.read_to_end(&mut text)?;
    }
    while let Some(end) = text[chunk.consumed(offset)..]
        .iter()
        .position(|&byte| byte == b'\n')
    {
        let start = chunk.consumed(offset);
        chunk.take(&text[start..start + end]);
        chunk.offset += end as u64 + 1;
    }
    chunk.rest_bytes = length.saturating_sub(chunk.offset);
    Ok(chunk)
}

/// The instant, in `boot_ms`, at which a worker last said that it lives; `None` where none is written.
pub fn read_pulse(path: &Path) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.get(..PULSE_DIGITS)?.parse().ok()
}

/// What any version of a line is expected to have.
#[derive(Deserialize)]
struct Outline {
    v: u32,
    event: Kind,
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

// === impl Chunk ===

impl Chunk {
    fn consumed(&self, from: u64) -> usize {
        usize::try_from(self.offset - from).expect("no more was read than memory holds")
    }

    fn take(&mut self, line: &[u8]) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        match serde_json::from_slice::<AirEntry>(line) {
            Ok(entry) if entry.v <= AIR_VERSION => self.entries.push(entry),
            Ok(_) => self.skipped.newer += 1,
            Err(_) => match serde_json::from_slice::<Outline>(line) {
                Ok(outline) if outline.v > AIR_VERSION => self.skipped.newer += 1,
                Ok(outline) if !is_known(&outline.event.kind) => self.skipped.unknown += 1,
                _ => self.skipped.damaged += 1,
            },
        }
    }
}

fn is_known(kind: &str) -> bool {
    matches!(
        kind,
        "started" | "on_air" | "delivering" | "dark" | "live_input" | "ended"
    )
}

// === impl Skipped ===

impl Skipped {
    /// All of them.
    pub fn total(self) -> u64 {
        self.newer + self.unknown + self.damaged
    }
}

impl std::ops::AddAssign for Skipped {
    fn add_assign(&mut self, other: Self) {
        self.newer += other.newer;
        self.unknown += other.unknown;
        self.damaged += other.damaged;
    }
}
