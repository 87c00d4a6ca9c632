//! The thread that owns the history.
//!
//! Each turn it takes the notes there are, reads on in the journals when half a second has passed,
//! and writes what came of it in one transaction. Before the file could be read for the first time
//! nothing is known of the past, so notes wait; afterwards the recorders go on in memory whatever
//! the disk does.

mod journals;
mod missing;
mod past;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant as Clock};

use storage::history::{Limits, Loaded, Sample};
use storage::layout::Layout;
use storage::model::StreamId;
use tokio::sync::watch;

use super::answer::Asked;
use super::axis::{Axis, Instant};
use super::fact::{Fact, What};
use super::import::Import;
use super::moment::{self, Moment};
use super::recorder::{Changes, Recorder};
use super::store::Store;
use super::totals::Totals;
use super::{Ask, Note, Unavailable};

/// How often the journals are looked at.
const TICK: Duration = Duration::from_millis(500);
/// How often old rows are removed.
const RETAIN_EVERY: Duration = Duration::from_hours(1);
/// Notes that wait for the first reading of the file; the oldest give way.
const MAX_WAITING: usize = 10_000;

/// The owner of the history.
#[derive(Debug)]
pub(super) struct Keeper {
    layout: Layout,
    limits: Limits,
    boot_id: String,
    notes: Receiver<Note>,
    store: Store,
    /// The file was read: what follows is known by heart.
    loaded: bool,
    began: Moment,
    waiting: VecDeque<Note>,
    axis: Axis,
    recorders: BTreeMap<StreamId, Recorder>,
    import: Import,
    /// Parts that could not be removed, so that it is told once.
    stuck: BTreeSet<PathBuf>,
    retain_at: Clock,
}

// === impl Keeper ===

impl Keeper {
    pub(super) fn new(
        layout: Layout,
        limits: Limits,
        notes: Receiver<Note>,
        fault: watch::Sender<Option<String>>,
    ) -> Self {
        Self {
            limits,
            boot_id: moment::boot_id(),
            notes,
            store: Store::new(layout.history_file(), fault),
            loaded: false,
            began: Moment::now(),
            waiting: VecDeque::new(),
            axis: Axis::default(),
            recorders: BTreeMap::new(),
            import: Import::new(layout.clone()),
            layout,
            stuck: BTreeSet::new(),
            retain_at: Clock::now(),
        }
    }

    /// Serves until it is closed, or everyone who could send is gone.
    pub(super) fn run(mut self) {
        let mut tick_at = Clock::now();
        loop {
            let patience = tick_at.saturating_duration_since(Clock::now());
            let flow = match self.notes.recv_timeout(patience) {
                Ok(note) => self.take_all(note),
                Err(RecvTimeoutError::Timeout) => ControlFlow::Continue(()),
                Err(RecvTimeoutError::Disconnected) => return self.tick(),
            };
            if Clock::now() >= tick_at {
                self.tick();
                tick_at = Clock::now() + TICK;
            }
            self.write();
            if let ControlFlow::Break(closed) = flow {
                self.store.last_try();
                self.tick();
                self.write();
                // Nothing touches the file any more once it is told.
                self.store.close();
                // Whoever waited may have lost patience.
                let _ = closed.send(());
                return;
            }
        }
    }

    fn take_all(&mut self, first: Note) -> ControlFlow<tokio::sync::oneshot::Sender<()>> {
        let mut next = Some(first);
        while let Some(note) = next {
            match note {
                Note::Close(closed) => return ControlFlow::Break(closed),
                Note::Ask(ask) => self.answer(ask),
                note if self.loaded => self.take(note),
                note => {
                    self.waiting.push_back(note);
                    if self.waiting.len() > MAX_WAITING {
                        self.waiting.pop_front();
                    }
                }
            }
            next = self.notes.try_recv().ok();
        }
        ControlFlow::Continue(())
    }

    fn tick(&mut self) {
        self.store.look();
        if let Some(found) = self.store.open() {
            self.go_on_in(found);
        }
        if !self.loaded {
            return;
        }
        self.import_all();
        self.remove_finished();
        if Clock::now() >= self.retain_at {
            self.retain_at = Clock::now() + RETAIN_EVERY;
            self.retain();
        }
    }

    fn load(&mut self, found: Loaded) {
        for (stream, text) in found.recorders {
            match Recorder::from_text(&text) {
                Ok(recorder) => {
                    self.recorders.insert(stream, recorder);
                }
                // Written by another release; its open intervals stay as they are.
                Err(error) => {
                    tracing::warn!(stream_id = %stream, %error, "the stream's record begins anew")
                }
            }
        }
        let newest = self.recorders.values().map(Recorder::newest);
        let newest = newest.max_by_key(|instant| instant.ms);
        self.axis = Axis::new(
            self.boot_id.clone(),
            found.boots,
            newest.map(|instant| (instant.ms, instant.at)),
        );
        self.import.go_on_from(found.cursors);
        for part in self.import.stale() {
            self.import.forget(&part);
            self.store.pending.cursors.insert(part, None);
        }
        self.loaded = true;
        self.import_all();
        for note in std::mem::take(&mut self.waiting) {
            self.take(note);
        }
    }

    fn take(&mut self, note: Note) {
        match note {
            Note::Saw {
                stream,
                moment,
                what,
            } => match what {
                What::Gone { .. } => self.worker_is_gone(&stream, moment, what),
                what => self.note(&stream, moment, what),
            },
            Note::Withdrew {
                stream,
                moment,
                what,
            } => self.withdraw(&stream, moment, what),
            Note::Recovered {
                stream,
                moment,
                wanted,
                alive,
                pulse,
            } => {
                if !alive {
                    self.earlier_worker_is_gone(&stream, moment, pulse);
                }
                self.recovered(&stream, moment, wanted);
            }
            Note::Streams(known, moment) => {
                let gone: Vec<_> = self
                    .recorders
                    .keys()
                    .filter(|id| !known.contains(id))
                    .cloned()
                    .collect();
                for stream in gone {
                    self.note(&stream, moment, What::Unwanted);
                }
            }
            Note::Samples(samples, moment) => self.samples(samples, moment),
            Note::Ask(_) | Note::Close(_) => unreachable!("taken by take_all"),
        }
    }

    fn note(&mut self, stream: &StreamId, moment: Moment, what: What) {
        let instant = self.place(moment);
        self.record(stream, [fact(instant, what)]);
    }

    fn samples(&mut self, mut samples: Vec<Sample>, moment: Moment) {
        let instant = self.place(moment);
        for sample in &mut samples {
            (sample.ms, sample.at) = (instant.ms, instant.at);
        }
        self.store.pending.samples.append(&mut samples);
    }

    fn record(&mut self, stream: &StreamId, facts: impl IntoIterator<Item = Fact>) {
        let mut facts = facts.into_iter().peekable();
        let Some(first) = facts.peek() else {
            return;
        };
        let start = Instant {
            ms: first.ms,
            at: first.at,
        };
        let recorder = self
            .recorders
            .entry(stream.clone())
            .or_insert_with(|| Recorder::new(stream.clone(), start));
        let changes = recorder.note(facts);
        self.put(stream, changes);
    }

    fn withdraw(&mut self, stream: &StreamId, moment: Moment, what: What) {
        let instant = self.place(moment);
        if let Some(recorder) = self.recorders.get_mut(stream) {
            let changes = recorder.withdraw(&fact(instant, what));
            self.put(stream, changes);
        }
    }

    fn put(&mut self, stream: &StreamId, changes: Changes) {
        let pending = &mut self.store.pending;
        pending.rows.extend(changes);
        if let Some(recorder) = self.recorders.get(stream) {
            pending.recorders.insert(stream.clone(), recorder.to_text());
        }
        pending.boots = self.axis.boots();
    }

    fn place(&mut self, moment: Moment) -> Instant {
        Instant {
            ms: self.axis.place(&self.boot_id, moment),
            at: moment.at,
        }
    }

    fn write(&mut self) {
        if self.loaded {
            self.store.write();
        }
    }

    /// What is known by heart, for a file that has nothing.
    fn put_everything(&mut self) {
        let pending = &mut self.store.pending;
        for (stream, recorder) in &self.recorders {
            let rows = recorder.rows().iter();
            pending
                .rows
                .extend(rows.map(|(key, row)| (key.clone(), Some(row.clone()))));
            pending.recorders.insert(stream.clone(), recorder.to_text());
        }
        let places = self.import.places().iter();
        pending
            .cursors
            .extend(places.map(|(part, offset)| (part.clone(), Some(*offset))));
        pending.boots = self.axis.boots();
    }

    fn retain(&mut self) {
        let now = self.place(Moment::now());
        let limits = self.limits;
        // A refusal has been told by the store.
        if let Ok(gone) = self.store.with(|database| database.retain(limits, now.ms)) {
            tracing::debug!(?gone, "old rows of the history were removed");
        }
    }

    /// Answers from the file, with everything known up to now in it.
    fn answer(&mut self, ask: Ask) {
        self.tick();
        self.write();
        let now = self.place(Moment::now());
        // Whoever asked may have gone away.
        match ask {
            Ask::Uptime(window, stream, reply) => {
                drop(reply.send(self.asked(now).uptime(window, stream)));
            }
            Ask::Incidents(incidents, reply) => {
                drop(reply.send(self.asked(now).incidents(incidents)));
            }
            Ask::Metrics(stream, metrics, reply) => {
                drop(reply.send(self.asked(now).metrics(stream, metrics)));
            }
            Ask::Transitions(transitions, reply) => {
                drop(reply.send(self.asked(now).transitions(transitions)));
            }
            Ask::Totals(reply) => drop(reply.send(self.count(now))),
        }
    }

    fn asked(&mut self, now: Instant) -> Asked<'_> {
        Asked {
            now,
            store: &mut self.store,
        }
    }

    /// What every record adds up to. It is written down before it is told, so that the next controller
    /// tells no less.
    fn count(&mut self, now: Instant) -> Result<BTreeMap<StreamId, Totals>, Unavailable> {
        if !self.loaded {
            return Err(self.store.unavailable());
        }
        let mut totals = BTreeMap::new();
        for (stream, recorder) in &mut self.recorders {
            totals.insert(stream.clone(), recorder.count(now.ms).clone());
            let pending = &mut self.store.pending.recorders;
            pending.insert(stream.clone(), recorder.to_text());
        }
        self.write();
        Ok(totals)
    }
}

fn fact(instant: Instant, what: What) -> Fact {
    Fact {
        ms: instant.ms,
        at: instant.at,
        what,
    }
}

#[cfg(test)]
mod tests;
