//! Summer time begins and ends: what will air is told rightly for both days, and airs so.
//!
//! In terms of the wall's seconds, all that happens to a time `w` is this: before the change it is `w` in the
//! old offset, after it in the new one; one that is left out is the change itself, and of two that are alike
//! the first one counts.

use std::fmt::Write;
use std::time::Duration;

use e2e::controller::{Controller, Setup, to_one};
use e2e::media;
use e2e::rtmp::Receiver;
use e2e::wait;
use jiff::fmt::strtime;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::clock::Clock;

const SOON: Duration = Duration::from_secs(40);
const EVERY_DAY: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// What is told reaches so far before and after the change.
const AROUND: SignedDuration = SignedDuration::from_hours(6);
/// A rest shorter than two seconds is not worth an item, and a guide has whole ones.
const EARLY_S: f64 = 3.0;

/// One change of a zone's clock.
struct Change {
    zone: &'static str,
    at: &'static str,
    /// Minutes east of Greenwich.
    before: i64,
    after: i64,
}

/// All of them past: no law moves them any more. Two at midnight, two of half an hour.
const CHANGES: [Change; 10] = [
    change("Europe/Berlin", "2026-03-29T01:00:00Z", 60, 120),
    change("Europe/Berlin", "2026-10-25T01:00:00Z", 120, 60),
    change("America/New_York", "2026-03-08T07:00:00Z", -300, -240),
    change("America/New_York", "2026-11-01T06:00:00Z", -240, -300),
    change("America/Santiago", "2026-04-05T03:00:00Z", -180, -240),
    change("America/Santiago", "2026-09-06T04:00:00Z", -240, -180),
    change("Asia/Beirut", "2026-03-28T22:00:00Z", 120, 180),
    change("Asia/Beirut", "2026-10-24T21:00:00Z", 180, 120),
    change("Australia/Lord_Howe", "2026-04-04T15:00:00Z", 660, 630),
    change("Australia/Lord_Howe", "2026-10-03T15:30:00Z", 630, 660),
];

const fn change(zone: &'static str, at: &'static str, before: i64, after: i64) -> Change {
    Change {
        zone,
        at,
        before,
        after,
    }
}

/// A block by the wall, in minutes from the change in UTC.
struct Block {
    name: &'static str,
    from: i64,
    to: i64,
}

impl Change {
    fn at(&self) -> Timestamp {
        self.at.parse().expect("RFC 3339")
    }

    fn springs_forward(&self) -> bool {
        self.after > self.before
    }

    /// One that ends in the time that is left out or comes twice, one wholly within, one that begins there.
    fn blocks(&self) -> [Block; 3] {
        let (first, last) = (self.before.min(self.after), self.before.max(self.after));
        let block = |name, from, to| Block { name, from, to };
        [
            block("ends", first - 120, first + 10),
            block("within", first + 10, first + 20),
            block("begins", first + 20, last + 60),
        ]
    }

    fn instant(&self, wall: i64) -> Timestamp {
        let minutes = if wall < self.before {
            wall - self.before
        } else {
            (wall - self.after).max(0)
        };
        self.at() + SignedDuration::from_mins(minutes)
    }

    fn config(&self) -> Value {
        let wall = |minutes| {
            let at = self.at() + SignedDuration::from_mins(minutes);
            at.strftime("%H:%M").to_string()
        };
        let blocks = self.blocks().map(|block| {
            json!({ "name": block.name, "days": EVERY_DAY, "from": wall(block.from), "to": wall(block.to),
                    "items": [{ "key": "block.mp4" }], "loop": true, "on_end": "cut" })
        });
        let programme = json!({ "items": [{ "key": "day.mp4" }],
                                "schedule": { "timezone": self.zone, "blocks": blocks } });
        json!({ "format": media::format(), "programme": programme })
    }

    /// As it is told: name, beginning and end of each block that airs.
    fn expected(&self) -> Vec<(&'static str, Timestamp, Timestamp)> {
        let blocks = self.blocks();
        let airings = blocks
            .iter()
            .map(|block| (block.name, self.instant(block.from), self.instant(block.to)));
        airings.filter(|(_, begins, ends)| begins < ends).collect()
    }
}

fn time(value: &Value) -> Timestamp {
    value.as_str().expect("a time").parse().expect("RFC 3339")
}

/// What is told of a stream, once every object has been looked into.
fn told(controller: &Controller, path: &str) -> Value {
    wait::until("every length is known", SOON, || {
        Some(controller.get(path)).filter(|told| told["pending"] == 0)
    })
}

fn set_to(clock: &Clock, at: Timestamp) {
    let offset_s = at.duration_since(Timestamp::now()).as_secs();
    let mut text = String::new();
    write!(text, "{offset_s:+}").expect("a String takes everything");
    clock.set(&text);
}

/// What airs from when to when; `None`: the ordinary programme.
type Aired = (Option<String>, Timestamp, Timestamp);

fn of_json(told: &Value) -> Vec<Aired> {
    let airings = told["airings"].as_array().expect("a list").iter();
    let aired = airings.map(|it| {
        let block = it["block"].as_str();
        let item = if block.is_some() {
            "block.mp4"
        } else {
            "day.mp4"
        };
        assert_eq!(it["key"], item, "{it:#}");
        (
            block.map(str::to_owned),
            time(&it["begins"]),
            time(&it["ends"]),
        )
    });
    aired.collect()
}

/// Times are in the offset that the wall has then.
fn of_guide(change: &Change, guide: &str) -> Vec<Aired> {
    let between = |text: &str, from: &str, to: &str| {
        let (_, rest) = text.split_once(from)?;
        Some(rest.split_once(to)?.0.to_owned())
    };
    let time = |entry: &str, name: &str| {
        let text = between(entry, &format!("{name}=\""), "\"").expect("it is told");
        let at = strtime::parse("%Y%m%d%H%M%S %z", &text).and_then(|it| it.to_timestamp());
        let at = at.expect("a time with its offset");
        let minutes = if at < change.at() {
            change.before
        } else {
            change.after
        };
        let sign = if minutes < 0 { '-' } else { '+' };
        let offset = format!("{sign}{:02}{:02}", minutes.abs() / 60, minutes.abs() % 60);
        assert!(text.ends_with(&offset), "{}: {entry}", change.zone);
        at
    };
    let entries = guide.split("<programme ").skip(1);
    let aired = entries.map(|entry| {
        let block = between(entry, "<category>", "</category>");
        (block, time(entry, "start"), time(entry, "stop"))
    });
    aired.collect()
}

/// Without a gap, and each block exactly when its time is.
fn assert_airs(change: &Change, airings: Vec<Aired>) {
    let what = format!("{} {}", change.zone, change.at);
    for pair in airings.windows(2) {
        assert!(pair[0].1 < pair[0].2, "{what}: {:?}", pair[0]);
        assert_eq!(pair[0].2, pair[1].1, "{what}: {pair:?}");
    }
    let mut aired: Vec<Aired> = Vec::new();
    for airing in airings {
        match aired.last_mut() {
            Some(last) if last.0 == airing.0 => last.2 = airing.2,
            _ => aired.push(airing),
        }
    }
    let (first, last) = (&aired[0], &aired[aired.len() - 1]);
    assert!(
        first.1 <= change.at() - AROUND && last.2 >= change.at() + AROUND,
        "{what}: {aired:?}"
    );
    aired.retain(|(block, ..)| block.is_some());
    let expected = change.expected();
    let off_s = |is: Timestamp, wanted: Timestamp| is.duration_since(wanted).as_secs_f64();
    let same = expected.len() == aired.len()
        && expected.iter().zip(&aired).all(|(wanted, is)| {
            let offs = [off_s(is.1, wanted.1), off_s(is.2, wanted.2)];
            is.0.as_deref() == Some(wanted.0)
                && offs.iter().all(|off_s| (-EARLY_S..=0.0).contains(off_s))
        });
    assert!(same, "{what}: {aired:?}, not {expected:?}");
}

fn assert_problems(change: &Change, told: &Value) {
    let problems = told["problems"].as_array().expect("a list");
    let problems: Vec<_> = problems
        .iter()
        .map(|it| (&it["kind"], &it["block"]))
        .collect();
    let swallowed = (&json!("no_such_time"), &json!("within"));
    let expected = change.springs_forward().then_some(swallowed);
    assert_eq!(problems, Vec::from_iter(expected), "{}", change.zone);
}

#[test]
fn both_days_on_which_the_clock_is_changed_are_told_rightly() {
    let folder = media::folder(&[("day.mp4", &media::long()), ("block.mp4", &media::long())]);
    let mut setup = Setup::local(folder.path());
    for (number, change) in CHANGES.iter().enumerate() {
        setup = setup.stream(&format!("s{number}"), change.config());
    }
    let Some((clock, setup)) = Clock::of(setup) else {
        return;
    };
    let controller = setup.start();
    for (number, change) in CHANGES.iter().enumerate() {
        let (from, to) = (change.at() - AROUND, change.at() + AROUND);
        set_to(&clock, from - AROUND);
        let window = format!("from={from}&to={to}&limit=10000");
        let told = told(
            &controller,
            &format!("/streams/s{number}/schedule?{window}"),
        );
        assert_eq!(told["truncated"], false);
        assert_airs(change, of_json(&told));
        assert_problems(change, &told);
        let guide = format!("/streams/s{number}/schedule.xml?{window}");
        let guide = controller.call("GET", &guide, &Value::Null).expect(200);
        assert_airs(change, of_guide(change, &guide.text()));
    }
}

/// In Berlin, in the two nights.
fn nights(receiver: &Receiver) -> Value {
    let block = |name: &str, from: &str, to: &str| {
        json!({ "name": name, "days": EVERY_DAY, "from": from, "to": to, "loop": true, "on_end": "cut",
                "items": [{ "key": "block.mp4" }] })
    };
    let blocks = [
        block("twice", "02:00", "02:29:59"),
        block("gap", "02:30", "02:59:58"),
        block("after", "03:00", "03:30"),
    ];
    let mut config = to_one(&receiver.url());
    config["programme"] = json!({ "items": [{ "key": "day.mp4" }],
                                  "schedule": { "timezone": "Europe/Berlin", "blocks": blocks } });
    config
}

#[test]
fn a_block_airs_at_the_change_and_not_twice() {
    let folder = media::folder(&[("day.mp4", &media::long()), ("block.mp4", &media::long())]);
    let receiver = Receiver::start();
    let setup = Setup::local(folder.path()).stream("main", nights(&receiver));
    let Some((clock, setup)) = Clock::of(setup) else {
        return;
    };
    let controller = setup.start();
    let [spring, autumn, ..] = CHANGES;

    // 02:00 to 03:00 do not exist: what comes then is what begins at three.
    set_to(&clock, spring.at() - SignedDuration::from_secs(20));
    controller.start("main");
    controller.wait_on_air("main", "day.mp4", SOON);
    let status = controller.wait_on_air("main", "block.mp4", SOON);
    assert_eq!(status["on_air"]["block"], "after", "{status:#}");
    let late = time(&status["on_air"]["since"]).duration_since(spring.at());
    // A block is begun up to a short rest early; a busy machine may be late for it.
    assert!((-2.1..4.0).contains(&late.as_secs_f64()), "{late:?} late");
    controller.stop("main");

    // The first 02:59:40; after it comes 02:00 once more, which is nobody's but the programme's.
    set_to(&clock, autumn.at() - SignedDuration::from_secs(15));
    controller.start("main");
    let status = controller.wait_on_air("main", "block.mp4", SOON);
    assert_eq!(status["on_air"]["block"], "gap", "{status:#}");
    let status = controller.wait_on_air("main", "day.mp4", SOON);
    let early = autumn.at().duration_since(time(&status["on_air"]["since"]));
    assert!(
        (-4.0..4.1).contains(&early.as_secs_f64()),
        "{early:?} early"
    );
    wait::observe(Duration::from_secs(4));
    let status = controller.status("main");
    assert_eq!(status["on_air"]["item"], "day.mp4", "{status:#}");
    controller.stop("main");
}
