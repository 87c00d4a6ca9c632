//! Stretches of which the record has lost what it had.
//!
//! Their table is not among the migrations: a release that does not know it needs nothing of it, so going back to
//! one stays possible.

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::named::Named;
use super::{Database, HistoryError};

/// Not in the record, on its axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unrecorded {
    /// From here on; [`Self::EVER`] where the whole past is meant.
    pub from_ms: i64,
    /// To here.
    pub to_ms: i64,
    /// Why.
    pub cause: UnrecordedCause,
}

/// Why there is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum UnrecordedCause {
    /// There was none yet, or its file was removed while no controller ran.
    NoRecord,
    /// Its file was removed while it was in use, and could not be written again.
    Lost,
    /// Its file was damaged, and set aside.
    Damaged,
    /// Another file was put in the place of the one that had it.
    Replaced,
    /// It was removed by age or size.
    Retention,
}

// === impl Unrecorded ===

impl Unrecorded {
    /// Before everything.
    pub const EVER: i64 = i64::MIN;
}

// === impl Database ===

impl Database {
    /// What was lost, oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn unrecorded(&mut self) -> Result<Vec<Unrecorded>, HistoryError> {
        self.with("read", |connection| {
            let sql = "SELECT * FROM unrecorded ORDER BY start_ms";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([], |row| {
                Ok(Unrecorded {
                    from_ms: row.get("start_ms")?,
                    to_ms: row.get("end_ms")?,
                    // That only a newer release knows, this one does not tell.
                    cause: match row.get::<_, Named<_>>("cause") {
                        Err(rusqlite::Error::FromSqlConversionFailure(..)) => {
                            UnrecordedCause::NoRecord
                        }
                        cause => cause?.0,
                    },
                })
            })?;
            rows.collect()
        })
    }

    /// When anything was wanted first, of what is kept.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn begins_ms(&mut self) -> Result<Option<i64>, HistoryError> {
        self.with("read", |connection| {
            connection.query_row("SELECT MIN(start_ms) FROM wanted", [], |row| row.get(0))
        })
    }
}

/// Makes the table where it is missing.
pub(super) fn make(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS unrecorded (
            start_ms INTEGER NOT NULL PRIMARY KEY, end_ms INTEGER NOT NULL, cause TEXT NOT NULL
        ) WITHOUT ROWID",
    )
}

/// Of stretches with the same beginning the longest counts.
pub(super) fn put(connection: &Connection, lost: &Unrecorded) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO unrecorded VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET end_ms = excluded.end_ms, cause = excluded.cause
             WHERE excluded.end_ms > end_ms",
        )?
        .execute(params![lost.from_ms, lost.to_ms, Named(lost.cause)])
        .map(drop)
}
