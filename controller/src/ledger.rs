//! `stream_state.json`: one task writes it, everyone else sends what is to be remembered.
//!
//! What has piled up during one write goes into the next. A wish is written at once; what was merely seen
//! waits a moment, so that a wish seldom finds the disk busy with it. A disk that is full or read-only takes
//! nothing off air: the fault is shown, and the newest state is written once it can be.

use std::time::Duration;

use storage::document::{Document, DocumentError};
use storage::model::{ObsRecord, StreamId, StreamRecord, StreamStateFile};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::chain;

/// A wish is on disk before it is acted on, unless the disk takes longer than this.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long what was seen waits for company.
const COMPANY: Duration = Duration::from_millis(100);
/// How often a disk that refused is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// Sends to the writer; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    /// Unbounded, so that a stuck disk holds up no driver: a record is small, and each stream sends
    /// one per change of state.
    notes: mpsc::UnboundedSender<Note>,
    fault: watch::Receiver<Option<String>>,
    obs_before: ObsRecord,
}

#[derive(Debug)]
enum Note {
    Remember(StreamId, Box<StreamRecord>),
    Forget(StreamId),
    Obs(ObsRecord),
    /// Answered when everything before it has been written, or could not be.
    Settle(oneshot::Sender<()>),
}

/// A write that was asked for.
#[derive(Debug)]
pub(crate) struct Settling {
    until: Instant,
    wait: oneshot::Receiver<()>,
}

struct Writer {
    /// `None` while a write has it.
    document: Option<Document<StreamStateFile>>,
    file: StreamStateFile,
    notes: mpsc::UnboundedReceiver<Note>,
    settle: Vec<oneshot::Sender<()>>,
    /// When what is not on disk is to be written; `None` when all of it is.
    due: Option<Instant>,
    /// The last write failed: the next is made in its time, whoever waits.
    refused: bool,
    fault: watch::Sender<Option<String>>,
}

// === impl Ledger ===

impl Ledger {
    /// A ledger over `document` with the contents `file`, and the task that writes it; at once where the
    /// disk does not hold them. The task ends when every clone is gone.
    pub(crate) fn new(
        document: Document<StreamStateFile>,
        file: StreamStateFile,
        is_on_disk: bool,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (notes_tx, notes) = mpsc::unbounded_channel();
        let (fault, fault_rx) = watch::channel(None);
        let obs_before = file.obs;
        let writer = Writer {
            document: Some(document),
            file,
            notes,
            settle: Vec::new(),
            due: (!is_on_disk).then(Instant::now),
            refused: false,
            fault,
        };
        let ledger = Self {
            notes: notes_tx,
            fault: fault_rx,
            obs_before,
        };
        (ledger, writer.run())
    }

    /// Has `record` written soon.
    pub(crate) fn remember(&self, id: &StreamId, record: StreamRecord) {
        self.note(Note::Remember(id.clone(), Box::new(record)));
    }

    /// Has a stream's record removed.
    pub(crate) fn forget(&self, id: &StreamId) {
        self.note(Note::Forget(id.clone()));
    }

    /// Has what is to be known of OBS written soon.
    pub(crate) fn remember_obs(&self, record: ObsRecord) {
        self.note(Note::Obs(record));
    }

    /// What the controller before this one remembered of OBS.
    pub(crate) fn obs_before(&self) -> ObsRecord {
        self.obs_before
    }

    /// Tells when all that was sent before this call is on disk.
    pub(crate) fn settle(&self) -> Settling {
        let (settled, wait) = oneshot::channel();
        self.note(Note::Settle(settled));
        Settling {
            until: Instant::now() + PATIENCE,
            wait,
        }
    }

    /// Why the newest state is not on disk; `None` when it is.
    pub(crate) fn fault(&self) -> Option<String> {
        self.fault.borrow().clone()
    }

    fn note(&self, note: Note) {
        // The writer outlives every driver; after it there is nothing to remember.
        let _ = self.notes.send(note);
    }
}

// === impl Settling ===

impl Settling {
    /// Waits for it, a second from when it was asked for at most.
    pub(crate) async fn done(self) {
        if timeout_at(self.until, self.wait).await.is_err() {
            tracing::warn!(
                "the state file takes longer than {} s to write",
                PATIENCE.as_secs()
            );
        }
    }
}

// === impl Writer ===

impl Writer {
    async fn run(mut self) {
        loop {
            tokio::select! {
                note = self.notes.recv() => match note {
                    Some(note) => self.take(note),
                    None => break,
                },
                () = at(self.due) => {}
            }
            while let Ok(note) = self.notes.try_recv() {
                self.take(note);
            }
            if self.due.is_some_and(|due| Instant::now() >= due) {
                self.write().await;
            }
            for settled in self.settle.drain(..) {
                // Whoever waited may have lost patience.
                let _ = settled.send(());
            }
        }
        if self.due.is_some() {
            self.write().await;
        }
    }

    fn take(&mut self, note: Note) {
        match note {
            Note::Remember(id, record) => {
                self.file.streams.insert(id, *record);
                self.changed();
            }
            Note::Forget(id) => {
                if self.file.streams.remove(&id).is_some() {
                    self.changed();
                }
            }
            Note::Obs(record) => {
                self.file.obs = record;
                self.changed();
            }
            Note::Settle(settled) => {
                self.settle.push(settled);
                // A disk that refused is not asked again for every wish.
                if !self.refused {
                    self.due = self.due.map(|_| Instant::now());
                }
            }
        }
    }

    fn changed(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + COMPANY);
    }

    async fn write(&mut self) {
        let file = self.file.clone();
        let mut document = self
            .document
            .take()
            .expect("only this function takes the document, and puts it back");
        let (document, outcome) = tokio::task::spawn_blocking(move || {
            // What was found damaged at the start is kept beside it; see `registry::start`.
            let outcome = document.save_over(&file);
            (document, outcome)
        })
        .await
        .expect("writing a document does not panic");
        self.document = Some(document);
        match outcome {
            Ok(_generation) => {
                self.due = None;
                self.refused = false;
                if self.fault.send_replace(None).is_some() {
                    tracing::info!("the state file is written again");
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &DocumentError) {
        self.due = Some(Instant::now() + RETRY_EVERY);
        self.refused = true;
        let text = chain(error);
        let known = self.fault.send_replace(Some(text.clone())).is_some();
        if !known {
            tracing::error!(
                error_type = "state_not_saved",
                will_retry = true,
                "the state file cannot be written; streams go on, and it is tried again every {} s: \
                 {text}",
                RETRY_EVERY.as_secs()
            );
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
