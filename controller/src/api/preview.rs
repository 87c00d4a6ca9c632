//! The preview: HLS files that a worker writes while someone watches.

use std::io;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use storage::layout::Layout;
use storage::model::{ObservedState, StreamId};
use tokio_util::io::ReaderStream;

use super::body::stream_id;
use super::error::{ApiError, ErrorBody};
use crate::registry::Registry;

/// What may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Playlist,
    Segment,
}

/// The preview's playlist and segments (HLS)
///
/// `index.m3u8` is the playlist. Asking for it starts the preview and keeps it for a minute; until its
/// first segment is there the answer is 404 `preview_starting` with `Retry-After`.
#[utoipa::path(get, path = "/preview/{id}/{file}", operation_id = "preview_file", tag = "preview",
    params(("id" = StreamId, Path,), ("file" = String, Path, description = "`index.m3u8`, or a segment that it names")),
    responses(
        (status = 200, description = "The file", content(
            (String = "application/vnd.apple.mpegurl"), (Vec<u8> = "video/mp2t"))),
        (status = 404, body = ErrorBody, description = "`preview_starting`, `not_running`, `unknown_stream`, `not_found`"),
))]
pub(super) async fn file(
    State(registry): State<Registry>,
    State(layout): State<Layout>,
    Path((id, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let id = stream_id(&id)?;
    let kind = kind(&name).ok_or_else(|| ApiError::of_status(StatusCode::NOT_FOUND))?;
    if kind == Kind::Playlist {
        touch(&registry, &id).await?;
    }
    let path = layout.preview_dir(&id).join(&name);
    match tokio::fs::File::open(&path).await {
        Ok(file) => Ok(answer(kind, file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && kind == Kind::Playlist => {
            Err(starting())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(ApiError::of_status(StatusCode::NOT_FOUND))
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot read the preview");
            Err(ApiError::of_status(StatusCode::INTERNAL_SERVER_ERROR))
        }
    }
}

/// A worker that is only just starting takes no calls yet: the viewer is to come back, that is all.
async fn touch(registry: &Registry, id: &StreamId) -> Result<(), ApiError> {
    match registry.preview_touch(id).await {
        Ok(()) => Ok(()),
        Err(_) if registry.status(id)?.state == ObservedState::Starting => Err(starting()),
        Err(error) => Err(error.into()),
    }
}

fn starting() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "preview_starting",
        "the preview is being started; ask again in a second",
    )
    .retry_after(1)
}

/// Plain names only, so nothing leads out of the directory.
fn kind(name: &str) -> Option<Kind> {
    let (stem, extension) = name.rsplit_once('.')?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if stem.is_empty() || !stem.bytes().all(plain) {
        return None;
    }
    match extension {
        "m3u8" => Some(Kind::Playlist),
        "ts" => Some(Kind::Segment),
        _ => None,
    }
}

fn answer(kind: Kind, file: tokio::fs::File) -> Response {
    let (content_type, cache) = match kind {
        Kind::Playlist => ("application/vnd.apple.mpegurl", "no-store"),
        // A name is used again by the next worker, so not for long.
        Kind::Segment => ("video/mp2t", "no-store"),
    };
    let mut response = Body::from_stream(ReaderStream::new(file)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_playlists_and_segments_have_a_kind() {
        assert_eq!(kind("index.m3u8"), Some(Kind::Playlist));
        assert_eq!(kind("seg_00012-3.ts"), Some(Kind::Segment));
        for bad in [
            "",
            ".m3u8",
            "..m3u8",
            "../index.m3u8",
            "a/b.ts",
            "a\\b.ts",
            "index.m3u8.tmp",
            "key",
            "a\0.ts",
            "..",
            "%2e%2e.ts",
            "ä.ts",
        ] {
            assert_eq!(kind(bad), None, "{bad:?}");
        }
    }
}
