//! What plays by a schedule, until when, and what is said about it beforehand.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use programme::rehearse::{Finding, Rehearsal, Running, ScheduleProblemKind, Window, rehearse};
use programme::{
    Known, Lineup, ListedObject, Next, Part, Position, Programme, Resume, Standing, Stretch, Walk,
};
use proptest::prelude::*;

/// `name-SECONDS.mp4` lasts so long; `-x` is not known.
fn duration_s(object: &ListedObject) -> Option<f64> {
    let stem = object.key.strip_suffix(".mp4")?;
    stem.rsplit('-').next()?.parse().ok()
}

fn known(object: &ListedObject, _: &Position) -> Known {
    if object.key.contains("bad") {
        Known::Skipped
    } else {
        Known::Plays(duration_s(object))
    }
}

fn finding(object: &ListedObject) -> Finding {
    if object.key.contains("bad") {
        Finding::Unplayable("no video".to_owned())
    } else {
        Finding::Plays(duration_s(object))
    }
}

fn listing(keys: &[&str]) -> Vec<ListedObject> {
    keys.iter()
        .map(|key| ListedObject {
            key: (*key).to_owned(),
            size_bytes: 1,
            version: "v1".to_owned(),
        })
        .collect()
}

fn programme(json: serde_json::Value) -> Programme {
    serde_json::from_value(json).expect("a programme")
}

fn lineup(json: serde_json::Value, keys: &[&str]) -> Lineup {
    let programme = programme(json);
    let zone = programme
        .schedule
        .as_ref()
        .map(|schedule| TimeZone::get(&schedule.timezone).expect("a zone"));
    Lineup::resolve(&programme, zone, &listing(keys))
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

/// `HH:MM:SS key` of what airs from an instant on, a cut marked by `|`.
fn airs(lineup: &Lineup, standing: Standing, from: &str, count: usize) -> Vec<String> {
    Walk::new(lineup, standing, at(from), &known)
        .take(count)
        .map(|stretch| shown(&stretch))
        .collect()
}

fn shown(stretch: &Stretch) -> String {
    let key = stretch
        .item
        .as_ref()
        .map_or("slate", |item| &item.object.key);
    let from_s = stretch.item.as_ref().map_or(0.0, |item| item.start_s);
    let at_s = if from_s > 0.0 {
        format!("@{from_s}")
    } else {
        String::new()
    };
    let cut = if stretch.cut { "|" } else { "" };
    format!("{} {key}{at_s}{cut}", stretch.begins.strftime("%H:%M:%S"))
}

/// Ordinary items of ten minutes, and a block from 12:00 to 13:00 each day.
fn noon(more: serde_json::Value) -> serde_json::Value {
    let mut block = serde_json::json!({
        "name": "noon", "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
        "from": "12:00", "to": "13:00", "items": [{"prefix": "noon/"}],
    });
    let members = more.as_object().expect("an object").clone();
    block.as_object_mut().expect("an object").extend(members);
    serde_json::json!({
        "items": [{"prefix": "day/"}],
        "schedule": {"timezone": "UTC", "blocks": [block]},
    })
}

const DAY: [&str; 2] = ["day/a-600.mp4", "day/b-600.mp4"];

fn with_day(more: &[&'static str]) -> Vec<&'static str> {
    DAY.iter().chain(more).copied().collect()
}

#[test]
fn a_block_begins_on_time_and_the_ordinary_programme_goes_on_where_it_was() {
    let lineup = lineup(
        noon(serde_json::json!({"on_end": "cut"})),
        &with_day(&["noon/long-7200.mp4"]),
    );
    assert_eq!(
        airs(&lineup, Standing::new(1), "2026-11-21T11:55:00Z", 4),
        [
            "11:55:00 day/a-600.mp4|",
            "12:00:00 noon/long-7200.mp4|",
            "13:00:00 day/a-600.mp4@300",
            "13:05:00 day/b-600.mp4",
        ]
    );
}

#[test]
fn by_default_an_item_airs_to_its_end_and_what_follows_begins_later() {
    let lineup = lineup(noon(serde_json::json!({})), &with_day(&["noon/x-2400.mp4"]));
    assert_eq!(
        airs(&lineup, Standing::new(1), "2026-11-21T12:00:00Z", 3),
        [
            "12:00:00 noon/x-2400.mp4",
            "12:40:00 noon/x-2400.mp4",
            "13:20:00 day/a-600.mp4",
        ]
    );
}

#[test]
fn filler_takes_what_the_items_leave_and_is_cut_on_time() {
    let keys = with_day(&["noon/x-2400.mp4", "fill/f-900.mp4"]);
    let lineup = lineup(
        noon(serde_json::json!({"filler": [{"prefix": "fill/"}]})),
        &keys,
    );
    assert_eq!(
        airs(&lineup, Standing::new(1), "2026-11-21T12:00:00Z", 4),
        [
            "12:00:00 noon/x-2400.mp4",
            "12:40:00 fill/f-900.mp4",
            "12:55:00 fill/f-900.mp4|",
            "13:00:00 day/a-600.mp4",
        ]
    );
}

#[test]
fn with_fit_an_item_that_would_not_end_in_time_is_not_begun() {
    let keys = with_day(&["noon/x-2400.mp4", "noon/y-1500.mp4", "fill/f-900.mp4"]);
    let fit = |filler: serde_json::Value| {
        noon(serde_json::json!({"on_end": "fit", "loop": true, "filler": filler}))
    };
    let filled = lineup(fit(serde_json::json!([{"prefix": "fill/"}])), &keys);
    assert_eq!(
        airs(&filled, Standing::new(1), "2026-11-21T12:00:00Z", 4),
        [
            "12:00:00 noon/x-2400.mp4",
            "12:40:00 fill/f-900.mp4",
            "12:55:00 fill/f-900.mp4|",
            "13:00:00 day/a-600.mp4",
        ]
    );
    let bare = lineup(fit(serde_json::json!([])), &keys);
    assert_eq!(
        airs(&bare, Standing::new(1), "2026-11-21T12:00:00Z", 3),
        [
            "12:00:00 noon/x-2400.mp4",
            "12:40:00 day/a-600.mp4",
            "12:50:00 day/b-600.mp4",
        ]
    );
}

#[test]
fn a_rest_of_a_moment_is_left_to_what_follows() {
    let keys = with_day(&["noon/x-1799.mp4"]);
    let lineup = lineup(noon(serde_json::json!({"on_end": "cut"})), &keys);
    assert_eq!(
        airs(&lineup, Standing::new(1), "2026-11-21T12:00:00Z", 4),
        [
            "12:00:00 noon/x-1799.mp4",
            "12:29:59 noon/x-1799.mp4",
            "12:59:58 noon/x-1799.mp4|",
            "13:00:00 day/a-600.mp4",
        ]
    );
    assert_eq!(
        airs(&lineup, Standing::new(1), "2026-11-21T12:59:59Z", 1),
        ["12:59:59 day/a-600.mp4"]
    );
    // Nor is it cut at once, being early.
    let leaves = lineup.leaves(
        &Part::Ordinary,
        &Standing::new(1),
        at("2026-11-21T12:59:59Z"),
        &known,
    );
    assert_eq!(leaves, Some(at("2026-11-22T12:00:00Z")));
}

#[test]
fn a_block_without_anything_is_never_dark() {
    let broken = noon(serde_json::json!({"items": [{"key": "gone.mp4"}, {"prefix": "bad/"}]}));
    let broken = lineup(broken, &with_day(&["bad/1-60.mp4"]));
    assert_eq!(
        airs(&broken, Standing::new(1), "2026-11-21T12:00:00Z", 2),
        ["12:00:00 day/a-600.mp4", "12:10:00 day/b-600.mp4"]
    );
    let nothing = lineup(noon(serde_json::json!({})), &[]);
    assert_eq!(
        airs(&nothing, Standing::new(1), "2026-11-21T11:00:00Z", 2),
        ["11:00:00 slate", "12:00:00 slate"]
    );
}

#[test]
fn a_block_entered_late_begins_with_its_first_item() {
    let keys = with_day(&["noon/1-600.mp4", "noon/2-600.mp4"]);
    let lineup = lineup(noon(serde_json::json!({})), &keys);
    assert_eq!(
        airs(&lineup, Standing::new(1), "2026-11-21T12:31:00Z", 1),
        ["12:31:00 noon/1-600.mp4"]
    );
}

#[test]
fn a_block_left_in_the_middle_is_taken_up_there_within_the_same_airing_only() {
    let keys = with_day(&["noon/1-600.mp4", "noon/2-600.mp4"]);
    let lineup = lineup(noon(serde_json::json!({})), &keys);
    let mut walk = Walk::new(
        &lineup,
        Standing::new(1),
        at("2026-11-21T12:00:00Z"),
        &known,
    );
    let stretches: Vec<Stretch> = walk.by_ref().take(2).collect();
    let second = stretches[1].item.clone().expect("an item");
    let mut standing = walk.standing().clone();
    standing.note(&second.part, second.position, Some(120.0));
    // Through JSON, as a restarted worker reads it.
    let json = serde_json::to_string(&standing).expect("JSON");
    let standing: Standing = serde_json::from_str(&json).expect("a standing");
    assert_eq!(
        airs(&lineup, standing.clone(), "2026-11-21T12:20:00Z", 1),
        ["12:20:00 noon/2-600.mp4@120"]
    );
    assert_eq!(
        airs(&lineup, standing, "2026-11-22T12:20:00Z", 1),
        ["12:20:00 noon/1-600.mp4"]
    );
}

#[test]
fn metadata_keeps_items_out_of_blocks_and_of_ordinary_time() {
    let json = serde_json::json!({
        "items": [{"prefix": ""}],
        "schedule": {
            "timezone": "UTC",
            "blocks": [{"name": "kids", "days": ["sat"], "from": "12:00", "to": "13:00",
                        "items": [{"prefix": ""}], "on_end": "cut"}],
            "metadata": {
                "late/": {"rating": "18", "allowed_blocks": []},
                "kids/": {"allowed_blocks": ["kids"]},
                "day/": {"allowed_blocks": ["ordinary"]},
                "late/mild-600.mp4": {"title": "Mild"},
            },
        },
    });
    let keys = [
        "day/a-1800.mp4",
        "kids/k-1800.mp4",
        "late/hard-1800.mp4",
        "late/mild-1800.mp4",
    ];
    let late = ["late/mild-600.mp4"];
    let keys: Vec<&str> = keys.iter().chain(&late).copied().collect();
    let lineup = lineup(json, &keys);
    let aired: Vec<String> = airs(&lineup, Standing::new(1), "2026-11-21T11:30:00Z", 6);
    assert_eq!(
        aired,
        [
            "11:30:00 day/a-1800.mp4",
            "12:00:00 kids/k-1800.mp4",
            "12:30:00 late/mild-600.mp4",
            "12:40:00 kids/k-1800.mp4|",
            "13:00:00 late/mild-600.mp4",
            "13:10:00 day/a-1800.mp4",
        ]
    );
}

#[test]
fn a_shuffled_block_has_another_order_each_time_and_the_same_for_everybody() {
    let keys: Vec<String> = (0..12).map(|n| format!("noon/{n:02}-300.mp4")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).chain(DAY).collect();
    let lineup = lineup(noon(serde_json::json!({"order": "shuffle"})), &keys);
    let order = |day: &str, seed: u64| -> Vec<String> {
        airs(
            &lineup,
            Standing::new(seed),
            &format!("{day}T12:00:00Z"),
            12,
        )
    };
    assert_eq!(order("2026-11-21", 1), order("2026-11-21", 2));
    assert_ne!(order("2026-11-21", 1), order("2026-11-22", 1));
}

#[test]
fn up_next_says_when_an_item_is_cut() {
    let lineup = lineup(noon(serde_json::json!({})), &with_day(&["noon/x-60.mp4"]));
    let until = |instant: &str| match lineup.up_next(&Standing::new(1), at(instant), &known) {
        Next::Item(item) => (item.part, item.until),
        nothing @ Next::Nothing { .. } => panic!("{nothing:?}"),
    };
    assert_eq!(
        until("2026-11-21T11:00:00Z"),
        (Part::Ordinary, Some(at("2026-11-21T12:00:00Z")))
    );
    let noon = Part::Block {
        name: "noon".to_owned(),
        begins: at("2026-11-21T12:00:00Z"),
        filler: false,
    };
    assert_eq!(until("2026-11-21T12:00:00Z"), (noon, None));
}

#[test]
fn an_item_leaves_the_air_when_another_list_has_its_time() {
    let block = |name: &str, begins: &str, filler| Part::Block {
        name: name.to_owned(),
        begins: at(begins),
        filler,
    };
    let keys = with_day(&["noon/x-60.mp4", "fill/f-60.mp4"]);
    let with_filler = serde_json::json!({"filler": [{"prefix": "fill/"}]});
    let lineup_with_filler = lineup(noon(with_filler), &keys);
    let leaves = |lineup: &Lineup, part: &Part, now: &str| {
        let leaves = lineup.leaves(part, &Standing::new(1), at(now), &known);
        leaves.map(|at| at.strftime("%H:%M:%S").to_string())
    };
    let is = |text: &str| Some(text.to_owned());
    let today = "2026-11-21T12:00:00Z";
    let (items, filler) = (block("noon", today, false), block("noon", today, true));
    let ask = |part: &Part, now: &str| leaves(&lineup_with_filler, part, now);
    assert_eq!(ask(&Part::Ordinary, "2026-11-21T11:00:00Z"), is("12:00:00"));
    assert_eq!(ask(&Part::Ordinary, "2026-11-21T11:59:59Z"), is("12:00:00"));
    assert_eq!(ask(&Part::Ordinary, "2026-11-21T12:10:00Z"), is("12:10:00"));
    assert_eq!(ask(&items, "2026-11-21T12:10:00Z"), None);
    assert_eq!(
        ask(&items, "2026-11-21T13:10:00Z"),
        None,
        "it airs to its end"
    );
    assert_eq!(ask(&filler, "2026-11-21T11:59:50Z"), is("13:00:00"));
    assert_eq!(ask(&filler, "2026-11-21T12:10:00Z"), is("13:00:00"));
    assert_eq!(ask(&filler, "2026-11-21T13:10:00Z"), is("13:10:00"));
    let gone = block("gone", today, false);
    assert_eq!(ask(&gone, "2026-11-21T12:10:00Z"), is("12:10:00"));
    // The ordinary programme is not cut for a block that has nothing.
    let empty = lineup(noon(serde_json::json!({})), &DAY);
    assert_eq!(
        leaves(&empty, &Part::Ordinary, "2026-11-21T11:59:00Z"),
        None
    );
    assert_eq!(
        leaves(&empty, &Part::Ordinary, "2026-11-21T12:10:00Z"),
        None
    );
}

#[test]
fn what_plays_after_a_long_absence() {
    let keys = with_day(&["noon/1-600.mp4", "noon/2-1200.mp4", "noon/3-1800.mp4"]);
    let lineup = lineup(noon(serde_json::json!({})), &keys);
    let left = at("2026-11-21T12:15:00Z");
    let mut walk = Walk::new(
        &lineup,
        Standing::new(1),
        at("2026-11-21T12:00:00Z"),
        &known,
    );
    let item = walk
        .by_ref()
        .take(2)
        .last()
        .and_then(|s| s.item)
        .expect("an item");
    let mut standing = walk.standing().clone();
    standing.note(&item.part, item.position, Some(300.0));
    let back = |resume, now: &str| {
        let standing = lineup.come_back(
            resume,
            standing.clone(),
            (&item.part, left),
            at(now),
            &known,
        );
        airs(&lineup, standing, now, 1).remove(0)
    };
    assert_eq!(
        back(Resume::Item, "2026-11-21T12:15:20Z"),
        "12:15:20 noon/2-1200.mp4@300"
    );
    assert_eq!(
        back(Resume::Position, "2026-11-21T12:40:00Z"),
        "12:40:00 noon/2-1200.mp4@300"
    );
    assert_eq!(
        back(Resume::Item, "2026-11-21T12:40:00Z"),
        "12:40:00 noon/2-1200.mp4"
    );
    assert_eq!(
        back(Resume::Schedule, "2026-11-21T12:40:00Z"),
        "12:40:00 noon/3-1800.mp4@600"
    );
    // Its block is over: nothing of it comes back.
    for resume in [Resume::Item, Resume::Position] {
        assert_eq!(
            back(resume, "2026-11-21T15:00:00Z"),
            "15:00:00 day/a-600.mp4"
        );
    }
    assert_eq!(
        back(Resume::Schedule, "2026-11-21T13:05:00Z"),
        "13:05:00 day/a-600.mp4@300"
    );
}

fn window(from: &str, to: &str, rows: usize) -> Window {
    Window {
        at: at(from),
        standing: Standing::new(1),
        running: None,
        from: at(from),
        to: at(to),
        rows,
    }
}

fn kinds(rehearsal: &Rehearsal) -> Vec<(ScheduleProblemKind, Option<&str>)> {
    let problems = rehearsal.problems.iter();
    problems.map(|p| (p.kind, p.key.as_deref())).collect()
}

#[test]
fn a_rehearsal_names_what_is_wrong_once_each() {
    use ScheduleProblemKind as Kind;
    let mut json = noon(serde_json::json!({
        "items": [{"key": "gone.mp4"}, {"prefix": "noon/"}],
    }));
    json["schedule"]["metadata"] =
        serde_json::json!({"noon/late-60.mp4": {"allowed_blocks": ["ordinary"]}});
    let keys = with_day(&["noon/a-600.mp4", "noon/bad-60.mp4", "noon/late-60.mp4"]);
    let lineup = lineup(json, &keys);
    let window = window("2026-11-21T11:00:00Z", "2026-11-24T00:00:00Z", 1000);
    let rehearsal = rehearse(&lineup, &window, &finding);
    assert!(!rehearsal.truncated);
    assert_eq!(
        kinds(&rehearsal),
        [
            (Kind::MissingItem, Some("gone.mp4")),
            (Kind::Unplayable, Some("noon/bad-60.mp4")),
            (Kind::NotAllowed, Some("noon/late-60.mp4")),
            (Kind::TooShort, None),
        ]
    );
    assert!(
        rehearsal
            .problems
            .iter()
            .all(|p| p.at == at("2026-11-21T12:00:00Z"))
    );
    let first = &rehearsal.airings[6];
    assert_eq!(
        (first.block.as_deref(), first.title.as_deref()),
        (Some("noon"), Some("a-600"))
    );
}

#[test]
fn a_rehearsal_is_bounded_and_can_be_continued() {
    let lineup = lineup(noon(serde_json::json!({})), &with_day(&["noon/a-600.mp4"]));
    let all = rehearse(
        &lineup,
        &window("2026-11-21T11:00:00Z", "2026-11-21T14:00:00Z", 99),
        &finding,
    );
    assert_eq!((all.airings.len(), all.truncated), (18, false));
    let part = rehearse(
        &lineup,
        &window("2026-11-21T11:00:00Z", "2026-11-21T14:00:00Z", 7),
        &finding,
    );
    assert!(part.truncated);
    assert_eq!(part.airings, all.airings[..7]);
    let mut rest = window("2026-11-21T11:00:00Z", "2026-11-21T14:00:00Z", 99);
    rest.from = part.airings[6].ends;
    assert_eq!(rehearse(&lineup, &rest, &finding).airings, all.airings[7..]);
}

#[test]
fn a_rehearsal_knows_blocks_that_never_air() {
    let json = serde_json::json!({
        "items": [{"prefix": "day/"}],
        "schedule": {"timezone": "Europe/Berlin", "blocks": [
            {"name": "film", "days": ["sat"], "from": "20:00", "to": "21:00", "items": [{"prefix": "film/"}]},
            {"name": "news", "days": ["sat"], "from": "21:00", "to": "21:15", "items": [{"prefix": "day/"}]},
            {"name": "gap", "days": ["sun"], "from": "02:10", "to": "02:40", "items": [{"prefix": "day/"}]},
        ]},
    });
    let lineup = lineup(json, &with_day(&["film/f-7200.mp4"]));
    let window = window("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", 1000);
    let rehearsal = rehearse(&lineup, &window, &finding);
    let problems: Vec<_> = rehearsal
        .problems
        .iter()
        .map(|p| (p.kind, p.block.as_deref()))
        .collect();
    assert_eq!(
        problems,
        [
            (ScheduleProblemKind::Overrun, Some("news")),
            (ScheduleProblemKind::NoSuchTime, Some("gap")),
        ]
    );
}

#[test]
fn a_rehearsal_begins_with_what_is_on_air() {
    let lineup = lineup(noon(serde_json::json!({})), &with_day(&["noon/x-2400.mp4"]));
    let shown = |from: &str, key: &str, block: Option<&str>, position_s: f64| -> Vec<String> {
        let mut window = window(from, "2026-11-21T23:00:00Z", 10);
        window.standing = Walk::new(
            &lineup,
            Standing::new(1),
            at("2026-11-21T11:50:00Z"),
            &known,
        )
        .scan_to(at(from));
        window.running = Some(Running {
            key: key.to_owned(),
            block: block.map(str::to_owned),
            position_s,
            duration_s: Some(2400.0),
        });
        let airings = rehearse(&lineup, &window, &finding).airings;
        let airings = airings.iter().take(2);
        airings
            .map(|a| {
                let key = a.key.as_deref().unwrap_or("slate");
                format!("{} {key}@{}", a.begins.strftime("%H:%M:%S"), a.from_s)
            })
            .collect()
    };
    assert_eq!(
        shown(
            "2026-11-21T12:30:00Z",
            "noon/x-2400.mp4",
            Some("noon"),
            1790.0
        ),
        [
            "12:30:00 noon/x-2400.mp4@1790",
            "12:40:10 noon/x-2400.mp4@0"
        ]
    );
    // Its block is over, and it is not.
    assert_eq!(
        shown(
            "2026-11-21T13:10:00Z",
            "noon/x-2400.mp4",
            Some("noon"),
            1800.0
        ),
        ["13:10:00 noon/x-2400.mp4@1800", "13:20:00 day/b-600.mp4@0"]
    );
}

/// How things stand when the stretch that covers an instant has begun.
trait ScanTo {
    fn scan_to(self, to: Timestamp) -> Standing;
}

impl ScanTo for Walk<'_> {
    fn scan_to(mut self, to: Timestamp) -> Standing {
        while self.next().is_some_and(|stretch| stretch.ends <= to) {}
        self.standing().clone()
    }
}

#[test]
fn a_length_that_is_not_known_is_assumed_and_said() {
    let lineup = lineup(noon(serde_json::json!({})), &with_day(&["noon/a-x.mp4"]));
    let window = window("2026-11-21T12:00:00Z", "2026-11-21T12:30:00Z", 10);
    let rehearsal = rehearse(&lineup, &window, &finding);
    assert_eq!(
        kinds(&rehearsal),
        [(ScheduleProblemKind::UnknownDuration, Some("noon/a-x.mp4"))]
    );
    assert_eq!(rehearsal.airings.len(), 3);
    assert!(rehearsal.airings.iter().all(|airing| airing.assumed));
}

fn anything() -> impl Strategy<Value = (serde_json::Value, Vec<String>)> {
    let block = (
        0..1440u32,
        10..700u32,
        0..3usize,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    let blocks = proptest::collection::vec(block, 0..4);
    let keys = proptest::collection::vec((0..4usize, 20..5000u32), 0..14);
    let zone = prop_oneof![
        Just("Europe/Berlin"),
        Just("Australia/Lord_Howe"),
        Just("America/New_York")
    ];
    let anything = (blocks, keys, zone, any::<bool>()).prop_map(|(blocks, keys, zone, repeat)| {
        let clock = |minute: u32| format!("{:02}:{:02}", minute / 60 % 24, minute % 60);
        let days = [["mon", "thu"], ["tue", "fri"], ["wed", "sat"], ["sun", "sun"]];
        let blocks: Vec<serde_json::Value> = blocks
            .iter()
            .enumerate()
            .map(|(n, (from, length, on_end, filler, shuffle, again))| {
                serde_json::json!({
                    "name": n.to_string(), "days": days[n], "from": clock(*from),
                    "to": clock(from + length), "items": [{"prefix": format!("{n}/")}],
                    "on_end": (["finish", "cut", "fit"][*on_end]),
                    "order": if *shuffle { "shuffle" } else { "listed" }, "loop": again,
                    "filler": if *filler { serde_json::json!([{"prefix": "3/"}]) } else { serde_json::json!([]) },
                })
            })
            .collect();
        let json = serde_json::json!({
            "items": [{"prefix": "3/"}], "loop": repeat,
            "schedule": {"timezone": zone, "blocks": blocks},
        });
        let keys = keys.iter().enumerate();
        (json, keys.map(|(n, (dir, s))| format!("{dir}/{n}-{s}.mp4")).collect())
    });
    // Such a configuration is refused where it is read.
    anything.prop_filter("blocks overlap", |(json, _)| {
        let schedule = programme(json.clone()).schedule.expect("a schedule");
        schedule.overlaps().is_empty()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is configured: sixty days without a gap or an overlap, nothing over its `until`,
    /// and asked twice, or from the middle, the answer is the same.
    #[test]
    fn sixty_days_without_a_gap((json, keys) in anything(), start in 0..365i64) {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let lineup = lineup(json, &keys);
        let start = at("2026-01-01T00:00:00Z") + SignedDuration::from_hours(24 * start);
        let end = start + SignedDuration::from_hours(24 * 60);
        let walk = || Walk::new(&lineup, Standing::new(7), start, &known);
        let mut now = start;
        let mut again = walk();
        let mut walking = walk();
        while now < end {
            let before = walking.standing().clone();
            let stretch = walking.next().expect("no end");
            prop_assert_eq!(&again.next(), &Some(stretch.clone()));
            prop_assert_eq!(stretch.begins, now);
            prop_assert!(stretch.ends > stretch.begins);
            if let Some(item) = &stretch.item {
                prop_assert!(item.until.is_none_or(|until| stretch.ends <= until));
                let asked = lineup.up_next(&before, now, &known);
                prop_assert_eq!(asked, Next::Item(item.clone()));
            }
            now = stretch.ends;
        }
    }
}
