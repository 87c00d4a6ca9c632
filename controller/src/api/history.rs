//! The air record: availability, incidents, measurements.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use storage::model::{DarkCause, StreamId};

use self::params::{MetricsOf, ParamsOf};
use super::error::{ApiError, ErrorBody};
use crate::history::report::{
    AskedIncidents, AskedTransitions, Incidents, Metrics, Transitions, Uptime, Window,
};
use crate::history::{History, Unavailable};
use crate::registry::Registry;

mod params;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// What `/health/uptime` is asked.
#[derive(Debug)]
pub(super) struct AskedUptime {
    window: Window,
    stream: Option<StreamId>,
}

/// Availability of streams and destinations
///
/// Counted from what the destinations acknowledged, by a clock that nobody sets. Streams and
/// destinations that were removed since are in it as long as the history goes back.
#[utoipa::path(get, path = "/health/uptime", tag = "health", params(
    ("window" = Option<Window>, Query, description = "How far back; 24h when left out"),
    ("stream_id" = Option<StreamId>, Query, description = "Only this stream"),
), responses(
    (status = 200, body = Uptime),
    (status = 404, body = ErrorBody, description = "`unknown_stream`"),
    (status = 422, body = ErrorBody, description = "`invalid_query` with every mistake"),
    (status = 503, body = ErrorBody, description = "`history_unavailable`"),
))]
pub(super) async fn uptime(
    State(history): State<History>,
    State(registry): State<Registry>,
    ParamsOf(asked): ParamsOf<AskedUptime>,
) -> Result<Json<Uptime>, ApiError> {
    let answer = history.uptime(asked.window, asked.stream.clone()).await?;
    let is_empty = answer.streams.is_empty();
    answered(answer, is_empty, &registry, asked.stream.as_ref())
}

/// Every gap and every slate
///
/// Newest first. A destination's gaps are its own; a slate is seen at every destination.
#[utoipa::path(get, path = "/health/incidents", tag = "health", params(
    ("window" = Option<Window>, Query, description = "How far back; 24h when left out"),
    ("stream_id" = Option<StreamId>, Query, description = "Only of this stream"),
    ("destination" = Option<String>, Query, description = "Only gaps of this destination"),
    ("cause" = Option<DarkCause>, Query, description = "Only those with this cause"),
    ("limit" = Option<usize>, Query, description = "At most so many, 1 to 1000; 100 when left out"),
), responses(
    (status = 200, body = Incidents),
    (status = 404, body = ErrorBody, description = "`unknown_stream`"),
    (status = 422, body = ErrorBody, description = "`invalid_query` with every mistake"),
    (status = 503, body = ErrorBody, description = "`history_unavailable`"),
))]
pub(super) async fn incidents(
    State(history): State<History>,
    State(registry): State<Registry>,
    ParamsOf(asked): ParamsOf<AskedIncidents>,
) -> Result<Json<Incidents>, ApiError> {
    let stream = asked.stream.clone();
    let answer = history.incidents(asked).await?;
    let is_empty = answer.incidents.is_empty();
    answered(answer, is_empty, &registry, stream.as_ref())
}

/// Live sessions and how long each step took
///
/// Who asked for a live input and when, when its media was there, when it was on air and off it again,
/// and why. Newest first; the steps are those of all sessions in the window.
#[utoipa::path(get, path = "/health/transitions", tag = "health", params(
    ("window" = Option<Window>, Query, description = "How far back; 24h when left out"),
    ("stream_id" = Option<StreamId>, Query, description = "Only of this stream"),
    ("limit" = Option<usize>, Query, description = "At most so many sessions, 1 to 1000; 100 when left out"),
), responses(
    (status = 200, body = Transitions),
    (status = 404, body = ErrorBody, description = "`unknown_stream`"),
    (status = 422, body = ErrorBody, description = "`invalid_query` with every mistake"),
    (status = 503, body = ErrorBody, description = "`history_unavailable`"),
))]
pub(super) async fn transitions(
    State(history): State<History>,
    State(registry): State<Registry>,
    ParamsOf(asked): ParamsOf<AskedTransitions>,
) -> Result<Json<Transitions>, ApiError> {
    let stream = asked.stream.clone();
    let answer = history.transitions(asked).await?;
    let is_empty = answer.sessions.is_empty();
    answered(answer, is_empty, &registry, stream.as_ref())
}

/// Measurements over time
///
/// One sample every ten seconds: bit rate, dropped frames, state and round trip of each destination;
/// processor and memory of the worker with its FFmpegs. Older ones are thinned.
#[utoipa::path(get, path = "/health/metrics", operation_id = "measurements", tag = "health", params(
    ("stream_id" = Option<StreamId>, Query, description = "The stream; may be left out where there is only one"),
    ("destination" = Option<String>, Query, description = "Only this destination"),
    ("from" = Option<jiff::Timestamp>, Query, description = "From then on (RFC 3339); a day before `to` when left out"),
    ("to" = Option<jiff::Timestamp>, Query, description = "Until then; now when left out"),
    ("metric" = Option<crate::history::report::Metric>, Query, description = "Only this one"),
    ("step" = Option<u32>, Query, description = "One point for so many seconds, 10 to 86400; more where there would be over 1000 points a series"),
), responses(
    (status = 200, body = Metrics),
    (status = 404, body = ErrorBody, description = "`unknown_stream`"),
    (status = 422, body = ErrorBody, description = "`invalid_query` with every mistake; `stream_not_named`"),
    (status = 503, body = ErrorBody, description = "`history_unavailable`"),
))]
pub(super) async fn metrics(
    State(history): State<History>,
    State(registry): State<Registry>,
    ParamsOf(MetricsOf { stream, asked }): ParamsOf<MetricsOf>,
) -> Result<Json<Metrics>, ApiError> {
    let stream = match stream {
        Some(stream) => stream,
        None => registry.only()?,
    };
    let answer = history.metrics(stream.clone(), asked).await?;
    let is_empty = answer.series.is_empty();
    answered(answer, is_empty, &registry, Some(&stream))
}

/// What the history says of `stream`, or of all. A name that neither it nor the configuration knows is a
/// mistake.
fn answered<T>(
    answer: T,
    is_empty: bool,
    registry: &Registry,
    stream: Option<&StreamId>,
) -> Result<Json<T>, ApiError> {
    if is_empty && let Some(stream) = stream {
        registry.status(stream)?;
    }
    Ok(Json(answer))
}

impl From<Unavailable> for ApiError {
    fn from(error: Unavailable) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "history_unavailable",
            error.to_string(),
        )
        .retry_after(5)
    }
}
