//! `GET /openapi.json`: made from the same list of routes that is served, see [`super::router`].

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, Ref, RefOr, Response};
use utoipa::{Modify, OpenApi};

/// What stands above the routes.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "stream-controller",
        description = "Keeps streams on air. Every refusal has the shape `ErrorBody`; every answer has an `X-Request-Id`.",
    ),
    tags(
        (name = "streams", description = "State of the streams, and what can be done with them"),
        (name = "configuration", description = "What each stream is to be"),
        (name = "media", description = "What can be played"),
        (name = "preview", description = "The picture, while someone watches"),
        (name = "health", description = "The controller itself"),
        (name = "page", description = "The page for people"),
    ),
    // Named only by a parameter, which is not followed.
    components(schemas(crate::history::report::Metric)),
    security((), ("token" = [])),
    modifiers(&Token),
)]
struct Head;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut Document) {
        let bearer = Http::builder()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "Needed when CONTROLLER_API_TOKEN is set, by everything but /health/live and the page's own files.",
            ))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// The document without routes: the router adds each as it is mounted.
pub(super) fn head() -> Document {
    Head::openapi()
}

/// Adds what is the same for all: a plain description where none was written, and the answer to a
/// call without a token. The open routes say `security(())`.
pub(super) fn complete(document: &mut Document) {
    let refused = Response::builder()
        .description("`unauthorized`: the token is missing or wrong")
        .content(
            "application/json",
            Content::new(Some(Ref::from_schema_name("ErrorBody"))),
        )
        .build();
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            let responses = &mut operation.responses.responses;
            if operation.security.is_none() {
                responses.insert("401".to_owned(), refused.clone().into());
            }
            for (status, response) in responses {
                describe(status, response);
            }
        }
    }
}

fn describe(status: &str, response: &mut RefOr<Response>) {
    let reason = status
        .parse::<StatusCode>()
        .ok()
        .and_then(|status| status.canonical_reason());
    if let (RefOr::T(response), Some(reason)) = (response, reason)
        && response.description.is_empty()
    {
        response.description = reason.to_owned();
    }
}

/// The document as it is sent.
#[derive(Debug, Clone)]
pub(super) struct Rendered(Bytes);

impl Rendered {
    pub(super) fn of(document: &Document) -> Self {
        let json = document
            .to_json()
            .expect("a document is texts and numbers, which JSON can hold");
        Self(json.into())
    }
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "health", responses(
    (status = 200, description = "OpenAPI 3.1", content_type = "application/json"),
))]
pub(super) async fn openapi(State(Rendered(json)): State<Rendered>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], json)
}
