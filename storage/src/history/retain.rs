//! Keeping the file within its limits: samples go first, intervals last.
//!
//! Order of sacrifice, until the file is small enough: samples older than a week become one a minute;
//! all but the last day's become one in ten minutes; the oldest half of the samples goes; the
//! oldest tenth of the intervals goes.

use rusqlite::{Connection, params};

use super::rows::Table;
use super::unrecorded::{self, Unrecorded, UnrecordedCause};
use super::{Database, HistoryError};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// Each round of samples has a slot of this length to itself.
const SAMPLE_SLOT_MS: i64 = 10_000;
/// More rounds than this would mean that nothing is left to remove.
const MAX_ROUNDS: usize = 64;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Days.
    pub days: u32,
    /// Size of the file.
    pub max_bytes: u64,
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retained {
    /// Samples, thinned or old.
    pub samples: usize,
    /// Intervals, of all tables.
    pub intervals: usize,
    /// Size of the file afterwards.
    pub bytes: u64,
}

// === impl Database ===

impl Database {
    /// Removes what is older than `limits` allow at `now_ms`, and as much as the size demands.
    ///
    /// # Errors
    /// When the file cannot be changed.
    pub fn retain(&mut self, limits: Limits, now_ms: i64) -> Result<Retained, HistoryError> {
        self.with("clean up", |connection| retain(connection, limits, now_ms))
    }
}

fn retain(connection: &mut Connection, limits: Limits, now_ms: i64) -> rusqlite::Result<Retained> {
    let oldest = now_ms - i64::from(limits.days) * DAY_MS;
    let mut gone = Retained {
        samples: remove_samples(connection, oldest)?
            + thin(connection, now_ms - 7 * DAY_MS, MINUTE_MS)?,
        intervals: remove_intervals(connection, oldest)?,
        bytes: 0,
    };
    let mut thinned = false;
    for _ in 0..MAX_ROUNDS {
        give_back(connection)?;
        gone.bytes = size(connection)?;
        if gone.bytes <= limits.max_bytes {
            break;
        }
        if !thinned {
            thinned = true;
            gone.samples += thin(connection, now_ms - DAY_MS, 10 * MINUTE_MS)?;
        } else if let Some(middle) = oldest_part(connection, "sample", "ms", 2)? {
            gone.samples += remove_samples(connection, middle)?;
        } else if let Some(before) = oldest_part(connection, &all_intervals(), "end_ms", 10)? {
            // All tables reach back equally far: sums over two of them would not fit otherwise.
            gone.intervals += remove_intervals(connection, before)?;
        } else {
            break;
        }
    }
    Ok(gone)
}

/// The ends of all intervals, as something to select from.
fn all_intervals() -> String {
    let each = Table::ALL.map(|table| format!("SELECT end_ms FROM {}", table.name()));
    format!("({})", each.join(" UNION ALL "))
}

/// Keeps one slot of samples in each stretch of `every_ms` before `before_ms`.
fn thin(connection: &Connection, before_ms: i64, every_ms: i64) -> rusqlite::Result<usize> {
    connection.execute(
        "DELETE FROM sample WHERE ms < ?1 AND (ms / ?2) % ?3 <> 0",
        params![before_ms, SAMPLE_SLOT_MS, every_ms / SAMPLE_SLOT_MS],
    )
}

fn remove_samples(connection: &Connection, before_ms: i64) -> rusqlite::Result<usize> {
    connection.execute("DELETE FROM sample WHERE ms < ?1", [before_ms])
}

fn remove_intervals(connection: &Connection, before_ms: i64) -> rusqlite::Result<usize> {
    let mut removed = 0;
    for table in Table::ALL {
        removed += remove_ended(connection, table, before_ms)?;
    }
    if removed > 0 {
        let lost = Unrecorded {
            from_ms: Unrecorded::EVER,
            to_ms: before_ms,
            cause: UnrecordedCause::Retention,
        };
        unrecorded::put(connection, &lost)?;
    }
    Ok(removed)
}

fn remove_ended(connection: &Connection, table: Table, before_ms: i64) -> rusqlite::Result<usize> {
    let sql = format!("DELETE FROM {} WHERE end_ms < ?1", table.name());
    connection.execute(&sql, [before_ms])
}

/// The instant before which one `share`-th of the rows lie; `None` when there are none.
fn oldest_part(
    connection: &Connection,
    table: &str,
    column: &str,
    share: i64,
) -> rusqlite::Result<Option<i64>> {
    let sql = format!(
        "SELECT {column} + 1 FROM {table} WHERE {column} IS NOT NULL ORDER BY {column}
         LIMIT 1 OFFSET (SELECT COUNT(*) / ?1 FROM {table} WHERE {column} IS NOT NULL)"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([share])?;
    rows.next()?.map(|row| row.get(0)).transpose()
}

fn give_back(connection: &Connection) -> rusqlite::Result<()> {
    // Each step of the pragma gives back one page, so it has to be run to its end.
    connection.pragma_query(None, "incremental_vacuum", |_| Ok(()))?;
    connection.pragma_query(None, "wal_checkpoint", |_| Ok(()))
}

fn size(connection: &Connection) -> rusqlite::Result<u64> {
    let of = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let bytes = of("page_count")?.saturating_mul(of("page_size")?);
    Ok(u64::try_from(bytes).unwrap_or(0))
}
