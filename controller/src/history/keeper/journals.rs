//! The workers' journals, from their files into the recorders.

use std::collections::BTreeMap;

use storage::model::{AirEvent, StreamId};

use super::super::axis::Instant;
use super::super::fact::What;
use super::super::import::Piece;
use super::super::moment::Moment;
use super::super::recorder::Recorder;
use super::{Keeper, fact};

impl Keeper {
    pub(super) fn import_all(&mut self) {
        for stream in self.import.streams() {
            self.import_stream(&stream);
        }
    }

    pub(super) fn import_stream(&mut self, stream: &StreamId) {
        while !self.store.is_behind()
            && let Some(piece) = self.import.next(stream)
        {
            self.take_piece(stream, piece);
            self.write();
        }
    }

    fn take_piece(&mut self, stream: &StreamId, piece: Piece) {
        let worker = self.recorders.get(stream).and_then(Recorder::last_worker);
        let mut boots: BTreeMap<String, String> = BTreeMap::new();
        boots.extend(worker.map(|worker| (worker.nonce, worker.boot_id)));
        let mut facts = Vec::new();
        for entry in piece.entries {
            if let AirEvent::Started { boot_id, .. } = &entry.event {
                let boot_id = boot_id.clone().unwrap_or_else(|| self.boot_id.clone());
                boots.insert(entry.worker.clone(), boot_id);
            }
            let boot_id = boots
                .get(&entry.worker)
                .filter(|boot_id| !boot_id.is_empty());
            let boot_id = boot_id.unwrap_or(&self.boot_id);
            let ms = self.axis.place(
                boot_id,
                Moment {
                    at: entry.at,
                    boot_ms: entry.boot_ms,
                },
            );
            let what = What::of_entry(entry.worker, entry.event);
            facts.push(fact(Instant { ms, at: entry.at }, what));
        }
        self.store
            .pending
            .cursors
            .insert(piece.part, Some(piece.offset));
        self.record(stream, facts);
    }

    /// Removes parts whose contents are in the file for certain.
    pub(super) fn remove_finished(&mut self) {
        let mut finished = Vec::new();
        for stream in self.import.streams() {
            let alive = self
                .recorders
                .get(&stream)
                .is_none_or(|it| it.living_worker().is_some());
            finished.extend(self.import.finished(&stream, alive));
        }
        if finished.is_empty() || !self.store.write() || self.store.with(|it| it.settle()).is_err()
        {
            return;
        }
        for (part, path) in finished {
            match std::fs::remove_file(&path) {
                Ok(()) => {
                    self.import.forget(&part);
                    self.store.pending.cursors.insert(part, None);
                }
                Err(error) => {
                    if self.stuck.insert(path.clone()) {
                        tracing::warn!(path = %path.display(), %error, "cannot remove a part of a journal that was read");
                    }
                }
            }
        }
    }
}
