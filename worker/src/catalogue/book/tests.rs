use super::*;

fn object(key: &str, version: &str) -> ListedObject {
    ListedObject {
        key: key.to_owned(),
        size_bytes: 1,
        version: version.to_owned(),
    }
}

fn listing(keys: &[&str]) -> Result<Vec<ListedObject>, MediaError> {
    Ok(keys.iter().map(|key| object(key, "1")).collect())
}

fn error(error_type: &str) -> ErrorReport {
    ErrorReport {
        error_type: error_type.to_owned(),
        message: String::new(),
        hint: String::new(),
    }
}

fn at() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn items(items: &[ItemSpec]) -> Programme {
    Programme {
        items: items.to_vec(),
        ..Programme::default()
    }
}

fn prefix(text: &str) -> ItemSpec {
    ItemSpec::Prefix(text.to_owned())
}

fn key(text: &str) -> ItemSpec {
    ItemSpec::Key(text.to_owned())
}

/// A book of the whole bucket in which `keys` were listed just now.
fn book(keys: &[&str]) -> (Book, Instant) {
    let now = Instant::now();
    let mut book = Book::new(Programme::default(), now);
    let _listed = book.looked(listing(keys), (now, at()));
    (book, now)
}

#[track_caller]
fn item(up_next: UpNext) -> (String, Position) {
    match up_next {
        UpNext::Item(object, position) => (object.key, position),
        other => panic!("no item: {other:?}"),
    }
}

#[test]
fn the_first_look_is_due_at_once_and_a_routine_one_after_five_minutes() {
    let now = Instant::now();
    let mut book = Book::new(Programme::default(), now);
    assert_eq!(book.next_look(), now);
    assert!(!book.has_looked());
    assert_eq!(book.up_next(From::Start { seed: 0 }, now), UpNext::Empty);
    let _listed = book.looked(listing(&["a.mp4"]), (now, at()));
    assert!(book.has_looked());
    assert_eq!(book.next_look(), now + ROUTINE_LOOK);
}

#[test]
fn an_empty_bucket_is_said_once_and_looked_at_at_least_every_minute() {
    let (mut book, now) = book(&[]);
    assert_eq!(book.report().error.unwrap().error_type, "programme_empty");
    let mut empty = Duration::ZERO;
    while empty < Duration::from_secs(900) {
        let pause = book.next_look().duration_since(now + empty);
        let a_fifth = Duration::from_secs(2).max(empty / 5);
        assert_eq!(pause, a_fifth.min(EMPTY_LOOK), "after {empty:?}");
        empty += pause;
        let again = book.looked(listing(&[]), (now + empty, at()));
        assert_eq!(again, Note::Nothing);
    }
    let later = now + empty;
    let filled = book.looked(listing(&["a.mp4"]), (later, at()));
    let expected = Note::Items {
        count: 1,
        missing: vec![],
    };
    assert_eq!(filled, expected);
    assert_eq!(book.report().error, None);
    let _emptied = book.looked(listing(&[]), (later, at()));
    let soon = later + Duration::from_secs(2);
    assert_eq!(book.next_look(), soon, "another time, from the beginning");
}

#[test]
fn an_item_that_is_not_there_is_looked_for_at_once_and_tried_again_soon() {
    let (mut book, listed) = book(&["a"]);
    let now = listed + Duration::from_secs(100);
    let (_, position) = item(book.up_next(From::Start { seed: 0 }, now));
    book.mark_bad(&position, "1", &error("no_such_key"), (now, at()));
    assert_eq!(book.next_look(), now);
    let _still_listed = book.looked(listing(&["a"]), (now, at()));
    assert_eq!(book.up_next(From::At(&position), now), UpNext::Empty);
    let soon = now + Duration::from_secs(2);
    assert_eq!(item(book.up_next(From::At(&position), soon)).0, "a");
    // It never comes: the tries get rare, and so do the looks.
    let mut at_s = 2;
    for wait in [4, 8, 16, 32, 60, 60] {
        let tried = now + Duration::from_secs(at_s);
        book.mark_bad(&position, "1", &error("no_such_key"), (tried, at()));
        assert_eq!(book.next_look(), tried);
        let _still_listed = book.looked(listing(&["a"]), (tried, at()));
        let early = tried + Duration::from_secs(wait - 1);
        assert_eq!(book.up_next(From::At(&position), early), UpNext::Empty);
        at_s += wait;
        let due = now + Duration::from_secs(at_s);
        assert_eq!(item(book.up_next(From::At(&position), due)).0, "a");
    }
}

#[test]
fn a_failed_item_is_skipped_in_its_round_and_tried_in_a_later_one() {
    let (mut book, now) = book(&["a", "b"]);
    let (first, position) = item(book.up_next(From::Start { seed: 0 }, now));
    assert_eq!(first, "a");
    assert!(book.mark_bad(&position, "1", &error("source_empty"), (now, at())));
    let (second, b_0) = item(book.up_next(From::After(&position), now));
    assert_eq!(second, "b");
    let (again, b_1) = item(book.up_next(From::After(&b_0), now + Duration::from_secs(30)));
    assert_eq!((again.as_str(), b_1.round), ("b", 1), "too soon for a");
    let (later, a_2) = item(book.up_next(From::After(&b_1), now + Duration::from_secs(61)));
    assert_eq!((later.as_str(), a_2.round), ("a", 2));
}

#[test]
fn within_its_round_a_failed_item_stays_skipped_however_long_that_is() {
    let (mut book, now) = book(&["a", "b"]);
    let (_, position) = item(book.up_next(From::Start { seed: 0 }, now));
    book.mark_bad(&position, "1", &error("source_empty"), (now, at()));
    let hours = now + Duration::from_secs(10_000);
    assert_eq!(item(book.up_next(From::At(&position), hours)).0, "b");
}

#[test]
fn a_failure_is_news_once_per_version_and_reason() {
    let (mut book, now) = book(&["a"]);
    let (_, position) = item(book.up_next(From::Start { seed: 0 }, now));
    let mut mark = |version: &str, reason: &str| {
        book.mark_bad(&position, version, &error(reason), (now, at()))
    };
    assert!(mark("1", "source_empty"));
    assert!(!mark("1", "source_empty"));
    assert!(mark("2", "source_empty"));
    assert!(mark("2", "source_not_media"));
}

#[test]
fn a_new_version_is_tried_at_once_and_its_problem_forgotten() {
    let (mut book, now) = book(&["a"]);
    let (_, position) = item(book.up_next(From::Start { seed: 0 }, now));
    book.mark_bad(&position, "1", &error("source_empty"), (now, at()));
    assert_eq!(book.up_next(From::At(&position), now), UpNext::Empty);
    assert_eq!(book.report().problems.len(), 1);
    let _listed = book.looked(Ok(vec![object("a", "2")]), (now, at()));
    assert_eq!(item(book.up_next(From::At(&position), now)).0, "a");
    assert!(book.report().problems.is_empty());
}

#[test]
fn when_a_whole_round_was_skipped_the_bucket_is_looked_at_after_a_minute() {
    let (mut book, now) = book(&["a", "b", "c"]);
    let mut from = Position::default();
    for _ in 0..3 {
        let (_, position) = item(book.up_next(From::At(&from), now));
        book.mark_bad(&position, "1", &error("source_empty"), (now, at()));
        from = position;
    }
    assert_eq!(book.up_next(From::After(&from), now), UpNext::Empty);
    assert_eq!(book.next_look(), now + EMPTY_LOOK);
    let almost = now + EMPTY_LOOK - Duration::from_secs(1);
    assert_eq!(book.up_next(From::After(&from), almost), UpNext::Empty);
    assert_eq!(
        book.next_look(),
        now + EMPTY_LOOK,
        "asking does not put it off"
    );
    let later = now + EMPTY_LOOK;
    let _listed = book.looked(listing(&["a", "b", "c"]), (later, at()));
    let (key, position) = item(book.up_next(From::After(&from), later));
    assert_eq!((key.as_str(), position.round), ("a", 1));
}

#[test]
fn an_item_that_played_is_no_problem_any_more() {
    let (mut book, now) = book(&["a"]);
    let (_, position) = item(book.up_next(From::Start { seed: 0 }, now));
    book.mark_bad(&position, "1", &error("source_stalled"), (now, at()));
    book.mark_good("a");
    assert_eq!(item(book.up_next(From::At(&position), now)).0, "a");
    assert!(book.report().problems.is_empty());
}

#[test]
fn a_new_round_is_a_reason_to_look_but_not_every_second() {
    let (mut book, now) = book(&["a"]);
    let (_, position) = item(book.up_next(From::Start { seed: 0 }, now));
    let soon = now + Duration::from_secs(2);
    let _next_round = book.up_next(From::After(&position), soon);
    assert_eq!(book.next_look(), now + ROUND_LOOK);
    let (mut book, now) = self::book(&["a"]);
    let late = now + Duration::from_secs(200);
    let _next_round = book.up_next(From::After(&position), late);
    assert_eq!(book.next_look(), late, "at once");
}

#[test]
fn without_a_loop_the_programme_ends() {
    let now = Instant::now();
    let programme = Programme {
        repeat: false,
        ..Programme::default()
    };
    let mut book = Book::new(programme, now);
    let _listed = book.looked(listing(&["a"]), (now, at()));
    let (_, position) = item(book.up_next(From::Start { seed: 0 }, now));
    assert_eq!(book.up_next(From::After(&position), now), UpNext::Ended);
}

#[test]
fn named_keys_that_are_not_there_are_problems_told_once() {
    let now = Instant::now();
    let mut book = Book::new(items(&[key("a"), key("gone")]), now);
    let expected = Note::Items {
        count: 1,
        missing: vec!["gone".to_owned()],
    };
    assert_eq!(book.looked(listing(&["a"]), (now, at())), expected);
    assert_eq!(book.looked(listing(&["a"]), (now, at())), Note::Nothing);
    let problems = book.report().problems;
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].error.error_type, "no_such_key");
}

#[test]
fn every_object_is_listed_by_one_prefix() {
    let now = Instant::now();
    for (programme, expected) in [
        (items(&[prefix("")]), &[""][..]),
        (
            items(&[prefix("shows/"), key("ident.mp4")]),
            &["ident.mp4", "shows/"],
        ),
        (
            items(&[
                key("shows/1.mp4"),
                prefix("shows/"),
                prefix("shows/a/"),
                key("shows.mp4"),
            ]),
            &["shows.mp4", "shows/"],
        ),
        (items(&[prefix("z"), prefix(""), key("a")]), &[""]),
        (items(&[]), &[]),
    ] {
        assert_eq!(Book::new(programme, now).begin_look(), expected);
    }
}

#[test]
fn another_programme_is_listed_at_once_and_the_same_one_is_not() {
    let (mut book, now) = book(&["a"]);
    let soon = now + Duration::from_secs(1);
    book.set_programme(Programme::default(), soon);
    assert_eq!(book.next_look(), now + ROUTINE_LOOK);
    book.set_programme(items(&[key("b")]), soon);
    assert_eq!(book.next_look(), soon);
}
