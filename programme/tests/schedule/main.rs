//! What plays by a schedule, until when, and what is said about it beforehand.

mod anything;
mod rehearsal;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use programme::{
    Known, Lineup, ListedObject, Next, Part, Position, Programme, Standing, Stretch, Walk,
};

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
fn what_waits_is_due_in_the_airing_it_was_opened_for_only() {
    let keys = with_day(&["noon/x-60.mp4"]);
    let of_noon = Part::Block {
        name: "noon".to_owned(),
        begins: at("2026-11-21T12:00:00Z"),
        filler: false,
    };
    let full = lineup(noon(serde_json::json!({})), &keys);
    let is_due = |lineup: &Lineup, part: &Part, now: &str| {
        lineup.is_due(part, &Standing::new(1), at(now), &known)
    };
    for (now, of_block, ordinary) in [
        ("2026-11-21T11:59:00Z", false, true),
        ("2026-11-21T11:59:59Z", true, false),
        ("2026-11-21T12:30:00Z", true, false),
        ("2026-11-21T13:00:00Z", false, true),
        ("2026-11-22T12:30:00Z", false, false),
    ] {
        assert_eq!(is_due(&full, &of_noon, now), of_block, "{now}");
        assert_eq!(is_due(&full, &Part::Ordinary, now), ordinary, "{now}");
    }
    // The block has nothing: its time is the ordinary programme's.
    let empty = lineup(noon(serde_json::json!({})), &DAY);
    assert!(is_due(&empty, &Part::Ordinary, "2026-11-21T12:30:00Z"));
}
