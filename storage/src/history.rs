//! `history.db`: what viewers could see, and when, kept for months.
//!
//! A SQLite file with one writer, the controller, through one [`Database`]. What the rows mean and how
//! long they are kept is in `docs/design/air-record.md`; who fills them is the controller's affair.
//!
//! ```text
//! open ──► whole ──────────────► Database ── write, read, retain
//!   ├────► damaged: set aside as history.db.corrupt-<time>, begun anew
//!   └────► of a newer release, unreadable: an error, and the file stays as it is
//! ```
//!
//! Everything here blocks on the disk.

mod named;
mod read;
mod retain;
mod rows;
mod schema;
mod whereabouts;
mod write;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode};

pub use read::{Incidents, Loaded, SampleFilter};
pub use retain::{Limits, Retained};
pub use rows::{
    AskedBy, Boot, Delivery, Gap, Key, LiveSession, Mark, OnAirSpan, Part, Recovery, Row, Sample,
    SessionEnd, Span, Table, Wanted,
};
pub use schema::SCHEMA_VERSION;
pub use whereabouts::Whereabouts;
pub use write::Batch;

use self::whereabouts::Identity;
use crate::atomic::{self, AtomicError, DiskFault};

/// A reader with `sqlite3` at the same time is waited for this long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// The write-ahead log is cut back to this after each checkpoint.
const WAL_LIMIT_BYTES: i64 = 4 * 1024 * 1024;

/// The open file.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    path: PathBuf,
    /// Of what was opened; `None` where the disk did not say.
    file: Option<Identity>,
    /// Of SQLite's log beside it.
    log: Option<Identity>,
}

/// What could not be done with the history.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// SQLite refused.
    #[error("cannot {operation} {}", path.display())]
    Sqlite {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The file was written by a newer release.
    #[error(
        "{} is of schema {found}, and this release knows {SCHEMA_VERSION}: install the newer release \
         again, or move the file away", path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
    },
    /// A damaged file could not be moved out of the way.
    #[error(transparent)]
    SetAside(#[from] AtomicError),
}

// === impl Database ===

impl Database {
    /// Opens the history at `path`, making or migrating it as needed. A damaged file is set aside;
    /// the second value is then its new name.
    ///
    /// # Errors
    /// When the file can be neither used nor set aside.
    pub fn open(path: &Path, now: Timestamp) -> Result<(Self, Option<PathBuf>), HistoryError> {
        match Self::open_whole(path) {
            Err(error) if error.is_corrupt() => {
                let aside = set_aside(path, now)?;
                Ok((Self::open_whole(path)?, Some(aside)))
            }
            Err(error) => Err(error),
            Ok(database) => Ok((database, None)),
        }
    }

    /// Closes a file that turned out to be damaged, sets it aside and begins a new one.
    ///
    /// # Errors
    /// When it can be neither set aside nor made anew.
    pub fn begin_anew(self, now: Timestamp) -> Result<(Self, PathBuf), HistoryError> {
        let Self {
            connection, path, ..
        } = self;
        drop(connection);
        let aside = set_aside(&path, now)?;
        Ok((Self::open_whole(&path)?, aside))
    }

    /// Brings what was written to where no power cut undoes it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn settle(&mut self) -> Result<(), HistoryError> {
        self.with("settle", |connection| {
            connection.pragma_query(None, "wal_checkpoint", |_| Ok(()))
        })
    }

    fn open_whole(path: &Path) -> Result<Self, HistoryError> {
        let failed = |operation| {
            move |source| HistoryError::Sqlite {
                operation,
                path: path.to_owned(),
                source,
            }
        };
        let mut connection = Connection::open(path).map_err(failed("open"))?;
        // Looked at first: not even the journal mode of a newer file is touched.
        let found = schema::version(&connection).map_err(failed("open"))?;
        if found > SCHEMA_VERSION {
            return Err(HistoryError::Newer {
                path: path.to_owned(),
                found,
            });
        }
        configure(&connection).map_err(failed("open"))?;
        schema::migrate(&mut connection, found).map_err(failed("migrate"))?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            file: Identity::of(path).ok(),
            log: Identity::of(&with_suffix(path, "-wal")).ok(),
        })
    }

    /// Does `work`; an error says what it was.
    fn with<T>(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, HistoryError> {
        work(&mut self.connection).map_err(|source| HistoryError::Sqlite {
            operation,
            path: self.path.clone(),
            source,
        })
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Only a file without tables takes it; without it the file never shrinks.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // A power cut may undo the last transactions, each whole: with the rows goes the reading place, and
    // the journals are read again. What they were read from is removed only after `settle`.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "journal_size_limit", WAL_LIMIT_BYTES)?;
    Ok(())
}

/// Moves the file and what SQLite keeps beside it.
fn set_aside(path: &Path, now: Timestamp) -> Result<PathBuf, HistoryError> {
    let aside = with_suffix(
        path,
        &format!(".corrupt-{}", now.strftime("%Y%m%dT%H%M%SZ")),
    );
    atomic::set_aside(path, &aside)?;
    for beside in ["-wal", "-shm"] {
        let from = with_suffix(path, beside);
        if from.exists() {
            atomic::set_aside(&from, &with_suffix(&aside, beside))?;
        }
    }
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

// === impl HistoryError ===

impl HistoryError {
    /// Whether the file itself is damaged.
    pub fn is_corrupt(&self) -> bool {
        matches!(
            self.code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
    }

    /// What an operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self.code() {
            Some(ErrorCode::DiskFull) => DiskFault::Full.hint(),
            Some(ErrorCode::ReadOnly) => {
                DiskFault::of(&io::Error::from(io::ErrorKind::ReadOnlyFilesystem)).hint()
            }
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                DiskFault::of(&io::Error::from(io::ErrorKind::PermissionDenied)).hint()
            }
            _ => "streams are not affected; it is tried again by itself",
        }
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Sqlite { source, .. } => source.sqlite_error_code(),
            Self::Newer { .. } | Self::SetAside(_) => None,
        }
    }
}
