//! Brings into the cache what is on air and what comes next.
//!
//! One task, owned by the [`Fetcher`]: it takes the first wanted object that is not here, reads it
//! by ranges to its end, and looks again. It never hurries: what is on air goes first.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use programme::ListedObject;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until};

use super::{MediaCache, Part, Reserved};
use crate::media::reach::Reach;
use crate::media::{MediaError, MediaErrorKind, S3Store};

/// At most so much is read.
const BYTES_PER_S: u64 = 8 << 20;
/// … and written at once.
const PIECE_BYTES: usize = 512 << 10;
/// How often it is looked whether the air has enough again.
const HOLD_POLL: Duration = Duration::from_millis(200);
/// What could not be fetched is not tried again before.
const RETRY: Duration = Duration::from_secs(10);
/// Other processes' objects are looked for.
const LOOK: Duration = Duration::from_secs(20);

/// The task. Ends when dropped.
#[derive(Debug)]
pub struct Fetcher {
    cache: MediaCache,
    wanted: watch::Sender<Vec<ListedObject>>,
    hold: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

struct Work {
    cache: MediaCache,
    store: S3Store,
    reach: Reach,
    wanted: watch::Receiver<Vec<ListedObject>>,
    hold: Arc<AtomicBool>,
}

/// How fetching one object ended.
#[derive(Debug, PartialEq, Eq)]
enum Fetched {
    Whole,
    /// Not now: no room, another process has it, or it is not what was listed.
    Left,
    /// It is not wanted any more.
    Unwanted,
}

/// Why an object is not here.
#[derive(Debug)]
enum Failure {
    Store(MediaError),
    Disk(io::Error),
}

// === impl Fetcher ===

impl Fetcher {
    /// Nothing is wanted yet.
    pub fn start(cache: MediaCache, store: S3Store, reach: Reach) -> Self {
        let (wanted, for_task) = watch::channel(Vec::new());
        let hold = Arc::new(AtomicBool::new(false));
        let work = Work {
            cache: cache.clone(),
            store,
            reach,
            wanted: for_task,
            hold: Arc::clone(&hold),
        };
        Self {
            cache,
            wanted,
            hold,
            task: tokio::spawn(work.run()),
        }
    }

    /// These, in this order; what was wanted before is not any more.
    pub fn want(&self, objects: Vec<ListedObject>) {
        self.wanted.send_if_modified(|wanted| {
            let changed = *wanted != objects;
            *wanted = objects;
            changed
        });
    }

    /// Whether the air needs everything the line gives.
    pub fn hold(&self, hold: bool) {
        self.hold.store(hold, Ordering::Relaxed);
    }

    /// What it fills.
    pub fn cache(&self) -> &MediaCache {
        &self.cache
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Work ===

impl Work {
    async fn run(mut self) {
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            let missing: Vec<_> = wanted.iter().filter(|o| !self.cache.has(o)).collect();
            let mut pause = LOOK;
            for object in missing {
                self.reach.up().await;
                match self.fetch(object, &wanted).await {
                    Ok(Fetched::Whole) => tracing::debug!(key = object.key, "kept in the cache"),
                    Ok(Fetched::Left) => {}
                    Ok(Fetched::Unwanted) => {
                        pause = Duration::ZERO;
                        break;
                    }
                    Err(failure) => {
                        self.tell(object, &failure).await;
                        pause = RETRY;
                    }
                }
            }
            tokio::select! {
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = sleep(pause) => {
                    let cache = self.cache.clone();
                    // A look that panicked has been logged; the next one is due.
                    let _looked = spawn_blocking(move || cache.look()).await;
                }
            }
        }
    }

    async fn tell(&self, object: &ListedObject, failure: &Failure) {
        match failure {
            Failure::Store(error) => {
                let key = &object.key;
                tracing::debug!(key, "not fetched into the cache: {error}");
                // Says for itself what it found.
                let _known = self.reach.whose_fault(key).await;
            }
            Failure::Disk(error) => self.cache.complain("write to", error),
        }
    }

    async fn fetch(
        &mut self,
        object: &ListedObject,
        wanted: &[ListedObject],
    ) -> Result<Fetched, Failure> {
        let (cache, own, all) = (self.cache.clone(), object.clone(), wanted.to_vec());
        let mut part = match blocking(move || cache.reserve(&own, &all)).await? {
            Reserved::Part(part) => part,
            Reserved::Elsewhere | Reserved::NoRoom => return Ok(Fetched::Left),
        };
        if part.bytes < object.size_bytes {
            part = match self.read_on(object, part).await? {
                ControlFlow::Continue(part) => part,
                ControlFlow::Break(fetched) => return Ok(fetched),
            };
        }
        if part.bytes != object.size_bytes {
            // It broke off: it is continued there.
            return Ok(Fetched::Left);
        }
        let cache = self.cache.clone();
        blocking(move || cache.complete(part)).await?;
        Ok(Fetched::Whole)
    }

    /// Reads what is missing of `part`, as far as it comes.
    async fn read_on(
        &mut self,
        object: &ListedObject,
        mut part: Part,
    ) -> Result<ControlFlow<Fetched, Part>, Failure> {
        let etag = part.meta.etag.clone();
        let reading = self
            .store
            .read_from(&object.key, part.bytes, etag.as_deref());
        let cache = self.cache.clone();
        let mut reading = match reading.await {
            Ok(reading) if part.takes(&reading) => reading,
            Ok(_) => {
                blocking(move || cache.discard(part)).await?;
                return Ok(ControlFlow::Break(Fetched::Left));
            }
            Err(error) => {
                if error.kind == MediaErrorKind::Changed {
                    blocking(move || cache.discard(part)).await?;
                }
                return Err(Failure::Store(error));
            }
        };
        part.meta.etag.clone_from(&reading.etag);
        part.meta.modified = reading.modified;
        part = blocking(move || cache.describe(&part).map(|()| part)).await?;
        let begun = (Instant::now(), part.bytes);
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        loop {
            let bytes = reading.next().await.map_err(Failure::Store)?;
            let is_end = bytes.is_none();
            piece.extend_from_slice(&bytes.unwrap_or_default());
            if is_end || piece.len() >= PIECE_BYTES {
                (part, piece) = blocking(move || {
                    part.write(&piece)?;
                    piece.clear();
                    Ok((part, piece))
                })
                .await?;
            }
            if is_end {
                return Ok(ControlFlow::Continue(part));
            }
            if piece.is_empty() && !self.may_go_on(object, begun, part.bytes).await {
                return Ok(ControlFlow::Break(Fetched::Unwanted));
            }
        }
    }

    /// Waits for its turn; whether the object is still wanted, before all others that are missing.
    async fn may_go_on(
        &mut self,
        object: &ListedObject,
        (begun, from): (Instant, u64),
        bytes: u64,
    ) -> bool {
        let span = Duration::from_secs_f64((bytes - from) as f64 / BYTES_PER_S as f64);
        sleep_until(begun + span).await;
        while self.hold.load(Ordering::Relaxed) {
            sleep(HOLD_POLL).await;
        }
        let wanted = self.wanted.borrow();
        wanted.iter().find(|wanted| !self.cache.has(wanted)) == Some(object)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(Failure::Disk)
}
