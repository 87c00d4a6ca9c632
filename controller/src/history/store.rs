//! The database with what waits to be written into it.
//!
//! ```text
//!  Closed ──open──► Open ──a write or read fails──► tried again after 5 s
//!    ▲                │
//!    ├─ set aside ◄───┤ damaged
//!    ├─ let go of ◄───┤ replaced
//!    └─ put back ◄────┘ removed ──the disk refuses──► Held ──tried again after 5 s──► put back
//! ```
//! What is put back, or begun anew, is opened as any other file is. A file that is held is at no path: it is only read,
//! and what is to be written waits.
//!
//! A batch stays until it was written whole. Rows replace their earlier selves in it, so a disk that
//! refuses for a day costs as much memory as there were intervals; samples beyond a bound are dropped,
//! oldest first.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use storage::history::{self, Batch, Database, HistoryError, Loaded, UnrecordedCause, Whereabouts};
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
    /// The open file was removed, and the disk does not take it again yet.
    is_held: bool,
    /// Why what comes next has not what was before; until it is asked.
    missing: Option<UnrecordedCause>,
    /// What is to be written next.
    pub(super) pending: Batch,
    fault: watch::Sender<Option<String>>,
}

// === impl Store ===

impl Store {
    pub(super) fn new(path: PathBuf, fault: watch::Sender<Option<String>>) -> Self {
        Self {
            path,
            database: None,
            retry_at: None,
            is_held: false,
            missing: None,
            pending: Batch::default(),
            fault,
        }
    }

    /// Opens the file if it is not open and it is time to try; what is in it, when it was opened.
    pub(super) fn open(&mut self) -> Option<Loaded> {
        if self.database.is_some() || !self.may_try() {
            return None;
        }
        let opened = match open_and_load(&self.path) {
            Err(error) if error.is_corrupt() => {
                let aside = self.set_aside();
                aside.and_then(|()| open_and_load(&self.path))
            }
            opened => opened,
        };
        match opened {
            Ok((database, loaded)) => {
                self.database = Some(database);
                self.works();
                Some(loaded)
            }
            Err(error) => {
                self.refused(error);
                None
            }
        }
    }

    /// Why the file that was opened just now has not what was before, where it has not.
    pub(super) fn take_missing(&mut self) -> Option<UnrecordedCause> {
        self.missing.take()
    }

    /// Looks whether the open file still is the one at its path, and does what is to be done when it is not.
    pub(super) fn look(&mut self) {
        let whereabouts = self.database.as_ref().map(Database::whereabouts);
        match whereabouts {
            None => {}
            // One that was only moved away may have come back by itself.
            Some(Whereabouts::There) => self.is_held = false,
            Some(Whereabouts::Removed) if self.is_held && !self.may_try() => {}
            Some(Whereabouts::Removed) => self.removed(),
            Some(Whereabouts::Replaced) => self.replaced(),
        }
    }

    /// What was refused is tried once more with the next look: no later one will come.
    pub(super) fn last_try(&mut self) {
        self.retry_at = None;
    }

    /// Nothing is tried any more. What is still held ends with this process.
    pub(super) fn close(self) {
        if self.is_held {
            tracing::error!(
                error_type = "history_lost",
                path = %self.path.display(),
                "the history was removed while it was in use, and could not be written again before the \
                 controller ended: the next one begins a new one, with what the journals still have"
            );
        }
    }

    /// Writes what waits; whether nothing waits any more.
    pub(super) fn write(&mut self) -> bool {
        self.bound();
        // After a refusal even nothing is written: that is how it is found out that it works again.
        if self.pending.is_empty() && self.fault.borrow().is_none() {
            return true;
        }
        if self.is_held || !self.may_try() {
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

    fn refused(&mut self, mut error: HistoryError) {
        if error.is_corrupt() && self.database.take().is_some() {
            if std::mem::take(&mut self.is_held) {
                return self.lost(&error);
            }
            match self.set_aside() {
                Ok(()) => return,
                Err(refused) => error = refused,
            }
        }
        let text = told(&error);
        if self.wait(text.clone()) {
            tracing::error!(
                error_type = "history_not_saved",
                will_retry = true,
                "streams go on, and the history is tried again every {} s: {text}",
                RETRY_EVERY.as_secs()
            );
        }
    }

    /// Until the next try, for this reason; whether there was none to wait before.
    fn wait(&mut self, why: String) -> bool {
        self.retry_at = Some(Instant::now() + RETRY_EVERY);
        self.fault.send_replace(Some(why)).is_none()
    }

    fn removed(&mut self) {
        match self.database.as_mut().map(Database::put_back) {
            None => {}
            Some(Ok(())) => {
                let was_held = self.is_held;
                self.let_go();
                // Then it was told, and that it is written again is told when it is.
                if !was_held {
                    tracing::warn!(
                        error_type = "history_removed",
                        path = %self.path.display(),
                        "the history was removed while it was in use: it was written again from what was \
                         still open, and nothing of it is lost; to begin a new one, stop the controller first"
                    );
                }
            }
            Some(Err(error)) if error.is_unreadable() => {
                self.let_go();
                self.lost(&error);
            }
            Some(Err(error)) => self.hold(&error),
        }
    }

    fn hold(&mut self, error: &HistoryError) {
        let text = told(error);
        self.wait(format!("it was removed while it was in use: {text}"));
        if !std::mem::replace(&mut self.is_held, true) {
            tracing::error!(
                error_type = "history_removed",
                will_retry = true,
                path = %self.path.display(),
                "the history was removed while it was in use, and cannot be written again yet: it is kept open, so \
                 that nothing of it is lost while the controller runs, and its room is not free; it is tried again \
                 every {} s: {text}",
                RETRY_EVERY.as_secs()
            );
        }
    }

    /// What was removed cannot be read any more, and is closed.
    fn lost(&mut self, error: &HistoryError) {
        self.retry_at = None;
        self.missing = Some(UnrecordedCause::Lost);
        tracing::error!(
            error_type = "history_lost",
            path = %self.path.display(),
            "the history was removed while it was in use, and could not be written again: a new one is begun, and \
             everything up to now is missing in it, but for what is under way: {}",
            told(error)
        );
    }

    fn let_go(&mut self) {
        if let Some(database) = self.database.take() {
            database.let_go();
        }
        self.is_held = false;
        self.retry_at = None;
    }

    fn replaced(&mut self) {
        self.let_go();
        self.missing = Some(UnrecordedCause::Replaced);
        tracing::error!(
            error_type = "history_replaced",
            path = %self.path.display(),
            "another file was put in the place of the history while it was in use: the record goes on in \
             that one, and what only the one before had is missing in it; stop the controller before you \
             restore a copy"
        );
    }

    /// The damaged file has another name now.
    fn set_aside(&mut self) -> Result<(), HistoryError> {
        let aside = history::set_aside(&self.path, Timestamp::now())?;
        self.missing = Some(UnrecordedCause::Damaged);
        self.retry_at = None;
        tracing::error!(
            error_type = "history_corrupt",
            aside = %aside.display(),
            "the history was damaged: it was set aside, and a new one is begun; what is read from the \
             journals from now on is in the new one"
        );
        Ok(())
    }
}

/// The file, with what is in it. Damage may show only when it is read.
fn open_and_load(path: &Path) -> Result<(Database, Loaded), HistoryError> {
    let mut database = Database::open(path)?;
    let loaded = database.load()?;
    Ok((database, loaded))
}

fn told(error: &HistoryError) -> String {
    format!("{}; {}", chain(error), error.hint())
}
