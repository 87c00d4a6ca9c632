//! Documents: absent, loaded or corrupt; what is refused; what is on disk afterwards.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod damage;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use programme::Position;
use proptest::prelude::*;
use storage::atomic;
use storage::document::{self, Document, DocumentError, Flaw, Opened, backup_path, corrupt_path};
use storage::model::{PositionFile, StreamConfig, StreamConfigFile, StreamStateFile};
use tempfile::TempDir;

struct Bench {
    dir: TempDir,
    path: PathBuf,
}

impl Bench {
    fn new(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        Self { dir, path }
    }

    fn position() -> Self {
        Self::new("position.json")
    }

    fn config() -> Self {
        Self::new("stream_config.json")
    }

    /// As an editor does: in place, without a thought of a crash.
    fn edit(&self, text: impl AsRef<[u8]>) {
        let mut file = fs::File::create(&self.path).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }
}

fn position(item_s: f64) -> PositionFile {
    PositionFile {
        version: 1,
        position: Position {
            key: Some("shows/a.mp4".to_owned()),
            ..Position::default()
        },
        item_s,
        block: None,
        at: Timestamp::UNIX_EPOCH,
    }
}

fn config(ids: &[&str]) -> StreamConfigFile {
    StreamConfigFile {
        version: 1,
        streams: ids
            .iter()
            .map(|id| (id.parse().unwrap(), StreamConfig::default()))
            .collect(),
    }
}

fn open<T: document::Contents>(path: &Path) -> (Document<T>, Opened<T>) {
    Document::open(path).unwrap()
}

/// Item second and generation of what is loaded.
fn loaded(opened: &Opened<PositionFile>) -> (f64, u64) {
    match opened {
        Opened::Loaded { value, generation } => (value.item_s, *generation),
        other => panic!("expected a document, got {other:?}"),
    }
}

fn flaw<T: std::fmt::Debug>(opened: Opened<T>) -> Flaw {
    match opened {
        Opened::Corrupt(corrupt) => corrupt.flaw,
        other => panic!("expected a flaw, got {other:?}"),
    }
}

#[test]
fn what_was_saved_is_loaded_with_its_generation() {
    let bench = Bench::position();
    let (mut document, opened) = open(&bench.path);
    assert_eq!(opened, Opened::Absent);
    assert_eq!(document.save(&position(1.5)).unwrap(), 1);
    assert_eq!(document.save(&position(2.5)).unwrap(), 2);
    assert_eq!(loaded(&document::read(&bench.path).unwrap()), (2.5, 2));
    let (mut document, opened) = open(&bench.path);
    assert_eq!(loaded(&opened), (2.5, 2));
    assert_eq!(document.save(&position(3.5)).unwrap(), 3);
    assert_eq!(bench.names(), ["position.json", "position.json.bak"]);
    let before = document::read(&backup_path(&bench.path)).unwrap();
    assert_eq!(loaded(&before), (2.5, 2));
}

#[test]
fn a_config_holds_only_the_operators_words() {
    let bench = Bench::config();
    let (mut document, _) = open(&bench.path);
    document.save(&config(&["main"])).unwrap();
    let text = bench.text();
    assert!(text.starts_with("{\n  \"version\": 1,\n  \"streams\": {\n    \"main\""));
    assert!(!text.contains("checksum") && !text.contains("generation"));
    assert!(text.ends_with("}\n"));
}

#[test]
fn documents_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::config();
    let (mut document, _) = open(&bench.path);
    document.save(&config(&["main"])).unwrap();
    for path in [bench.path.clone(), backup_path(&bench.path)] {
        assert_eq!(
            fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}

#[test]
fn an_operators_group_keeps_its_access() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::config();
    bench.edit(r#"{"version": 1, "streams": {}}"#);
    fs::set_permissions(&bench.path, fs::Permissions::from_mode(0o660)).unwrap();
    let (mut document, _) = open::<StreamConfigFile>(&bench.path);
    document.save(&config(&["main"])).unwrap();
    let mode = fs::metadata(&bench.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[test]
fn a_hand_edit_is_accepted_and_its_copy_kept_apart() {
    let bench = Bench::config();
    let (mut document, _) = open::<StreamConfigFile>(&bench.path);
    document.save(&config(&["main"])).unwrap();
    bench.edit(r#"{"version": 1, "streams": {"main": {}, "second": {}}}"#);
    // Not read yet, so not overwritten.
    let error = document.save(&config(&["main"])).unwrap_err();
    assert!(
        matches!(error, DocumentError::ChangedOnDisk { .. }),
        "{error}"
    );
    let Opened::Loaded { value, generation } = document.reload().unwrap() else {
        panic!("a good edit was not accepted");
    };
    assert_eq!((value.streams.len(), generation), (2, 2));
    // Unchanged, so the same generation.
    let again = document.reload().unwrap();
    assert!(matches!(again, Opened::Loaded { generation: 2, .. }));
    // The next edit is in place and breaks the file; what was in force is offered.
    bench.edit("{\"version\": 1,\n \"streams\": {\"main\": }}");
    let Opened::Corrupt(corrupt) = document.reload().unwrap() else {
        panic!("accepted");
    };
    assert_eq!(corrupt.place(), Some((2, 22)));
    let last_good = corrupt.last_good.as_ref().unwrap();
    assert_eq!(last_good.value, value);
    let hint = corrupt.hint();
    assert!(hint.contains("cp -p") && hint.contains(".bak"), "{hint}");
    // Nothing is overwritten until the operator says so, and what was there is kept even then.
    let error = document.save(&value).unwrap_err();
    assert!(
        matches!(error, DocumentError::WouldOverwrite { .. }),
        "{error}"
    );
    assert!(bench.text().contains("\"main\": }"));
    document.save_over(&value).unwrap();
    assert!(
        fs::read_to_string(corrupt_path(&bench.path))
            .unwrap()
            .contains("\"main\": }")
    );
    assert!(matches!(document.reload().unwrap(), Opened::Loaded { .. }));
}

#[test]
fn a_copy_survives_an_editor_that_writes_in_place() {
    let bench = Bench::config();
    let (mut document, _) = open::<StreamConfigFile>(&bench.path);
    document.save(&config(&["main"])).unwrap();
    bench.edit("");
    let Opened::Corrupt(corrupt) = document.reload().unwrap() else {
        panic!("accepted");
    };
    assert_eq!(corrupt.flaw, Flaw::Empty);
    assert_eq!(corrupt.last_good.unwrap().value, config(&["main"]));
}

#[test]
fn problems_of_a_config_are_all_listed() {
    let bench = Bench::config();
    bench.edit(r#"{"version": 1, "streams": {"main": {"autostart": 1, "loop": true}}}"#);
    let Flaw::Problems(problems) = flaw(open::<StreamConfigFile>(&bench.path).1) else {
        panic!("accepted");
    };
    let paths: Vec<_> = problems.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(paths, ["streams.main.autostart", "streams.main.loop"]);
}

#[test]
fn a_missing_directory_is_named() {
    let bench = Bench::new("gone/position.json");
    let (mut document, opened) = open::<PositionFile>(&bench.path);
    assert_eq!(opened, Opened::Absent);
    let error = document.save(&position(1.0)).unwrap_err();
    let DocumentError::Disk(disk) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(disk.fault, atomic::DiskFault::NoDirectory);
    assert_eq!(disk.operation, atomic::Operation::Create);
    assert!(error.to_string().contains("gone/position.json"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    /// Torn at any byte, or with any byte changed: noticed, and the copy is offered.
    #[test]
    fn damage_is_always_noticed(at in 0usize..500, byte in any::<u8>(), cut in any::<bool>()) {
        let bench = Bench::position();
        let (mut document, _) = open(&bench.path);
        document.save(&position(1.5)).unwrap();
        document.save(&position(2.5)).unwrap();
        let good = fs::read(&bench.path).unwrap();
        let at = at % good.len();
        let mut bad = good.clone();
        if cut {
            bad.truncate(at);
        } else {
            bad[at] = byte;
        }
        // Without its last line break the document is still whole, byte for byte.
        prop_assume!(bad != good && bad.trim_ascii_end() != good.trim_ascii_end());
        bench.edit(&bad);
        match document::read::<PositionFile>(&bench.path).unwrap() {
            Opened::Corrupt(corrupt) => {
                prop_assert_eq!(corrupt.last_good.unwrap().value.item_s, 1.5);
            }
            // The word "checksum" or "generation" itself was hit: an unknown field, then.
            Opened::Loaded { value, .. } => prop_assert_eq!(value, position(2.5)),
            Opened::Absent => prop_assert!(false, "taken for absent"),
        }
    }

    #[test]
    fn every_position_comes_back(round in any::<u64>(), index in 0usize..10_000, seed in any::<u64>(),
                                 key in prop::option::of(".{0,40}"), tenths in 0u32..1_000_000) {
        let bench = Bench::position();
        let (mut document, _) = open(&bench.path);
        let file = PositionFile {
            position: Position { round, index, key, seed },
            ..position(f64::from(tenths) / 10.0)
        };
        document.save(&file).unwrap();
        let (_, opened) = open::<PositionFile>(&bench.path);
        prop_assert_eq!(opened, Opened::Loaded { value: file, generation: 1 });
    }
}
