//! Families of the air record: gauges of the last 24 hours, and counters since it began.
//!
//! A counter is there from 0 on for every cause: of a series that begins with 1 Prometheus sees no
//! increase.

use std::collections::BTreeMap;

use storage::model::{DarkCause, StreamId};

use super::ON_AIR;
use super::exposition::{Exposition, Kind};
use crate::history::report::{DestinationUptime, StreamUptime};
use crate::history::{DestinationTotals, Tally, Totals};

/// Streams and the names of their destinations, as configured.
type Configured = BTreeMap<StreamId, Vec<String>>;

/// Whether what happens is written down.
pub(super) fn written(to: &mut Exposition, is_written: bool) {
    to.family(
        "history_written",
        Kind::Gauge,
        "Whether the air record is written: 0 while its disk refuses.",
    );
    to.sample("history_written", &[], u8::from(is_written));
}

/// The last 24 hours.
pub(super) fn last_day(to: &mut Exposition, streams: &[StreamUptime]) {
    type Read = fn(&DestinationUptime) -> Option<f64>;
    let families: [(&str, &str, Read); 4] = [
        (
            "destination_availability_ratio",
            "Seconds with media acknowledged of those wanted, of the last 24 hours.",
            |d| d.availability,
        ),
        (
            "destination_gaps",
            "Gaps of the last 24 hours that nobody had planned.",
            |d| Some(d.gaps as f64),
        ),
        (
            "destination_dark_seconds",
            "Wanted seconds of the last 24 hours without media acknowledged.",
            |d| Some(d.dark_s),
        ),
        (
            "destination_longest_gap_seconds",
            "The longest gap of the last 24 hours that nobody had planned.",
            |d| Some(d.longest_gap_s.unwrap_or(0.0)),
        ),
    ];
    for (name, help, read) in families {
        to.family(name, Kind::Gauge, help);
        for stream in streams {
            for destination in &stream.destinations {
                if let Some(value) = read(destination) {
                    let labels = [
                        ("stream", stream.stream_id.as_str()),
                        ("destination", &destination.name),
                    ];
                    to.sample(name, &labels, value);
                }
            }
        }
    }
}

/// Everything since the record began, of what is configured.
pub(super) fn totals(
    to: &mut Exposition,
    totals: &BTreeMap<StreamId, Totals>,
    configured: &Configured,
) {
    let nothing = Totals::default();
    let of = |stream| totals.get(stream).unwrap_or(&nothing);
    let streams: Vec<_> = configured.keys().map(|id| (id.as_str(), of(id))).collect();
    of_streams(to, &streams);
    let never = DestinationTotals::default();
    let mut destinations = Vec::new();
    for (stream, names) in configured {
        let known = &of(stream).destinations;
        destinations.extend(names.iter().map(|name| {
            let labels = [("stream", stream.as_str()), ("destination", name.as_str())];
            (labels, known.get(name).unwrap_or(&never))
        }));
    }
    of_destinations(to, &destinations);
}

fn of_streams(to: &mut Exposition, streams: &[(&str, &Totals)]) {
    type Read = fn(&Totals) -> f64;
    let families: [(&str, &str, Read); 3] = [
        (
            "stream_wanted_seconds_total",
            "Seconds in which the stream was to be on air.",
            |t| seconds(t.wanted_ms),
        ),
        (
            "stream_worker_starts_total",
            "Workers that began: the operator's starts, and what followed a worker that ended.",
            |t| t.worker_starts as f64,
        ),
        (
            "stream_worker_upgrades_total",
            "Times that a worker went on in another program.",
            |t| t.worker_upgrades as f64,
        ),
    ];
    for (name, help, read) in families {
        to.family(name, Kind::Counter, help);
        for (stream, totals) in streams {
            to.sample(name, &[("stream", stream)], read(totals));
        }
    }
    let name = "stream_on_air_seconds_total";
    let help = "Wanted seconds with this on air; what is missing had nothing on air.";
    to.family(name, Kind::Counter, help);
    for (stream, totals) in streams {
        for (kind, label) in ON_AIR {
            let ms = totals.on_air_ms.get(&kind).copied().unwrap_or(0);
            to.sample(name, &[("stream", stream), ("kind", label)], seconds(ms));
        }
    }
    let slates: Vec<_> = streams
        .iter()
        .map(|(stream, totals)| (vec![("stream", *stream)], &totals.slates))
        .collect();
    by_cause(
        to,
        (
            "stream_slate_seconds_total",
            "Wanted seconds with the slate on air, by cause.",
        ),
        (
            "stream_slates_begun_total",
            "Times that the slate came, by cause.",
        ),
        &slates,
    );
}

fn of_destinations(to: &mut Exposition, destinations: &[([(&str, &str); 2], &DestinationTotals)]) {
    type Read = fn(&DestinationTotals) -> f64;
    let families: [(&str, &str, Read); 3] = [
        (
            "destination_wanted_seconds_total",
            "Seconds in which the destination was to get media.",
            |d| seconds(d.wanted_ms),
        ),
        (
            "destination_delivered_seconds_total",
            "Wanted seconds in which it acknowledged media.",
            |d| seconds(d.delivered.ms),
        ),
        (
            "destination_deliveries_begun_total",
            "Times that media was acknowledged anew: after a start, after a gap, on another connection.",
            |d| d.delivered.begun as f64,
        ),
    ];
    for (name, help, read) in families {
        to.family(name, Kind::Counter, help);
        for (labels, totals) in destinations {
            to.sample(name, labels, read(totals));
        }
    }
    let name = "destination_recoveries_total";
    let help = "Gaps that nobody had planned and that are over: by themselves, or after the operator acted.";
    to.family(name, Kind::Counter, help);
    for (labels, totals) in destinations {
        for (how, count) in [("automatic", totals.automatic), ("by_hand", totals.by_hand)] {
            to.sample(name, &[labels[0], labels[1], ("recovery", how)], count);
        }
    }
    let gaps: Vec<_> = destinations
        .iter()
        .map(|(labels, totals)| (labels.to_vec(), &totals.gaps))
        .collect();
    by_cause(
        to,
        (
            "destination_gap_seconds_total",
            "Wanted seconds without media acknowledged, by cause; of a gap under way once its cause is known.",
        ),
        (
            "destination_gaps_begun_total",
            "Gaps, by cause; one under way once its cause is known.",
        ),
        &gaps,
    );
}

/// The labels of a stream or destination, and what each cause has cost it.
type Caused<'a> = (Vec<(&'a str, &'a str)>, &'a BTreeMap<DarkCause, Tally>);

/// The seconds and the beginnings of each cause, of each of these.
fn by_cause(
    to: &mut Exposition,
    (lasted, help_lasted): (&str, &str),
    (begun, help_begun): (&str, &str),
    things: &[Caused<'_>],
) {
    type Read = fn(Tally) -> f64;
    let families: [(&str, &str, Read); 2] = [
        (lasted, help_lasted, |tally| seconds(tally.ms)),
        (begun, help_begun, |tally| tally.begun as f64),
    ];
    for (name, help, read) in families {
        to.family(name, Kind::Counter, help);
        for (labels, tallies) in things {
            for cause in DarkCause::ALL {
                let tally = tallies.get(&cause).copied().unwrap_or_default();
                let mut labels = labels.clone();
                labels.push(("cause", cause.name()));
                to.sample(name, &labels, read(tally));
            }
        }
    }
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}
