//! Reading journals: torn ends, lines of other versions, and names.

#![expect(
    clippy::disallowed_methods,
    reason = "the test stands in for the worker, which appends"
)]

use jiff::Timestamp;
use storage::journal::{self, Skipped};
use storage::model::air::{AIR_VERSION, AirPart};
use storage::model::{AirEntry, AirEvent, DarkCause};

fn entry(seq: u64) -> AirEntry {
    AirEntry {
        v: AIR_VERSION,
        worker: "n".into(),
        seq,
        at: Timestamp::UNIX_EPOCH,
        boot_ms: 1000 + seq,
        event: AirEvent::Dark {
            destination: "youtube".into(),
            cause: DarkCause::DestinationLost,
            error_type: Some("connection_reset".into()),
        },
    }
}

fn line(seq: u64) -> String {
    serde_json::to_string(&entry(seq)).expect("an entry is JSON") + "\n"
}

#[test]
fn a_torn_last_line_is_read_when_it_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("00000001-0000.jsonl");
    let (first, second) = (line(0), line(1));
    let (begun, rest) = second.split_at(20);
    std::fs::write(&path, format!("{first}{begun}")).unwrap();
    let chunk = journal::read(&path, 0, 1 << 20).unwrap();
    assert_eq!(chunk.entries, [entry(0)]);
    assert_eq!((chunk.offset, chunk.rest_bytes), (first.len() as u64, 20));

    std::fs::write(&path, format!("{first}{begun}{rest}")).unwrap();
    let chunk = journal::read(&path, chunk.offset, 1 << 20).unwrap();
    assert_eq!((chunk.entries, chunk.rest_bytes), (vec![entry(1)], 0));
}

#[test]
fn what_is_not_understood_is_skipped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("00000001-0000.jsonl");
    let newer = line(1).replace(&format!("\"v\":{AIR_VERSION}"), "\"v\":9");
    let other = newer.replace("\"kind\":\"dark\"", "\"kind\":\"dimmed\"");
    let unknown = line(2).replace("\"kind\":\"dark\"", "\"kind\":\"dimmed\"");
    let text = format!("{}{newer}{other}{unknown}\0\0{{\n\n{}", line(0), line(3));
    std::fs::write(&path, text).unwrap();
    let chunk = journal::read(&path, 0, 1 << 20).unwrap();
    assert_eq!(chunk.entries, [entry(0), entry(3)]);
    let skipped = Skipped {
        newer: 2,
        unknown: 1,
        damaged: 1,
    };
    assert_eq!((chunk.skipped, chunk.skipped.total()), (skipped, 4));
}

#[test]
fn a_long_part_is_read_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("00000001-0000.jsonl");
    let text: String = (0..100).map(line).collect();
    std::fs::write(&path, &text).unwrap();
    let mut entries = Vec::new();
    let mut offset = 0;
    loop {
        // Shorter than one line now and then, so that a piece may end anywhere.
        let chunk = journal::read(&path, offset, 150 + offset % 400).unwrap();
        entries.extend(chunk.entries);
        offset = chunk.offset;
        if chunk.rest_bytes == 0 {
            break;
        }
    }
    assert_eq!(entries, (0..100).map(entry).collect::<Vec<_>>());
}

#[test]
fn parts_are_found_by_their_names_in_order() {
    let dir = tempfile::tempdir().unwrap();
    for name in [
        "00000010-0000.jsonl",
        "00000009-0001.jsonl",
        "00000009-0000.jsonl",
        "x.jsonl",
        "9-0.jsonl",
        "00000001-0000.jsonl.tmp",
    ] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    let names: Vec<String> = journal::parts(dir.path())
        .unwrap()
        .iter()
        .map(AirPart::to_string)
        .collect();
    assert_eq!(
        names,
        [
            "00000009-0000.jsonl",
            "00000009-0001.jsonl",
            "00000010-0000.jsonl"
        ]
    );
    assert!(journal::parts(&dir.path().join("none")).unwrap().is_empty());
}

#[test]
fn a_pulse_is_read_or_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("main.pulse");
    assert_eq!(journal::read_pulse(&path), None);
    for (text, pulse) in [
        ("00000000000012345678\n", Some(12_345_678)),
        ("000", None),
        ("0000000000001234567x\n", None),
    ] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(journal::read_pulse(&path), pulse, "{text:?}");
    }
}
