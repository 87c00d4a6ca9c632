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

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use programme::{ListedObject, Position, Programme, UpNext};
use storage::media::{MediaError, MediaStore};
use storage::model::ErrorReport;
use storage::model::report::ProgrammeReport;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::book::{Book, From};

/// What plays, kept up to date with the bucket.
#[derive(Debug)]
pub struct Catalogue {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

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
    /// Begins listing `store` for `programme`.
    pub fn start(store: MediaStore, programme: Programme) -> Self {
        let shared = Arc::new(Shared {
            book: Mutex::new(Book::new(programme, Instant::now())),
            changed: Notify::new(),
            look: Notify::new(),
        });
        let stop = CancellationToken::new();
        let task = tokio::spawn(keep_listing(store, Arc::clone(&shared), stop.clone()));
        Self {
            shared,
            task,
            stop: stop.drop_guard(),
        }
    }

    /// The next playable item, without those that failed lately.
    /// [`UpNext::Empty`]: nothing is known to be playable; wait for [`Self::changed`].
    pub fn up_next(&self, from: From<'_>) -> UpNext {
        let mut book = self.shared.lock();
        let before = book.next_look();
        let up_next = book.up_next(from, Instant::now());
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
        let Some(key) = &position.key else { return };
        let mut book = self.shared.lock();
        let is_new = book.mark_bad(
            position,
            version,
            &error,
            (Instant::now(), Timestamp::now()),
        );
        let retry_count = book.retries(key);
        drop(book);
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

    /// Ends the listing.
    pub async fn close(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::error!("the listing task: {error}");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Book> {
        // Every change of the book is whole before the next; a panic elsewhere spoils nothing.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn keep_listing(store: MediaStore, shared: Arc<Shared>, stop: CancellationToken) {
    let work = async {
        loop {
            wait_until_due(&shared).await;
            let prefixes = shared.lock().begin_look();
            let listing = list(&store, &prefixes).await;
            let mut book = shared.lock();
            let note = book.looked(listing, (Instant::now(), Timestamp::now()));
            drop(book);
            note.log();
            shared.changed.notify_one();
        }
    };
    let _stopped = stop.run_until_cancelled(work).await;
}

async fn wait_until_due(shared: &Shared) {
    loop {
        let due = shared.lock().next_look();
        tokio::select! {
            () = tokio::time::sleep_until(due) => return,
            () = shared.look.notified() => {}
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
