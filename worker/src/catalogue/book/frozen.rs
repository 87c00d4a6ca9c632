//! The book on its way to the next image of its process. What plays when is resolved anew there, from
//! the objects that were listed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use programme::{ListedObject, Playlist, Programme};
use serde::{Deserialize, Serialize};
use storage::model::ErrorReport;
use tokio::time::Instant;

use super::{Bad, Book, schedule};

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FrozenBook {
    programme: Programme,
    /// Of the last listing that was had.
    objects: Option<Vec<ListedObject>>,
    lengths: BTreeMap<String, (String, f64)>,
    bad: BTreeMap<String, Bad>,
    missing: BTreeSet<String>,
    listed_at: Option<Timestamp>,
    #[serde(with = "crate::handover::instant::option")]
    last_look: Option<Instant>,
    #[serde(with = "crate::handover::instant")]
    next_look: Instant,
    #[serde(default, with = "crate::handover::instant::option")]
    empty_since: Option<Instant>,
    error: Option<ErrorReport>,
    newest_round: u64,
    #[serde(with = "crate::handover::instant::option")]
    starved_until: Option<Instant>,
}

impl Book {
    /// What it knows, for another to go on from.
    pub fn freeze(&self) -> FrozenBook {
        let listed = self.playlist.as_ref().map(|_| self.objects(usize::MAX));
        FrozenBook {
            programme: self.programme.clone(),
            objects: listed,
            lengths: self.lengths.clone(),
            bad: self.bad.clone(),
            missing: self.missing.clone(),
            listed_at: self.listed_at,
            last_look: self.last_look,
            next_look: self.next_look,
            empty_since: self.empty_since,
            error: self.error.clone(),
            newest_round: self.newest_round,
            starved_until: self.starved_until,
        }
    }

    /// Goes on from what another knew.
    pub fn resume(frozen: FrozenBook) -> Self {
        let objects = frozen.objects.as_deref();
        let playlist = objects.map(|objects| Playlist::resolve(&frozen.programme, objects).0);
        let lineup = objects.and_then(|objects| schedule::lineup(&frozen.programme, objects));
        Self {
            playlist,
            lineup,
            programme: frozen.programme,
            lengths: frozen.lengths,
            bad: frozen.bad,
            missing: frozen.missing,
            listed_at: frozen.listed_at,
            last_look: frozen.last_look,
            next_look: frozen.next_look,
            empty_since: frozen.empty_since,
            error: frozen.error,
            newest_round: frozen.newest_round,
            starved_until: frozen.starved_until,
        }
    }
}
