//! Whether the media store can be read from: tells *the store is away* from *this object is bad*.
//!
//! Whoever meets a failure asks [`Reach::whose_fault`]; whoever only has a suspicion, says so by
//! [`Reach::doubt`]. The rules are in `docs/design/media-cache.md`.
//!
//! ```text
//!            nothing can be read           (asked every second)
//!     up ─────────────────────────► away ───────────────────────┐
//!      ▲                              ▲                         │
//!      └────── something can be ──────┴──── nothing can be ─────┘
//! ```
//!
//! One task, owned by [`Reach`], asks while the store is away; it ends with the last clone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::{MediaError, MediaStore};
use crate::model::ErrorReport;

/// A store that takes longer to deliver the beginning of an object cannot be played from.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// From the beginning of one question to that of the next: what is on air comes back as much later than
/// the store.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of the store. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Reach {
    running: Arc<Running>,
}

#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    store: MediaStore,
    standing: watch::Sender<Option<Away>>,
    asked: Mutex<Asked>,
    /// There is something to ask; one waiter, the task.
    due: Notify,
}

/// The store cannot be read from.
#[derive(Debug, Clone)]
pub struct Away {
    /// Why.
    pub error: ErrorReport,
    /// Since when.
    pub since: Instant,
}

/// Whom to ask about.
#[derive(Debug, Default)]
struct Asked {
    /// The object that failed last.
    failed: Option<String>,
    /// Two objects of the programme, so that there is always another one.
    witnesses: Vec<String>,
}

/// What a failure to read an object comes from.
#[derive(Debug)]
pub enum Fault {
    /// It can be read now.
    Passing,
    /// The store answers, and says this of the object.
    Object(MediaError),
    /// Nothing can be read.
    Store(ErrorReport),
}

// === impl Reach ===

impl Reach {
    /// Takes `store` for reachable until there is a failure.
    pub fn new(store: MediaStore) -> Self {
        let shared = Arc::new(Shared {
            store,
            standing: watch::Sender::new(None),
            asked: Mutex::default(),
            due: Notify::new(),
        });
        let task = tokio::spawn(Arc::clone(&shared).keep_asking());
        Self {
            running: Arc::new(Running { shared, task }),
        }
    }

    /// Why the store cannot be read from; `None` when it can.
    pub fn away(&self) -> Option<Away> {
        self.shared().standing.borrow().clone()
    }

    /// Whether the store cannot be read from.
    pub fn is_away(&self) -> bool {
        self.shared().standing.borrow().is_some()
    }

    /// Waits until the store can be read from.
    pub async fn up(&self) {
        let mut standing = self.shared().standing.subscribe();
        // The sender lives as long as `self`.
        let _closed = standing.wait_for(Option::is_none).await;
    }

    /// Told of every change.
    pub fn changes(&self) -> watch::Receiver<Option<Away>> {
        self.shared().standing.subscribe()
    }

    /// Objects that should be there.
    pub fn expect<'a>(&self, keys: impl Iterator<Item = &'a str>) {
        self.shared().lock().witnesses = keys.take(2).map(str::to_owned).collect();
    }

    /// Finds out what a failure to read `key` comes from.
    pub async fn whose_fault(&self, key: &str) -> Fault {
        let shared = self.shared();
        if let Some(away) = self.away() {
            return Fault::Store(away.error);
        }
        let fault = shared.ask(Some(key)).await;
        shared.lock().failed = Some(key.to_owned());
        shared.note(&fault);
        fault
    }

    /// Something is not as it should be with `key`, or with no object in particular: has the
    /// store asked. Returns at once.
    pub fn doubt(&self, key: Option<&str>) {
        let shared = self.shared();
        if let Some(key) = key {
            shared.lock().failed = Some(key.to_owned());
        }
        shared.due.notify_one();
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.running.shared
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Asked> {
        // Both fields are whole after every single change of them.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep_asking(self: Arc<Self>) {
        loop {
            self.due.notified().await;
            let mut pause = PAUSE;
            let mut away = self.standing.borrow().is_some();
            loop {
                if away {
                    sleep_until(Instant::now() + pause).await;
                }
                let begun = Instant::now();
                let failed = self.lock().failed.clone();
                let fault = self.ask(failed.as_deref()).await;
                away = self.note(&fault);
                if !away {
                    // Doubts come many times a second.
                    sleep_until(begun + PAUSE).await;
                    break;
                }
                // The pause counts from one question to the next.
                pause = PAUSE.saturating_sub(begun.elapsed());
            }
        }
    }

    /// Takes in an answer; whether the store is away.
    fn note(&self, fault: &Fault) -> bool {
        let error = match fault {
            Fault::Store(error) => Some(error),
            Fault::Passing | Fault::Object(_) => None,
        };
        let since = self.standing.borrow().as_ref().map(|away| away.since);
        let before = self.standing.send_replace(error.map(|error| Away {
            error: error.clone(),
            since: since.unwrap_or_else(Instant::now),
        }));
        match (before, error) {
            (None, Some(error)) => {
                tracing::error!(
                    error_type = error.error_type,
                    retry_count = 0,
                    will_retry = true,
                    hint = error.hint,
                    "the media store cannot be read from: {}",
                    error.message
                );
                self.due.notify_one();
            }
            (Some(away), None) => tracing::info!(
                after_s = away.since.elapsed().as_secs(),
                "the media store can be read from again"
            ),
            (None, None) | (Some(_), Some(_)) => {}
        }
        error.is_some()
    }

    async fn ask(&self, key: Option<&str>) -> Fault {
        let (key, other) = {
            let asked = self.lock();
            let mut witnesses = asked.witnesses.iter();
            let key = key.map(str::to_owned).or_else(|| witnesses.next().cloned());
            let other = witnesses.find(|other| Some(*other) != key.as_ref());
            (key, other.cloned())
        };
        let Some(key) = key else {
            return match self.within(None, self.store.check()).await {
                Ok(()) => Fault::Passing,
                Err(error) => Fault::Store(error.report()),
            };
        };
        let about = self.within(Some(&key), self.store.taste(&key));
        let Some(other) = other else {
            return match about.await {
                Ok(()) => Fault::Passing,
                Err(error) if error.blames_object() => Fault::Object(error),
                Err(error) => Fault::Store(error.report()),
            };
        };
        let witness = self.within(Some(&other), self.store.taste(&other));
        match tokio::join!(about, witness) {
            (Ok(()), _) => Fault::Passing,
            (Err(error), _) if error.blames_object() => Fault::Object(error),
            (Err(error), Ok(())) => Fault::Object(error),
            (Err(error), Err(witness)) if witness.blames_object() => Fault::Object(error),
            (Err(error), Err(_)) => Fault::Store(error.report()),
        }
    }

    async fn within(
        &self,
        key: Option<&str>,
        call: impl Future<Output = Result<(), MediaError>>,
    ) -> Result<(), MediaError> {
        // On the heap: the SDK's futures are deep and wide, and everyone who plays holds this one.
        let answered = timeout(ANSWER_LIMIT, Box::pin(call)).await;
        answered.unwrap_or_else(|_| Err(self.store.no_answer(key)))
    }
}
