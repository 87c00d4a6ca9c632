//! Reading the workers' journals, of streams that are configured and of those that were.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use storage::history::Part;
use storage::journal::{self, Chunk, Skipped};
use storage::layout::Layout;
use storage::model::air::AirPart;
use storage::model::{AirEntry, StreamId};

/// So much of a part is taken at once: a transaction of some thousand rows.
const PIECE_BYTES: u64 = 256 * 1024;

/// The journals' reading places.
#[derive(Debug)]
pub(super) struct Import {
    layout: Layout,
    places: BTreeMap<Part, u64>,
    skipped: BTreeMap<StreamId, Skipped>,
    /// Streams whose journal cannot be read, so that it is told once.
    unreadable: BTreeSet<StreamId>,
}

/// Something of a journal that was not read before.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) part: Part,
    pub(super) entries: Vec<AirEntry>,
    /// Where the part was read to with it.
    pub(super) offset: u64,
}

// === impl Import ===

impl Import {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            layout,
            places: BTreeMap::new(),
            skipped: BTreeMap::new(),
            unreadable: BTreeSet::new(),
        }
    }

    /// Goes on from `places`.
    pub(super) fn go_on_from(&mut self, places: BTreeMap<Part, u64>) {
        self.places = places;
    }

    /// The reading places.
    pub(super) fn places(&self) -> &BTreeMap<Part, u64> {
        &self.places
    }

    /// Streams that have a directory.
    pub(super) fn streams(&self) -> Vec<StreamId> {
        let Ok(entries) = std::fs::read_dir(self.layout.state_dir.join("streams")) else {
            return Vec::new();
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter_map(|name| name.parse().ok()).collect()
    }

    /// The oldest piece of the journal of `stream` that was not read yet.
    pub(super) fn next(&mut self, stream: &StreamId) -> Option<Piece> {
        let dir = self.layout.air_dir(stream);
        let piece = journal::parts(&dir).and_then(|parts| {
            for name in parts {
                if let Some(piece) = self.read(stream, name)? {
                    return Ok(Some(piece));
                }
            }
            Ok(None)
        });
        match piece {
            Ok(piece) => {
                self.unreadable.remove(stream);
                piece
            }
            Err(error) => {
                if self.unreadable.insert(stream.clone()) {
                    tracing::error!(stream_id = %stream, path = %dir.display(), %error, error_type = "journal_unreadable", will_retry = true, "the journal cannot be read; it is tried again");
                }
                None
            }
        }
    }

    /// Parts that were read to their ends and that nobody writes any more, with their files.
    /// `alive`: the worker that was heard of last lives. Of a worker whose first line is still to come
    /// nothing was heard, so a newest part of which nothing was read is left to it.
    pub(super) fn finished(&self, stream: &StreamId, alive: bool) -> Vec<(Part, PathBuf)> {
        let dir = self.layout.air_dir(stream);
        let parts = journal::parts(&dir).unwrap_or_default();
        let newest = parts.last().copied();
        let parts = parts.into_iter().map(|name| Part {
            stream: stream.clone(),
            name,
        });
        parts
            .filter(|part| {
                let is_heard_of = self.places.contains_key(part);
                Some(part.name) != newest || (!alive && is_heard_of)
            })
            .map(|part| {
                let path = dir.join(part.name.to_string());
                (part, path)
            })
            .filter(|(part, path)| {
                let length = std::fs::metadata(path).map(|file| file.len());
                let read = self.places.get(part).copied();
                // A torn line at the end of a part that nobody writes is nothing.
                length.is_ok_and(|length| self.is_read(path, read.unwrap_or(0), length))
            })
            .collect()
    }

    /// Forgets the place in a part that was removed.
    pub(super) fn forget(&mut self, part: &Part) {
        self.places.remove(part);
    }

    /// Places of parts that are not there any more.
    pub(super) fn stale(&self) -> Vec<Part> {
        let gone = |part: &&Part| {
            let path = self
                .layout
                .air_dir(&part.stream)
                .join(part.name.to_string());
            !path.exists()
        };
        self.places.keys().filter(gone).cloned().collect()
    }

    fn is_read(&self, path: &std::path::Path, read: u64, length: u64) -> bool {
        read >= length
            || journal::read(path, read, PIECE_BYTES)
                .is_ok_and(|chunk| chunk.offset == read && chunk.rest_bytes > 0)
    }

    fn read(&mut self, stream: &StreamId, name: AirPart) -> io::Result<Option<Piece>> {
        let part = Part {
            stream: stream.clone(),
            name,
        };
        let path = self.layout.air_dir(stream).join(name.to_string());
        let from = self.places.get(&part).copied().unwrap_or(0);
        if std::fs::metadata(&path)?.len() <= from {
            return Ok(None);
        }
        let Chunk {
            entries,
            offset,
            skipped,
            ..
        } = journal::read(&path, from, PIECE_BYTES)?;
        if offset == from {
            return Ok(None);
        }
        self.count(stream, skipped);
        self.places.insert(part.clone(), offset);
        Ok(Some(Piece {
            part,
            entries,
            offset,
        }))
    }

    fn count(&mut self, stream: &StreamId, skipped: Skipped) {
        if skipped.total() == 0 {
            return;
        }
        let all = self.skipped.entry(stream.clone()).or_default();
        *all += skipped;
        let Skipped {
            newer,
            unknown,
            damaged,
        } = *all;
        tracing::warn!(stream_id = %stream, newer, unknown, damaged, "lines of the journal were skipped, in all since the start");
    }
}
