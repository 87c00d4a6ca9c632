//! Whether the controller serves, and whether it is ready.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::error::ApiError;
use super::error::ErrorBody;
use super::streams::StreamLine;
use crate::history::History;
use crate::registry::Registry;
use crate::upstream::mediamtx::{MediaMtx, MediaMtxStatus};
use crate::upstream::obs::ObsStatus;

/// When this process began to serve.
#[derive(Debug, Clone, Copy)]
pub(super) struct Started(pub(super) Instant);

/// The controller, and one line for each stream.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    status: ControllerStatus,
    /// What keeps it from being `ok`.
    problem: Option<String>,
    #[schema(example = "0.1.0")]
    version: &'static str,
    uptime_s: u64,
    streams: Vec<StreamLine>,
    /// MediaMTX, where its API is watched.
    mediamtx: Option<MediaMtxStatus>,
    /// OBS, where there is one.
    obs: Option<ObsStatus>,
}

/// How the controller itself is; a stream's trouble is told in its own line.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ControllerStatus {
    /// All is well.
    Ok,
    /// It serves, but cannot save its state.
    Degraded,
    /// It is still looking for the workers it left running.
    Recovering,
}

/// Answer of a probe.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Probe {
    #[schema(example = "ok")]
    status: &'static str,
}

/// The controller's own health, and each stream in one line
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, body = Health)))]
pub(super) async fn health(
    State(registry): State<Registry>,
    State(history): State<History>,
    State(Started(since)): State<Started>,
    State(mediamtx): State<MediaMtx>,
    State(obs): State<Option<watch::Receiver<ObsStatus>>>,
) -> Json<Health> {
    let problem = registry.storage_fault().or_else(|| history.fault());
    let status = match &problem {
        Some(_) => ControllerStatus::Degraded,
        None if !registry.is_recovered() => ControllerStatus::Recovering,
        None => ControllerStatus::Ok,
    };
    Json(Health {
        status,
        problem,
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: since.elapsed().as_secs(),
        streams: StreamLine::all(&registry),
        mediamtx: mediamtx.status(),
        obs: obs.map(|obs| obs.borrow().clone()),
    })
}

/// The process answers
///
/// Open without a token.
#[utoipa::path(get, path = "/health/live", tag = "health", security(()), responses((status = 200, body = Probe)))]
pub(super) async fn live() -> Json<Probe> {
    Json(Probe { status: "ok" })
}

/// Every stream has been looked after since the controller started
#[utoipa::path(get, path = "/health/ready", tag = "health", responses(
    (status = 200, body = Probe),
    (status = 503, body = ErrorBody, description = "`recovering`"),
))]
pub(super) async fn ready(State(registry): State<Registry>) -> Response {
    if registry.is_recovered() {
        return Json(Probe { status: "ok" }).into_response();
    }
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "recovering",
        "the controller is still looking for the workers it left running",
    )
    .retry_after(1)
    .into_response()
}
