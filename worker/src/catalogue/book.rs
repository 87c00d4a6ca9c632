//! What is known of the programme's objects, and what follows from it. Pure: `now` is an argument.

mod frozen;
mod note;
mod schedule;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use programme::{ItemSpec, Lineup, ListedObject, Playlist, Position, Programme, UpNext};
use serde::{Deserialize, Serialize};
use storage::media::MediaError;
use storage::model::ErrorReport;
use storage::model::report::{ItemProblem, ProgrammeReport};
use tokio::time::Instant;

pub use frozen::FrozenBook;
pub use note::Note;

/// The bucket is looked at again this often, or more often, while it has nothing to play.
pub const EMPTY_LOOK: Duration = Duration::from_secs(60);
/// … when that has just begun, and when an object that was listed is not there.
const SOON_LOOK: Duration = Duration::from_secs(2);
/// What an empty bucket keeps off air longer than it was empty: a fifth of that.
const EMPTY_SHARE: u32 = 5;
/// … after it could not be listed.
pub const FAILED_LOOK: Duration = Duration::from_secs(10);
/// … while all is well; also at each new round.
pub const ROUTINE_LOOK: Duration = Duration::from_secs(300);
/// A new round does not cause a look sooner than this after the last: rounds may be short.
const ROUND_LOOK: Duration = Duration::from_secs(60);
/// An item that failed is not tried again before, however short the rounds are.
const RETRY_ITEM: Duration = Duration::from_secs(60);
/// … unless it was only not there: doubled with each time, up to the other.
const RETRY_GONE: Duration = Duration::from_secs(2);
/// Type of the error of an object that is not there.
const GONE: &str = "no_such_key";
/// So many skipped in a row count as a whole round.
const MAX_SKIPS: usize = 1_000;

/// Where to look for the next item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From<'a> {
    /// The programme's beginning; the seed decides every shuffle from here on.
    Start {
        /// Of the shuffle.
        seed: u64,
    },
    /// The item at this position again, or what followed it.
    At(&'a Position),
    /// What follows the item at this position.
    After(&'a Position),
}

/// See the module.
#[derive(Debug)]
pub struct Book {
    programme: Programme,
    playlist: Option<Playlist>,
    /// The programme with its schedule; `None` without one.
    lineup: Option<Lineup>,
    /// Version and length in seconds of what was looked into, by key.
    lengths: BTreeMap<String, (String, f64)>,
    /// By key.
    bad: BTreeMap<String, Bad>,
    /// Keys the programme names and the bucket does not have.
    missing: BTreeSet<String>,
    listed_at: Option<Timestamp>,
    last_look: Option<Instant>,
    next_look: Instant,
    /// The bucket has nothing to play since.
    empty_since: Option<Instant>,
    /// Why the last look brought nothing.
    error: Option<ErrorReport>,
    newest_round: u64,
    /// Everything is skipped until then, unless something becomes known before.
    starved_until: Option<Instant>,
}

/// An item that could not be played.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Bad {
    version: String,
    /// Failures of this version before the last one.
    retries: u32,
    round: u64,
    #[serde(with = "crate::handover::instant")]
    since: Instant,
    at: Timestamp,
    error: ErrorReport,
}

// === impl Book ===

impl Book {
    /// Nothing is known yet; the first look is due at once.
    pub fn new(programme: Programme, now: Instant) -> Self {
        Self {
            programme,
            playlist: None,
            lineup: None,
            lengths: BTreeMap::new(),
            bad: BTreeMap::new(),
            missing: BTreeSet::new(),
            listed_at: None,
            last_look: None,
            next_look: now,
            empty_since: None,
            error: None,
            newest_round: 0,
            starved_until: None,
        }
    }

    /// When the bucket is to be looked at.
    pub fn next_look(&self) -> Instant {
        self.next_look
    }

    /// Whether there was a look, or what one brought is remembered.
    pub fn has_looked(&self) -> bool {
        self.last_look.is_some() || self.playlist.is_some()
    }

    /// The first objects of the programme, in listed order.
    pub fn objects(&self, at_most: usize) -> Vec<ListedObject> {
        let all = self.playlist.as_ref().map_or(&[][..], Playlist::objects);
        let of_blocks = self.lineup.iter().flat_map(schedule::objects);
        all.iter().chain(of_blocks).take(at_most).cloned().collect()
    }

    /// The prefixes to list: each object of the programme is below exactly one of them.
    pub fn begin_look(&self) -> Vec<String> {
        self.programme.prefixes()
    }

    /// Takes what an earlier worker listed, until a look brings something.
    pub fn remember(&mut self, objects: &[ListedObject], at: Timestamp) {
        if self.playlist.is_none() {
            let (playlist, _) = Playlist::resolve(&self.programme, objects);
            self.playlist = Some(playlist);
            self.lineup = schedule::lineup(&self.programme, objects);
            self.listed_at = Some(at);
        }
    }

    /// Looks as soon as possible.
    pub fn look_now(&mut self, now: Instant) {
        self.next_look = now;
    }

    /// Takes in what a look brought.
    pub fn looked(
        &mut self,
        listing: Result<Vec<ListedObject>, MediaError>,
        (now, at): (Instant, Timestamp),
    ) -> Note {
        self.last_look = Some(now);
        self.starved_until = None;
        let objects = match listing {
            Ok(objects) => objects,
            Err(error) => {
                self.next_look = now + FAILED_LOOK;
                return self.trouble(error.report());
            }
        };
        let items_before = self.items();
        let (playlist, mut missing) = Playlist::resolve(&self.programme, &objects);
        self.lineup = schedule::lineup(&self.programme, &objects);
        missing.extend(self.lineup.iter().flat_map(schedule::missing));
        let of_blocks = self.lineup.iter().flat_map(schedule::objects).count();
        let count = playlist.objects().len() + of_blocks;
        self.forget_what_changed(&playlist);
        self.playlist = Some(playlist);
        self.listed_at = Some(at);
        let missing: BTreeSet<String> = missing.into_iter().collect();
        let newly_missing: Vec<String> = missing.difference(&self.missing).cloned().collect();
        self.missing = missing;
        if count == 0 {
            let empty = now.duration_since(*self.empty_since.get_or_insert(now));
            self.next_look = now + (empty / EMPTY_SHARE).clamp(SOON_LOOK, EMPTY_LOOK);
            return self.trouble(nothing_to_play(&self.programme));
        }
        self.empty_since = None;
        self.next_look = now + ROUTINE_LOOK;
        let recovered = self.error.take().is_some();
        if items_before == Some(count) && newly_missing.is_empty() && !recovered {
            return Note::Nothing;
        }
        Note::Items {
            count,
            missing: newly_missing,
        }
    }

    /// The next item that did not fail lately.
    pub fn up_next(&mut self, from: From<'_>, now: Instant) -> UpNext {
        self.up_next_of(from, &|_| true, now)
    }

    /// The same among those that can be `had`.
    pub fn up_next_of(
        &mut self,
        from: From<'_>,
        had: &dyn Fn(&ListedObject) -> bool,
        now: Instant,
    ) -> UpNext {
        if self.starved_until.is_some_and(|until| now < until) {
            return UpNext::Empty;
        }
        let Some(playlist) = &self.playlist else {
            return UpNext::Empty;
        };
        let mut up_next = match from {
            From::Start { seed } => playlist.first(seed),
            From::At(position) => playlist.resume(position),
            From::After(position) => playlist.next_after(position),
        };
        // The rest of this round, and all of the next.
        let tries = (2 * playlist.objects().len()).min(MAX_SKIPS);
        let mut all_had = true;
        for _ in 0..tries {
            let UpNext::Item(object, position) = &up_next else {
                return up_next;
            };
            let is_had = had(object);
            if is_had && !self.is_skipped(object, position, now) {
                self.enter_round(position.round, now);
                return up_next;
            }
            all_had &= is_had;
            up_next = playlist.next_after(position);
        }
        if !all_had {
            return UpNext::Empty;
        }
        self.next_look = self.next_look.min(now + EMPTY_LOOK);
        // Asked again many times a second while the slate is on, over as many items as there are.
        self.starved_until = self.bad.values().map(Bad::again).min();
        UpNext::Empty
    }

    /// Remembers a failure; whether it is news: another version, or another reason.
    pub fn mark_bad(
        &mut self,
        position: &Position,
        version: &str,
        error: &ErrorReport,
        (now, at): (Instant, Timestamp),
    ) -> bool {
        let Some(key) = &position.key else {
            return false;
        };
        let before = self.bad.remove(key).filter(|bad| bad.version == version);
        let bad = Bad {
            version: version.to_owned(),
            retries: before.as_ref().map_or(0, |bad| bad.retries + 1),
            round: position.round,
            since: now,
            at,
            error: error.clone(),
        };
        if bad.is_gone() {
            // What was listed holds no longer.
            let soonest = self.last_look.map_or(now, |last| last + SOON_LOOK);
            self.next_look = self.next_look.min(soonest.max(now));
        }
        self.bad.insert(key.clone(), bad);
        before.is_none_or(|bad| bad.error.error_type != error.error_type)
    }

    /// How often this item was tried again in vain.
    pub fn retries(&self, key: &str) -> u32 {
        self.bad.get(key).map_or(0, |bad| bad.retries)
    }

    /// Forgets a failure.
    pub fn mark_good(&mut self, key: &str) {
        self.starved_until = None;
        self.bad.remove(key);
    }

    /// Another programme. What is known of its objects stays until they were listed.
    pub fn set_programme(&mut self, programme: Programme, now: Instant) {
        if programme != self.programme {
            self.programme = programme;
            self.next_look = now;
        }
    }

    /// For the status.
    pub fn report(&self) -> ProgrammeReport {
        let failed = self.bad.iter().map(|(key, bad)| ItemProblem {
            key: key.clone(),
            error: bad.error.clone(),
            at: bad.at,
        });
        let listed_at = self.listed_at.unwrap_or(Timestamp::UNIX_EPOCH);
        let missing = self.missing.iter().map(|key| ItemProblem {
            key: key.clone(),
            error: not_there(key),
            at: listed_at,
        });
        ProgrammeReport {
            items: self.items().unwrap_or(0),
            listed_at: self.listed_at,
            problems: failed.chain(missing).collect(),
            error: self.error.clone(),
            storage: None,
            cache: None,
        }
    }

    /// Playable items, those of blocks included.
    fn items(&self) -> Option<usize> {
        let of_blocks = self.lineup.iter().flat_map(schedule::objects).count();
        let playlist = self.playlist.as_ref()?;
        Some(playlist.objects().len() + of_blocks)
    }

    fn is_skipped(&self, object: &ListedObject, position: &Position, now: Instant) -> bool {
        self.bad.get(&object.key).is_some_and(|bad| {
            // What was not there may be again before its turn comes round.
            let its_turn_was = bad.round == position.round && !bad.is_gone();
            bad.version == object.version && (its_turn_was || now < bad.again())
        })
    }

    /// A round that was not seen before is a reason to look what is new.
    fn enter_round(&mut self, round: u64, now: Instant) {
        if round > self.newest_round {
            self.newest_round = round;
            let soonest = self.last_look.map_or(now, |last| last + ROUND_LOOK);
            self.next_look = self.next_look.min(soonest.max(now));
        }
    }

    fn forget_what_changed(&mut self, playlist: &Playlist) {
        let of_blocks = self.lineup.iter().flat_map(schedule::objects);
        let all = playlist.objects().iter().chain(of_blocks);
        let listed: BTreeMap<&str, &str> = all
            .map(|object| (object.key.as_str(), object.version.as_str()))
            .collect();
        self.bad
            .retain(|key, bad| listed.get(key.as_str()) == Some(&bad.version.as_str()));
        self.lengths
            .retain(|key, (version, _)| listed.get(key.as_str()) == Some(&version.as_str()));
    }

    fn trouble(&mut self, error: ErrorReport) -> Note {
        let is_new = self.error.as_ref() != Some(&error);
        self.error = Some(error.clone());
        if is_new {
            Note::Trouble(error)
        } else {
            Note::Nothing
        }
    }
}

// === impl Bad ===

impl Bad {
    fn is_gone(&self) -> bool {
        self.error.error_type == GONE
    }

    /// Not to be tried before.
    fn again(&self) -> Instant {
        let wait = match self.is_gone() {
            true => (RETRY_GONE * (1 << self.retries.min(8))).min(RETRY_ITEM),
            false => RETRY_ITEM,
        };
        self.since + wait
    }
}

fn nothing_to_play(programme: &Programme) -> ErrorReport {
    let names: Vec<String> = programme
        .items
        .iter()
        .map(|item| match item {
            ItemSpec::Prefix(prefix) if prefix.is_empty() => "the whole bucket".to_owned(),
            ItemSpec::Prefix(prefix) => format!("{prefix}…"),
            ItemSpec::Key(key) => key.clone(),
        })
        .collect();
    ErrorReport {
        error_type: "programme_empty".to_owned(),
        message: format!("no playable object in {}", names.join(", ")),
        hint: "Upload video files (STORAGE_EXTENSIONS says which are taken), or correct the \
               programme; the bucket is looked at again at least every 60 s."
            .to_owned(),
    }
}

fn not_there(key: &str) -> ErrorReport {
    ErrorReport {
        error_type: GONE.to_owned(),
        message: format!("{key} is in the programme but not in the bucket"),
        hint: "Upload it, or take it out of the programme; keys are case-sensitive and below \
               STORAGE_PREFIX."
            .to_owned(),
    }
}

#[cfg(test)]
mod tests;
