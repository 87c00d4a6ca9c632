//! Every mistake of a schedule is told at once, with its path.

use storage::model::StreamConfig;
use storage::model::problems::{ConfigError, parse_stream};

fn problems(schedule: &str) -> Vec<String> {
    let text = format!(r#"{{"programme": {{"schedule": {schedule}}}}}"#);
    match parse_stream(text.as_bytes()) {
        Err(ConfigError::Problems(problems)) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("{schedule}: expected problems, got {other:?}"),
    }
}

/// One block with these members besides its name and items.
fn block(members: &str) -> String {
    format!(
        r#"{{"timezone": "UTC", "blocks": [{{"name": "b", "items": [{{"prefix": "b/"}}], {members}}}]}}"#
    )
}

const FULL: &str = r#"{ "programme": {
    "items": [ {"prefix": "day/"} ], "order": "shuffle", "loop": true,
    "schedule": {
      "timezone": "Europe/Berlin",
      "blocks": [
        { "name": "Früh", "days": ["mon", "tue"], "from": "06:00", "to": "10:00",
          "items": [ {"prefix": "morning/"}, {"key": "news.mp4"} ], "order": "shuffle", "loop": true,
          "filler": [ {"prefix": "idents/"} ], "on_end": "fit" },
        { "name": "gala", "date": "2026-12-24", "from": "23:00", "to": "01:30:30", "items": [] } ],
      "metadata": {
        "films/": { "rating": "16", "allowed_blocks": ["gala", "ordinary"] },
        "news.mp4": { "title": "News" } } } } }"#;

#[test]
fn a_full_schedule_is_read_as_written_and_written_as_read() {
    let read = parse_stream(FULL.as_bytes()).expect("no problems");
    let by_serde: StreamConfig = serde_json::from_str(FULL).expect("a configuration");
    assert_eq!(read, by_serde);
    let again = serde_json::to_vec(&read).expect("JSON");
    assert_eq!(parse_stream(&again).expect("no problems"), read);
}

#[test]
fn a_programme_without_a_schedule_is_written_as_before() {
    let text = r#"{"items":[{"prefix":""}],"order":"listed","loop":true}"#;
    let programme: programme::Programme = serde_json::from_str(text).expect("a programme");
    assert_eq!(serde_json::to_string(&programme).expect("JSON"), text);
}

#[test]
fn every_mistake_is_listed_with_its_path() {
    let found = problems(
        r#"{"timezone": "Mars/Base", "colour": 1, "blocks": [
            {"name": "ordinary", "days": ["mon", "mon", "Tuesday"], "from": "6:00", "to": "25:00"},
            {"name": "", "days": [], "date": "2026-13-01", "from": "24:00", "to": "02:00",
             "items": [{}], "filler": [{"key": "../x"}], "on_end": "stop"}],
          "metadata": {"../a": {"titel": "x", "title": "", "allowed_blocks": ["nobody", 3]}}}"#,
    );
    let paths: Vec<&str> = found
        .iter()
        .filter_map(|problem| problem.split_once(": ").map(|(path, _)| path))
        .collect();
    let at = |rest: &str| format!("programme.schedule.{rest}");
    for path in [
        "timezone",
        "colour",
        "blocks[0].name",
        "blocks[0].days[1]",
        "blocks[0].days[2]",
        "blocks[0].from",
        "blocks[0].to",
        "blocks[0].items",
        "blocks[1]",
        "blocks[1].name",
        "blocks[1].days",
        "blocks[1].date",
        "blocks[1].from",
        "blocks[1].items[0]",
        "blocks[1].filler[0].key",
        "blocks[1].on_end",
        "metadata.../a",
        "metadata.../a.titel",
        "metadata.../a.title",
        "metadata.../a.allowed_blocks[0]",
        "metadata.../a.allowed_blocks[1]",
    ] {
        assert!(paths.contains(&at(path).as_str()), "{path} in {found:#?}");
    }
}

#[test]
fn overlaps_are_told_with_both_names() {
    let two = |second: &str| {
        format!(
            r#"{{"timezone": "UTC", "blocks": [
                {{"name": "late", "days": ["sun"], "from": "22:00", "to": "02:00", "items": []}},
                {{"name": "early", "days": ["mon"], {second}, "items": []}}]}}"#
        )
    };
    let found = problems(&two(r#""from": "01:30", "to": "05:00""#));
    assert_eq!(
        found,
        [
            "programme.schedule.blocks[1]: \"early\" (01:30–05:00) overlaps \"late\" (22:00–02:00, \
          programme.schedule.blocks[0]); change the times or days of one"
        ]
    );
    let touching = format!(
        r#"{{"programme": {{"schedule": {}}}}}"#,
        two(r#""from": "02:00", "to": "05:00""#)
    );
    parse_stream(touching.as_bytes()).expect("they touch");
}

#[test]
fn days_or_a_date() {
    let when = r#""from": "01:00", "to": "02:00""#;
    for members in ["", r#""days": ["mon"], "date": "2026-12-24","#] {
        let found = problems(&block(&format!("{members} {when}")));
        assert!(found[0].contains("either \"days\""), "{found:?}");
    }
    let found = problems(&block(r#""days": ["mon"]"#));
    assert_eq!(
        found,
        [
            "programme.schedule.blocks[0].from: is missing",
            "programme.schedule.blocks[0].to: is missing"
        ]
    );
}

#[test]
fn two_blocks_of_one_name() {
    let found = problems(
        r#"{"timezone": "UTC", "blocks": [
            {"name": "a", "days": ["mon"], "from": "01:00", "to": "02:00", "items": []},
            {"name": "a", "days": ["tue"], "from": "01:00", "to": "02:00", "items": []}]}"#,
    );
    assert!(found[0].contains("is the name of"), "{found:?}");
}
