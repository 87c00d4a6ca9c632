//! What happens to a stream: its events as they come, and the last lines of its logs.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use storage::model::StreamId;
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};

use super::body::{IdPath, QueryOf};
use super::error::{ApiError, ErrorBody};
use crate::registry::Registry;
use crate::stream::StreamStatus;

/// Below the 30 s after which proxies take a silent answer for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const DEFAULT_LINES: usize = 200;
/// What the worker keeps.
const MAX_LINES: usize = 1000;

/// How many lines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogsQuery {
    /// At most so many, the last ones: 1 to 1000.
    #[param(default = 200, minimum = 1, maximum = 1000)]
    lines: Option<usize>,
}

/// The end of a stream's log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Logs {
    stream_id: StreamId,
    /// Oldest first; secrets are redacted.
    lines: Vec<String>,
}

/// Follow a stream
///
/// Server-sent events: `event: status` with a `StreamStatus` as data, at once and on every change of
/// state, source or destination. Ends when the stream is removed or the controller stops.
#[utoipa::path(get, path = "/streams/{id}/events", tag = "streams", params(("id" = StreamId, Path,)), responses(
    (status = 200, content_type = "text/event-stream", body = StreamStatus),
    (status = 404, body = ErrorBody, description = "`unknown_stream`"),
))]
pub(super) async fn events(
    State(registry): State<Registry>,
    State(closing): State<CancellationToken>,
    IdPath(id): IdPath,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let statuses = WatchStream::new(registry.watch(&id)?);
    let events = statuses
        .filter_map(async |status| event(&status).map(Ok))
        // An open event stream would hold up the controller's end.
        .take_until(closing.cancelled_owned());
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn event(status: &StreamStatus) -> Option<Event> {
    Event::default()
        .event("status")
        .json_data(status)
        .inspect_err(|error| tracing::error!(%error, "a status cannot be written as JSON"))
        .ok()
}

/// Last lines of a stream's worker and its FFmpegs
#[utoipa::path(get, path = "/streams/{id}/logs", tag = "streams", params(("id" = StreamId, Path,), LogsQuery), responses(
    (status = 200, body = Logs),
    (status = 404, body = ErrorBody, description = "`unknown_stream`"),
))]
pub(super) async fn logs(
    State(registry): State<Registry>,
    IdPath(id): IdPath,
    QueryOf(query): QueryOf<LogsQuery>,
) -> Result<Json<Logs>, ApiError> {
    let wanted = query.lines.unwrap_or(DEFAULT_LINES).clamp(1, MAX_LINES);
    let lines = registry.logs(&id, wanted).await?;
    Ok(Json(Logs {
        stream_id: id,
        lines,
    }))
}
