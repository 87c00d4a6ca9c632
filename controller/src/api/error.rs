//! Every refusal of the API: one shape, and the one place where an error becomes a status code.
//!
//! A handler returns [`ApiError`]; it travels as an extension of an otherwise empty response up to
//! [`super::envelope`], which knows the request's id and writes the body. So the id cannot be
//! forgotten, and answers that axum makes by itself get the same shape.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use storage::media::{MediaError, MediaErrorKind};
use storage::model::problems::Problem;
use utoipa::ToSchema;

use crate::stream::RequestError;

/// A refusal on its way to the client.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: Cow<'static, str>,
    message: String,
    problems: Vec<Problem>,
    retry_after_s: Option<u32>,
}

/// The body of every answer above 399.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    error: ErrorDetail,
}

/// What was refused and why.
#[derive(Debug, Serialize, ToSchema)]
struct ErrorDetail {
    /// Stable, snake case (`already_running`, `not_found`, `invalid_config`).
    #[schema(example = "already_running")]
    code: Cow<'static, str>,
    /// For the operator: what happened, to what, and what to do.
    message: String,
    /// The answer's `X-Request-Id`; log lines of this request carry it too.
    request_id: String,
    /// Every single mistake, where there can be several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<ProblemDetail>,
}

/// One mistake in what was sent.
#[derive(Debug, Serialize, ToSchema)]
struct ProblemDetail {
    /// Where: `destinations[1].url`; empty for the body as a whole.
    #[schema(example = "destinations[0].url")]
    path: String,
    /// What is wrong there, and what would be right.
    message: String,
}

// === impl ApiError ===

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            problems: Vec::new(),
            retry_after_s: None,
        }
    }

    pub(crate) fn with_problems(mut self, problems: Vec<Problem>) -> Self {
        self.problems = problems;
        self
    }

    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// What the router says when a handler was never reached.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let (code, message) = match status {
            StatusCode::NOT_FOUND => (
                "not_found",
                "there is nothing here; GET /openapi.json lists what there is",
            ),
            StatusCode::METHOD_NOT_ALLOWED => (
                "method_not_allowed",
                "this path does not take that method; see the Allow header",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "the body is larger than 256 KiB"),
            StatusCode::BAD_REQUEST => ("bad_request", "the request cannot be read"),
            StatusCode::GATEWAY_TIMEOUT => (
                "timeout",
                "the request took too long and was given up; its effect is unknown, look at the status",
            ),
            status if status.is_server_error() => (
                "internal",
                "the controller failed; its log has this request id",
            ),
            _ => ("refused", "the request was refused"),
        };
        Self::new(status, code, message)
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn code(&self) -> &str {
        &self.code
    }

    /// The body for the request of this id.
    pub(super) fn into_body(self, request_id: &str) -> ErrorBody {
        ErrorBody {
            error: ErrorDetail {
                code: self.code,
                message: self.message,
                request_id: request_id.to_owned(),
                problems: self
                    .problems
                    .into_iter()
                    .map(|Problem { path, message }| ProblemDetail { path, message })
                    .collect(),
            },
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(seconds) = self.retry_after_s {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        let message = error.to_string();
        let new = |status, code: &'static str| Self::new(status, code, message);
        match error {
            RequestError::UnknownStream(_) => new(StatusCode::NOT_FOUND, "unknown_stream"),
            RequestError::StreamNotNamed(0) => Self::new(
                StatusCode::NOT_FOUND,
                "unknown_stream",
                "there is no stream yet: create one with PUT /streams/{id}",
            ),
            RequestError::StreamNotNamed(_) => {
                new(StatusCode::UNPROCESSABLE_ENTITY, "stream_not_named")
            }
            RequestError::AlreadyRunning(_) => new(StatusCode::CONFLICT, "already_running"),
            RequestError::Stopping(_) => new(StatusCode::CONFLICT, "stopping").retry_after(2),
            RequestError::Starting(_) => new(StatusCode::CONFLICT, "starting").retry_after(1),
            RequestError::NotRunning(_) => new(StatusCode::NOT_FOUND, "not_running"),
            RequestError::NoLiveInput { .. } => new(StatusCode::CONFLICT, "no_live_input"),
            RequestError::NothingToSkip(_) => new(StatusCode::CONFLICT, "nothing_to_skip"),
            RequestError::StillRunning(_) => new(StatusCode::CONFLICT, "still_running"),
            RequestError::Superseded(_) => {
                new(StatusCode::CONFLICT, "changed_meanwhile").retry_after(1)
            }
            RequestError::Invalid(problems) => {
                new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_config").with_problems(problems)
            }
            RequestError::WorkerUnavailable { .. } => {
                new(StatusCode::BAD_GATEWAY, "worker_unavailable").retry_after(1)
            }
            RequestError::NotUpgraded { later: true, .. } => {
                new(StatusCode::CONFLICT, "upgrade_not_now").retry_after(1)
            }
            RequestError::NotUpgraded { .. } => new(StatusCode::BAD_GATEWAY, "upgrade_refused"),
            RequestError::NotSaved {
                disk_full: true, ..
            } => new(StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
            RequestError::NotSaved { .. } => {
                new(StatusCode::SERVICE_UNAVAILABLE, "not_saved").retry_after(10)
            }
            RequestError::ShuttingDown => {
                new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down").retry_after(5)
            }
        }
    }
}

impl From<MediaError> for ApiError {
    fn from(error: MediaError) -> Self {
        let status = match error.kind {
            MediaErrorKind::InvalidKey(_) | MediaErrorKind::TooLarge => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            MediaErrorKind::NoSuchKey => StatusCode::NOT_FOUND,
            MediaErrorKind::InTheWay => StatusCode::CONFLICT,
            MediaErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        let message = format!("{error}; {}", error.hint());
        Self::new(status, error.error_type(), message)
    }
}
