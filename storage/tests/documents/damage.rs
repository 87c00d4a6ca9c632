//! What is damaged, missing, foreign or of the future, and what is made of it.

use super::*;

#[test]
fn flaws_are_told_apart() {
    let bench = Bench::new("stream_state.json");
    let read = |text: &str| {
        bench.edit(text);
        flaw(document::read::<StreamStateFile>(&bench.path).unwrap())
    };
    assert_eq!(read(""), Flaw::Empty);
    assert_eq!(read(" \n"), Flaw::Empty);
    let Flaw::Syntax(error) = read("{\n \"version\": 1,\n \"streams\": {\0\0\0") else {
        panic!("accepted");
    };
    assert_eq!((error.line, error.column), (3, 14));
    assert!(error.message.contains("NUL"));
    assert!(matches!(
        read("{\"version\": 1, \"streams\": {}"),
        Flaw::Syntax(_)
    ));
    assert!(matches!(
        read("{\"version\": 1, \"streams\": []}"),
        Flaw::Syntax(_)
    ));
    assert!(matches!(
        read("{\"version\": 0, \"streams\": {}}"),
        Flaw::Problems(_)
    ));
    assert!(matches!(read("{\"streams\": {}}"), Flaw::Problems(_)));
    let twice = r#"{"version": 1, "streams": {}, "streams": {}}"#;
    assert!(matches!(read(twice), Flaw::Problems(_)));
    let future = Flaw::FutureVersion { found: 2, known: 1 };
    assert_eq!(read(r#"{"version": 2, "anything": "else"}"#), future);
    assert!(future.to_string().contains("newer release"));
}

#[test]
fn a_future_version_is_never_overwritten() {
    for bench in [Bench::config(), Bench::new("stream_state.json")] {
        let text = r#"{"version": 7, "streams": {"main": {"new": "field"}}}"#;
        bench.edit(text);
        let (mut document, opened) = open::<StreamConfigFile>(&bench.path);
        assert!(matches!(
            flaw(opened),
            Flaw::FutureVersion { found: 7, known: 1 }
        ));
        for result in [
            document.save(&config(&[])),
            document.save_over(&config(&[])),
        ] {
            let error = result.unwrap_err();
            assert!(
                matches!(error, DocumentError::WouldOverwrite { .. }),
                "{error}"
            );
        }
        assert_eq!(bench.text(), text);
    }
}

#[test]
fn one_changed_byte_is_noticed_unless_the_checksum_was_removed() {
    let bench = Bench::position();
    let (mut document, _) = open(&bench.path);
    document.save(&position(1.5)).unwrap();
    let text = bench.text();
    bench.edit(text.replace("a.mp4", "b.mp4"));
    assert_eq!(
        flaw(document::read::<PositionFile>(&bench.path).unwrap()),
        Flaw::Checksum
    );
    let without: String = text
        .replace("a.mp4", "b.mp4")
        .lines()
        .filter(|line| !line.contains("\"checksum\""))
        .collect();
    bench.edit(without);
    let (_, opened) = open::<PositionFile>(&bench.path);
    assert_eq!(loaded(&opened), (1.5, 1));
}

#[test]
fn a_corrupt_position_offers_the_one_before() {
    let bench = Bench::position();
    let (mut document, _) = open(&bench.path);
    document.save(&position(1.5)).unwrap();
    document.save(&position(2.5)).unwrap();
    bench.edit("\0".repeat(107));
    let (mut document, opened) = open::<PositionFile>(&bench.path);
    let Opened::Corrupt(corrupt) = opened else {
        panic!("accepted");
    };
    let last_good = corrupt.last_good.unwrap();
    assert_eq!((last_good.value.item_s, last_good.generation), (1.5, 1));
    document.save_over(&position(3.5)).unwrap();
    let kept = fs::read(corrupt_path(&bench.path)).unwrap();
    assert_eq!(kept, vec![0; 107]);
    assert_eq!(loaded(&document::read(&bench.path).unwrap()).0, 3.5);
}

#[test]
fn what_replaced_a_programs_document_never_becomes_its_good_copy() {
    let bench = Bench::position();
    let (mut document, _) = open(&bench.path);
    document.save(&position(1.5)).unwrap();
    document.save(&position(2.5)).unwrap();
    bench.edit("rubbish");
    document.save(&position(3.5)).unwrap();
    assert_eq!(fs::read(corrupt_path(&bench.path)).unwrap(), b"rubbish");
    let copy = document::read(&backup_path(&bench.path)).unwrap();
    assert_eq!(loaded(&copy), (1.5, 1));
    assert_eq!(loaded(&document::read(&bench.path).unwrap()), (3.5, 3));
}

#[test]
fn a_file_that_is_gone_is_not_a_fresh_start() {
    let bench = Bench::position();
    let (mut document, _) = open(&bench.path);
    document.save(&position(1.5)).unwrap();
    document.save(&position(2.5)).unwrap();
    fs::remove_file(&bench.path).unwrap();
    let Opened::Corrupt(corrupt) = document::read::<PositionFile>(&bench.path).unwrap() else {
        panic!("taken for absent");
    };
    assert_eq!(corrupt.flaw, Flaw::Missing);
    assert_eq!(corrupt.last_good.as_ref().unwrap().value.item_s, 1.5);
    assert!(corrupt.hint().contains("start empty"));
    let (mut document, _) = open(&bench.path);
    assert!(document.save(&position(0.0)).is_err());
    fs::remove_file(backup_path(&bench.path)).unwrap();
    assert_eq!(document.reload().unwrap(), Opened::Absent);
    document.save(&position(0.0)).unwrap();
}

#[test]
fn unreadable_is_neither_absent_nor_corrupt() {
    let bench = Bench::config();
    fs::create_dir(&bench.path).unwrap();
    let error = document::read::<StreamConfigFile>(&bench.path).unwrap_err();
    assert!(matches!(error, DocumentError::Unreadable { .. }), "{error}");
    assert!(error.to_string().contains("stream_config.json"), "{error}");
}

#[test]
fn leftovers_of_a_crash_are_removed_by_the_writer_and_never_read() {
    let bench = Bench::position();
    let (mut document, _) = open(&bench.path);
    document.save(&position(1.5)).unwrap();
    document.save(&position(2.5)).unwrap();
    let whole = fs::read(&bench.path).unwrap();
    let leave = |name: &str, bytes: &[u8]| {
        let mut file = fs::File::create(bench.dir.path().join(name)).unwrap();
        file.write_all(bytes).unwrap();
    };
    leave(".position.json.0123456789abcdef.tmp", &whole[..20]);
    leave(".position.json.bak.0123456789abcdef.tmp", &whole);
    leave(".another.json.0123456789abcdef.tmp", b"not ours");
    // Someone who only reads leaves everything where it is.
    assert_eq!(loaded(&document::read(&bench.path).unwrap()), (2.5, 2));
    assert_eq!(bench.names().len(), 5);
    let (_, opened) = open::<PositionFile>(&bench.path);
    assert_eq!(loaded(&opened), (2.5, 2));
    let left = [
        ".another.json.0123456789abcdef.tmp",
        "position.json",
        "position.json.bak",
    ];
    assert_eq!(bench.names(), left);
}

#[test]
fn a_crash_between_keeping_the_old_and_putting_the_new_is_harmless() {
    // After step 5 of writing both names lead to the same file.
    let bench = Bench::position();
    let (mut document, _) = open(&bench.path);
    document.save(&position(1.5)).unwrap();
    fs::hard_link(&bench.path, backup_path(&bench.path)).unwrap();
    let (mut document, opened) = open(&bench.path);
    assert_eq!(loaded(&opened), (1.5, 1));
    document.save(&position(2.5)).unwrap();
    document.save(&position(3.5)).unwrap();
    let copy = document::read(&backup_path(&bench.path)).unwrap();
    assert_eq!(loaded(&copy), (2.5, 2));
    assert_eq!(bench.names(), ["position.json", "position.json.bak"]);
}
