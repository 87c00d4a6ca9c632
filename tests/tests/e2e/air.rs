//! The air journal, held against what a receiver noted.

use std::time::{Duration, Instant, SystemTime};

use e2e::controller::Controller;
use e2e::rtmp::Connection;
use e2e::wait;
use serde_json::Value;

/// Entries of the air journal, in order.
pub(super) fn record(controller: &Controller) -> Vec<Value> {
    let folder = controller.directory().join("state/streams/main/air");
    let mut parts: Vec<_> = std::fs::read_dir(folder)
        .expect("a journal")
        .map(|entry| entry.expect("readable").path())
        .collect();
    parts.sort();
    let texts = parts
        .iter()
        .map(|part| std::fs::read_to_string(part).expect("text"));
    let text: String = texts.collect();
    text.lines()
        .map(|line| serde_json::from_str(line).expect("an entry"))
        .collect()
}

/// The clock of the record, as an [`Instant`].
struct BootClock(Instant);

impl BootClock {
    fn read() -> Self {
        let text = std::fs::read_to_string("/proc/uptime").expect("/proc is mounted");
        let uptime = text
            .split_whitespace()
            .next()
            .and_then(|text| text.parse().ok());
        let uptime = Duration::from_secs_f64(uptime.expect("seconds"));
        Self(
            Instant::now()
                .checked_sub(uptime)
                .expect("since the start of the machine"),
        )
    }

    fn distance(&self, entry: &Value, seen: Instant) -> Duration {
        let at = self.0 + Duration::from_millis(entry["boot_ms"].as_u64().expect("a number"));
        at.max(seen) - at.min(seen)
    }
}

/// From `since` to when the programme came on air after it, by the worker's own account.
pub(super) fn programme_after(controller: &Controller, since: SystemTime) -> Duration {
    let began = |entry: &Value| {
        let event = &entry["event"];
        let is_programme = event["kind"] == "on_air" && event["source"] == "programme";
        let at: jiff::Timestamp = entry["at"].as_str()?.parse().ok()?;
        let after = SystemTime::from(at).duration_since(since).ok();
        after.filter(|_| is_programme)
    };
    wait::until("it is in the record", Duration::from_secs(10), || {
        record(controller).iter().filter_map(began).min()
    })
}

/// When the last picture or sound of a connection came.
pub(super) fn last_frame(connection: &Connection) -> Instant {
    connection.frames().last().expect("media").arrived
}

/// What is promised is a quarter of a second; a machine that is busy with other tests may hold up the
/// receiver, which notes arrivals, as long again.
pub(super) const TOLERANCE: Duration = Duration::from_millis(500);

/// The record has the first and the last frame the receiver noted in its first connection, when it
/// noted them.
pub(super) fn assert_recorded(record: &[Value], name: &str, cause: &str, connection: &Connection) {
    let clock = BootClock::read();
    let of = |kind: &str| {
        let entries = record
            .iter()
            .filter(|entry| entry["event"]["destination"] == name);
        let mut entries = entries.filter(|entry| entry["event"]["kind"] == kind);
        entries
            .next()
            .unwrap_or_else(|| panic!("{name}: no {kind} in {record:#?}"))
            .clone()
    };
    let (delivering, dark) = (of("delivering"), of("dark"));
    assert_eq!(dark["event"]["cause"], cause, "{name}");
    let first = connection.frames().next().expect("media").arrived;
    for (entry, seen) in [(&delivering, first), (&dark, last_frame(connection))] {
        let distance = clock.distance(entry, seen);
        assert!(distance <= TOLERANCE, "{name}: {distance:?} off: {entry:#}");
    }
}
