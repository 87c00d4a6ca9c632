//! Putting the installed worker into streams that are on air.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use storage::model::StreamId;
use storage::model::report::UpgradeReport;
use utoipa::ToSchema;

use super::body::IdPath;
use super::error::{ApiError, ErrorBody};
use crate::registry::Registry;

/// What became of every running stream, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Upgrades {
    streams: Vec<Upgrade>,
}

/// What became of one.
#[derive(Debug, Serialize, ToSchema)]
struct Upgrade {
    stream_id: StreamId,
    /// How it went; `null` when the stream goes on with the worker it had.
    upgrade: Option<UpgradeReport>,
    /// Why it goes on with that.
    error: Option<String>,
}

/// Upgrade the worker of a stream that is on air
///
/// Its process becomes the program at `WORKER_BIN` and goes on with its connections: no destination
/// sees a reconnect. Answers when that is done. When it cannot be, the worker goes on as it is.
#[utoipa::path(post, path = "/streams/{id}/upgrade", operation_id = "upgrade_stream", tag = "streams", params(("id" = StreamId, Path,)), responses(
    (status = 200, body = UpgradeReport),
    (status = 404, body = ErrorBody, description = "`not_running`, `unknown_stream`"),
    (status = 409, body = ErrorBody, description = "`upgrade_not_now`, `starting`"),
    (status = 502, body = ErrorBody, description = "`upgrade_refused`, `worker_unavailable`"),
))]
pub(super) async fn upgrade(
    State(registry): State<Registry>,
    IdPath(id): IdPath,
) -> Result<Json<UpgradeReport>, ApiError> {
    Ok(Json(registry.upgrade(&id).await?))
}

/// Upgrade the worker of every stream that runs another than the installed one
///
/// One after another; the first that fails does not keep the others from it, nor does a caller that leaves.
#[utoipa::path(post, path = "/streams/upgrade", operation_id = "upgrade_streams", tag = "streams", responses(
    (status = 200, body = Upgrades),
))]
pub(super) async fn upgrade_all(State(registry): State<Registry>) -> Json<Upgrades> {
    // Of its own: a request that takes too long is given up, and half of the streams would stay behind.
    let all = tokio::spawn(upgrade_each(registry)).await;
    Json(all.expect("upgrading streams does not panic"))
}

async fn upgrade_each(registry: Registry) -> Upgrades {
    let mut streams = Vec::new();
    for status in registry.statuses() {
        if !status.upgrade_available {
            continue;
        }
        let stream_id = status.stream_id;
        let (upgrade, error) = match registry.upgrade(&stream_id).await {
            Ok(done) => (Some(done), None),
            Err(error) => (None, Some(error.to_string())),
        };
        streams.push(Upgrade {
            stream_id,
            upgrade,
            error,
        });
    }
    Upgrades { streams }
}
