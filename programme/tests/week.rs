//! Blocks on the timeline, on the days on which clocks are changed above all.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use programme::{Block, Day, ItemSpec, OnEnd, Order, Schedule, Week};
use proptest::prelude::*;

const EVERY_DAY: [Day; 7] = [
    Day::Mon,
    Day::Tue,
    Day::Wed,
    Day::Thu,
    Day::Fri,
    Day::Sat,
    Day::Sun,
];

fn block(name: &str, days: &[Day], from: &str, to: &str) -> Block {
    Block {
        name: name.into(),
        days: days.to_vec(),
        date: None,
        from: from.parse().expect("a time"),
        to: to.parse().expect("a time"),
        items: vec![ItemSpec::Prefix(String::new())],
        order: Order::Listed,
        repeat: false,
        filler: Vec::new(),
        on_end: OnEnd::Finish,
    }
}

fn dated(name: &str, date: &str, from: &str, to: &str) -> Block {
    Block {
        date: Some(date.parse().expect("a date")),
        ..block(name, &[], from, to)
    }
}

fn schedule(zone: &str, blocks: Vec<Block>) -> Schedule {
    Schedule {
        timezone: zone.into(),
        blocks,
        metadata: std::collections::BTreeMap::new(),
    }
}

fn week(zone: &str, blocks: Vec<Block>) -> Week {
    let time_zone = TimeZone::get(zone).expect("a zone");
    Week::new(&schedule(zone, blocks), time_zone)
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

/// The segment at an instant, as `(block, begins, ends)`.
fn segment(week: &Week, instant: &str) -> (Option<usize>, String, String) {
    let segment = week.segment_at(at(instant));
    let text = |at: Timestamp| at.to_string();
    (segment.block, text(segment.begins), text(segment.ends))
}

fn is(block: Option<usize>, begins: &str, ends: &str) -> (Option<usize>, String, String) {
    (block, begins.to_owned(), ends.to_owned())
}

#[test]
fn a_block_begins_and_ends_by_the_wall_clock_of_its_zone() {
    let week = week(
        "Europe/Berlin",
        vec![block("morning", &[Day::Mon], "06:00", "10:00")],
    );
    // A Monday in summer and one in winter.
    let summer = is(Some(0), "2026-07-06T04:00:00Z", "2026-07-06T08:00:00Z");
    assert_eq!(segment(&week, "2026-07-06T04:00:00Z"), summer);
    assert_eq!(segment(&week, "2026-07-06T07:59:59.999Z"), summer);
    let winter = is(Some(0), "2026-11-23T05:00:00Z", "2026-11-23T09:00:00Z");
    assert_eq!(segment(&week, "2026-11-23T06:00:00Z"), winter);
    assert_eq!(week.segment_at(at("2026-07-06T08:00:00Z")).block, None);
    assert_eq!(week.segment_at(at("2026-07-06T03:59:59Z")).block, None);
    let until_monday = week.segment_at(at("2026-07-07T12:00:00Z"));
    assert_eq!(until_monday.begins, at("2026-07-06T08:00:00Z"));
    assert_eq!(until_monday.ends, at("2026-07-13T04:00:00Z"));
}

#[test]
fn a_block_over_midnight_belongs_to_the_day_on_which_it_begins() {
    let week = week(
        "Europe/Berlin",
        vec![block("night", &[Day::Sun], "23:00", "02:00")],
    );
    let night = is(Some(0), "2026-11-22T22:00:00Z", "2026-11-23T01:00:00Z");
    assert_eq!(segment(&week, "2026-11-23T00:30:00Z"), night);
    assert_eq!(week.segment_at(at("2026-11-22T00:30:00Z")).block, None);
}

#[test]
fn equal_times_are_a_whole_day() {
    let week = week("UTC", vec![block("day", &[Day::Sat], "06:00", "06:00")]);
    let day = is(Some(0), "2026-11-21T06:00:00Z", "2026-11-22T06:00:00Z");
    assert_eq!(segment(&week, "2026-11-21T23:00:00Z"), day);
}

#[test]
fn a_block_that_begins_in_the_missing_hour_begins_when_the_clock_is_put_forward() {
    for (zone, change, from, to, ends) in [
        (
            "Europe/Berlin",
            "2026-03-29T01:00:00Z",
            "02:30",
            "04:00",
            "2026-03-29T02:00:00Z",
        ),
        (
            "America/New_York",
            "2026-03-08T07:00:00Z",
            "02:15",
            "04:00",
            "2026-03-08T08:00:00Z",
        ),
        // Half an hour, from 02:00 to 02:30.
        (
            "Australia/Lord_Howe",
            "2026-10-03T15:30:00Z",
            "02:10",
            "03:00",
            "2026-10-03T16:00:00Z",
        ),
        // At midnight: the day has no beginning.
        (
            "America/Santiago",
            "2026-09-06T04:00:00Z",
            "00:00",
            "02:00",
            "2026-09-06T05:00:00Z",
        ),
    ] {
        let week = week(zone, vec![block("night", &EVERY_DAY, from, to)]);
        assert_eq!(segment(&week, change), is(Some(0), change, ends), "{zone}");
        let before = at(change) - jiff::SignedDuration::from_millis(1);
        assert_eq!(week.segment_at(before).block, None, "{zone}");
    }
}

#[test]
fn blocks_that_touch_in_the_missing_hour_leave_no_gap_and_one_within_it_is_left_out() {
    let week = week(
        "Europe/Berlin",
        vec![
            block("a", &EVERY_DAY, "01:00", "02:10"),
            block("b", &EVERY_DAY, "02:10", "02:40"),
            block("c", &EVERY_DAY, "02:40", "05:00"),
        ],
    );
    let a = is(Some(0), "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z");
    assert_eq!(segment(&week, "2026-03-29T00:59:59Z"), a);
    let c = is(Some(2), "2026-03-29T01:00:00Z", "2026-03-29T03:00:00Z");
    assert_eq!(segment(&week, "2026-03-29T01:00:00Z"), c);
    let date = |text: &str| text.parse().expect("a date");
    assert_eq!(week.swallowed_on(date("2026-03-29")), [1]);
    assert!(week.swallowed_on(date("2026-03-30")).is_empty());
}

#[test]
fn a_block_through_the_repeated_hour_is_longer_by_it_and_airs_once() {
    for (zone, from, to, begins, ends) in [
        (
            "Europe/Berlin",
            "01:00",
            "04:00",
            "2026-10-24T23:00:00Z",
            "2026-10-25T03:00:00Z",
        ),
        (
            "America/New_York",
            "00:30",
            "03:00",
            "2026-11-01T04:30:00Z",
            "2026-11-01T08:00:00Z",
        ),
        // 02:00 becomes 01:30.
        (
            "Australia/Lord_Howe",
            "01:00",
            "03:00",
            "2026-04-04T14:00:00Z",
            "2026-04-04T16:30:00Z",
        ),
    ] {
        let week = week(zone, vec![block("night", &EVERY_DAY, from, to)]);
        let airing = is(Some(0), begins, ends);
        assert_eq!(segment(&week, begins), airing, "{zone}");
        let last = at(ends) - jiff::SignedDuration::from_millis(1);
        assert_eq!(segment(&week, &last.to_string()), airing, "{zone}");
        assert_eq!(week.segment_at(at(ends)).block, None, "{zone}");
    }
}

#[test]
fn a_block_within_the_repeated_hour_airs_the_first_time_only() {
    let week = week(
        "Europe/Berlin",
        vec![block("short", &EVERY_DAY, "02:15", "02:45")],
    );
    let first = is(Some(0), "2026-10-25T00:15:00Z", "2026-10-25T00:45:00Z");
    assert_eq!(segment(&week, "2026-10-25T00:30:00Z"), first);
    assert_eq!(week.segment_at(at("2026-10-25T01:30:00Z")).block, None);
}

#[test]
fn a_block_of_a_date_takes_its_time_from_those_of_the_week() {
    let week = week(
        "UTC",
        vec![
            block("evening", &EVERY_DAY, "18:00", "23:00"),
            dated("gala", "2026-12-24", "20:00", "21:30"),
        ],
    );
    let before = is(Some(0), "2026-12-24T18:00:00Z", "2026-12-24T20:00:00Z");
    assert_eq!(segment(&week, "2026-12-24T19:00:00Z"), before);
    let gala = is(Some(1), "2026-12-24T20:00:00Z", "2026-12-24T21:30:00Z");
    assert_eq!(segment(&week, "2026-12-24T20:00:00Z"), gala);
    let after = is(Some(0), "2026-12-24T21:30:00Z", "2026-12-24T23:00:00Z");
    assert_eq!(segment(&week, "2026-12-24T22:00:00Z"), after);
    let next_day = is(Some(0), "2026-12-25T18:00:00Z", "2026-12-25T23:00:00Z");
    assert_eq!(segment(&week, "2026-12-25T20:30:00Z"), next_day);
}

#[test]
fn overlaps_are_found_around_the_week_and_across_midnight() {
    let pairs = |blocks: Vec<Block>| schedule("UTC", blocks).overlaps();
    let night = || block("night", &[Day::Sun], "22:00", "06:00");
    assert_eq!(
        pairs(vec![night(), block("m", &[Day::Mon], "05:59", "07:00")]),
        [(0, 1)]
    );
    assert_eq!(
        pairs(vec![block("m", &[Day::Mon], "05:00", "05:30"), night()]),
        [(0, 1)]
    );
    assert!(pairs(vec![night(), block("m", &[Day::Mon], "06:00", "07:00")]).is_empty());
    assert!(pairs(vec![night(), block("t", &[Day::Tue], "05:00", "05:30")]).is_empty());
    let eve = || dated("eve", "2026-12-31", "23:00", "01:00");
    assert_eq!(
        pairs(vec![eve(), dated("new", "2027-01-01", "00:30", "02:00")]),
        [(0, 1)]
    );
    assert!(pairs(vec![eve(), dated("new", "2027-01-01", "01:00", "02:00")]).is_empty());
    // A block of a date is meant to take a weekly one's time.
    assert!(pairs(vec![block("all", &EVERY_DAY, "00:00", "00:00"), eve()]).is_empty());
    assert_eq!(
        pairs(vec![
            block("a", &EVERY_DAY, "00:00", "00:00"),
            block("b", &[Day::Wed], "12:00", "12:01")
        ]),
        [(0, 1)]
    );
}

#[test]
fn times_of_day() {
    for (text, seconds) in [
        ("00:00", 0),
        ("06:30", 23_400),
        ("24:00", 86_400),
        ("23:59:59", 86_399),
    ] {
        let time: programme::WallTime = text.parse().expect(text);
        assert_eq!(
            (time.seconds(), time.to_string()),
            (seconds, text.to_owned())
        );
    }
    for text in [
        "",
        "6:00",
        "06:60",
        "24:01",
        "25:00",
        "06:00:60",
        "06:00:00:00",
        "06-00",
        "+6:00",
        "06:00:",
        "０６:００",
    ] {
        assert!(text.parse::<programme::WallTime>().is_err(), "{text}");
    }
}

const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Santiago",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Pacific/Apia",
];

/// Blocks that do not overlap, in any order.
fn blocks() -> impl Strategy<Value = Vec<Block>> {
    let one = (0..1440u32, 1..=1440u32, 1..128u8);
    proptest::collection::vec(one, 0..8).prop_map(|wanted| {
        let mut kept: Vec<Block> = Vec::new();
        for (at, (from, length, days)) in wanted.into_iter().enumerate() {
            let clock = |minute: u32| format!("{:02}:{:02}", minute / 60 % 24, minute % 60);
            let days: Vec<Day> = (0..7)
                .filter(|d| days >> d & 1 == 1)
                .map(|d| EVERY_DAY[d])
                .collect();
            let new = block(&at.to_string(), &days, &clock(from), &clock(from + length));
            let mut with = kept.clone();
            with.push(new);
            if schedule("UTC", with.clone()).overlaps().is_empty() {
                kept = with;
            }
        }
        kept
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every instant has one answer, and the answers follow each other without a gap or an overlap.
    #[test]
    fn segments_cover_sixty_days(
        blocks in blocks(),
        zone in 0..ZONES.len(),
        start_day in 0..365i64,
        spot in 0.0..1.0f64,
    ) {
        let week = week(ZONES[zone], blocks);
        let start = at("2026-01-01T00:00:00Z") + jiff::SignedDuration::from_hours(24 * start_day);
        let end = start + jiff::SignedDuration::from_hours(24 * 60);
        let mut now = start;
        let mut before: Option<programme::Segment> = None;
        while now < end {
            let segment = week.segment_at(now);
            prop_assert!(segment.begins <= now && now < segment.ends, "{segment:?} at {now}");
            if let Some(before) = before {
                let blank = before.block.is_none() && segment.block.is_none();
                prop_assert!(blank || segment.begins == now, "{before:?} then {segment:?}");
            }
            // Anywhere in it the answer is the same.
            let length = segment.ends.min(end).duration_since(now);
            let inside = now + length.mul_f64(spot * 0.999);
            let again = week.segment_at(inside);
            prop_assert_eq!(again.block, segment.block);
            if segment.block.is_some() {
                prop_assert_eq!(again, segment);
            }
            before = Some(segment);
            now = segment.ends;
        }
    }
}
