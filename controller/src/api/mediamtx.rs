//! What MediaMTX calls: its hooks, and its question who may publish.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use storage::model::problems::Problem;
use utoipa::ToSchema;

use super::body::RequiredJson;
use super::error::{ApiError, ErrorBody};
use crate::ingest::Keys;
use crate::registry::Registry;
use crate::upstream::mediamtx::paths::PathName;
use crate::upstream::mediamtx::permit::{Permit, Question};
use crate::upstream::mediamtx::{Hint, MediaMtx};

/// What a hook sends.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "the query may hold a password, and neither source nor id decides anything: read to be known, and dropped"
)]
pub(super) struct HookEvent {
    /// `live/<stream>/in` or `live/<stream>/out`.
    path: String,
    /// Of the publisher's URL; never kept.
    #[serde(default)]
    query: Option<String>,
    /// As `rtmpConn`.
    #[serde(default)]
    source_type: Option<String>,
    /// MediaMTX's id of it.
    #[serde(default)]
    source_id: Option<String>,
}

/// The answer to a hook.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HookAnswer {
    /// It was noted; what follows is decided by what MediaMTX's API says.
    accepted: bool,
}

/// A feed has come
///
/// A hint: it may come twice, late or never.
#[utoipa::path(post, path = "/v1/mediamtx/events/ready", tag = "mediamtx",
    request_body(content = inline(HookEvent)), responses(
    (status = 202, body = HookAnswer),
    (status = 404, body = ErrorBody, description = "`unknown_stream`"),
    (status = 422, body = ErrorBody, description = "`invalid_path`, `invalid_body`"),
))]
pub(super) async fn feed_ready(
    State(registry): State<Registry>,
    State(mediamtx): State<MediaMtx>,
    RequiredJson(event): RequiredJson<HookEvent>,
) -> Result<Response, ApiError> {
    note(&registry, &mediamtx, &event, true)
}

/// A feed has gone
///
/// A hint, as `ready` is.
#[utoipa::path(post, path = "/v1/mediamtx/events/not-ready", tag = "mediamtx",
    request_body(content = inline(HookEvent)), responses(
    (status = 202, body = HookAnswer),
    (status = 404, body = ErrorBody, description = "`unknown_stream`"),
    (status = 422, body = ErrorBody, description = "`invalid_path`, `invalid_body`"),
))]
pub(super) async fn feed_not_ready(
    State(registry): State<Registry>,
    State(mediamtx): State<MediaMtx>,
    RequiredJson(event): RequiredJson<HookEvent>,
) -> Result<Response, ApiError> {
    note(&registry, &mediamtx, &event, false)
}

fn note(
    registry: &Registry,
    mediamtx: &MediaMtx,
    event: &HookEvent,
    ready: bool,
) -> Result<Response, ApiError> {
    let path: PathName = event.path.parse().map_err(|error| {
        let problem = Problem {
            path: "path".to_owned(),
            message: format!("{error}"),
        };
        ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_path",
            format!("{error}"),
        )
        .with_problems(vec![problem])
    })?;
    registry.status(&path.stream)?;
    mediamtx.hint(Hint { path, ready });
    Ok((StatusCode::ACCEPTED, Json(HookAnswer { accepted: true })).into_response())
}

/// May this be done at MediaMTX?
///
/// For `authMethod: http`. 204: yes. 401: no, or not without a key. Where CONTROLLER_API_TOKEN is set, MediaMTX
/// sends it as the password of `authHTTPAddress`: `http://mediamtx:TOKEN@127.0.0.1:8080/v1/mediamtx/auth`.
#[utoipa::path(post, path = "/v1/mediamtx/auth", tag = "mediamtx", request_body = Object, responses(
    (status = 204, description = "It may"),
    (status = 401, body = ErrorBody, description = "It may not"),
))]
pub(super) async fn permit(
    State(keys): State<Keys>,
    RequiredJson(question): RequiredJson<Question>,
) -> Response {
    let refused =
        |message: &str| ApiError::new(StatusCode::UNAUTHORIZED, "refused", message).into_response();
    match question.answer(&keys) {
        Permit::Granted => StatusCode::NO_CONTENT.into_response(),
        Permit::Denied => {
            tracing::warn!(
                ?question,
                error_type = "ingest_key_wrong",
                "refused at MediaMTX"
            );
            refused("this may not be done")
        }
        Permit::KeyNeeded => {
            if question.is_last_word() {
                tracing::warn!(
                    ?question,
                    error_type = "ingest_key_missing",
                    "refused at MediaMTX: no stream key was sent"
                );
            }
            let mut response = refused("send a stream key of POST /ingest/keys as the password");
            let challenge = HeaderValue::from_static("Basic realm=\"stream key\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
            response
        }
    }
}
