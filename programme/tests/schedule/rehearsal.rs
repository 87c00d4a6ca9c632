//! What is said beforehand of what will air, and of what would go wrong.

use jiff::Timestamp;
use programme::rehearse::{Finding, Rehearsal, Running, ScheduleProblemKind, Window, rehearse};
use programme::{ListedObject, Standing, Walk};

use super::{at, duration_s, known, lineup, noon, with_day};

fn finding(object: &ListedObject) -> Finding {
    if object.key.contains("bad") {
        Finding::Unplayable("no video".to_owned())
    } else {
        Finding::Plays(duration_s(object))
    }
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
