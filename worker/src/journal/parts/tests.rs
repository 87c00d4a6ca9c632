use jiff::Timestamp;
use proptest::prelude::*;
use storage::model::air::AIR_VERSION;
use storage::model::{AirEvent, DarkCause};

use super::*;

fn entry(seq: u64) -> AirEntry {
    AirEntry {
        v: AIR_VERSION,
        worker: "nonce".to_owned(),
        seq,
        at: Timestamp::UNIX_EPOCH,
        boot_ms: seq * 10,
        event: AirEvent::Dark {
            destination: "out".to_owned(),
            cause: DarkCause::DestinationLost,
            error_type: Some("connection_lost".to_owned()),
        },
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("there");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("readable")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    names.sort();
    names
}

/// The numbers of all entries, in the order of the parts' names.
fn numbers(directory: &Path) -> Vec<u64> {
    let texts = names(directory)
        .into_iter()
        .map(|name| fs::read_to_string(directory.join(name)).expect("text"));
    let text: String = texts.collect();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| {
            serde_json::from_str::<AirEntry>(line)
                .expect("an entry")
                .seq
        })
        .collect()
}

#[test]
fn a_part_that_is_removed_is_followed_by_the_next_and_no_number_is_used_again() {
    let dir = tempfile::tempdir().expect("a temp dir");
    let air = dir.path().join("air");
    let mut parts = Parts::new(air.clone(), 7);
    for seq in 0..3 {
        parts.append(vec![entry(seq)]).1.expect("written");
        assert_eq!(names(&air), [format!("00000007-{:04}.jsonl", seq + 1)]);
        assert_eq!(numbers(&air), [seq]);
        fs::remove_dir_all(&air).expect("removed");
    }
}

#[test]
fn each_process_begins_a_part_of_its_own() {
    let dir = tempfile::tempdir().expect("a temp dir");
    for (generation, seq) in [(7, 0), (7, 1), (8, 2)] {
        let mut parts = Parts::new(dir.path().join("air"), generation);
        let (left, result) = parts.append(vec![entry(seq)]);
        result.expect("written");
        assert!(left.is_empty());
    }
    let directory = dir.path().join("air");
    assert_eq!(
        names(&directory),
        [
            "00000007-0001.jsonl",
            "00000007-0002.jsonl",
            "00000008-0001.jsonl"
        ]
    );
    assert_eq!(numbers(&directory), [0, 1, 2]);
}

#[test]
fn a_full_part_is_followed_by_the_next_and_the_newest_64_stay() {
    let dir = tempfile::tempdir().expect("a temp dir");
    let mut parts = Parts::new(dir.path().to_owned(), 1);
    parts.part_bytes = 1000;
    let per_part = 1000_usize.div_ceil(line(&entry(100)).expect("JSON").len());
    let count = 70 * per_part as u64;
    parts
        .append((100..100 + count).map(entry).collect())
        .1
        .expect("written");
    let names = names(dir.path());
    assert_eq!(
        (names.len(), names[63].as_str()),
        (64, "00000001-0070.jsonl")
    );
    let first = 100 + 6 * per_part as u64;
    assert_eq!(
        numbers(dir.path()),
        (first..100 + count).collect::<Vec<_>>()
    );
}

#[test]
fn what_a_disk_refuses_is_given_back_and_written_when_it_heals() {
    let dir = tempfile::tempdir().expect("a temp dir");
    let in_the_way = dir.path().join("air");
    storage::atomic::write(&in_the_way, b"a file").expect("written");
    let mut parts = Parts::new(in_the_way.clone(), 1);
    let (left, result) = parts.append(vec![entry(0), entry(1)]);
    result.expect_err("a file is no directory");
    assert_eq!(left, [entry(0), entry(1)]);
    fs::remove_file(&in_the_way).expect("there");
    let (left, result) = parts.append(left);
    result.expect("written");
    assert!(left.is_empty());
    assert_eq!(numbers(&in_the_way), [0, 1]);
}

/// Takes so many bytes, then refuses once, and so on.
struct FullAtTimes {
    taken: Vec<u8>,
    rooms: Vec<usize>,
}

impl Write for FullAtTimes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.rooms.pop() {
            Some(0) => Err(io::ErrorKind::StorageFull.into()),
            room => {
                let taken = room.unwrap_or(bytes.len()).min(bytes.len());
                self.taken.extend(&bytes[..taken]);
                Ok(taken)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

proptest! {
    /// However a disk fills up and heals, the line is there once and whole.
    #[test]
    fn a_line_is_finished_before_the_next(rooms in prop::collection::vec(0usize..40, 0..20)) {
        let mut disk = FullAtTimes { taken: Vec::new(), rooms };
        let whole = line(&entry(5)).expect("JSON");
        let mut rest = whole.clone();
        let mut bytes = 0;
        for _ in 0..=20 {
            bytes += write_rest(&mut disk, &mut rest).bytes;
        }
        prop_assert_eq!(bytes, whole.len() as u64);
        prop_assert_eq!(disk.taken, whole);
    }
}
