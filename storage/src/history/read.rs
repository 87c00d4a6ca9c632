//! Reading: what a controller needs to go on, and what an operator asks.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, Params, named_params};

use super::named::Named;
use super::rows::{
    Boot, Delivery, Gap, LiveSession, Mark, OnAirSpan, Part, Recovery, Row, Sample, Span, Table,
    Wanted,
};
use super::{Database, HistoryError};
use crate::model::air::AirPart;
use crate::model::id::InvalidStreamId;
use crate::model::report::OnAirKind;
use crate::model::{DarkCause, StreamId};

/// What was known when the file was written last.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loaded {
    /// All boots.
    pub boots: Vec<Boot>,
    /// How many bytes of each part were read.
    pub cursors: BTreeMap<Part, u64>,
    /// Recorders by stream.
    pub recorders: BTreeMap<StreamId, String>,
}

/// Which gaps and slates are asked for; `None` is any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Incidents {
    /// Those that reach beyond this,
    pub from_ms: i64,
    /// and began before this.
    pub to_ms: i64,
    /// Of this stream.
    pub stream: Option<StreamId>,
    /// Of this destination; slates are of none.
    pub destination: Option<String>,
    /// With this cause.
    pub cause: Option<DarkCause>,
    /// At most so many of each kind, the newest.
    pub limit: usize,
}

/// Which samples are asked for; `None` is any.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleFilter {
    /// From this on,
    pub from_ms: i64,
    /// and before this.
    pub to_ms: i64,
    /// Of this stream.
    pub stream: StreamId,
    /// Of this destination.
    pub destination: Option<String>,
    /// The mean of each such stretch is one sample; counters and states are its last ones.
    pub step_ms: i64,
    /// At most so many, the oldest.
    pub limit: usize,
}

// === impl Database ===

impl Database {
    /// What a controller goes on from.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(&mut self) -> Result<Loaded, HistoryError> {
        self.with("read", |connection| {
            Ok(Loaded {
                boots: collect(connection, "SELECT * FROM boot", [], boot)?,
                cursors: collect(connection, "SELECT * FROM cursor", [], cursor)?
                    .into_iter()
                    .collect(),
                recorders: collect(connection, "SELECT * FROM recorder", [], |row| {
                    Ok((row.get::<_, Id>("stream")?.0, row.get("state")?))
                })?
                .into_iter()
                .collect(),
            })
        })
    }

    /// Intervals of `table` that lie in part between `from_ms` and `to_ms`, of one stream or all, by
    /// stream, destination or live input, and time.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn intervals(
        &mut self,
        table: Table,
        from_ms: i64,
        to_ms: i64,
        stream: Option<&StreamId>,
    ) -> Result<Vec<Row>, HistoryError> {
        let part = table.part_column().map(|column| format!("{column}, "));
        let sql = format!(
            "SELECT * FROM {} WHERE (end_ms IS NULL OR end_ms > :from) AND start_ms < :to
               AND (:stream IS NULL OR stream = :stream) ORDER BY stream, {}start_ms",
            table.name(),
            part.unwrap_or_default(),
        );
        let stream = stream.map(StreamId::as_str);
        self.with("read", |connection| {
            let filter = named_params! {":from": from_ms, ":to": to_ms, ":stream": stream};
            collect(connection, &sql, filter, |row| interval(table, row))
        })
    }

    /// Gaps and slates, newest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn incidents(&mut self, asked: &Incidents) -> Result<Vec<Row>, HistoryError> {
        const WHERE: &str = "(end_ms IS NULL OR end_ms > :from) AND start_ms < :to
            AND (:stream IS NULL OR stream = :stream) AND (:cause IS NULL OR cause = :cause)";
        const NEWEST: &str = "ORDER BY start_ms DESC LIMIT :limit";
        let stream = asked.stream.as_ref().map(StreamId::as_str);
        let cause = asked.cause.map(Named);
        let limit = i64::try_from(asked.limit).unwrap_or(i64::MAX);
        self.with("read", |connection| {
            let sql = format!(
                "SELECT * FROM gap WHERE {WHERE} AND (:destination IS NULL OR destination = :destination) {NEWEST}"
            );
            let filter = named_params! {":from": asked.from_ms, ":to": asked.to_ms, ":stream": stream,
                ":cause": cause, ":limit": limit, ":destination": asked.destination};
            let mut found = collect(connection, &sql, filter, |row| interval(Table::Gap, row))?;
            if asked.destination.is_none() {
                let sql = format!("SELECT * FROM on_air WHERE source = :slate AND {WHERE} {NEWEST}");
                let filter = named_params! {":from": asked.from_ms, ":to": asked.to_ms,
                    ":stream": stream, ":cause": cause, ":limit": limit, ":slate": Named(OnAirKind::Slate)};
                found.extend(collect(connection, &sql, filter, |row| interval(Table::OnAir, row))?);
                found.sort_by_key(|row| std::cmp::Reverse(row.key().start_ms));
            }
            Ok(found)
        })
    }

    /// Measurements, by destination and time; those of the stream as a whole come first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn samples(&mut self, asked: &SampleFilter) -> Result<Vec<Sample>, HistoryError> {
        // Of the columns beside MAX(ms) SQLite takes the row that has it.
        const SQL: &str = "
            SELECT stream, destination, MAX(ms) AS ms, at, state, dropped_frames,
                   CAST(ROUND(AVG(bitrate_kbps)) AS INTEGER) AS bitrate_kbps,
                   AVG(cpu_percent) AS cpu_percent,
                   CAST(AVG(memory_bytes) AS INTEGER) AS memory_bytes,
                   AVG(rtt_ms) AS rtt_ms,
                   CAST(AVG(unacked_bytes) AS INTEGER) AS unacked_bytes
            FROM sample
            WHERE stream = :stream AND sample.ms >= :from AND sample.ms < :to
              AND (:destination IS NULL OR destination = :destination)
            GROUP BY destination, (sample.ms - :from) / :step
            ORDER BY destination, ms LIMIT :limit";
        let limit = i64::try_from(asked.limit).unwrap_or(i64::MAX);
        self.with("read", |connection| {
            let filter = named_params! {":stream": asked.stream.as_str(), ":from": asked.from_ms,
            ":to": asked.to_ms, ":destination": asked.destination,
            ":step": asked.step_ms.max(1), ":limit": limit};
            collect(connection, SQL, filter, sample)
        })
    }
}

fn collect<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params, read)?;
    rows.collect()
}

/// A stream id in a column.
struct Id(StreamId);

impl FromSql for Id {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let parsed = value.as_str()?.parse();
        parsed
            .map(Self)
            .map_err(|error: InvalidStreamId| FromSqlError::Other(error.into()))
    }
}

/// The name of a journal's part in a column.
struct Name(AirPart);

impl FromSql for Name {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let part = AirPart::parse(value.as_str()?);
        part.map(Self).ok_or(FromSqlError::InvalidType)
    }
}

fn boot(row: &rusqlite::Row<'_>) -> rusqlite::Result<Boot> {
    Ok(Boot {
        boot_id: row.get("boot_id")?,
        offset_ms: row.get("offset_ms")?,
    })
}

fn cursor(row: &rusqlite::Row<'_>) -> rusqlite::Result<(Part, u64)> {
    let part = Part {
        stream: row.get::<_, Id>("stream")?.0,
        name: row.get::<_, Name>("part")?.0,
    };
    Ok((part, unsigned(row.get("offset")?)))
}

fn interval(table: Table, row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let stream = row.get::<_, Id>("stream")?.0;
    let span = Span {
        start_ms: row.get("start_ms")?,
        end_ms: row.get("end_ms")?,
        start_at: time(row.get("start_at")?),
        end_at: row.get::<_, Option<i64>>("end_at")?.map(time),
    };
    Ok(match table {
        Table::Wanted => Row::Wanted(Wanted { stream, span }),
        Table::Delivery => Row::Delivery(Delivery {
            stream,
            destination: row.get("destination")?,
            span,
            connection: unsigned(row.get("connection")?),
        }),
        Table::Gap => Row::Gap(Gap {
            stream,
            destination: row.get("destination")?,
            span,
            cause: cause(row)?.unwrap_or(DarkCause::Unknown),
            error_type: row.get("error_type")?,
            recovery: recovery(row)?,
        }),
        Table::OnAir => Row::OnAir(OnAirSpan {
            stream,
            span,
            source: row.get::<_, Named<_>>("source")?.0,
            item: row.get("item")?,
            cause: cause(row)?,
            recovery: recovery(row)?,
        }),
        Table::LiveSession => Row::LiveSession(LiveSession {
            stream,
            input: row.get("input")?,
            span,
            asked_by: row.get::<_, Named<_>>("asked_by")?.0,
            media: mark(row.get("media_ms")?, row.get("media_at")?),
            on_air: mark(row.get("on_air_ms")?, row.get("on_air_at")?),
            ended: row.get::<_, Option<Named<_>>>("ended")?.map(|it| it.0),
            interruptions: unsigned(row.get("interruptions")?),
            interrupted_ms: row.get("interrupted_ms")?,
            loss_to_programme_ms: row.get("loss_to_programme_ms")?,
        }),
    })
}

fn mark(ms: Option<i64>, at: Option<i64>) -> Option<Mark> {
    Some(Mark {
        ms: ms?,
        at: time(at?),
    })
}

/// A cause that only a newer release knows is `unknown` to this one.
fn cause(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<DarkCause>> {
    let name: Option<String> = row.get("cause")?;
    Ok(name.map(|name| DarkCause::from_name(&name).unwrap_or(DarkCause::Unknown)))
}

/// How it ended; that only a newer release knows, this one does not tell.
fn recovery(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Recovery>> {
    match row.get::<_, Option<Named<_>>>("recovery") {
        Err(rusqlite::Error::FromSqlConversionFailure(..)) => Ok(None),
        read => Ok(read?.map(|named| named.0)),
    }
}

fn sample(row: &rusqlite::Row<'_>) -> rusqlite::Result<Sample> {
    let destination: String = row.get("destination")?;
    let count = |name| row.get::<_, Option<i64>>(name).map(|n| n.map(unsigned));
    Ok(Sample {
        stream: row.get::<_, Id>("stream")?.0,
        destination: (!destination.is_empty()).then_some(destination),
        ms: row.get("ms")?,
        at: time(row.get("at")?),
        state: row.get::<_, Option<Named<_>>>("state")?.map(|it| it.0),
        bitrate_kbps: row.get("bitrate_kbps")?,
        dropped_frames: count("dropped_frames")?,
        cpu_percent: row.get("cpu_percent")?,
        memory_bytes: count("memory_bytes")?,
        rtt_ms: row.get("rtt_ms")?,
        unacked_bytes: count("unacked_bytes")?,
    })
}

fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Only what was unsigned is written to such a column.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
