//! The tables, and how each earlier shape becomes the present one.
//!
//! `user_version` is the number of migrations done. A migration that has been released is never
//! edited: a new one follows it, with a fixture of the file before it in `tests/history/`.

use rusqlite::Connection;

/// Version of the tables this build writes.
pub const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// `*_ms` is the record's own axis, which never runs backwards; `*_at` is the wall clock in
/// milliseconds since 1970. `destination` is `''` for what belongs to the stream as a whole.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE boot (
        boot_id TEXT NOT NULL PRIMARY KEY,
        offset_ms INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE wanted (
        stream TEXT NOT NULL,
        start_ms INTEGER NOT NULL, end_ms INTEGER, start_at INTEGER NOT NULL, end_at INTEGER,
        PRIMARY KEY (stream, start_ms)
    ) WITHOUT ROWID;
    CREATE TABLE delivery (
        stream TEXT NOT NULL, destination TEXT NOT NULL,
        start_ms INTEGER NOT NULL, end_ms INTEGER, start_at INTEGER NOT NULL, end_at INTEGER,
        connection INTEGER NOT NULL,
        PRIMARY KEY (stream, destination, start_ms)
    ) WITHOUT ROWID;
    CREATE TABLE gap (
        stream TEXT NOT NULL, destination TEXT NOT NULL,
        start_ms INTEGER NOT NULL, end_ms INTEGER, start_at INTEGER NOT NULL, end_at INTEGER,
        cause TEXT NOT NULL, error_type TEXT, recovery TEXT,
        PRIMARY KEY (stream, destination, start_ms)
    ) WITHOUT ROWID;
    CREATE TABLE on_air (
        stream TEXT NOT NULL,
        start_ms INTEGER NOT NULL, end_ms INTEGER, start_at INTEGER NOT NULL, end_at INTEGER,
        source TEXT NOT NULL, item TEXT, cause TEXT, recovery TEXT,
        PRIMARY KEY (stream, start_ms)
    ) WITHOUT ROWID;
    CREATE TABLE sample (
        stream TEXT NOT NULL, destination TEXT NOT NULL,
        ms INTEGER NOT NULL, at INTEGER NOT NULL,
        state TEXT, bitrate_kbps INTEGER, dropped_frames INTEGER,
        cpu_percent REAL, memory_bytes INTEGER, rtt_ms REAL, unacked_bytes INTEGER,
        PRIMARY KEY (stream, destination, ms)
    ) WITHOUT ROWID;
    CREATE TABLE cursor (
        stream TEXT NOT NULL, part TEXT NOT NULL,
        offset INTEGER NOT NULL,
        PRIMARY KEY (stream, part)
    ) WITHOUT ROWID;
    CREATE TABLE recorder (
        stream TEXT NOT NULL PRIMARY KEY,
        state TEXT NOT NULL
    ) WITHOUT ROWID;
",
    "
    CREATE TABLE live_session (
        stream TEXT NOT NULL, input TEXT NOT NULL,
        start_ms INTEGER NOT NULL, end_ms INTEGER, start_at INTEGER NOT NULL, end_at INTEGER,
        asked_by TEXT NOT NULL,
        media_ms INTEGER, media_at INTEGER, on_air_ms INTEGER, on_air_at INTEGER,
        ended TEXT,
        interruptions INTEGER NOT NULL, interrupted_ms INTEGER NOT NULL,
        loss_to_programme_ms INTEGER,
        PRIMARY KEY (stream, input, start_ms)
    ) WITHOUT ROWID;
",
];

/// How many migrations the file has seen.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings a file of version `from` to the present one; all of it or nothing.
pub(super) fn migrate(connection: &mut Connection, from: i64) -> rusqlite::Result<()> {
    let done = usize::try_from(from).unwrap_or(0);
    if done >= MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for migration in &MIGRATIONS[done..] {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()
}
