//! Prometheus text, written from the streams' statuses at the moment of asking.

mod exposition;
mod record;

use std::time::Instant;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use storage::model::report::{DestinationState, OnAirKind};
use storage::model::{DestinationReport, ObservedState};

use self::exposition::{Exposition, Kind};
use super::health::Started;
use crate::history::History;
use crate::history::report::Window;
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
    let mut to = Exposition::default();
    of_controller(&mut to, since);
    let streams = registry.statuses();
    of_streams(&mut to, &streams);
    of_destinations(&mut to, &streams);
    record::written(&mut to, history.fault().is_none());
    // Without an answer its families are missing, which is what an alert on absence is for.
    if let Ok(uptime) = history.uptime(Window::Day, None).await {
        record::last_day(&mut to, &uptime.streams);
    }
    if let Ok(totals) = history.totals().await {
        record::totals(&mut to, &totals, &registry.configured());
    }
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        to.into_text(),
    )
}

fn of_controller(to: &mut Exposition, since: Instant) {
    to.family("build_info", Kind::Gauge, "Version of the controller.");
    to.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    to.family(
        "uptime_seconds",
        Kind::Gauge,
        "Since the controller started.",
    );
    to.sample("uptime_seconds", &[], since.elapsed().as_secs());
}

fn of_streams(to: &mut Exposition, streams: &[StreamStatus]) {
    states(
        to,
        "stream_state",
        "State of the stream: 1 for the one it is in.",
        streams,
        ("state", &STATES),
        |s| Some(s.state),
    );
    states(
        to,
        "stream_on_air",
        "What the viewer sees: 1 for the one on air.",
        streams,
        ("kind", &ON_AIR),
        |s| s.on_air.as_ref().map(|on_air| on_air.kind),
    );
    each_stream(
        to,
        "stream_restarts",
        Kind::Gauge,
        "Restarts of the worker since the operator's last start.",
        streams,
        |s| Some(f64::from(s.restarts)),
    );
    each_stream(
        to,
        "stream_last_health_check_timestamp_seconds",
        Kind::Gauge,
        "When the worker last answered.",
        streams,
        |s| s.last_health_check.map(|at| at.as_duration().as_secs_f64()),
    );
    each_stream(
        to,
        "stream_programme_items",
        Kind::Gauge,
        "Playable items in a round of the programme.",
        streams,
        |s| s.programme.items.map(|items| items as f64),
    );
    each_stream(
        to,
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

fn each_stream(
    to: &mut Exposition,
    name: &str,
    kind: Kind,
    help: &str,
    streams: &[StreamStatus],
    read: impl Fn(&StreamStatus) -> Option<f64>,
) {
    to.family(name, kind, help);
    for stream in streams {
        if let Some(value) = read(stream) {
            to.sample(name, &[("stream", stream.stream_id.as_str())], value);
        }
    }
}

fn states<T: PartialEq + Copy>(
    to: &mut Exposition,
    name: &str,
    help: &str,
    streams: &[StreamStatus],
    (label, all): (&str, &[(T, &str)]),
    read: impl Fn(&StreamStatus) -> Option<T>,
) {
    to.family(name, Kind::Gauge, help);
    for stream in streams {
        for (state, name_of_it) in all {
            let labels = [("stream", stream.stream_id.as_str()), (label, name_of_it)];
            to.sample(name, &labels, u8::from(read(stream) == Some(*state)));
        }
    }
}

fn each_destination(streams: &[StreamStatus]) -> impl Iterator<Item = (&str, &DestinationReport)> {
    streams.iter().flat_map(|stream| {
        let id = stream.stream_id.as_str();
        stream.destinations.iter().map(move |to| (id, to))
    })
}
