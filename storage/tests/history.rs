//! The history's file: what is written is read back, older files are understood, damaged ones are set
//! aside, and the limits hold.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of these tests fails the test that called it"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "files are damaged here on purpose, past the crate's own writers"
)]

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::Connection;
use storage::history::{
    self, AskedBy, Batch, Database, Delivery, Gap, HistoryError, Incidents, Limits, LiveSession,
    Mark, OnAirSpan, Part, Recovery, Row, SCHEMA_VERSION, Sample, SampleFilter, SessionEnd, Span,
    Table, Wanted,
};
use storage::model::air::AirPart;
use storage::model::report::{DestinationState, OnAirKind};
use storage::model::{DarkCause, StreamId};

#[path = "history/unrecorded.rs"]
mod unrecorded;

const FIXTURES: &[&str] = &[
    include_str!("history/v1.sql"),
    include_str!("history/v2.sql"),
];
const GENEROUS: Limits = Limits {
    days: 90,
    max_bytes: 256 * 1024 * 1024,
};

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    (dir, path)
}

fn open(path: &Path) -> Database {
    Database::open(path).unwrap()
}

fn main() -> StreamId {
    "main".parse().unwrap()
}

fn span(start_ms: i64, end_ms: Option<i64>) -> Span {
    let at = |ms| Timestamp::from_millisecond(1_760_000_000_000 + ms).unwrap();
    Span {
        start_ms,
        end_ms,
        start_at: at(start_ms),
        end_at: end_ms.map(at),
    }
}

fn gap(start_ms: i64, end_ms: Option<i64>) -> Row {
    Row::Gap(Gap {
        stream: main(),
        destination: "youtube".into(),
        span: span(start_ms, end_ms),
        cause: DarkCause::DestinationLost,
        error_type: Some("connection_reset".into()),
        recovery: end_ms.map(|_| Recovery::Automatic),
    })
}

fn wanted(start_ms: i64, end_ms: Option<i64>) -> Row {
    Row::Wanted(Wanted {
        stream: main(),
        span: span(start_ms, end_ms),
    })
}

fn session(end_ms: Option<i64>) -> Row {
    let mark = |ms| {
        Some(Mark {
            ms,
            at: span(ms, None).start_at,
        })
    };
    Row::LiveSession(LiveSession {
        stream: main(),
        input: "studio".into(),
        span: span(20_000, end_ms),
        asked_by: AskedBy::Obs,
        media: mark(26_000),
        on_air: mark(26_700),
        ended: end_ms.map(|_| SessionEnd::Lost),
        interruptions: 1,
        interrupted_ms: 4_000,
        loss_to_programme_ms: Some(250),
    })
}

fn sample(ms: i64, destination: Option<&str>, bitrate_kbps: u32) -> Sample {
    Sample {
        stream: main(),
        destination: destination.map(str::to_owned),
        ms,
        at: Timestamp::from_millisecond(ms).unwrap(),
        state: destination.map(|_| DestinationState::Live),
        bitrate_kbps: Some(bitrate_kbps),
        dropped_frames: Some(u64::from(bitrate_kbps)),
        cpu_percent: None,
        memory_bytes: None,
        rtt_ms: None,
        unacked_bytes: None,
    }
}

fn rows(rows: impl IntoIterator<Item = Row>) -> Batch {
    Batch {
        rows: rows.into_iter().map(|row| (row.key(), Some(row))).collect(),
        ..Batch::default()
    }
}

fn all(database: &mut Database) -> Vec<Row> {
    Table::ALL
        .into_iter()
        .flat_map(|table| database.intervals(table, i64::MIN, i64::MAX, None).unwrap())
        .collect()
}

#[test]
fn what_is_written_is_read_back_after_a_restart_and_changes_in_place() {
    let (_dir, path) = place();
    let slate = OnAirSpan {
        stream: main(),
        span: span(11_000, Some(12_000)),
        source: OnAirKind::Slate,
        item: None,
        cause: Some(DarkCause::Starting),
        recovery: Some(Recovery::ByHand),
    };
    let wanted = Wanted {
        stream: main(),
        span: span(10_000, None),
    };
    let delivery = Delivery {
        stream: main(),
        destination: "youtube".into(),
        span: span(12_000, Some(60_000)),
        connection: 3,
    };
    let written = vec![
        Row::Wanted(wanted),
        Row::Delivery(delivery),
        gap(60_000, None),
        Row::OnAir(slate),
        session(None),
    ];
    let mut batch = rows(written.clone());
    let part = Part {
        stream: main(),
        name: AirPart::parse("00000001-0001.jsonl").unwrap(),
    };
    batch.cursors.insert(part.clone(), Some(812));
    batch.recorders.insert(main(), "{}".into());
    open(&path).write(&batch).unwrap();

    let mut database = open(&path);
    assert_eq!(all(&mut database), written);
    let loaded = database.load().unwrap();
    assert_eq!(loaded.cursors[&part], 812);
    assert_eq!(loaded.recorders[&main()], "{}");

    let mut batch = rows([gap(60_000, Some(61_000))]);
    batch.rows.insert(written[1].key(), None);
    batch.rows.insert(written[4].key(), None);
    database.write(&batch).unwrap();
    let now = all(&mut database);
    assert!(now.contains(&gap(60_000, Some(61_000))), "{now:?}");
    assert!(!now.contains(&written[1]) && now.len() == 3, "{now:?}");
}

#[test]
fn a_file_of_every_earlier_schema_is_understood() {
    assert_eq!(
        FIXTURES.len() as i64,
        SCHEMA_VERSION,
        "one fixture a schema"
    );
    for (sql, sessions) in FIXTURES.iter().zip([vec![], vec![session(Some(50_000))]]) {
        let (_dir, path) = place();
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let mut database = open(&path);
        let found = all(&mut database);
        assert_eq!(found.len(), 6 + sessions.len(), "{found:?}");
        assert!(found.contains(&gap(60_000, None)), "{found:?}");
        let live = database.intervals(Table::LiveSession, i64::MIN, i64::MAX, None);
        assert_eq!(live.unwrap(), sessions);
        let asked = SampleFilter {
            from_ms: 0,
            to_ms: 30_000,
            stream: main(),
            destination: None,
            step_ms: 10_000,
            limit: 10,
        };
        let samples = database.samples(&asked).unwrap();
        assert_eq!(samples.len(), 2, "{samples:?}");
        assert_eq!(samples[1].rtt_ms, Some(12.5));
        assert_eq!(database.load().unwrap().boots[0].offset_ms, 1000);
    }
}

#[test]
fn a_damaged_file_is_set_aside_and_a_new_one_begun() {
    let (dir, path) = place();
    std::fs::write(&path, b"not a database, whatever its name says".repeat(200)).unwrap();
    let error = Database::open(&path).unwrap_err();
    assert!(error.is_corrupt(), "{error:?}");
    let aside = history::set_aside(&path, Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(
        aside,
        dir.path().join("history.db.corrupt-19700101T000000Z")
    );
    assert!(aside.exists());
    open(&path).write(&rows([gap(1, None)])).unwrap();
    assert_eq!(all(&mut open(&path)).len(), 1);
}

#[test]
fn damage_that_shows_only_in_use_is_told_apart_and_ends_the_same_way() {
    let (_dir, path) = place();
    let mut database = open(&path);
    database
        .write(&rows((0..2000).map(|n| gap(n * 10, Some(n * 10 + 5)))))
        .unwrap();
    database.settle().unwrap();
    drop(database);
    let mut bytes = std::fs::read(&path).unwrap();
    // Everything but the first page, so that the file still opens.
    let tables = 4096 * 12;
    bytes[tables..].fill(0xAA);
    std::fs::write(&path, bytes).unwrap();

    let mut database = open(&path);
    let asked = Incidents {
        to_ms: i64::MAX,
        limit: 5000,
        ..Incidents::default()
    };
    let error = database.incidents(&asked).unwrap_err();
    assert!(error.is_corrupt(), "{error:?}");
    drop(database);
    let aside = history::set_aside(&path, Timestamp::UNIX_EPOCH).unwrap();
    assert!(aside.exists());
    assert!(all(&mut open(&path)).is_empty());
}

#[test]
fn a_file_of_a_newer_release_is_left_alone() {
    let (_dir, path) = place();
    drop(open(&path));
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let before = std::fs::read(&path).unwrap();
    let error = Database::open(&path).unwrap_err();
    assert!(
        matches!(error, HistoryError::Newer { found: 99, .. }),
        "{error:?}"
    );
    assert!(
        std::fs::read(&path).unwrap() == before,
        "not one byte of it"
    );
}

#[test]
fn words_that_only_a_newer_release_knows_do_not_hide_the_record() {
    let (_dir, path) = place();
    open(&path).write(&rows([gap(0, Some(5))])).unwrap();
    let connection = Connection::open(&path).unwrap();
    let changed = connection.execute("UPDATE gap SET cause = 'new', recovery = 'new'", []);
    assert_eq!(changed, Ok(1));
    drop(connection);
    let found = all(&mut open(&path));
    let [Row::Gap(gap)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!((gap.cause, gap.recovery), (DarkCause::Unknown, None));
}

#[test]
fn incidents_come_newest_first_and_by_filter() {
    let (_dir, path) = place();
    let mut database = open(&path);
    let slate = OnAirSpan {
        stream: main(),
        span: span(45, Some(50)),
        source: OnAirKind::Slate,
        item: None,
        cause: Some(DarkCause::SourceStalled),
        recovery: None,
    };
    let mut written: Vec<Row> = (0..10).map(|n| gap(n * 10, Some(n * 10 + 5))).collect();
    written.push(Row::OnAir(slate));
    database.write(&rows(written)).unwrap();
    let any = Incidents {
        from_ms: 21,
        to_ms: 90,
        limit: 100,
        ..Incidents::default()
    };
    let mut starts = |asked: &Incidents| -> Vec<i64> {
        let found = database.incidents(asked).unwrap();
        found.iter().map(|row| row.key().start_ms).collect()
    };
    assert_eq!(starts(&any), [80, 70, 60, 50, 45, 40, 30, 20]);
    let of_cause = Incidents {
        cause: Some(DarkCause::SourceStalled),
        ..any.clone()
    };
    assert_eq!(starts(&of_cause), [45]);
    let of_destination = Incidents {
        destination: Some("youtube".into()),
        limit: 2,
        ..any
    };
    assert_eq!(starts(&of_destination), [80, 70]);
}

#[test]
fn samples_are_averaged_over_the_step_that_was_asked_for() {
    let (_dir, path) = place();
    let mut database = open(&path);
    let samples = (0..12).map(|n| {
        sample(
            n * 10_000,
            Some("youtube"),
            1000 + u32::try_from(n).unwrap(),
        )
    });
    let batch = Batch {
        samples: samples.collect(),
        ..Batch::default()
    };
    database.write(&batch).unwrap();
    let asked = SampleFilter {
        from_ms: 0,
        to_ms: 120_000,
        stream: main(),
        destination: Some("youtube".into()),
        step_ms: 60_000,
        limit: 100,
    };
    let found = database.samples(&asked).unwrap();
    let told: Vec<_> = found
        .iter()
        .map(|s| (s.ms, s.bitrate_kbps, s.dropped_frames))
        .collect();
    // 1002.5 and 1008.5 are rounded; the counter is the last one of its minute.
    assert_eq!(
        told,
        [
            (50_000, Some(1003), Some(1005)),
            (110_000, Some(1009), Some(1011))
        ]
    );
}

#[test]
fn age_and_size_bound_the_file_and_samples_go_first() {
    const DAY: i64 = 86_400_000;
    let (_dir, path) = place();
    let mut database = open(&path);
    let now = 100 * DAY;
    let mut batch = rows([
        gap(DAY, Some(2 * DAY)),
        gap(50 * DAY, Some(50 * DAY + 5)),
        gap(60 * DAY, None),
    ]);
    let ages = (0..8640)
        .map(|n| 80 * DAY + n * 10_000)
        .chain((0..8640).map(|n| 99 * DAY + n * 10_000));
    batch.samples = ages
        .flat_map(|ms| ["a", "b", "c"].map(|name| sample(ms, Some(name), 1)))
        .collect();
    database.write(&batch).unwrap();

    let first = database.retain(GENEROUS, now).unwrap();
    assert_eq!(first.intervals, 1, "the one that ended 98 days ago");
    assert_eq!(
        first.samples,
        3 * 8640 / 6 * 5,
        "one a minute is left of the older day"
    );
    assert!(first.bytes > 700_000, "{first:?}");

    let tight = Limits {
        max_bytes: 300_000,
        ..GENEROUS
    };
    let second = database.retain(tight, now).unwrap();
    assert!(
        second.bytes <= 300_000 && second.intervals == 0,
        "{second:?}"
    );
    let file = std::fs::metadata(&path).unwrap().len();
    assert!(file <= 300_000, "given back to the disk: {file}");
    assert_eq!(
        all(&mut database),
        [gap(50 * DAY, Some(50 * DAY + 5)), gap(60 * DAY, None)]
    );

    // Intervals of one table are far more; those of the others go as far back.
    let mut batch = rows([wanted(60 * DAY, Some(70 * DAY)), wanted(70 * DAY, None)]);
    let many =
        (0..10_000).map(|n| gap(60 * DAY + n * 100_000 + 1, Some(60 * DAY + n * 100_000 + 2)));
    batch.rows.extend(rows(many).rows);
    database.write(&batch).unwrap();
    let third = database.retain(tight, now).unwrap();
    assert!(third.bytes <= 300_000, "{third:?}");
    let left = all(&mut database);
    let oldest = |table| {
        let ended = left.iter().filter(|row| row.key().table == table);
        ended.filter_map(|row| row.span().end_ms).min()
    };
    assert!(
        oldest(Table::Gap) > Some(61 * DAY),
        "{:?}",
        oldest(Table::Gap)
    );
    assert_eq!(oldest(Table::Wanted), Some(70 * DAY), "still partly in it");
}
