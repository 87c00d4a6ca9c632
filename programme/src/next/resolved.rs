//! One list of a configuration, resolved to the objects that may play where it stands.

use crate::item::{ItemSpec, Programme};
use crate::playlist::{ListedObject, Playlist};
use crate::schedule::{Block, ORDINARY, Schedule};

/// Lines of a configuration resolved to objects.
#[derive(Debug)]
pub struct Resolved {
    playlist: Playlist,
    /// Keys that are named and not there.
    missing: Vec<String>,
    /// Keys that are named, or below a named prefix, and may not play here.
    barred: Vec<String>,
}

// === impl Resolved ===

impl Resolved {
    /// The ordinary programme's own items.
    pub(super) fn ordinary(programme: &Programme, listing: &[ListedObject]) -> Self {
        let schedule = programme.schedule.as_ref();
        let may = |object: &ListedObject| {
            schedule.is_none_or(|schedule| schedule.allows(&object.key, ORDINARY))
        };
        Self::new(programme, may, listing)
    }

    /// What plays in `block`, again and again if it is to `repeat`.
    pub(super) fn of_block(
        (items, repeat): (&[ItemSpec], bool),
        (schedule, block): (&Schedule, &Block),
        listing: &[ListedObject],
    ) -> Self {
        let programme = Programme {
            items: items.to_vec(),
            order: block.order,
            repeat,
            schedule: None,
        };
        let may = |object: &ListedObject| schedule.allows(&object.key, &block.name);
        Self::new(&programme, may, listing)
    }

    fn new(
        programme: &Programme,
        may: impl Fn(&ListedObject) -> bool,
        listing: &[ListedObject],
    ) -> Self {
        let (all, missing) = Playlist::resolve(programme, listing);
        let mut barred: Vec<String> = all
            .objects()
            .iter()
            .filter(|object| !may(object))
            .map(|object| object.key.clone())
            .collect();
        barred.sort_unstable();
        barred.dedup();
        let playlist = if barred.is_empty() {
            all
        } else {
            let allowed: Vec<ListedObject> = listing.iter().filter(|o| may(o)).cloned().collect();
            Playlist::resolve(programme, &allowed).0
        };
        Self {
            playlist,
            missing,
            barred,
        }
    }

    pub(super) fn playlist(&self) -> &Playlist {
        &self.playlist
    }

    /// What plays.
    pub fn objects(&self) -> &[ListedObject] {
        self.playlist.objects()
    }

    /// Keys that are named and not there.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Keys that are there and may not play here.
    pub fn barred(&self) -> &[String] {
        &self.barred
    }
}
