//! A programme resolved against a listing, and what comes next.
//!
//! A listing may change between any two calls, so a [`Position`] is found again by its key; what
//! stands at its number is only asked when the key is gone. A shuffle therefore ranks each object by
//! itself, from seed, round and key: objects that come or go leave the order of the others alone,
//! and a place in a round stays a place in that round.

pub(crate) mod shuffle;

use std::collections::HashMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::item::{ItemSpec, Order, Programme};

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

/// A programme resolved to objects. A new listing makes a new playlist; positions outlive it.
#[derive(Debug, Clone)]
pub struct Playlist {
    programme: Programme,
    objects: Vec<ListedObject>,
    /// For each object, how many equal ones stand before it.
    occurrences: Vec<u64>,
    /// For each line of the programme, where its objects begin in `objects`.
    starts: Vec<usize>,
}

/// The order that was asked for last, so that going through a long round does not make it again
/// for each item. For one playlist only.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    last: Option<(u64, u64, Rc<[usize]>)>,
}

/// Where the item of a [`Position`] is in a round's order.
enum Place {
    /// Here.
    At(usize),
    /// Gone; what followed it stands here now, or nothing does (the end of the round).
    Before(usize),
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

// === impl Playlist ===

impl Playlist {
    /// Resolves `programme` against `listing` (in any order). Also answers the keys it names that
    /// are not listed.
    pub fn resolve(programme: &Programme, listing: &[ListedObject]) -> (Self, Vec<String>) {
        let mut sorted: Vec<&ListedObject> = listing.iter().collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        sorted.dedup_by(|a, b| a.key == b.key);
        let mut missing = Vec::new();
        let mut objects = Vec::new();
        let mut starts = Vec::with_capacity(programme.items.len());
        for spec in &programme.items {
            starts.push(objects.len());
            let found = match spec {
                ItemSpec::Prefix(prefix) => {
                    let from = sorted.partition_point(|object| object.key < *prefix);
                    let after = |object: &&ListedObject| object.key.starts_with(prefix.as_str());
                    let count = sorted[from..].iter().take_while(|o| after(o)).count();
                    &sorted[from..from + count]
                }
                ItemSpec::Key(key) => match sorted.binary_search_by(|o| o.key.cmp(key)) {
                    Ok(at) => &sorted[at..=at],
                    Err(_) => {
                        missing.push(key.clone());
                        &[]
                    }
                },
            };
            objects.extend(found.iter().map(|object| (*object).clone()));
        }
        let occurrences = occurrences(&objects);
        let programme = programme.clone();
        let playlist = Self {
            programme,
            objects,
            occurrences,
            starts,
        };
        (playlist, missing)
    }

    /// The programme as asked for.
    pub fn programme(&self) -> &Programme {
        &self.programme
    }

    /// The objects in listed order, before any shuffle.
    pub fn objects(&self) -> &[ListedObject] {
        &self.objects
    }

    /// The first item; `seed` decides every shuffle from here on.
    pub fn first(&self, seed: u64) -> UpNext {
        self.first_in(seed, &mut Orders::default())
    }

    /// What follows the item at `position`. If that item is gone from the listing, what followed it.
    pub fn next_after(&self, position: &Position) -> UpNext {
        self.next_after_in(position, &mut Orders::default())
    }

    /// The item at `position` again, wherever in its round it is now; if it is gone, what followed
    /// it.
    pub fn resume(&self, position: &Position) -> UpNext {
        self.resume_in(position, &mut Orders::default())
    }

    pub(crate) fn first_in(&self, seed: u64, orders: &mut Orders) -> UpNext {
        self.item(0, 0, seed, orders)
    }

    pub(crate) fn next_after_in(&self, position: &Position, orders: &mut Orders) -> UpNext {
        match self.place(position, orders) {
            Place::At(index) => self.item(position.round, index + 1, position.seed, orders),
            Place::Before(index) => self.item(position.round, index, position.seed, orders),
        }
    }

    pub(crate) fn resume_in(&self, position: &Position, orders: &mut Orders) -> UpNext {
        match self.place(position, orders) {
            Place::At(index) | Place::Before(index) => {
                self.item(position.round, index, position.seed, orders)
            }
        }
    }

    /// The item at `index` of `round`; one past the end is the next round's first, or the end.
    fn item(&self, round: u64, index: usize, seed: u64, orders: &mut Orders) -> UpNext {
        if self.objects.is_empty() {
            return UpNext::Empty;
        }
        let (round, index) = match (index < self.objects.len(), self.programme.repeat) {
            (true, _) => (round, index),
            (false, true) => (round.wrapping_add(1), 0),
            (false, false) => return UpNext::Ended,
        };
        let object = self.objects[orders.of(self, round, seed)[index]].clone();
        let position = Position {
            round,
            index,
            key: Some(object.key.clone()),
            seed,
        };
        UpNext::Item(object, position)
    }

    fn place(&self, position: &Position, orders: &mut Orders) -> Place {
        let Some(key) = &position.key else {
            return Place::At(position.index.min(self.objects.len()));
        };
        let order = orders.of(self, position.round, position.seed);
        let is_it = |index: &usize| self.objects[order[*index]].key == *key;
        // An object listed twice is the one nearest to where it was.
        let same = Some(position.index)
            .filter(|index| *index < order.len() && is_it(index))
            .or_else(|| {
                let all = (0..order.len()).filter(is_it);
                all.min_by_key(|index| index.abs_diff(position.index))
            });
        match same {
            Some(index) => Place::At(index),
            None => Place::Before(self.where_it_was(key, position)),
        }
    }

    /// Where in its round an object that is gone would stand.
    fn where_it_was(&self, key: &str, position: &Position) -> usize {
        match self.programme.order {
            Order::Shuffle => {
                let rank = shuffle::rank(position.seed, position.round, key, 0);
                let ranks = self.ranks(position.round, position.seed);
                ranks.iter().filter(|other| **other < rank).count()
            }
            Order::Listed => {
                let ends = self.starts.iter().skip(1).copied();
                let ends = ends.chain([self.objects.len()]);
                let lines = self.programme.items.iter().zip(&self.starts).zip(ends);
                lines
                    .filter_map(|((spec, start), end)| match spec {
                        ItemSpec::Key(named) => (named == key).then_some(*start),
                        ItemSpec::Prefix(prefix) => key.starts_with(prefix.as_str()).then(|| {
                            let line = &self.objects[*start..end];
                            start + line.partition_point(|object| object.key.as_str() < key)
                        }),
                    })
                    .min_by_key(|index| index.abs_diff(position.index))
                    // The programme does not know it any more: go on where it was.
                    .unwrap_or(position.index.min(self.objects.len()))
            }
        }
    }

    /// Indices into `objects` in the order in which `round` plays them.
    fn order(&self, round: u64, seed: u64) -> Vec<usize> {
        match self.programme.order {
            Order::Listed => (0..self.objects.len()).collect(),
            Order::Shuffle => self.shuffled(round, seed),
        }
    }

    /// Shuffled, and so that a round does not begin with what the one before ended with, if there is
    /// anything else.
    fn shuffled(&self, round: u64, seed: u64) -> Vec<usize> {
        if self.objects.len() == 2 {
            // Only one order never plays the same item twice in a row.
            return shuffle::by_rank(&self.ranks(0, seed));
        }
        let mut order = shuffle::by_rank(&self.ranks(round, seed));
        let Some(before) = round.checked_sub(1) else {
            return order;
        };
        let key = |at: &usize| &self.objects[*at].key;
        // Only the first place is changed below, never the last: so this is how that round ended.
        let last = shuffle::by_rank(&self.ranks(before, seed)).last().map(key);
        if order.first().map(key) == last {
            let middle = 1..order.len().saturating_sub(1);
            if let Some(other) = middle.into_iter().find(|at| Some(key(&order[*at])) != last) {
                order.swap(0, other);
            }
        }
        order
    }

    fn ranks(&self, round: u64, seed: u64) -> Vec<u64> {
        self.objects
            .iter()
            .zip(&self.occurrences)
            .map(|(object, occurrence)| shuffle::rank(seed, round, &object.key, *occurrence))
            .collect()
    }
}

// === impl Orders ===

impl Orders {
    fn of(&mut self, playlist: &Playlist, round: u64, seed: u64) -> Rc<[usize]> {
        match &self.last {
            Some((of_round, of_seed, order)) if (*of_round, *of_seed) == (round, seed) => {
                Rc::clone(order)
            }
            _ => {
                let order: Rc<[usize]> = playlist.order(round, seed).into();
                self.last = Some((round, seed, Rc::clone(&order)));
                order
            }
        }
    }
}

fn occurrences(objects: &[ListedObject]) -> Vec<u64> {
    let mut seen: HashMap<&str, u64> = HashMap::new();
    objects
        .iter()
        .map(|object| {
            let count = seen.entry(&object.key).or_default();
            *count += 1;
            *count - 1
        })
        .collect()
}
