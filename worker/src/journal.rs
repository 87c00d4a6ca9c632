//! The air journal: what this worker's viewers could see, written down as it happens.
//!
//! ```text
//!  playout ─┐ note()                      thread "journal"
//!  output ──┼───────► backlog (bounded) ──────────────────► air/<generation>-<part>.jsonl
//!  output ──┘
//!  pulse task, every 250 ms ──────────────────────────────► RUNTIME_DIR/<id>.pulse
//! ```
//!
//! Noting never waits for a disk. The files belong to a thread of their own, which may hang with
//! the disk as long as that does; the pulse belongs to a task of the runtime, so that it stops when
//! the runtime does. What is written and who reads it is in `docs/design/air-record.md`.

mod backlog;
mod parts;
mod pulse;

use std::fs;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use storage::model::live::{LiveInputConfig, LiveInputState};
use storage::model::{AirEntry, AirEvent, Job};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use backlog::Backlog;
use parts::Parts;
use pulse::Pulse;

/// After a write that failed, the next try.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long the end of a worker waits for a disk that does not take the last entries.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// One instant on both clocks of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    at: Timestamp,
    boot_ms: u64,
}

/// The handle everybody notes with.
#[derive(Debug, Clone)]
pub struct Journal {
    shared: Arc<Shared>,
    /// Cancelled when the journal is to end.
    closing: CancellationToken,
    /// Cancelled when its thread has ended.
    closed: CancellationToken,
}

#[derive(Debug)]
struct Shared {
    backlog: Mutex<Backlog>,
    noted: Condvar,
}

/// What a journal begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// A worker that was just started.
    Afresh,
    /// A newer binary in the process of one that had noted this many entries.
    TakesOver {
        /// See [`Journal::close`].
        next_seq: u64,
    },
}

// === impl Stamp ===

impl Stamp {
    /// Now.
    pub fn now() -> Self {
        Self {
            at: Timestamp::now(),
            boot_ms: boot_ms(),
        }
    }

    /// An instant that is over.
    pub fn of(instant: Instant) -> Self {
        Self::now().before(instant.elapsed())
    }

    fn before(self, ago: Duration) -> Self {
        let ago_ms = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        Self {
            at: self.at.saturating_sub(ago).unwrap_or(Timestamp::MIN),
            boot_ms: self.boot_ms.saturating_sub(ago_ms),
        }
    }
}

/// Milliseconds since the machine was started, time in suspension included.
fn boot_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // Neither is negative since the machine was started.
    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000
}

// === impl Journal ===

impl Journal {
    /// Begins the journal of the worker that `job` started, and its pulse. Where nothing can be
    /// written that is logged and tried again: a worker without a record is better than none.
    ///
    /// # Panics
    /// When the machine does not give this process its first threads.
    pub fn start(job: &Job, begin: Begin) -> Self {
        let layout = job.layout();
        let next_seq = match begin {
            Begin::Afresh => 0,
            Begin::TakesOver { next_seq } => next_seq,
        };
        let journal = Self {
            shared: Arc::new(Shared {
                backlog: Mutex::new(Backlog::new(job.nonce.clone(), next_seq)),
                noted: Condvar::new(),
            }),
            closing: CancellationToken::new(),
            closed: CancellationToken::new(),
        };
        let parts = Parts::new(layout.air_dir(&job.stream_id), job.generation);
        let (shared, closing) = (Arc::clone(&journal.shared), journal.closing.clone());
        let closed = journal.closed.clone().drop_guard();
        std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || {
                write_down(&shared, &closing, parts);
                drop(closed);
            })
            .expect("a worker that starts is given a thread");
        let pulse = Pulse::new(layout.pulse(&job.stream_id));
        tokio::spawn(pulse.beat_until(journal.closing.clone()));
        journal.note(
            Stamp::now(),
            AirEvent::Started {
                generation: job.generation,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                boot_id: boot_id(),
                takes_over: begin != Begin::Afresh,
            },
        );
        journal
    }

    /// Notes that `event` happened then. Never waits.
    pub fn note(&self, at: Stamp, event: AirEvent) {
        self.shared.lock().push(at, event);
        self.shared.noted.notify_one();
    }

    /// Notes that `input` was in another state from then on. `at` is the instant of the feed: of a
    /// loss the one when nothing was left to show, not the one when that was noticed.
    pub fn live_input(&self, at: Stamp, input: &LiveInputConfig, state: LiveInputState) {
        self.note(
            at,
            AirEvent::LiveInput {
                input: input.name.clone(),
                state,
                grace_s: input.grace_s,
            },
        );
    }

    /// Ends the journal once everything noted is on disk, or the disk did not take it for a second.
    /// Answers the number of the entry that would have come next. What is noted later is lost.
    pub async fn close(&self) -> u64 {
        let next_seq = self.shared.lock().next_seq();
        {
            // Under the lock, so that the thread is not between looking and waiting.
            let _backlog = self.shared.lock();
            self.closing.cancel();
            self.shared.noted.notify_one();
        }
        if tokio::time::timeout(CLOSE_LIMIT, self.closed.cancelled())
            .await
            .is_err()
        {
            tracing::warn!("the end of the air journal could not be written in time");
        }
        next_seq
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Backlog> {
        // Every change of the backlog is whole before the next; a panic elsewhere spoils nothing.
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for entries and takes them all; none come when the journal is to end.
    fn take(&self, closing: &CancellationToken) -> Vec<AirEntry> {
        let mut backlog = self.lock();
        while backlog.is_empty() && !closing.is_cancelled() {
            backlog = self
                .noted
                .wait(backlog)
                .unwrap_or_else(PoisonError::into_inner);
        }
        backlog.take()
    }

    /// Keeps `unwritten` for the next try and waits for it, or for the end.
    fn keep(&self, unwritten: Vec<AirEntry>, closing: &CancellationToken) {
        let mut backlog = self.lock();
        backlog.put_back(unwritten);
        // Waking up for each entry that is noted meanwhile would be one try each.
        let ends = |_: &mut Backlog| !closing.is_cancelled();
        drop(self.noted.wait_timeout_while(backlog, RETRY_AFTER, ends));
    }
}

/// The thread that owns the files.
fn write_down(shared: &Shared, closing: &CancellationToken, mut parts: Parts) {
    let mut failing = false;
    loop {
        let entries = shared.take(closing);
        let is_last_try = closing.is_cancelled();
        if entries.is_empty() {
            return;
        }
        let (unwritten, result) = parts.append(entries);
        match result {
            Ok(()) if std::mem::take(&mut failing) => {
                tracing::info!(path = %parts.directory().display(), "the air journal is written again");
            }
            Ok(()) => {}
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(
                        path = %parts.directory().display(), %error,
                        "the air journal cannot be written: streaming goes on, and the newest \
                         entries are kept in memory until it can be; check space and permissions \
                         of STATE_DIR"
                    );
                }
                if is_last_try {
                    return;
                }
                shared.keep(unwritten, closing);
            }
        }
    }
}

fn boot_id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

#[cfg(test)]
mod tests;
