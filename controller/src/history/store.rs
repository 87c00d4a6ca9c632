//! The database with what waits to be written into it.
//!
//! ```text
//!  Closed ──open──► Open ──a write or read fails──► Refused ──5 s──► tried again
//!                    ▲                                 │
//!                    └── damaged: set aside, anew ◄────┘
//! ```
//! An open file that was removed is written again from what is still open; one that was replaced is let go of, for the
//! other in its place.
//!
//! A batch stays until it was written whole. Rows replace their earlier selves in it, so a disk that
//! refuses for a day costs as much memory as there were intervals; samples beyond a bound are dropped,
//! oldest first.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use storage::history::{Batch, Database, HistoryError, Loaded, Whereabouts};
use tokio::sync::watch;

use super::Unavailable;
use crate::chain;

const RETRY_EVERY: Duration = Duration::from_secs(5);
/// A day of one destination, an hour of many.
const MAX_SAMPLES: usize = 10_000;
/// With so many rows waiting no more are read from the journals, where they keep.
const MANY_ROWS: usize = 10_000;

/// The database, open or to be opened.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    database: Option<Database>,
    retry_at: Option<Instant>,
    /// What is to be written next.
    pub(super) pending: Batch,
    /// The file is new, and everything known has to be put into it.
    pub(super) anew: bool,
    fault: watch::Sender<Option<String>>,
}

// === impl Store ===

impl Store {
    pub(super) fn new(path: PathBuf, fault: watch::Sender<Option<String>>) -> Self {
        Self {
            path,
            database: None,
            retry_at: None,
            pending: Batch::default(),
            anew: false,
            fault,
        }
    }

    /// Opens the file if it is not open and it is time to try; what is in it, when it was opened.
    pub(super) fn open(&mut self) -> Option<Loaded> {
        if self.database.is_some() || !self.may_try() {
            return None;
        }
        match open_and_load(&self.path) {
            Ok((database, aside, loaded)) => {
                self.database = Some(database);
                match aside {
                    Some(aside) => self.set_aside(&aside),
                    None => self.works(),
                }
                Some(loaded)
            }
            Err(error) => {
                self.refused(error);
                None
            }
        }
    }

    /// Looks whether the open file is still the one at its path, and does what is to be done when it is not.
    pub(super) fn look(&mut self) {
        let whereabouts = self.database.as_ref().map(Database::whereabouts);
        match whereabouts {
            None | Some(Whereabouts::There) => {}
            Some(Whereabouts::Removed) => self.removed(),
            Some(Whereabouts::Replaced) => self.replaced(),
        }
    }

    /// Writes what waits; whether nothing waits any more.
    pub(super) fn write(&mut self) -> bool {
        self.bound();
        // After a refusal even nothing is written: that is how it is found out that it works again.
        if self.pending.is_empty() && self.fault.borrow().is_none() {
            return true;
        }
        if !self.may_try() {
            return false;
        }
        let Some(database) = &mut self.database else {
            return false;
        };
        match database.write(&self.pending) {
            Ok(()) => {
                self.pending = Batch::default();
                self.works();
                true
            }
            Err(error) => {
                self.refused(error);
                false
            }
        }
    }

    /// Does `work` with the open file.
    pub(super) fn with<T>(
        &mut self,
        work: impl FnOnce(&mut Database) -> Result<T, HistoryError>,
    ) -> Result<T, Unavailable> {
        let Some(database) = &mut self.database else {
            return Err(self.unavailable());
        };
        work(database).map_err(|error| {
            let text = told(&error);
            self.refused(error);
            Unavailable(text)
        })
    }

    /// Why nothing can be read while it is not open.
    pub(super) fn unavailable(&self) -> Unavailable {
        let fault = self.fault.borrow().clone();
        Unavailable(fault.unwrap_or_else(|| "it is not open yet".into()))
    }

    /// Whether the backlog is such that more should not be read.
    pub(super) fn is_behind(&self) -> bool {
        self.pending.rows.len() > MANY_ROWS
    }

    fn may_try(&self) -> bool {
        self.retry_at.is_none_or(|at| Instant::now() >= at)
    }

    fn bound(&mut self) {
        let samples = &mut self.pending.samples;
        if let Some(surplus) = samples.len().checked_sub(MAX_SAMPLES) {
            samples.drain(..surplus);
        }
    }

    fn works(&mut self) {
        self.retry_at = None;
        if self.fault.send_replace(None).is_some() {
            tracing::info!("the history is written again");
        }
    }

    fn refused(&mut self, error: HistoryError) {
        if error.is_corrupt()
            && let Some(database) = self.database.take()
        {
            match database.begin_anew(Timestamp::now()) {
                Ok((database, aside)) => {
                    self.database = Some(database);
                    return self.set_aside(&aside);
                }
                Err(error) => return self.refused(error),
            }
        }
        self.retry_at = Some(Instant::now() + RETRY_EVERY);
        let text = told(&error);
        if self.fault.send_replace(Some(text.clone())).is_none() {
            tracing::error!(
                error_type = "history_not_saved",
                will_retry = true,
                "streams go on, and the history is tried again every {} s: {text}",
                RETRY_EVERY.as_secs()
            );
        }
    }

    fn removed(&mut self) {
        match self.database.take().map(Database::restore) {
            None => {}
            Some(Ok(database)) => {
                self.database = Some(database);
                tracing::warn!(
                    error_type = "history_removed",
                    path = %self.path.display(),
                    "the history was removed while it was in use: it was written again from what was \
                     still open, and nothing of it is lost; to begin a new one, stop the controller first"
                );
            }
            Some(Err(error)) => tracing::error!(
                error_type = "history_lost",
                path = %self.path.display(),
                "the history was removed while it was in use, and could not be written again: a new one \
                 is begun, and everything up to now is missing in it, but for what is under way: {}",
                told(&error)
            ),
        }
    }

    fn replaced(&mut self) {
        if let Some(database) = self.database.take() {
            let path = database.let_go();
            tracing::error!(
                error_type = "history_replaced",
                path = %path.display(),
                "another file was put in the place of the history while it was in use: the record goes \
                 on in that one, and what only the one before had is missing in it; stop the controller \
                 before you restore a copy"
            );
        }
    }

    /// The damaged file has another name now; a person should know until the next start.
    fn set_aside(&mut self, aside: &Path) {
        self.anew = true;
        self.retry_at = None;
        self.fault.send_replace(None);
        tracing::error!(
            error_type = "history_corrupt",
            aside = %aside.display(),
            "the history was damaged: it was set aside and a new one begun; what is read from the \
             journals from now on is in the new one"
        );
    }
}

/// The file, its new name where it was damaged, and what is in it. Damage may show only when it is read.
fn open_and_load(path: &Path) -> Result<(Database, Option<PathBuf>, Loaded), HistoryError> {
    let (mut database, aside) = Database::open(path, Timestamp::now())?;
    match database.load() {
        Err(error) if error.is_corrupt() => {
            let (mut database, aside) = database.begin_anew(Timestamp::now())?;
            let loaded = database.load()?;
            Ok((database, Some(aside), loaded))
        }
        loaded => Ok((database, aside, loaded?)),
    }
}

fn told(error: &HistoryError) -> String {
    format!("{}; {}", chain(error), error.hint())
}
