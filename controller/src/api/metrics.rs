//! Prometheus text, written from the streams' statuses at the moment of asking.

use std::fmt::{self, Display, Write};
use std::time::Instant;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use storage::model::report::{DestinationState, OnAirKind};
use storage::model::{DestinationReport, ObservedState};

use super::health::Started;
use crate::history::History;
use crate::history::report::{DestinationUptime, StreamUptime, Window};
use crate::registry::Registry;
use crate::stream::StreamStatus;

const STATES: [(ObservedState, &str); 7] = [
    named(ObservedState::Stopped),
    named(ObservedState::Starting),
    named(ObservedState::Running),
    named(ObservedState::Degraded),
    named(ObservedState::Stopping),
    named(ObservedState::Backoff),
    named(ObservedState::Error),
];

const fn named(state: ObservedState) -> (ObservedState, &'static str) {
    (state, state.as_str())
}

const ON_AIR: [(OnAirKind, &str); 3] = [
    (OnAirKind::Programme, "programme"),
    (OnAirKind::Live, "live"),
    (OnAirKind::Slate, "slate"),
];

const DESTINATION_STATES: [(DestinationState, &str); 5] = [
    (DestinationState::Connecting, "connecting"),
    (DestinationState::Live, "live"),
    (DestinationState::Backoff, "backoff"),
    (DestinationState::Rejected, "rejected"),
    (DestinationState::Stopped, "stopped"),
];

/// The text exposition format. Writing into a `String` cannot fail, so errors are not looked at.
#[derive(Debug, Default)]
struct Exposition(String);

/// Whether a number may fall.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Gauge,
    Counter,
}

/// Name, kind, help and value of what is told of each destination.
type OfDestination = (
    &'static str,
    Kind,
    &'static str,
    fn(&DestinationReport) -> Option<f64>,
);

const OF_DESTINATION: [OfDestination; 10] = [
    (
        "destination_retry_count",
        Kind::Gauge,
        "Failed tries since the last minute of health.",
        |d| Some(d.retry_count.into()),
    ),
    (
        "destination_bitrate_kbps",
        Kind::Gauge,
        "Mean of the last seconds.",
        |d| Some(d.bitrate_kbps.into()),
    ),
    (
        "destination_sent_media_seconds",
        Kind::Gauge,
        "Media handed over in this connection.",
        |d| Some(d.sent_media_s),
    ),
    (
        "destination_bytes_acked",
        Kind::Gauge,
        "Bytes the peer acknowledged in this connection.",
        |d| d.bytes_acked.map(|bytes| bytes as f64),
    ),
    (
        "destination_unacked_bytes",
        Kind::Gauge,
        "Bytes written to the connection that the peer has not acknowledged.",
        |d| d.unacked_bytes.map(|bytes| bytes as f64),
    ),
    (
        "destination_rtt_seconds",
        Kind::Gauge,
        "Smoothed round trip to the peer.",
        |d| d.rtt_ms.map(|ms| ms / 1000.0),
    ),
    (
        "destination_retransmits",
        Kind::Gauge,
        "Segments sent again in this connection.",
        |d| d.retransmits.map(|segments| segments as f64),
    ),
    (
        "destination_behind_seconds",
        Kind::Gauge,
        "Media that has come and that the peer has not acknowledged.",
        |d| Some(d.behind_s),
    ),
    (
        "destination_dropped_frames_total",
        Kind::Counter,
        "Video frames dropped because the destination was too slow.",
        |d| Some(d.dropped_frames as f64),
    ),
    (
        "destination_connections_total",
        Kind::Counter,
        "Connections made since the worker started.",
        |d| Some(d.connections as f64),
    ),
];

/// Metrics for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, content_type = "text/plain; version=0.0.4", body = String),
))]
pub(super) async fn metrics(
    State(registry): State<Registry>,
    State(history): State<History>,
    State(Started(since)): State<Started>,
) -> impl IntoResponse {
    let mut text = render(&registry.statuses(), since);
    // Without an answer its families are missing, which is what an alert on absence is for.
    if let Ok(uptime) = history.uptime(Window::Day, None).await {
        let mut record = Exposition::default();
        of_record(&mut record, &uptime.streams);
        text.push_str(&record.0);
    }
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
}

fn render(streams: &[StreamStatus], since: Instant) -> String {
    let mut to = Exposition::default();
    to.family("build_info", Kind::Gauge, "Version of the controller.");
    to.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    to.family(
        "uptime_seconds",
        Kind::Gauge,
        "Since the controller started.",
    );
    to.sample("uptime_seconds", &[], since.elapsed().as_secs());
    of_streams(&mut to, streams);
    of_destinations(&mut to, streams);
    to.0
}

fn of_streams(to: &mut Exposition, streams: &[StreamStatus]) {
    to.states(
        "stream_state",
        "State of the stream: 1 for the one it is in.",
        streams,
        ("state", &STATES),
        |s| Some(s.state),
    );
    to.states(
        "stream_on_air",
        "What the viewer sees: 1 for the one on air.",
        streams,
        ("kind", &ON_AIR),
        |s| s.on_air.as_ref().map(|on_air| on_air.kind),
    );
    to.each_stream(
        "stream_restarts",
        Kind::Gauge,
        "Restarts of the worker since the operator's last start.",
        streams,
        |s| Some(f64::from(s.restarts)),
    );
    to.each_stream(
        "stream_last_health_check_timestamp_seconds",
        Kind::Gauge,
        "When the worker last answered.",
        streams,
        |s| s.last_health_check.map(|at| at.as_duration().as_secs_f64()),
    );
    to.each_stream(
        "stream_programme_items",
        Kind::Gauge,
        "Playable items in a round of the programme.",
        streams,
        |s| s.programme.items.map(|items| items as f64),
    );
    to.each_stream(
        "stream_programme_problems",
        Kind::Gauge,
        "Items of the programme that were skipped.",
        streams,
        |s| Some(s.programme.problems.len() as f64),
    );
}

fn of_destinations(to: &mut Exposition, streams: &[StreamStatus]) {
    to.family(
        "destination_state",
        Kind::Gauge,
        "State of the destination: 1 for the one it is in.",
    );
    for (stream, destination) in each_destination(streams) {
        for (state, name) in DESTINATION_STATES {
            let labels = [
                ("stream", stream),
                ("destination", &destination.name),
                ("state", name),
            ];
            to.sample(
                "destination_state",
                &labels,
                u8::from(destination.state == state),
            );
        }
    }
    for (name, kind, help, read) in OF_DESTINATION {
        to.family(name, kind, help);
        for (stream, destination) in each_destination(streams) {
            if let Some(value) = read(destination) {
                to.sample(
                    name,
                    &[("stream", stream), ("destination", &destination.name)],
                    value,
                );
            }
        }
    }
}

/// The last 24 hours.
fn of_record(to: &mut Exposition, streams: &[StreamUptime]) {
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

fn each_destination(streams: &[StreamStatus]) -> impl Iterator<Item = (&str, &DestinationReport)> {
    streams.iter().flat_map(|stream| {
        let id = stream.stream_id.as_str();
        stream.destinations.iter().map(move |to| (id, to))
    })
}

// === impl Exposition ===

impl Exposition {
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        self.line(format_args!("# HELP stream_controller_{name} {help}"));
        self.line(format_args!("# TYPE stream_controller_{name} {kind}"));
    }

    fn each_stream(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        streams: &[StreamStatus],
        read: impl Fn(&StreamStatus) -> Option<f64>,
    ) {
        self.family(name, kind, help);
        for stream in streams {
            if let Some(value) = read(stream) {
                self.sample(name, &[("stream", stream.stream_id.as_str())], value);
            }
        }
    }

    fn states<T: PartialEq + Copy>(
        &mut self,
        name: &str,
        help: &str,
        streams: &[StreamStatus],
        (label, all): (&str, &[(T, &str)]),
        read: impl Fn(&StreamStatus) -> Option<T>,
    ) {
        self.family(name, Kind::Gauge, help);
        for stream in streams {
            for (state, name_of_it) in all {
                let labels = [("stream", stream.stream_id.as_str()), (label, name_of_it)];
                self.sample(name, &labels, u8::from(read(stream) == Some(*state)));
            }
        }
    }

    /// Ids, names and states are of a plain alphabet, so a label needs no escaping.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{value}\""))
            .collect::<Vec<_>>()
            .join(",");
        if labels.is_empty() {
            self.line(format_args!("stream_controller_{name} {value}"));
        } else {
            self.line(format_args!("stream_controller_{name}{{{labels}}} {value}"));
        }
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("writing into memory does not fail");
    }
}
