//! Schedules made up at random, and what holds for each of them.

use jiff::SignedDuration;
use programme::{Next, Standing, Walk};
use proptest::prelude::*;

use super::{at, known, lineup, programme};

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
