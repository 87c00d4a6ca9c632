//! `history.db`: what viewers could see, and when, kept for months.
//!
//! A SQLite file with one writer, the controller, through one [`Database`]. What the rows mean and how
//! long they are kept is in `docs/design/air-record.md`; who fills them is the controller's affair.
//!
//! ```text
//! open ──► whole ──────────────► Database ── write, read, retain
//!   ├────► damaged: an error; set aside as history.db.corrupt-<time>, the next open begins a new one
//!   └────► of a newer release, unreadable: an error, and the file stays as it is
//! ```
//!
//! Everything here blocks on the disk.

mod named;
mod read;
mod retain;
mod rows;
mod schema;
mod unrecorded;
mod whereabouts;
mod write;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, ffi};

pub use read::{Incidents, Loaded, SampleFilter};
pub use retain::{Limits, Retained};
pub use rows::{
    AskedBy, Boot, Delivery, Gap, Key, LiveSession, Mark, OnAirSpan, Part, Recovery, Row, Sample,
    SessionEnd, Span, Table, Wanted,
};
pub use schema::SCHEMA_VERSION;
pub use unrecorded::{Unrecorded, UnrecordedCause};
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
    /// There is no room for a file that is to be written again.
    #[error("cannot restore {}: that takes {}, and {} are free", path.display(), mib(*needed), mib(*free))]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        needed: u64,
        /// Bytes that its disk has left.
        free: u64,
    },
    /// A file could not be renamed, or not be brought to the disk.
    #[error(transparent)]
    Atomic(#[from] AtomicError),
}

// === impl Database ===

impl Database {
    /// Opens the history at `path`, making or migrating it as needed.
    ///
    /// # Errors
    /// When the file cannot be used; one that is damaged is to be set aside first.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
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
        unrecorded::make(&connection).map_err(failed("migrate"))?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            file: Identity::of(path).ok(),
            log: Identity::of(&with_suffix(path, "-wal")).ok(),
        })
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

/// Moves a damaged file that is not open, and what SQLite keeps beside it, out of the way; its new name.
///
/// # Errors
/// When it cannot be renamed.
pub fn set_aside(path: &Path, now: Timestamp) -> Result<PathBuf, HistoryError> {
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

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0))
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

    /// Whether what was in the file cannot be read any more.
    pub fn is_unreadable(&self) -> bool {
        const READING: [i32; 3] = [
            ffi::SQLITE_IOERR_READ,
            ffi::SQLITE_IOERR_SHORT_READ,
            ffi::SQLITE_IOERR_CORRUPTFS,
        ];
        let failed = match self {
            Self::Sqlite { source, .. } => source.sqlite_error(),
            Self::Newer { .. } | Self::NoRoom { .. } | Self::Atomic(_) => None,
        };
        self.is_corrupt() || failed.is_some_and(|error| READING.contains(&error.extended_code))
    }

    /// What an operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoRoom { .. } => return DiskFault::Full.hint(),
            Self::Atomic(error) => return error.fault.hint(),
            Self::Sqlite { .. } | Self::Newer { .. } => {}
        }
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
            Self::Newer { .. } | Self::NoRoom { .. } | Self::Atomic(_) => None,
        }
    }
}
