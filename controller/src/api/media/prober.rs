//! The one task that looks into objects, two at a time, and what it found.
//!
//! A request hands its objects over and waits for its deadline; what was not looked into by then is
//! looked into all the same, for the next request. The task ends with the last clone of [`Prober`].

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use storage::media::MediaObject;
use storage::media::server::MediaServer;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::media::probe::{self, Outcome};

/// The streams' own FFmpegs come first on a small machine.
const AT_ONCE: usize = 2;
/// A failure is believed for so long.
const FAILED_FOR: Duration = Duration::from_secs(30);

/// Looks into objects. Cloning shares it.
#[derive(Debug, Clone)]
pub(in crate::api) struct Prober {
    shared: Arc<Shared>,
    // Last, and shared: the task is aborted when nobody asks any more.
    _task: Arc<Task>,
}

#[derive(Debug)]
struct Task(JoinHandle<()>);

#[derive(Debug)]
struct Shared {
    known: Mutex<Known>,
    work: Notify,
    /// Counts outcomes, for those who wait.
    found: watch::Sender<u64>,
    dir: PathBuf,
}

#[derive(Debug, Default)]
struct Known {
    /// By key: the version looked into, what came of it, and when.
    outcomes: HashMap<String, (String, Outcome, Instant)>,
    queue: VecDeque<MediaObject>,
    /// Keys in the queue or being looked into.
    under_way: HashSet<String>,
}

// === impl Prober ===

impl Prober {
    /// Starts the task; outcomes are kept in `dir` too.
    pub(in crate::api) fn start(ffprobe: PathBuf, server: MediaServer, dir: PathBuf) -> Self {
        let shared = Arc::new(Shared {
            known: Mutex::default(),
            work: Notify::new(),
            found: watch::Sender::new(0),
            dir,
        });
        let task = tokio::spawn(run(shared.clone(), ffprobe, server));
        Self {
            shared,
            _task: Arc::new(Task(task)),
        }
    }

    /// What each object is, as far as it is known `until` then.
    pub(in crate::api) async fn probe(
        &self,
        objects: &[MediaObject],
        until: Instant,
    ) -> Vec<Option<Outcome>> {
        let mut found = self.shared.found.subscribe();
        self.shared.ask_for(objects);
        loop {
            let outcomes = self.shared.outcomes(objects);
            let complete = outcomes.iter().all(Option::is_some);
            if complete
                || tokio::time::timeout_at(until, found.changed())
                    .await
                    .is_err()
            {
                return outcomes;
            }
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(shared: Arc<Shared>, ffprobe: PathBuf, server: MediaServer) {
    let mut looks = JoinSet::new();
    loop {
        while looks.len() < AT_ONCE {
            let Some(object) = shared.next() else { break };
            looks.spawn(look(
                shared.clone(),
                ffprobe.clone(),
                server.clone(),
                object,
            ));
        }
        tokio::select! {
            Some(done) = looks.join_next() => {
                if let Err(error) = done {
                    tracing::error!(%error, "a look into an object failed");
                }
            }
            () = shared.work.notified() => {}
        }
    }
}

async fn look(shared: Arc<Shared>, ffprobe: PathBuf, server: MediaServer, object: MediaObject) {
    let path = probe::file(&shared.dir, &object);
    let remembered = blocking((path.clone(), object.clone()), |(path, object)| {
        probe::recall(path, object)
    })
    .await
    .flatten();
    let outcome = match remembered {
        Some(outcome) => outcome,
        None => probe::look(&ffprobe, &server, &object.key).await,
    };
    if outcome.is_final() {
        let what = (path, object.clone(), outcome.clone());
        blocking(what, |(path, object, outcome)| {
            probe::remember(path, object, outcome);
        })
        .await;
    }
    shared.tell(&object, outcome);
}

/// `None` when the runtime is being shut down.
async fn blocking<T, R>(what: T, work: fn(&T) -> R) -> Option<R>
where
    T: Send + 'static,
    R: Send + 'static,
{
    tokio::task::spawn_blocking(move || work(&what)).await.ok()
}

// === impl Shared ===

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Whole after every single call, so a panic elsewhere spoils nothing.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask_for(&self, objects: &[MediaObject]) {
        let now = Instant::now();
        let mut known = self.known();
        for object in objects {
            if !known.has(object, now) && known.under_way.insert(object.key.clone()) {
                known.queue.push_back(object.clone());
            }
        }
        drop(known);
        self.work.notify_one();
    }

    fn outcomes(&self, objects: &[MediaObject]) -> Vec<Option<Outcome>> {
        let known = self.known();
        objects.iter().map(|object| known.outcome(object)).collect()
    }

    fn next(&self) -> Option<MediaObject> {
        self.known().queue.pop_front()
    }

    fn tell(&self, object: &MediaObject, outcome: Outcome) {
        let mut known = self.known();
        known.under_way.remove(&object.key);
        let entry = (object.version(), outcome, Instant::now());
        known.outcomes.insert(object.key.clone(), entry);
        drop(known);
        self.found.send_modify(|count| *count += 1);
    }
}

// === impl Known ===

impl Known {
    fn outcome(&self, object: &MediaObject) -> Option<Outcome> {
        let (version, outcome, _) = self.outcomes.get(&object.key)?;
        (*version == object.version()).then(|| outcome.clone())
    }

    fn has(&self, object: &MediaObject, now: Instant) -> bool {
        self.outcomes
            .get(&object.key)
            .is_some_and(|(version, outcome, at)| {
                let fresh = outcome.is_final() || now.duration_since(*at) < FAILED_FOR;
                *version == object.version() && fresh
            })
    }
}

/// Directory of the outcomes below `CACHE_DIR`.
pub(in crate::api) fn dir(cache_dir: &Path) -> PathBuf {
    cache_dir.join("media")
}
