//! The control socket: status, events and commands over HTTP on a unix socket.
//!
//! Handlers parse, pass on to playout and translate its answer; they own nothing. The contract is
//! `docs/design/control-protocol.md`.
//!
//! | call | handler |
//! | --- | --- |
//! | `GET /v1/status` | [`status`] |
//! | `GET /v1/events` | [`events()`] |
//! | `GET /v1/logs` | [`last_logs`] |
//! | `POST /v1/skip` | [`skip`] |
//! | `POST /v1/source` | [`source`] |
//! | `POST /v1/live/{input}/look` | [`look`] |
//! | `DELETE /v1/ingest/{key_id}` | [`end_publisher`] |
//! | `POST /v1/preview` | [`preview`] |
//! | `PUT /v1/config` | [`configure`] |
//! | `POST /v1/upgrade` | [`upgrade`] |
//! | `POST /v1/stop` | [`stop`] |

pub mod command;
mod error;
mod events;
pub mod socket;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Json, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use serde::{Deserialize, Serialize};
use storage::model::{StreamConfig, WorkerReport};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::wish::Contact;

pub use command::{Command, ControlPort, FormatChanged, NoLiveInput, NothingToSkip, Take};
use error::ApiError;
use events::events;
use socket::Door;
pub use socket::{ControlSocket, SocketError};

use crate::logging::LogRing;

/// Lines answered when none are asked for.
const LOG_LINES: usize = 200;

/// What every handler has.
#[derive(Debug, Clone)]
struct Control {
    port: ControlPort,
    logs: LogRing,
    end: CancellationToken,
}

/// Answers on `socket` until `end` is cancelled and what was being answered is. Each request is
/// noted as a `contact`.
pub async fn serve(
    socket: Arc<ControlSocket>,
    port: ControlPort,
    logs: LogRing,
    contact: Contact,
    end: CancellationToken,
) {
    let control = Arc::new(Control {
        port,
        logs,
        end: end.clone(),
    });
    let router = router(control).layer(from_fn_with_state(contact, note_contact));
    let served = async {
        let door = Door::of(socket)?;
        // A `Router` by itself is copied, with every route, for each connection.
        axum::serve(door, router.into_make_service())
            .with_graceful_shutdown(end.cancelled_owned())
            .await
    };
    if let Err(error) = served.await {
        tracing::error!(%error, "the control socket failed: the stream goes on without it");
    }
}

fn router(control: Arc<Control>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/events", get(events))
        .route("/v1/logs", get(last_logs))
        .route("/v1/skip", post(skip))
        .route("/v1/source", post(source))
        .route("/v1/live/{input}/look", post(look))
        .route("/v1/ingest/{key_id}", delete(end_publisher))
        .route("/v1/preview", post(preview))
        .route("/v1/config", put(configure))
        .route("/v1/upgrade", post(upgrade))
        .route("/v1/stop", post(stop))
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .with_state(control)
}

async fn note_contact(State(contact): State<Contact>, request: Request, next: Next) -> Response {
    contact.note();
    next.run(request).await
}

async fn status(State(control): State<Arc<Control>>) -> Json<WorkerReport> {
    Json(control.port.report.borrow().clone())
}

#[derive(Debug, Deserialize)]
struct LogQuery {
    lines: Option<usize>,
}

#[derive(Debug, Serialize)]
struct LogLines {
    lines: Vec<String>,
}

async fn last_logs(
    State(control): State<Arc<Control>>,
    Query(query): Query<LogQuery>,
) -> Json<LogLines> {
    let lines = control.logs.last(query.lines.unwrap_or(LOG_LINES));
    Json(LogLines { lines })
}

async fn skip(State(control): State<Arc<Control>>) -> Result<StatusCode, ApiError> {
    let (reply, answer) = oneshot::channel();
    control.send(Command::Skip(reply)).await?;
    answer.await.map_err(|_| ApiError::ending())??;
    Ok(StatusCode::ACCEPTED)
}

async fn source(
    State(control): State<Arc<Control>>,
    body: Result<Json<Take>, JsonRejection>,
) -> Result<StatusCode, ApiError> {
    let Json(take) = body?;
    let (reply, answer) = oneshot::channel();
    control.send(Command::Take(take, reply)).await?;
    answer.await.map_err(|_| ApiError::ending())??;
    Ok(StatusCode::ACCEPTED)
}

async fn look(
    State(control): State<Arc<Control>>,
    Path(input): Path<String>,
) -> Result<StatusCode, ApiError> {
    let (reply, answer) = oneshot::channel();
    control.send(Command::Look(input, reply)).await?;
    answer.await.map_err(|_| ApiError::ending())??;
    Ok(StatusCode::ACCEPTED)
}

async fn end_publisher(
    State(control): State<Arc<Control>>,
    Path(key_id): Path<String>,
) -> Result<StatusCode, ApiError> {
    control.send(Command::EndPublisher(key_id)).await
}

async fn preview(State(control): State<Arc<Control>>) -> Result<StatusCode, ApiError> {
    control.send(Command::Preview).await
}

async fn configure(
    State(control): State<Arc<Control>>,
    body: Result<Json<StreamConfig>, JsonRejection>,
) -> Result<StatusCode, ApiError> {
    let Json(config) = body?;
    let (reply, answer) = oneshot::channel();
    let command = Command::Reconfigure(Box::new(config), reply);
    control.send(command).await?;
    answer.await.map_err(|_| ApiError::ending())??;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Debug, Deserialize)]
struct Upgrade {
    /// Path of the program.
    program: PathBuf,
}

async fn upgrade(
    State(control): State<Arc<Control>>,
    body: Result<Json<Upgrade>, JsonRejection>,
) -> Result<StatusCode, ApiError> {
    let Json(Upgrade { program }) = body?;
    control.port.upgrader.upgrade(&program).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn stop(State(control): State<Arc<Control>>) -> Result<StatusCode, ApiError> {
    control.send(Command::Stop).await
}

impl Control {
    async fn send(&self, command: Command) -> Result<StatusCode, ApiError> {
        let sent = self.port.commands.send(command).await;
        sent.map_err(|_| ApiError::ending())?;
        Ok(StatusCode::ACCEPTED)
    }
}

#[cfg(test)]
mod tests;
