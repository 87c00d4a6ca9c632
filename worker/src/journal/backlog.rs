//! What was noted and is not on disk yet. Pure.

use std::collections::VecDeque;

use storage::model::air::AIR_VERSION;
use storage::model::{AirEntry, AirEvent};

use super::Stamp;

/// Most entries kept for a disk that does not take them; then the oldest go.
pub(super) const LIMIT: usize = 10_000;

/// Numbers entries and keeps them, in the order of noting.
#[derive(Debug)]
pub(super) struct Backlog {
    worker: String,
    next_seq: u64,
    entries: VecDeque<AirEntry>,
}

impl Backlog {
    pub(super) fn new(worker: String, next_seq: u64) -> Self {
        Self {
            worker,
            next_seq,
            entries: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, at: Stamp, event: AirEvent) {
        self.entries.push_back(AirEntry {
            v: AIR_VERSION,
            worker: self.worker.clone(),
            seq: self.next_seq,
            at: at.at,
            boot_ms: at.boot_ms,
            event,
        });
        self.next_seq += 1;
        self.shed();
    }

    /// Everything, oldest first.
    pub(super) fn take(&mut self) -> Vec<AirEntry> {
        self.entries.drain(..).collect()
    }

    /// Entries that were taken and not written; older than all that were noted since.
    pub(super) fn put_back(&mut self, entries: Vec<AirEntry>) {
        for entry in entries.into_iter().rev() {
            self.entries.push_front(entry);
        }
        self.shed();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    fn shed(&mut self) {
        let surplus = self.entries.len().saturating_sub(LIMIT);
        self.entries.drain(..surplus);
    }
}
