//! Streams: their state, and what can be done with them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use storage::model::report::OnAirKind;
use storage::model::{ObservedState, StreamConfig, StreamId};
use utoipa::{IntoParams, ToSchema};

use super::body::{IdPath, JsonText, OptionalJson, QueryOf, RequiredJson};
use super::error::{ApiError, ErrorBody};
use crate::registry::Registry;
use crate::stream::{Applied, Asker, StreamStatus, Take};

/// Which stream; may be left out where there is only one.
#[derive(Debug, Default, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StreamRef {
    /// The stream's id; may be left out where there is only one stream.
    #[schema(example = "main")]
    stream_id: Option<StreamId>,
}

/// One line of a list of streams.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StreamLine {
    stream_id: StreamId,
    state: ObservedState,
    since: Timestamp,
    /// Programme, live or slate; `null` off air.
    on_air: Option<OnAirKind>,
    /// What is on air.
    item: Option<String>,
    /// `live` of all configured, as `2/3`.
    destinations: String,
    /// As in the status, in words.
    warnings: Vec<String>,
}

/// All streams.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StreamLines {
    streams: Vec<StreamLine>,
}

/// The status of several streams.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StreamStatuses {
    streams: Vec<StreamStatus>,
}

/// One stream's status, or all of them where there is not exactly one.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum StatusAnswer {
    One(Box<StreamStatus>),
    Several(StreamStatuses),
}

/// What became of a configuration.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConfigAnswer {
    stream_id: StreamId,
    applied: AppliedAnswer,
    config: StreamConfig,
}

/// How far a new configuration has come.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum AppliedAnswer {
    /// The stream is new.
    Created,
    /// Nothing runs; the next start uses it.
    Saved,
    /// The running stream has taken it without an interruption.
    Live,
    /// It is saved; the running stream keeps the old format until it is stopped and started.
    RestartNeeded,
}

/// What to put on air.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceRequest {
    take: SourceKind,
    /// Name of the live input, with `"take": "live"`.
    input: Option<String>,
}

/// Kinds of source that can be taken.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum SourceKind {
    /// The programme, wherever it stands.
    Programme,
    /// The slate, until something else is taken.
    Slate,
    /// The *going live soon* card, until something else is taken.
    Card,
    /// A live input.
    Live,
}

// === impl StreamLine ===

impl StreamLine {
    pub(super) fn all(registry: &Registry) -> Vec<Self> {
        registry.statuses().iter().map(Self::from).collect()
    }
}

impl From<&StreamStatus> for StreamLine {
    fn from(status: &StreamStatus) -> Self {
        let live = status
            .destinations
            .iter()
            .filter(|to| to.state == storage::model::report::DestinationState::Live)
            .count();
        let on_air = status.on_air.as_ref();
        Self {
            stream_id: status.stream_id.clone(),
            state: status.state,
            since: status.since,
            on_air: on_air.map(|on_air| on_air.kind),
            item: on_air.and_then(|on_air| on_air.item.clone()),
            destinations: format!("{live}/{}", status.destinations.len()),
            warnings: status
                .warnings
                .iter()
                .map(|it| it.message.clone())
                .collect(),
        }
    }
}

// === handlers ===

/// List the streams
#[utoipa::path(get, path = "/streams", operation_id = "list_streams", tag = "streams", responses(
    (status = 200, body = StreamLines),
))]
pub(super) async fn list(State(registry): State<Registry>) -> Json<StreamLines> {
    let streams = StreamLine::all(&registry);
    Json(StreamLines { streams })
}

/// Status of one stream or of all
///
/// Without `stream_id`: the one stream there is, or `{"streams": [...]}` where there are none or several.
#[utoipa::path(get, path = "/streams/status", operation_id = "stream_status", tag = "streams", params(StreamRef), responses(
    (status = 200, body = StatusAnswer),
    (status = 404, body = ErrorBody, description = "`unknown_stream`"),
))]
pub(super) async fn status(
    State(registry): State<Registry>,
    QueryOf(query): QueryOf<StreamRef>,
) -> Result<Response, ApiError> {
    let answer = match query.stream_id.map_or_else(|| registry.only(), Ok) {
        Ok(id) => StatusAnswer::One(Box::new(registry.status(&id)?)),
        Err(_not_exactly_one) => StatusAnswer::Several(StreamStatuses {
            streams: registry.statuses(),
        }),
    };
    Ok(Json(answer).into_response())
}

/// Put a stream on air
///
/// Answers before the worker is up; follow `/streams/{id}/events`.
#[utoipa::path(post, path = "/streams/start", operation_id = "start_stream", tag = "streams",
    request_body(content = Option<StreamRef>, description = "May be empty where there is one stream"),
    responses(
        (status = 202, body = StreamStatus),
        (status = 404, body = ErrorBody, description = "`unknown_stream`"),
        (status = 409, body = ErrorBody, description = "`already_running`, `stopping`"),
        (status = 422, body = ErrorBody, description = "`invalid_config` with each problem, `stream_not_named`"),
))]
pub(super) async fn start_named(
    State(registry): State<Registry>,
    OptionalJson(body): OptionalJson<StreamRef>,
) -> Result<Response, ApiError> {
    start(&registry, &named(&registry, body)?).await
}

/// Put this stream on air
#[utoipa::path(post, path = "/streams/{id}/start", operation_id = "start_stream_by_path", tag = "streams", params(("id" = StreamId, Path,)), responses(
    (status = 202, body = StreamStatus),
    (status = 404, body = ErrorBody, description = "`unknown_stream`"),
    (status = 409, body = ErrorBody, description = "`already_running`, `stopping`"),
    (status = 422, body = ErrorBody, description = "`invalid_config` with each problem"),
))]
pub(super) async fn start_by_path(
    State(registry): State<Registry>,
    IdPath(id): IdPath,
) -> Result<Response, ApiError> {
    start(&registry, &id).await
}

/// Take a stream off air
///
/// Answers when its worker is gone; after 10 s it is killed.
#[utoipa::path(post, path = "/streams/stop", operation_id = "stop_stream", tag = "streams",
    request_body(content = Option<StreamRef>, description = "May be empty where there is one stream"),
    responses(
        (status = 200, body = StreamStatus),
        (status = 404, body = ErrorBody, description = "`not_running`, `unknown_stream`"),
        (status = 422, body = ErrorBody, description = "`stream_not_named`"),
))]
pub(super) async fn stop_named(
    State(registry): State<Registry>,
    OptionalJson(body): OptionalJson<StreamRef>,
) -> Result<Json<StreamStatus>, ApiError> {
    let id = named(&registry, body)?;
    Ok(Json(registry.stop(&id).await?))
}

/// Take this stream off air
#[utoipa::path(post, path = "/streams/{id}/stop", operation_id = "stop_stream_by_path", tag = "streams", params(("id" = StreamId, Path,)), responses(
    (status = 200, body = StreamStatus),
    (status = 404, body = ErrorBody, description = "`not_running`, `unknown_stream`"),
))]
pub(super) async fn stop_by_path(
    State(registry): State<Registry>,
    IdPath(id): IdPath,
) -> Result<Json<StreamStatus>, ApiError> {
    Ok(Json(registry.stop(&id).await?))
}

/// Go on with the next item
#[utoipa::path(post, path = "/streams/{id}/skip", tag = "streams", params(("id" = StreamId, Path,)), responses(
    (status = 202, body = StreamStatus),
    (status = 404, body = ErrorBody, description = "`not_running`, `unknown_stream`"),
    (status = 409, body = ErrorBody, description = "`nothing_to_skip`, `starting`"),
    (status = 502, body = ErrorBody, description = "`worker_unavailable`"),
))]
pub(super) async fn skip(
    State(registry): State<Registry>,
    IdPath(id): IdPath,
) -> Result<Response, ApiError> {
    registry.skip(&id).await?;
    accepted(&registry, &id)
}

/// Put something else on air
///
/// `slate` and `card` stay until something else is taken. `live` takes the air as soon as the input
/// is ready; the programme stays on air until then.
#[utoipa::path(post, path = "/streams/{id}/source", tag = "streams", params(("id" = StreamId, Path,)),
    request_body = SourceRequest,
    responses(
        (status = 202, body = StreamStatus),
        (status = 404, body = ErrorBody, description = "`not_running`, `unknown_stream`"),
        (status = 409, body = ErrorBody, description = "`no_live_input`, `starting`"),
        (status = 422, body = ErrorBody, description = "`invalid_body`"),
        (status = 502, body = ErrorBody, description = "`worker_unavailable`"),
))]
pub(super) async fn source(
    State(registry): State<Registry>,
    IdPath(id): IdPath,
    RequiredJson(request): RequiredJson<SourceRequest>,
) -> Result<Response, ApiError> {
    let what = match (request.take, request.input) {
        (SourceKind::Programme, None) => Take::Programme,
        (SourceKind::Slate, None) => Take::Slate,
        (SourceKind::Card, None) => Take::Card,
        (SourceKind::Live, input) => Take::Live(input),
        (_, Some(_)) => {
            return Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_body",
                "\"input\" names a live input; leave it out unless \"take\" is \"live\"",
            ));
        }
    };
    registry.take(&id, what, Asker::operator()).await?;
    accepted(&registry, &id)
}

/// Read a stream's configuration
#[utoipa::path(get, path = "/streams/{id}", tag = "configuration", params(("id" = StreamId, Path,)), responses(
    (status = 200, body = StreamConfig),
    (status = 404, body = ErrorBody, description = "`unknown_stream`"),
))]
pub(super) async fn get_config(
    State(registry): State<Registry>,
    IdPath(id): IdPath,
) -> Result<Json<StreamConfig>, ApiError> {
    Ok(Json(registry.get_config(&id)?))
}

/// Create or replace a stream
///
/// A running stream takes a new programme, destinations and retry without an interruption.
#[utoipa::path(put, path = "/streams/{id}", tag = "configuration", params(("id" = StreamId, Path,)),
    request_body = StreamConfig,
    responses(
        (status = 200, body = ConfigAnswer),
        (status = 201, body = ConfigAnswer, description = "The stream is new"),
        (status = 422, body = ErrorBody, description = "`invalid_config` with each problem"),
        (status = 507, body = ErrorBody, description = "`disk_full`: nothing was changed"),
))]
pub(super) async fn put_config(
    State(registry): State<Registry>,
    IdPath(id): IdPath,
    JsonText(config): JsonText,
) -> Result<Response, ApiError> {
    let (status, applied) = match registry.put_config(&id, &config).await? {
        Applied::Created => (StatusCode::CREATED, AppliedAnswer::Created),
        Applied::Saved => (StatusCode::OK, AppliedAnswer::Saved),
        Applied::Live => (StatusCode::OK, AppliedAnswer::Live),
        Applied::RestartNeeded => (StatusCode::OK, AppliedAnswer::RestartNeeded),
    };
    let config = registry.get_config(&id)?;
    let answer = ConfigAnswer {
        stream_id: id,
        applied,
        config,
    };
    Ok((status, Json(answer)).into_response())
}

/// Remove a stream that is off air
#[utoipa::path(delete, path = "/streams/{id}", tag = "configuration", params(("id" = StreamId, Path,)), responses(
    (status = 204, description = "Removed"),
    (status = 404, body = ErrorBody, description = "`unknown_stream`"),
    (status = 409, body = ErrorBody, description = "`still_running`"),
))]
pub(super) async fn delete_config(
    State(registry): State<Registry>,
    IdPath(id): IdPath,
) -> Result<StatusCode, ApiError> {
    registry.delete(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn start(registry: &Registry, id: &StreamId) -> Result<Response, ApiError> {
    let status = registry.start(id).await?;
    Ok((StatusCode::ACCEPTED, Json(status)).into_response())
}

fn accepted(registry: &Registry, id: &StreamId) -> Result<Response, ApiError> {
    let status = registry.watch(id)?;
    let body = Json(&*status.borrow());
    Ok((StatusCode::ACCEPTED, body).into_response())
}

fn named(registry: &Registry, body: Option<StreamRef>) -> Result<StreamId, ApiError> {
    match body.and_then(|body| body.stream_id) {
        Some(id) => Ok(id),
        None => Ok(registry.only()?),
    }
}
