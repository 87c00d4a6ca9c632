//! Reading request bodies and paths, so that every mistake gets the API's own shape.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use storage::model::StreamId;
use storage::model::id::InvalidStreamId;
use storage::model::problems::Problem;

use super::error::ApiError;

/// A JSON body; `None` when the body is empty.
pub(super) struct OptionalJson<T>(pub(super) Option<T>);

/// A JSON body.
pub(super) struct RequiredJson<T>(pub(super) T);

/// The text of a JSON body, for a reader that finds every mistake by itself.
pub(super) struct JsonText(pub(super) Bytes);

/// The stream that the path names.
pub(super) struct IdPath(pub(super) StreamId);

/// The query, as `T`.
pub(super) struct QueryOf<T>(pub(super) T);

// === impl OptionalJson, RequiredJson, JsonText ===

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let text = text(request, state).await?;
        text.map(|text| parse(&text)).transpose().map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for RequiredJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let JsonText(text) = JsonText::from_request(request, state).await?;
        parse(&text).map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for JsonText {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        text(request, state).await?.map(Self).ok_or_else(|| {
            ApiError::new(StatusCode::BAD_REQUEST, "no_body", "a JSON body is needed")
        })
    }
}

/// A body must say that it is JSON: a form of a foreign page cannot.
async fn text<S: Send + Sync>(request: Request, state: &S) -> Result<Option<Bytes>, ApiError> {
    let is_json = is_json(request.headers());
    let bytes = Bytes::from_request(request, state)
        .await
        .map_err(|rejection| ApiError::of_status(rejection.status()))?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if is_json {
        return Ok(Some(bytes));
    }
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "not_json",
        "send the body with \"Content-Type: application/json\"",
    ))
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        if error.is_data() {
            invalid_body(error.to_string())
        } else {
            let message = format!("the body is not JSON: {error}");
            ApiError::new(StatusCode::BAD_REQUEST, "malformed_json", message)
        }
    })
}

fn invalid_body(message: String) -> ApiError {
    let problem = Problem {
        path: String::new(),
        message: message.clone(),
    };
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", message)
        .with_problems(vec![problem])
}

// === impl IdPath ===

impl<S: Send + Sync> FromRequestParts<S> for IdPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| ApiError::of_status(rejection.status()))?;
        stream_id(&text).map(Self)
    }
}

/// A stream id out of a path or query.
pub(super) fn stream_id(text: &str) -> Result<StreamId, ApiError> {
    text.parse().map_err(|error: InvalidStreamId| {
        let problem = Problem {
            path: "stream_id".to_owned(),
            message: error.to_string(),
        };
        ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_stream_id",
            error.to_string(),
        )
        .with_problems(vec![problem])
    })
}

// === impl QueryOf ===

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryOf<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "invalid_query",
                rejection.body_text(),
            )),
        }
    }
}
