use super::*;

fn schedule() -> Schedule {
    serde_json::from_value(serde_json::json!({
        "timezone": "UTC",
        "blocks": [
            {"name": "morning", "days": ["mon"], "from": "06:00", "to": "10:00", "items": []},
            {"name": "gala", "date": "2026-12-24", "from": "01:00", "to": "02:00", "items": []}],
        "metadata": {"films/": {"rating": "16"}},
    }))
    .expect("a schedule")
}

/// In UTC it is the 23rd still.
fn eve() -> Timestamp {
    "2026-12-23T23:30:00Z".parse().expect("an instant")
}

fn problems(format: Format, text: &[u8]) -> Vec<String> {
    let problems = read(format, text).expect_err("problems");
    problems.iter().map(ToString::to_string).collect()
}

fn blocks(schedule: &Schedule) -> Vec<String> {
    let blocks = schedule.blocks.iter();
    blocks
        .map(|b| format!("{} {}-{} {}", b.name, b.from, b.to, b.items.len()))
        .collect()
}

#[test]
fn an_m3u_becomes_the_items_of_a_block() {
    let text = "\u{FEFF}#EXTM3U\r\n#EXTINF:120 group=\"Films, long\",A film, in two parts\r\n#EXTVLCOPT:x\r\nfilms/a.mp4\r\n\r\n./b.mp4\r\n";
    let list = read(Format::M3u, text.as_bytes()).expect("a list");
    let mut schedule = schedule();
    let (names, keys) = list
        .write_to(&mut schedule, Some("morning"), eve())
        .expect("written");
    assert_eq!(
        (names, keys),
        (
            vec!["morning".to_owned()],
            vec!["films/a.mp4".to_owned(), "b.mp4".to_owned()]
        )
    );
    assert_eq!(schedule.blocks[0].items.len(), 2);
    let about = schedule.about("films/a.mp4").expect("known");
    assert_eq!(
        (about.title.as_deref(), about.rating.as_deref()),
        (Some("A film, in two parts"), Some("16"))
    );
    assert!(schedule.about("b.mp4").is_none());
}

#[test]
fn each_bad_line_is_told_by_its_number() {
    let text = "# a comment\na.mp4\nhttp://host/b.mp4\n../c.mp4\n\nd\\e.mp4\n/etc/passwd\n";
    let found = problems(Format::Text, text.as_bytes());
    let lines: Vec<&str> = found.iter().filter_map(|p| p.split(':').next()).collect();
    assert_eq!(
        lines,
        ["line 3", "line 4", "line 6", "line 7"],
        "{found:#?}"
    );
    assert_eq!(problems(Format::Text, b"# nothing\n"), ["has no items"]);
    let long = format!(
        "#EXTINF:1,{}\na.mp4\n#EXTINF:1,\tb\tc\nb.mp4\n",
        "x".repeat(201)
    );
    let found = problems(Format::M3u, long.as_bytes());
    assert!(
        found[0].starts_with("line 1: the title must") && found[1].starts_with("line 3: "),
        "{found:#?}"
    );
    let latin = problems(Format::M3u, b"a.mp4\nb\xE4r.mp4\n");
    assert!(latin[0].starts_with("line 2: is not UTF-8"), "{latin:?}");
}

#[test]
fn the_playlist_of_a_day_becomes_blocks_of_that_date() {
    let text = r#"{"date": "2026-12-24", "until": "23:30", "items": [
        {"at": "18:00", "key": "news.mp4"}, {"key": "ad.mp4", "title": "Ad"},
        {"at": "20:15", "key": "films/f.mp4"}]}"#;
    let mut schedule = schedule();
    for _ in 0..2 {
        let list = read(Format::Json, text.as_bytes()).expect("a list");
        let (names, keys) = list.write_to(&mut schedule, None, eve()).expect("written");
        assert_eq!(names, ["2026-12-24 18:00", "2026-12-24 20:15"]);
        assert_eq!(keys.len(), 3);
        assert_eq!(
            blocks(&schedule),
            [
                "morning 06:00-10:00 0",
                "gala 01:00-02:00 0",
                "2026-12-24 18:00 18:00-20:15 2",
                "2026-12-24 20:15 20:15-23:30 1",
            ]
        );
    }
    assert!(schedule.overlaps().is_empty());
}

#[test]
fn days_that_are_long_past_do_not_add_up() {
    let mut schedule = schedule();
    schedule.timezone = "Pacific/Auckland".to_owned();
    let mut import = |date: &str, now: &str| {
        let text = format!(r#"{{"date": "{date}", "items": [{{"at": "18:00", "key": "a.mp4"}}]}}"#);
        let list = read(Format::Json, text.as_bytes()).expect("a list");
        let now = now.parse().expect("an instant");
        let written = list.write_to(&mut schedule, None, now);
        written.map_err(|error| error.code().to_owned())?;
        if date == "2026-12-15" {
            let about = schedule.metadata.get_mut("films/").expect("known");
            about.allowed_blocks = Some(vec!["2026-12-15 18:00".to_owned()]);
        }
        let names = schedule.blocks.iter().map(|b| b.name.clone());
        Ok::<Vec<String>, String>(names.collect())
    };
    for date in ["2026-12-15", "2026-12-16", "2026-12-17"] {
        import(date, "2026-12-15T12:00:00Z").expect("written");
    }
    // There it is the 24th already: one of the old ones is spoken of, one is just a week ago.
    let names = import("2026-12-23", "2026-12-23T23:30:00Z").expect("written");
    let kept = ["morning", "gala", "2026-12-15 18:00", "2026-12-17 18:00"];
    assert_eq!(names, [&kept[..], &["2026-12-23 18:00"]].concat());
    let past = import("2026-12-22", "2026-12-23T23:30:00Z");
    assert_eq!(past, Err("invalid_list".to_owned()));
    // What a person has named stays.
    let names = import("2027-12-26", "2027-12-25T00:00:00Z").expect("written");
    assert_eq!(names, [&kept[..3], &["2027-12-26 18:00"]].concat());
}

#[test]
fn everything_wrong_with_a_day_is_told() {
    let text = r#"{"date": "24.12.", "until": 5, "day": 1, "items": [
        {"key": "a.mp4"}, {"at": "20:00", "key": ""}, {"at": "19:00", "key": "b.mp4"},
        {"at": "25:00", "key": "c.mp4"}, 7, {"key": 1, "length": 2}, {"key": "d.mp4", "title": ""},
        {"at": "24:00", "key": "e.mp4"}]}"#;
    let found = problems(Format::Json, text.as_bytes());
    for path in [
        "date: ",
        "until: ",
        "day: ",
        "items[0].at: ",
        "items[1].key: ",
        "items[2].at: ",
        "items[3].at: ",
        "items[4]: ",
        "items[5].key: ",
        "items[5].length: ",
        "items[6].title: ",
        "items[7].at: ",
    ] {
        assert!(
            found.iter().any(|p| p.starts_with(path)),
            "{path} in {found:#?}"
        );
    }
    let until = |until: &str| {
        let text = format!(
            r#"{{"date": "2026-12-24", "until": "{until}", "items": [
                {{"at": "20:00", "key": "a.mp4"}}, {{"at": "22:00", "key": "b.mp4"}}]}}"#
        );
        read(Format::Json, text.as_bytes()).map_err(|problems| problems[0].path.clone())
    };
    for within in ["20:01", "22:00"] {
        assert_eq!(until(within), Err("until".to_owned()), "{within}");
    }
    for (next_day, same_day) in [("02:00", "22:01"), ("20:00", "24:00")] {
        assert!(until(next_day).is_ok() && until(same_day).is_ok());
    }
    for date in ["20261224", "2026-12-24T20:00", "2026-02-30"] {
        let text = format!(r#"{{"date": "{date}", "items": [{{"at": "20:00", "key": "a.mp4"}}]}}"#);
        assert!(
            problems(Format::Json, text.as_bytes())[0].starts_with("date: "),
            "{date}"
        );
    }
    assert!(problems(Format::Json, b"{\n  \"date\": }")[0].starts_with("line 2: "));
}

#[test]
fn a_list_needs_its_block_and_a_day_has_its_own() {
    let list = || read(Format::Text, b"a.mp4").expect("a list");
    let code = |error: ApiError| error.code().to_owned();
    let unknown = list()
        .write_to(&mut schedule(), Some("evening"), eve())
        .expect_err("unknown");
    assert_eq!(code(unknown), "unknown_block");
    let unnamed = list()
        .write_to(&mut schedule(), None, eve())
        .expect_err("unnamed");
    assert_eq!(code(unnamed), "block_not_named");
}
