//! Keys of the built-in ingest: made, listed, revoked.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use storage::model::{IngestKey, StreamId};
use utoipa::ToSchema;

use super::body::RequiredJson;
use super::error::{ApiError, ErrorBody};
use crate::ingest::Keys;
use crate::ingest::keys::KeysError;
use crate::registry::Registry;

/// The live input every stream has when none is configured for the ingest.
const INPUT: &str = "ingest";
const MOST_NOTE_CHARS: usize = 200;

/// Whom a key is for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyRequest {
    /// The stream it publishes to; may be left out where there is one stream.
    stream_id: Option<StreamId>,
    /// The live input with `"ingest": true`; `ingest` when left out.
    input: Option<String>,
    /// Whose it is, in your words.
    note: Option<String>,
}

/// A key that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyMade {
    /// The stream key for the encoder. It is shown this once.
    key: String,
    /// What is kept of it.
    kept: KeyLine,
}

/// All keys.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyList {
    /// Oldest first.
    keys: Vec<KeyLine>,
}

/// A key, without the key.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyLine {
    /// Names it.
    id: String,
    /// The stream it publishes to.
    stream_id: StreamId,
    /// The live input of that stream.
    input: String,
    /// Whose it is.
    note: Option<String>,
    /// When it was made.
    created_at: Timestamp,
}

/// Make a stream key for an encoder
///
/// The key is in this answer and nowhere else.
#[utoipa::path(post, path = "/ingest/keys", tag = "ingest", request_body = KeyRequest, responses(
    (status = 201, body = KeyMade),
    (status = 404, body = ErrorBody, description = "`unknown_stream`"),
    (status = 409, body = ErrorBody, description = "`no_live_input`, `too_many_keys`"),
    (status = 422, body = ErrorBody, description = "`invalid_body`, `stream_not_named`"),
    (status = 507, body = ErrorBody, description = "`not_saved`"),
))]
pub(super) async fn make_key(
    State(registry): State<Registry>,
    State(keys): State<Keys>,
    RequiredJson(request): RequiredJson<KeyRequest>,
) -> Result<Response, ApiError> {
    let id = match request.stream_id {
        Some(id) => id,
        None => registry.only()?,
    };
    let config = registry.get_config(&id)?;
    let mut ingests = config.live_inputs.iter().filter(|input| input.ingest);
    let input = match (request.input, ingests.next()) {
        (None, None) => INPUT.to_owned(),
        (None, Some(first)) => first.name.clone(),
        (Some(name), None) if name == INPUT => name,
        (Some(name), Some(first)) if first.name == name || ingests.any(|i| i.name == name) => name,
        (Some(name), _) => {
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                "no_live_input",
                format!("stream {id} has no live input {name:?} with \"ingest\": true"),
            ));
        }
    };
    if request
        .note
        .as_ref()
        .is_some_and(|note| note.chars().count() > MOST_NOTE_CHARS)
    {
        return Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_body",
            format!("\"note\" may have {MOST_NOTE_CHARS} characters"),
        ));
    }
    let made = keys.make(id, input, request.note).await?;
    let answer = KeyMade {
        key: made.key.expose().to_owned(),
        kept: made.kept.into(),
    };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// List the stream keys
#[utoipa::path(get, path = "/ingest/keys", tag = "ingest", responses((status = 200, body = KeyList)))]
pub(super) async fn list_keys(State(keys): State<Keys>) -> Json<KeyList> {
    let keys = keys.list().iter().cloned().map(KeyLine::from).collect();
    Json(KeyList { keys })
}

/// Revoke a stream key
///
/// Whoever publishes with it is cut off.
#[utoipa::path(delete, path = "/ingest/keys/{id}", tag = "ingest", params(("id" = String, Path,)), responses(
    (status = 204, description = "Revoked"),
    (status = 404, body = ErrorBody, description = "`unknown_key`"),
    (status = 507, body = ErrorBody, description = "`not_saved`"),
))]
pub(super) async fn revoke_key(
    State(registry): State<Registry>,
    State(keys): State<Keys>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let revoked = keys.revoke(&id).await?;
    // A stream that is not running has no publishers.
    drop(
        registry
            .end_publisher(&revoked.stream_id, &revoked.id)
            .await,
    );
    Ok(StatusCode::NO_CONTENT)
}

impl From<IngestKey> for KeyLine {
    fn from(kept: IngestKey) -> Self {
        Self {
            id: kept.id,
            stream_id: kept.stream_id,
            input: kept.input,
            note: kept.note,
            created_at: kept.created_at,
        }
    }
}

impl From<KeysError> for ApiError {
    fn from(error: KeysError) -> Self {
        let (status, code) = match &error {
            KeysError::Unknown(_) => (StatusCode::NOT_FOUND, "unknown_key"),
            KeysError::TooMany => (StatusCode::CONFLICT, "too_many_keys"),
            KeysError::NotSaved(_) => (StatusCode::INSUFFICIENT_STORAGE, "not_saved"),
            KeysError::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down"),
        };
        Self::new(status, code, error.to_string())
    }
}
