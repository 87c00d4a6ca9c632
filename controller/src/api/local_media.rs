//! `/local-media`: the other end of a local folder's signed addresses, in this API's manners.

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use storage::media::{MediaStore, local};

use super::error::ApiError;

const UPLOAD_LIMIT_BYTES: u64 = 64 << 30;
/// A refusal is one sentence.
const REFUSAL_LIMIT_BYTES: usize = 16 * 1024;

/// What storage's router says when it refuses.
#[derive(Deserialize)]
struct Refusal {
    error: Detail,
}

#[derive(Deserialize)]
struct Detail {
    code: String,
    message: String,
}

/// Nothing for a bucket: its addresses lead to the bucket itself.
pub(super) fn router(store: &MediaStore) -> Router {
    match store {
        MediaStore::Local(store) => {
            local::router(store.clone(), UPLOAD_LIMIT_BYTES).layer(from_fn(translate))
        }
        MediaStore::S3(_) => Router::new(),
    }
}

/// Gives refusals the shape that all others have.
async fn translate(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let (head, body) = response.into_parts();
    let refusal = to_bytes(body, REFUSAL_LIMIT_BYTES)
        .await
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Refusal>(&bytes).ok());
    let error = match refusal {
        Some(Refusal { error }) => ApiError::new(status, error.code, error.message),
        None => ApiError::of_status(status),
    };
    let mut response = error.into_response();
    // `Allow` and `Content-Range` say what would be right.
    for (name, value) in &head.headers {
        if name != "content-type" && name != "content-length" {
            response.headers_mut().insert(name.clone(), value.clone());
        }
    }
    response
}
