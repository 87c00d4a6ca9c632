//! What the control socket answers when it does not do what was asked.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::command::{FormatChanged, NoLiveInput, NothingToSkip};
use crate::handover::upgrade::UpgradeError;

/// `{"error": {"code", "message"}}` with its status.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

#[derive(Serialize)]
struct Body<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    code: &'a str,
    message: &'a str,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl ToString) -> Self {
        Self {
            status,
            code,
            message: message.to_string(),
        }
    }

    /// Playout does not read commands any more.
    pub(super) fn ending() -> Self {
        let message = "the stream is being stopped";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", message)
    }

    pub(super) fn not_found() -> Self {
        let message = "no such path; see docs/design/control-protocol.md";
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "this path does not take that method; see docs/design/control-protocol.md";
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            message,
        )
    }
}

impl From<NothingToSkip> for ApiError {
    fn from(refusal: NothingToSkip) -> Self {
        Self::new(StatusCode::CONFLICT, "nothing_to_skip", refusal)
    }
}

impl From<NoLiveInput> for ApiError {
    fn from(refusal: NoLiveInput) -> Self {
        Self::new(StatusCode::CONFLICT, "no_live_input", refusal)
    }
}

impl From<FormatChanged> for ApiError {
    fn from(refusal: FormatChanged) -> Self {
        Self::new(StatusCode::CONFLICT, "format_changed", refusal)
    }
}

impl From<UpgradeError> for ApiError {
    fn from(refusal: UpgradeError) -> Self {
        let (status, code) = match refusal {
            UpgradeError::NotOnAir => (StatusCode::CONFLICT, "not_on_air"),
            UpgradeError::Busy => (StatusCode::CONFLICT, "upgrade_under_way"),
            UpgradeError::Refused { .. } => (StatusCode::BAD_GATEWAY, "upgrade_refused"),
            UpgradeError::Document(_) => (StatusCode::INTERNAL_SERVER_ERROR, "upgrade_impossible"),
        };
        Self::new(status, code, refusal)
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), "invalid_body", rejection.body_text())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Body {
            error: Inner {
                code: self.code,
                message: &self.message,
            },
        };
        (self.status, Json(body)).into_response()
    }
}
