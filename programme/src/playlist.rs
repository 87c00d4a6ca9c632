//! A programme resolved against a listing, and what comes next.

use serde::{Deserialize, Serialize};

use crate::item::Programme;

/// One playable object as the media store lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedObject {
    /// Key below `STORAGE_PREFIX`.
    pub key: String,
    /// Bytes.
    pub size_bytes: u64,
    /// Changes whenever the object's content does: ETag where given, else size and time.
    pub version: String,
}

/// Where a programme stands; what survives a crash of the worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The round being played, from 0; a shuffled order depends on it and on `seed`.
    pub round: u64,
    /// Index in the round's order.
    pub index: usize,
    /// Key of the item at `index`, so that a changed listing is noticed.
    pub key: Option<String>,
    /// Seed of the shuffle.
    pub seed: u64,
}

/// A programme resolved to objects.
#[derive(Debug, Clone)]
pub struct Playlist {
    programme: Programme,
    objects: Vec<ListedObject>,
}

/// What to play after a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpNext {
    /// This object, at this position.
    Item(ListedObject, Position),
    /// The last item has been played and the programme does not loop.
    Ended,
    /// No playable object at all.
    Empty,
}

impl Playlist {
    /// The programme as asked for.
    pub fn programme(&self) -> &Programme {
        &self.programme
    }

    /// The objects in listed order, before any shuffle.
    pub fn objects(&self) -> &[ListedObject] {
        &self.objects
    }
}
