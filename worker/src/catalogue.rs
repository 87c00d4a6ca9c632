//! The programme resolved against the bucket: lists, remembers what was skipped, says what is next.
//!
//! What to list, what to skip and when to look again is decided in [`book`], which is pure. One
//! task, owned by the [`Catalogue`], does the listing, so that whoever asks what is next is never
//! held up by the store.
//!
//! ```text
//!             due, poked or programme changed
//!   resting ─────────────────────────────────► listing ─► book ─► changed()
//!      ▲                                          │
//!      └──────────────────────────────────────────┘
//! ```

pub mod book;
pub mod memory;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use programme::{ListedObject, Next, Part, Position, Programme, Standing, UpNext};
use storage::media::reach::{Away, Reach};
use storage::media::{MediaError, MediaStore};
use storage::model::ErrorReport;
use storage::model::report::ProgrammeReport;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::book::{Book, From, FrozenBook};
use self::memory::Memory;

/// A first look that takes longer is not waited for, where a listing is remembered.
const FIRST_LOOK_LIMIT: Duration = Duration::from_millis(700);

/// What plays, kept up to date with the bucket.
#[derive(Debug)]
pub struct Catalogue {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

/// Where what becomes known of objects is noted.
#[derive(Debug, Clone)]
pub struct Notes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    book: Mutex<Book>,
    /// Something new may be next; one waiter, playout.
    changed: Notify,
    /// The time of the next look has moved; one waiter, the listing task.
    look: Notify,
}

// === impl Catalogue ===

impl Catalogue {
    /// Begins listing `store` for `programme`; `memory` helps out while that cannot be done.
    pub fn start(
        store: MediaStore,
        reach: Reach,
        memory: Option<Memory>,
        programme: Programme,
    ) -> Self {
        Self::resume(store, reach, memory, Book::new(programme, Instant::now()))
    }

    /// Goes on with what was known before.
    pub fn resume(store: MediaStore, reach: Reach, memory: Option<Memory>, book: Book) -> Self {
        let shared = Arc::new(Shared {
            book: Mutex::new(book),
            changed: Notify::new(),
            look: Notify::new(),
        });
        let stop = CancellationToken::new();
        let work = Work {
            store,
            changes: reach.changes(),
            reach,
            memory,
            shared: Arc::clone(&shared),
        };
        let for_task = stop.clone();
        let task = tokio::spawn(async move {
            let _stopped = for_task.run_until_cancelled(work.run()).await;
        });
        Self {
            shared,
            task,
            stop: stop.drop_guard(),
        }
    }

    /// The next playable item, without those that failed lately.
    /// [`UpNext::Empty`]: nothing is known to be playable; wait for [`Self::changed`].
    pub fn up_next(&self, from: From<'_>) -> UpNext {
        self.up_next_of(from, &|_| true)
    }

    /// The same among those that can be `had` now; the others are passed over, without a mark.
    pub fn up_next_of(&self, from: From<'_>, had: &dyn Fn(&ListedObject) -> bool) -> UpNext {
        let mut book = self.shared.lock();
        let before = book.next_look();
        let up_next = book.up_next_of(from, had, Instant::now());
        let moved = book.next_look() != before;
        drop(book);
        if moved {
            self.shared.look.notify_one();
        }
        up_next
    }

    /// The item at `position` could not be played in this version: it is skipped until a later
    /// round, and logged unless that version was before.
    pub fn mark_bad(&self, position: &Position, version: &str, error: ErrorReport) {
        self.notes().mark_bad(position, version, error);
    }

    /// Whether a schedule is in force; then [`Self::up_next_at`] is asked.
    pub fn is_scheduled(&self) -> bool {
        self.shared.lock().is_scheduled()
    }

    /// What the schedule has begin at `at`; `None` without one.
    pub fn up_next_at(
        &self,
        standing: &Standing,
        at: Timestamp,
        had: &dyn Fn(&ListedObject) -> bool,
    ) -> Option<Next> {
        let mut book = self.shared.lock();
        book.up_next_at(standing, at, had, Instant::now())
    }

    /// When an item of `part` that is on air at `at` has to leave it.
    pub fn leaves(&self, part: &Part, standing: &Standing, at: Timestamp) -> Option<Timestamp> {
        let book = self.shared.lock();
        book.leaves(part, standing, at, Instant::now())
    }

    /// Whether an item of `part` may begin at `at`, among those that can be `had`.
    pub fn is_due(
        &self,
        part: &Part,
        at: (&Standing, Timestamp),
        had: &dyn Fn(&ListedObject) -> bool,
    ) -> bool {
        self.shared.lock().is_due(part, at, had, Instant::now())
    }

    /// What is to be looked into for the block that begins next, and when that is.
    pub fn ahead(&self, at: Timestamp) -> Option<(Timestamp, Vec<ListedObject>)> {
        self.shared.lock().ahead(at)
    }

    /// Where what becomes known of objects is noted.
    pub fn notes(&self) -> Notes {
        Notes(Arc::clone(&self.shared))
    }

    /// The item played: what was wrong with it is over.
    pub fn mark_good(&self, key: &str) {
        self.shared.lock().mark_good(key);
    }

    /// Replaces the programme; what it needs is listed at once.
    pub fn set_programme(&self, programme: Programme) {
        self.shared.lock().set_programme(programme, Instant::now());
        self.shared.look.notify_one();
    }

    /// The first objects of the programme, in listed order.
    pub fn objects(&self, at_most: usize) -> Vec<ListedObject> {
        self.shared.lock().objects(at_most)
    }

    /// Whether the bucket was listed, with or without success.
    pub fn has_looked(&self) -> bool {
        self.shared.lock().has_looked()
    }

    /// For the status.
    pub fn report(&self) -> ProgrammeReport {
        self.shared.lock().report()
    }

    /// Waits until the bucket was looked at again. For one waiter at a time.
    pub async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// What is known now.
    pub fn snapshot(&self) -> FrozenBook {
        self.shared.lock().freeze()
    }

    /// Ends the listing.
    pub async fn close(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::error!("the listing task: {error}");
        }
    }
}

// === impl Notes ===

impl Notes {
    /// As [`Catalogue::mark_bad`].
    pub fn mark_bad(&self, position: &Position, version: &str, error: ErrorReport) {
        let Some(key) = &position.key else { return };
        let mut book = self.0.lock();
        let look_before = book.next_look();
        let is_new = book.mark_bad(
            position,
            version,
            &error,
            (Instant::now(), Timestamp::now()),
        );
        let retry_count = book.retries(key);
        let look_moved = book.next_look() != look_before;
        drop(book);
        if look_moved {
            self.0.look.notify_one();
        }
        if is_new {
            tracing::error!(
                key,
                error_type = error.error_type,
                retry_count,
                will_retry = true,
                hint = error.hint,
                "item skipped: {}",
                error.message
            );
        }
    }

    /// The length of an object.
    pub fn note_length(&self, object: &ListedObject, length_s: f64) {
        self.0.lock().note_length(object, length_s);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Book> {
        // Every change of the book is whole before the next; a panic elsewhere spoils nothing.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the listing task works on.
struct Work {
    store: MediaStore,
    reach: Reach,
    /// Of what the store is taken for.
    changes: watch::Receiver<Option<Away>>,
    memory: Option<Memory>,
    shared: Arc<Shared>,
}

// === impl Work ===

impl Work {
    async fn run(mut self) {
        let mut is_first = true;
        loop {
            self.wait_until_due().await;
            let prefixes = self.shared.lock().begin_look();
            let listing = match is_first {
                true => self.list_or_remember(&prefixes).await,
                false => list(&self.store, &prefixes).await,
            };
            is_first = false;
            if self.shared.lock().begin_look() != prefixes {
                // Another programme has come meanwhile: this says nothing of it, and its own look is
                // due already.
                continue;
            }
            let at = Timestamp::now();
            match (&listing, &mut self.memory) {
                (Ok(objects), Some(memory)) => memory.keep(&prefixes, objects, at).await,
                (Ok(_), None) => {}
                (Err(_), _) => {
                    self.remember(&prefixes).await;
                    self.reach.doubt(None);
                }
            }
            let mut book = self.shared.lock();
            let note = book.looked(listing, (Instant::now(), at));
            drop(book);
            self.expect();
            note.log();
            self.shared.changed.notify_one();
        }
    }

    /// A store that is slow to answer does not keep a channel dark that knows what to play.
    async fn list_or_remember(&self, prefixes: &[String]) -> Result<Vec<ListedObject>, MediaError> {
        let listing = list(&self.store, prefixes);
        tokio::pin!(listing);
        match timeout(FIRST_LOOK_LIMIT, &mut listing).await {
            Ok(listing) => listing,
            Err(_) => {
                self.remember(prefixes).await;
                self.reach.doubt(None);
                listing.await
            }
        }
    }

    async fn remember(&self, prefixes: &[String]) {
        let Some(memory) = &self.memory else { return };
        let Some(listing) = memory.load(prefixes).await else {
            return;
        };
        self.shared.lock().remember(&listing.objects, listing.at);
        self.expect();
        self.shared.changed.notify_one();
    }

    /// Says which objects should be there, for whoever asks whether anything is.
    fn expect(&self) {
        let objects = self.shared.lock().objects(2);
        let keys = objects.iter().map(|object| object.key.as_str());
        self.reach.expect(keys);
    }

    async fn wait_until_due(&mut self) {
        loop {
            let due = self.shared.lock().next_look();
            tokio::select! {
                () = tokio::time::sleep_until(due) => return,
                () = self.shared.look.notified() => {}
                Ok(()) = self.changes.changed() => {
                    let is_back = self.changes.borrow_and_update().is_none();
                    if is_back {
                        self.shared.lock().look_now(Instant::now());
                    }
                }
            }
        }
    }
}

async fn list(store: &MediaStore, prefixes: &[String]) -> Result<Vec<ListedObject>, MediaError> {
    let mut found = Vec::new();
    for prefix in prefixes {
        let objects = store.list(prefix).await?;
        found.extend(objects.iter().map(|object| object.to_listed()));
    }
    Ok(found)
}
