//! What surrounds every request: its id, its log line, its time limit, and the body of a refusal.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::{Instrument, Level};

use super::error::ApiError;

/// Accepted from the client, made otherwise; in every answer.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// For everything but bodies that stream: a stop may take 10 s, and a worker 5 s to answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Middleware: outermost, so that whatever happens below is logged and shaped.
pub(super) async fn envelope(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let method = request.method().clone();
    // Never the query: it may hold a signature of the media addresses.
    let path = request.uri().path().to_owned();
    let span = tracing::info_span!("request", request_id = %id, %method, %path);
    let began = Instant::now();
    async move {
        let answer = next.run(request).await;
        let error = answer.extensions().get::<ApiError>().cloned();
        let response = shaped(answer, &id);
        log(&method, &response, error.as_ref(), began.elapsed());
        response
    }
    .instrument(span)
    .await
}

/// Middleware: gives a handler up that takes too long. Bodies stream on, they are not waited for.
pub(super) async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::of_status(StatusCode::GATEWAY_TIMEOUT).into_response(),
    }
}

/// `[A-Za-z0-9-]{1,64}` is taken as given: anything else could break a log line or a header.
fn request_id(headers: &HeaderMap) -> String {
    let usable = |text: &&str| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(usable)
        .map_or_else(new_id, str::to_owned)
}

fn new_id() -> String {
    let mut bytes = [0_u8; 8];
    getrandom::fill(&mut bytes).expect("the kernel's random source does not fail once booted");
    format!("{:016x}", u64::from_ne_bytes(bytes))
}

/// Adds the id, and gives a refusal its body.
fn shaped(mut response: Response, id: &str) -> Response {
    let status = response.status();
    let error = response.extensions_mut().remove::<ApiError>();
    let plain = !response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let error = error.or_else(|| {
        let refused = status.is_client_error() || status.is_server_error();
        (refused && plain).then(|| ApiError::of_status(status))
    });
    if let Some(error) = error {
        let (mut head, _) = response.into_parts();
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.remove(header::CONTENT_TYPE);
        response = (error.status(), Json(error.into_body(id))).into_response();
        response.headers_mut().extend(head.headers);
    }
    let id = HeaderValue::from_str(id).expect("an id is letters, digits and hyphens");
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// What changes something is worth a line; what is polled all day is not.
fn log(method: &Method, response: &Response, error: Option<&ApiError>, took: Duration) {
    let (status, code) = (response.status().as_u16(), error.map(ApiError::code));
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if response.status().is_server_error() {
        tracing::event!(Level::WARN, status, code, took_ms, "request failed");
    } else if method.is_safe() {
        tracing::event!(Level::DEBUG, status, code, took_ms, "request served");
    } else {
        tracing::event!(Level::INFO, status, code, took_ms, "request served");
    }
}
