//! What the file knows of what it has not.

use storage::history::{Unrecorded, UnrecordedCause};

use super::*;

#[test]
fn what_was_lost_is_kept_and_what_others_left_open_ends() {
    let (_dir, path) = place();
    let mut database = open(&path);
    assert_eq!(database.begins_ms().unwrap(), None);
    database
        .write(&rows([wanted(-9_000, None), gap(5_000, None)]))
        .unwrap();
    let lost = |to_ms, cause| Unrecorded {
        from_ms: Unrecorded::EVER,
        to_ms,
        cause,
    };
    let replaced = Unrecorded {
        from_ms: 6_000,
        to_ms: 9_000,
        cause: UnrecordedCause::Replaced,
    };
    let own = gap(8_000, None);
    let newest = span(6_000, None);
    let mut batch = rows([own.clone()]);
    batch.unrecorded = vec![
        lost(1_000, UnrecordedCause::Lost),
        lost(500, UnrecordedCause::Retention),
        replaced,
    ];
    batch.others_end = Some(Mark {
        ms: newest.start_ms,
        at: newest.start_at,
    });
    database.write(&batch).unwrap();
    drop(database);

    let mut database = open(&path);
    let kept = [lost(1_000, UnrecordedCause::Lost), replaced];
    assert_eq!(database.unrecorded().unwrap(), kept);
    assert_eq!(database.begins_ms().unwrap(), Some(-9_000));
    let ends: Vec<_> = all(&mut database)
        .iter()
        .map(|row| row.span().end_ms)
        .collect();
    assert_eq!(ends, [Some(6_000), Some(6_000), None]);

    // What retention removes is told as well.
    let days = |days: i64| days * 24 * 3_600_000;
    database.retain(GENEROUS, days(90) + 7_000).unwrap();
    let kept = [lost(7_000, UnrecordedCause::Retention), replaced];
    assert_eq!(database.unrecorded().unwrap(), kept);
}
