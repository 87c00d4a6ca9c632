//! The page for people, built into the program: no file to install, nothing fetched from elsewhere.

use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};

use super::error::{ApiError, ErrorBody};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Only this server's own files; `blob:` is how hls.js feeds the player and its worker.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; media-src 'self' blob:; worker-src 'self' blob:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page
#[utoipa::path(get, path = "/", operation_id = "page", tag = "page", security(()), responses(
    (status = 200, content_type = "text/html", body = String),
))]
pub(super) async fn index() -> Response {
    answer(HTML, "no-cache", include_str!("../page/index.html"))
}

/// The page's own files
#[utoipa::path(get, path = "/page/{file}", operation_id = "page_file", tag = "page", security(()), params(("file" = String, Path,)), responses(
    (status = 200, description = "The file", content((String = "text/javascript"), (String = "text/css"))),
    (status = 404, body = ErrorBody),
))]
pub(super) async fn file(Path(name): Path<String>) -> Result<Response, ApiError> {
    Ok(match name.as_str() {
        "app.js" => answer(JAVASCRIPT, "no-cache", include_str!("../page/app.js")),
        "live.js" => answer(JAVASCRIPT, "no-cache", include_str!("../page/live.js")),
        "player.js" => answer(JAVASCRIPT, "no-cache", include_str!("../page/player.js")),
        "record.js" => answer(JAVASCRIPT, "no-cache", include_str!("../page/record.js")),
        "style.css" => answer(CSS, "no-cache", include_str!("../page/style.css")),
        "hls.light.min.js" => {
            let text = include_str!("../page/vendor/hls.light.min.js");
            answer(JAVASCRIPT, "max-age=86400", text)
        }
        "hls.js-LICENSE.txt" => {
            let text = include_str!("../page/vendor/hls.js-LICENSE.txt");
            answer(TEXT, "max-age=86400", text)
        }
        _ => return Err(ApiError::of_status(StatusCode::NOT_FOUND)),
    })
}

fn answer(kind: &'static str, cache: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, &str); 5] = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, cache),
        (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, text).into_response()
}
