//! The other end of a folder's signed addresses, for the controller's own HTTP server.

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::LocalStore;
use crate::atomic::DiskFault;
use crate::media::sign::{Access, LOCAL_MEDIA_PATH, Refused};
use crate::media::{MediaError, MediaErrorKind};

#[derive(Debug, Clone)]
struct Shared {
    store: LocalStore,
    max_upload_bytes: u64,
}

/// Answers `GET`, `HEAD` (with ranges) and `PUT` at `/local-media/{key}` for whoever brings an address
/// the store has signed. Without [`LocalStore::served_at`] it refuses everything.
pub fn router(store: LocalStore, max_upload_bytes: u64) -> Router {
    // No body limit of axum's: an upload is counted while it is written.
    Router::new()
        .route(
            &format!("{LOCAL_MEDIA_PATH}/{{*key}}"),
            get(read).put(write),
        )
        .with_state(Shared {
            store,
            max_upload_bytes,
        })
}

#[derive(Debug, Deserialize)]
struct Signature {
    expires: i64,
    signature: String,
}

type SignatureQuery = Result<Query<Signature>, QueryRejection>;

async fn read(
    State(shared): State<Shared>,
    Path(key): Path<String>,
    signature: SignatureQuery,
    request: Request<Body>,
) -> Result<Response, Failure> {
    shared.admit(Access::Read, &key, signature)?;
    Ok(shared.store.serve(&key, request).await?)
}

async fn write(
    State(shared): State<Shared>,
    Path(key): Path<String>,
    signature: SignatureQuery,
    request: Request<Body>,
) -> Result<Response, Failure> {
    shared.admit(Access::Write, &key, signature)?;
    let limit = shared.max_upload_bytes;
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(Failure::TooLarge { limit });
    }
    let mut incoming = shared.store.receive(&key).await?;
    let mut received = 0;
    let mut body = request.into_body().into_data_stream();
    while let Some(chunk) = body.next().await {
        // The sender went away or broke the protocol; what has come is dropped.
        let chunk = chunk.map_err(|_| Failure::Interrupted)?;
        received += chunk.len() as u64;
        if received > limit {
            return Err(Failure::TooLarge { limit });
        }
        incoming.write(&chunk).await?;
    }
    incoming.commit().await?;
    tracing::info!(key, bytes = received, "uploaded");
    Ok(StatusCode::OK.into_response())
}

impl Shared {
    fn admit(&self, access: Access, key: &str, query: SignatureQuery) -> Result<(), Failure> {
        let refused = Failure::Refused(Refused::BadSignature);
        let Some(served) = &self.store.served else {
            return Err(refused);
        };
        let Ok(Query(query)) = query else {
            return Err(refused);
        };
        let now = Timestamp::now();
        served
            .signer
            .check(access, key, query.expires, &query.signature, now)
            .map_err(Failure::Refused)
    }
}

enum Failure {
    Refused(Refused),
    TooLarge { limit: u64 },
    Interrupted,
    Media(MediaError),
}

impl From<MediaError> for Failure {
    fn from(error: MediaError) -> Self {
        Self::Media(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, code, message) = match self {
            Self::Refused(why @ Refused::Expired) => {
                (StatusCode::FORBIDDEN, "url_expired", why.to_string())
            }
            Self::Refused(why @ Refused::BadSignature) => {
                (StatusCode::FORBIDDEN, "bad_signature", why.to_string())
            }
            Self::TooLarge { limit } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                format!("an upload may have {limit} bytes at most"),
            ),
            Self::Interrupted => (
                StatusCode::BAD_REQUEST,
                "upload_interrupted",
                "the upload ended before its end; nothing was stored".to_owned(),
            ),
            Self::Media(error) => (status_of(error.kind), error.error_type(), error.to_string()),
        };
        let body = json!({"error": {"code": code, "message": message}});
        (status, axum::Json(body)).into_response()
    }
}

fn status_of(kind: MediaErrorKind) -> StatusCode {
    match kind {
        MediaErrorKind::NoSuchBucket | MediaErrorKind::NoSuchKey => StatusCode::NOT_FOUND,
        MediaErrorKind::InvalidKey(_) => StatusCode::UNPROCESSABLE_ENTITY,
        MediaErrorKind::InTheWay => StatusCode::CONFLICT,
        MediaErrorKind::Disk(DiskFault::Full) => StatusCode::INSUFFICIENT_STORAGE,
        MediaErrorKind::Disk(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
