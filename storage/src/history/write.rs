//! Writing: one transaction takes a whole [`Batch`], or nothing of it.

use std::collections::BTreeMap;

use rusqlite::{Connection, Transaction, params};

use super::named::Named;
use super::rows::{Boot, Key, LiveSession, Mark, Part, Row, Sample, Span, Table};
use super::unrecorded::{self, Unrecorded};
use super::{Database, HistoryError};
use crate::model::StreamId;

/// What is to be written together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// Boots seen for the first time.
    pub boots: Vec<Boot>,
    /// Rows by name; `None` removes one.
    pub rows: BTreeMap<Key, Option<Row>>,
    /// Measurements.
    pub samples: Vec<Sample>,
    /// How many bytes of a part were read; `None` forgets a part that was removed.
    pub cursors: BTreeMap<Part, Option<u64>>,
    /// What a stream's recorder has to know to go on, as it wrote it itself.
    pub recorders: BTreeMap<StreamId, String>,
    /// What was lost.
    pub unrecorded: Vec<Unrecorded>,
    /// Intervals under way that are not among `rows` ended here, as far as is known: somebody else's file has them.
    pub others_end: Option<Mark>,
}

// === impl Batch ===

impl Batch {
    /// Nothing to write.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

// === impl Database ===

impl Database {
    /// Writes `batch`.
    ///
    /// # Errors
    /// Then nothing of it was written.
    pub fn write(&mut self, batch: &Batch) -> Result<(), HistoryError> {
        self.with("write to", |connection| write(connection, batch))
    }
}

fn write(connection: &mut Connection, batch: &Batch) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for boot in &batch.boots {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO boot VALUES (?1, ?2)")?
            .execute(params![boot.boot_id, boot.offset_ms])?;
    }
    if let Some(end) = &batch.others_end {
        end_all(&transaction, end)?;
    }
    for lost in &batch.unrecorded {
        unrecorded::put(&transaction, lost)?;
    }
    for (key, row) in &batch.rows {
        match row {
            Some(row) => put(&transaction, row)?,
            None => delete(&transaction, key)?,
        }
    }
    for sample in &batch.samples {
        put_sample(&transaction, sample)?;
    }
    for (part, offset) in &batch.cursors {
        let (stream, name) = (part.stream.as_str(), part.name.to_string());
        match offset {
            Some(offset) => transaction
                .prepare_cached("INSERT OR REPLACE INTO cursor VALUES (?1, ?2, ?3)")?
                .execute(params![stream, name, integer(*offset)])?,
            None => transaction
                .prepare_cached("DELETE FROM cursor WHERE stream = ?1 AND part = ?2")?
                .execute(params![stream, name])?,
        };
    }
    for (stream, state) in &batch.recorders {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO recorder VALUES (?1, ?2)")?
            .execute(params![stream.as_str(), state])?;
    }
    transaction.commit()
}

fn end_all(to: &Transaction<'_>, end: &Mark) -> rusqlite::Result<()> {
    for table in Table::ALL {
        let sql = format!(
            "UPDATE {} SET end_ms = MAX(start_ms, ?1), end_at = MAX(start_at, ?2) WHERE end_ms IS NULL",
            table.name()
        );
        to.execute(&sql, params![end.ms, end.at.as_millisecond()])?;
    }
    Ok(())
}

fn put(to: &Transaction<'_>, row: &Row) -> rusqlite::Result<()> {
    let Times {
        start,
        end,
        start_at,
        end_at,
    } = times(match row {
        Row::Wanted(row) => &row.span,
        Row::Delivery(row) => &row.span,
        Row::Gap(row) => &row.span,
        Row::OnAir(row) => &row.span,
        Row::LiveSession(row) => &row.span,
    });
    match row {
        Row::Wanted(row) => {
            to.prepare_cached("INSERT OR REPLACE INTO wanted VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![row.stream.as_str(), start, end, start_at, end_at])?;
        }
        Row::Delivery(row) => {
            to.prepare_cached(
                "INSERT OR REPLACE INTO delivery VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                row.stream.as_str(),
                row.destination,
                start,
                end,
                start_at,
                end_at,
                integer(row.connection)
            ])?;
        }
        Row::Gap(row) => {
            to.prepare_cached(
                "INSERT OR REPLACE INTO gap VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                row.stream.as_str(),
                row.destination,
                start,
                end,
                start_at,
                end_at,
                Named(row.cause),
                row.error_type,
                row.recovery.map(Named)
            ])?;
        }
        Row::OnAir(row) => {
            to.prepare_cached(
                "INSERT OR REPLACE INTO on_air VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                row.stream.as_str(),
                start,
                end,
                start_at,
                end_at,
                Named(row.source),
                row.item,
                row.cause.map(Named),
                row.recovery.map(Named)
            ])?;
        }
        Row::LiveSession(row) => put_session(to, row)?,
    }
    Ok(())
}

fn put_session(to: &Transaction<'_>, row: &LiveSession) -> rusqlite::Result<()> {
    let Times {
        start,
        end,
        start_at,
        end_at,
    } = times(&row.span);
    let at = |mark: Mark| mark.at.as_millisecond();
    to.prepare_cached(
        "INSERT OR REPLACE INTO live_session
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?
    .execute(params![
        row.stream.as_str(),
        row.input,
        start,
        end,
        start_at,
        end_at,
        Named(row.asked_by),
        row.media.map(|mark| mark.ms),
        row.media.map(at),
        row.on_air.map(|mark| mark.ms),
        row.on_air.map(at),
        row.ended.map(Named),
        integer(row.interruptions),
        row.interrupted_ms,
        row.loss_to_programme_ms,
    ])?;
    Ok(())
}

fn delete(from: &Transaction<'_>, key: &Key) -> rusqlite::Result<()> {
    let table = key.table.name();
    if let Some(column) = key.table.part_column() {
        let sql =
            format!("DELETE FROM {table} WHERE stream = ?1 AND start_ms = ?2 AND {column} = ?3");
        let names = params![key.stream.as_str(), key.start_ms, key.destination];
        from.prepare_cached(&sql)?.execute(names)?;
    } else {
        let sql = format!("DELETE FROM {table} WHERE stream = ?1 AND start_ms = ?2");
        let names = params![key.stream.as_str(), key.start_ms];
        from.prepare_cached(&sql)?.execute(names)?;
    }
    Ok(())
}

fn put_sample(to: &Transaction<'_>, sample: &Sample) -> rusqlite::Result<()> {
    to.prepare_cached(
        "INSERT OR REPLACE INTO sample VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        sample.stream.as_str(),
        sample.destination.as_deref().unwrap_or_default(),
        sample.ms,
        sample.at.as_millisecond(),
        sample.state.map(Named),
        sample.bitrate_kbps,
        sample.dropped_frames.map(integer),
        sample.cpu_percent,
        sample.memory_bytes.map(integer),
        sample.rtt_ms,
        sample.unacked_bytes.map(integer),
    ])?;
    Ok(())
}

/// The four columns of a span.
struct Times {
    start: i64,
    end: Option<i64>,
    start_at: i64,
    end_at: Option<i64>,
}

fn times(span: &Span) -> Times {
    Times {
        start: span.start_ms,
        end: span.end_ms,
        start_at: span.start_at.as_millisecond(),
        end_at: span.end_at.map(|at| at.as_millisecond()),
    }
}

/// SQLite's integers are signed; nothing counted here comes near their end.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
