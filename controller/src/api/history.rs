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

/// Whom a question names: a stream, a destination.
struct About(Option<StreamId>, Option<String>);

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
    About(asked.stream, None).answered(answer, is_empty, &registry)
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
    (status = 404, body = ErrorBody, description = "`unknown_stream`, `unknown_destination`"),
    (status = 422, body = ErrorBody, description = "`invalid_query` with every mistake"),
    (status = 503, body = ErrorBody, description = "`history_unavailable`"),
))]
pub(super) async fn incidents(
    State(history): State<History>,
    State(registry): State<Registry>,
    ParamsOf(asked): ParamsOf<AskedIncidents>,
) -> Result<Json<Incidents>, ApiError> {
    let about = About(asked.stream.clone(), asked.destination.clone());
    let answer = history.incidents(asked).await?;
    let is_empty = answer.incidents.is_empty();
    about.answered(answer, is_empty, &registry)
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
    let about = About(asked.stream.clone(), None);
    let answer = history.transitions(asked).await?;
    let is_empty = answer.sessions.is_empty();
    about.answered(answer, is_empty, &registry)
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
    (status = 404, body = ErrorBody, description = "`unknown_stream`, `unknown_destination`"),
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
    let about = About(Some(stream.clone()), asked.destination.clone());
    let answer = history.metrics(stream, asked).await?;
    let is_empty = answer.series.is_empty();
    about.answered(answer, is_empty, &registry)
}

// === impl About ===

impl About {
    /// What the history says of them. A name that neither it nor the configuration knows is a mistake, and
    /// no good news.
    fn answered<T>(
        self,
        answer: T,
        is_empty: bool,
        registry: &Registry,
    ) -> Result<Json<T>, ApiError> {
        let Self(stream, destination) = self;
        if !is_empty {
            return Ok(Json(answer));
        }
        if let Some(stream) = &stream {
            registry.status(stream)?;
        }
        let Some(destination) = destination else {
            return Ok(Json(answer));
        };
        let configured = registry.configured();
        let mut asked = configured
            .iter()
            .filter(|(id, _)| stream.as_ref().is_none_or(|stream| stream == *id));
        if asked.any(|(_, names)| names.contains(&destination)) {
            return Ok(Json(answer));
        }
        let message = format!(
            "there is no destination {destination}, and nothing of one is in what was asked for"
        );
        let (status, code) = (StatusCode::NOT_FOUND, "unknown_destination");
        Err(ApiError::new(status, code, message))
    }
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
