//! The air record: what every destination got, when, and why not.
//!
//! ```text
//! drivers ── what they saw ──┐              air, recorder, axis (pure)
//! handlers ─ acts, questions ┼─► keeper ──► store ──► history.db
//! sampler ── measurements ───┘    ▲ import: the workers' journals
//! ```
//! The keeper is a thread of its own, because SQLite and journals block: it alone owns the database,
//! the recorders and the journals' reading places. Everyone else has a [`History`], which only sends.
//! Nothing on air waits for it: a disk that refuses is told in `/health`, what is to be written
//! waits in bounded memory, and the journals on the disk. See `docs/design/air-record.md`.

mod air;
mod answer;
mod axis;
mod fact;
mod import;
mod keeper;
mod known;
mod moment;
mod recorder;
pub mod report;
mod sessions;
mod store;
mod totals;
mod transitions;
mod uptime;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use storage::history::Limits;
use storage::history::Sample;
use storage::journal;
use storage::layout::Layout;
use storage::model::StreamId;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

pub(crate) use self::fact::What;
use self::keeper::Keeper;
pub(crate) use self::moment::Moment;
use self::report::{
    AskedIncidents, AskedMetrics, AskedTransitions, Incidents, Metrics, Transitions, Uptime, Window,
};
pub(crate) use self::totals::{DestinationTotals, Tally, Totals};

/// More notes than this wait only when the disk hangs; further ones are lost, and counted.
const NOTES: usize = 4096;
/// A question that takes longer is not answered.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the end of the controller waits for the last write.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Sends to the keeper; clones are the same.
#[derive(Debug, Clone)]
pub struct History {
    notes: mpsc::SyncSender<Note>,
    lost: Arc<AtomicU64>,
    fault: watch::Receiver<Option<String>>,
    layout: Arc<Layout>,
}

/// What the keeper is told and asked.
#[derive(Debug)]
enum Note {
    /// Something happened to a stream.
    Saw {
        stream: StreamId,
        moment: Moment,
        what: What,
    },
    /// What was noted with this moment has not come to pass.
    Withdrew {
        stream: StreamId,
        moment: Moment,
        what: What,
    },
    /// A driver knows how its stream stands after the start of the controller.
    Recovered {
        stream: StreamId,
        moment: Moment,
        /// The wanted destinations; `None` when it is not to be on air.
        wanted: Option<Vec<String>>,
        /// Its earlier worker was found alive.
        alive: bool,
        /// When that worker last said that it lives, in `boot_ms`.
        pulse: Option<u64>,
    },
    /// These are all streams there are.
    Streams(BTreeSet<StreamId>, Moment),
    Samples(Vec<Sample>, Moment),
    Ask(Ask),
    /// Write what there is, and end.
    Close(oneshot::Sender<()>),
}

/// What an operator asks.
#[derive(Debug)]
enum Ask {
    Uptime(Window, Option<StreamId>, Reply<Uptime>),
    Incidents(AskedIncidents, Reply<Incidents>),
    Metrics(StreamId, AskedMetrics, Reply<Metrics>),
    Transitions(AskedTransitions, Reply<Transitions>),
    Totals(Reply<BTreeMap<StreamId, Totals>>),
}

type Reply<T> = oneshot::Sender<Result<T, Unavailable>>;

/// The history cannot be read now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the history cannot be read: {0}")]
pub struct Unavailable(pub String);

// === impl History ===

impl History {
    /// Starts the keeper of the history in `layout`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(layout: Layout, limits: Limits) -> io::Result<Self> {
        let (notes_tx, notes) = mpsc::sync_channel(NOTES);
        let (fault, fault_rx) = watch::channel(None);
        let keeper = Keeper::new(layout.clone(), limits, notes, fault);
        std::thread::Builder::new()
            .name("history".into())
            .spawn(move || keeper.run())?;
        Ok(Self {
            notes: notes_tx,
            lost: Arc::default(),
            fault: fault_rx,
            layout: Arc::new(layout),
        })
    }

    /// Notes what happened to `stream` just now.
    pub(crate) fn saw(&self, stream: &StreamId, what: What) {
        self.saw_at(stream, Moment::now(), what);
    }

    /// Notes what happened to `stream` at `moment`.
    pub(crate) fn saw_at(&self, stream: &StreamId, moment: Moment, what: What) {
        self.note(Note::Saw {
            stream: stream.clone(),
            moment,
            what,
        });
    }

    /// Takes back what was noted of `stream` at `moment`: it was refused.
    pub(crate) fn withdrew(&self, stream: &StreamId, moment: Moment, what: What) {
        self.note(Note::Withdrew {
            stream: stream.clone(),
            moment,
            what,
        });
    }

    /// Notes how a stream stands after the start of the controller, before a worker is started: its
    /// pulse would take the place of the earlier one's.
    pub(crate) fn recovered(&self, stream: &StreamId, wanted: Option<Vec<String>>, alive: bool) {
        self.note(Note::Recovered {
            stream: stream.clone(),
            moment: Moment::now(),
            wanted,
            alive,
            pulse: journal::read_pulse(&self.layout.pulse(stream)),
        });
    }

    /// Notes which streams there are; of others nothing is wanted.
    pub(crate) fn streams(&self, known: BTreeSet<StreamId>) {
        self.note(Note::Streams(known, Moment::now()));
    }

    /// Notes measurements of just now; their times are filled in.
    pub(crate) fn samples(&self, samples: Vec<Sample>) {
        self.note(Note::Samples(samples, Moment::now()));
    }

    /// Availability of one stream or all, those of the past included.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn uptime(
        &self,
        window: Window,
        stream: Option<StreamId>,
    ) -> Result<Uptime, Unavailable> {
        self.ask(|reply| Ask::Uptime(window, stream, reply)).await
    }

    /// Gaps and slates, newest first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn incidents(&self, asked: AskedIncidents) -> Result<Incidents, Unavailable> {
        self.ask(|reply| Ask::Incidents(asked, reply)).await
    }

    /// Live sessions, newest first, and how long each step took.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn transitions(&self, asked: AskedTransitions) -> Result<Transitions, Unavailable> {
        self.ask(|reply| Ask::Transitions(asked, reply)).await
    }

    /// Measurements over time.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn metrics(
        &self,
        stream: StreamId,
        asked: AskedMetrics,
    ) -> Result<Metrics, Unavailable> {
        self.ask(|reply| Ask::Metrics(stream, asked, reply)).await
    }

    /// What the record of each stream adds up to since it began.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(crate) async fn totals(&self) -> Result<BTreeMap<StreamId, Totals>, Unavailable> {
        self.ask(Ask::Totals).await
    }

    /// What keeps the history from being whole; `None` while nothing does.
    pub fn fault(&self) -> Option<String> {
        let lost = self.lost.load(Ordering::Relaxed);
        let fault = self.fault.borrow().clone();
        fault.or_else(|| (lost > 0).then(|| format!("{lost} notes for the history were lost")))
    }

    /// Has what is known written, and ends the keeper. A disk that hangs is not waited for.
    pub async fn close(&self) {
        let (closed, wait) = oneshot::channel();
        self.note(Note::Close(closed));
        if timeout(CLOSE_PATIENCE, wait).await.is_err() {
            tracing::warn!("the history was not written to its end; the journals still have it");
        }
    }

    async fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.note(Note::Ask(ask(reply)));
        match timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Unavailable("the controller is ending".into())),
            Err(_) => Err(Unavailable("the disk does not answer".into())),
        }
    }

    fn note(&self, note: Note) {
        // Full only when the disk hangs; then, and after the keeper's end, there is nothing to do but
        // to say so.
        if self.notes.try_send(note).is_err() && self.lost.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!(
                error_type = "history_behind",
                "the history's disk does not answer: what happens meanwhile is lost to it"
            );
        }
    }
}
