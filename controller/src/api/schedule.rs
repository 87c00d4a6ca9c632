//! The schedule: what will air, as JSON and as XMLTV, and lists brought in from elsewhere.

mod import;
mod outlook;
mod xmltv;

use std::collections::BTreeSet;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use programme::rehearse::Rehearsal;
use serde::{Deserialize, Serialize};
use storage::layout::Layout;
use storage::media::{MediaObject, MediaStore};
use storage::model::{StreamConfig, StreamId};
use utoipa::{IntoParams, ToSchema};

use self::outlook::{list_prefixes, rehearsed, time_zone};
use super::body::{IdPath, QueryOf};
use super::error::{ApiError, ErrorBody};
use super::media::Prober;
use crate::registry::Registry;
use crate::stream::RequestError;

const MAX_ROWS: usize = 10_000;
/// Each time somebody else was quicker.
const IMPORT_TRIES: u32 = 32;

/// Which time.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WindowQuery {
    /// RFC 3339; by default, and at the earliest, now.
    from: Option<Timestamp>,
    /// RFC 3339; at most 31 days after `from`; by default one day after it.
    to: Option<Timestamp>,
    /// At most so many items (10 to 10000; by default 1000).
    limit: Option<usize>,
}

/// What will air.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ScheduleAnswer {
    stream_id: StreamId,
    /// IANA name; `null` without a schedule.
    timezone: Option<String>,
    from: Timestamp,
    to: Timestamp,
    /// Objects still being looked into: times are more exact when asked again.
    pending: usize,
    #[serde(flatten)]
    rehearsal: Rehearsal,
}

/// What is brought in, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ImportQuery {
    /// `json`: the playlist of a day; `m3u` or `text`: the items of a block.
    #[param(inline)]
    format: import::Format,
    /// The block whose items are replaced, with `m3u` and `text`.
    block: Option<String>,
}

/// What came of an import.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Imported {
    stream_id: StreamId,
    /// Names of the blocks that were written.
    blocks: Vec<String>,
    /// Items in them.
    items: usize,
    /// Of those, keys that are not in the store (yet); `null`: the store did not say.
    missing: Option<Vec<String>>,
}

/// What will air, and what is wrong with it
///
/// In order and without a gap, from what is on air now. Times are estimates as far as items of unknown length
/// (`assumed`) stand before them. Without a schedule: the programme's next items.
#[utoipa::path(get, path = "/streams/{id}/schedule", operation_id = "get_schedule", tag = "streams", params(("id" = StreamId, Path,), WindowQuery), responses(
    (status = 200, body = ScheduleAnswer),
    (status = 404, body = ErrorBody, description = "`unknown_stream`"),
    (status = 422, body = ErrorBody, description = "`invalid_window`"),
    (status = 502, body = ErrorBody, description = "The store failed; the code says how"),
))]
pub(super) async fn get(
    State(registry): State<Registry>,
    State(store): State<MediaStore>,
    State(prober): State<Prober>,
    State(layout): State<Layout>,
    IdPath(id): IdPath,
    QueryOf(query): QueryOf<WindowQuery>,
) -> Result<Json<ScheduleAnswer>, ApiError> {
    let rehearsed = rehearsed(&registry, &store, &prober, &layout, &id, &query).await?;
    let schedule = rehearsed.config.programme.schedule;
    Ok(Json(ScheduleAnswer {
        stream_id: id,
        timezone: schedule.map(|schedule| schedule.timezone),
        from: rehearsed.from,
        to: rehearsed.to,
        pending: rehearsed.pending,
        rehearsal: rehearsed.rehearsal,
    }))
}

/// What is airing and will air, as XMLTV
///
/// For programme guides and players; the channel's id is the stream's. By default up to 10000 items; a comment at the end
/// says when there are more.
#[utoipa::path(get, path = "/streams/{id}/schedule.xml", operation_id = "get_schedule_xmltv", tag = "streams", params(("id" = StreamId, Path,), WindowQuery), responses(
    (status = 200, content_type = "application/xml", body = String, description = "XMLTV"),
    (status = 404, body = ErrorBody, description = "`unknown_stream`"),
    (status = 422, body = ErrorBody, description = "`invalid_window`"),
    (status = 502, body = ErrorBody, description = "The store failed; the code says how"),
))]
pub(super) async fn guide(
    State(registry): State<Registry>,
    State(store): State<MediaStore>,
    State(prober): State<Prober>,
    State(layout): State<Layout>,
    IdPath(id): IdPath,
    QueryOf(query): QueryOf<WindowQuery>,
) -> Result<impl IntoResponse, ApiError> {
    // A guide is read whole, by programs that do not ask twice.
    let query = WindowQuery {
        limit: query.limit.or(Some(MAX_ROWS)),
        ..query
    };
    let mut rehearsed = rehearsed(&registry, &store, &prober, &layout, &id, &query).await?;
    if let (Some(first), Some(began)) = (rehearsed.rehearsal.airings.first_mut(), rehearsed.began) {
        // Each reading of the guide would move it otherwise.
        first.begins = began;
    }
    let zone = time_zone(&rehearsed.config).unwrap_or(TimeZone::UTC);
    let text = xmltv::guide(id.as_str(), &zone, &rehearsed.rehearsal);
    let kind = "application/xml; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text))
}

/// Bring in a list of items
///
/// `format=json`: the playlist of one day, `{"date": "2026-12-24", "items": [{"at": "20:15", "key": "film.mp4",
/// "title": "A film"}, {"key": "ad.mp4"}], "until": "23:00"}`: each `at` begins a block of that date; blocks of an
/// earlier import of that date are replaced. `format=m3u` and `format=text` (a key a line, `#` begins
/// a comment) replace the items of `block`. Nothing is changed unless every line is good. Not as `text/plain` or a
/// form: `application/json`, `audio/x-mpegurl` or `application/octet-stream`.
#[utoipa::path(post, path = "/streams/{id}/schedule/import", operation_id = "import_schedule", tag = "configuration", params(("id" = StreamId, Path,), ImportQuery), request_body(content = String, content_type = "application/octet-stream"), responses(
    (status = 200, body = Imported),
    (status = 404, body = ErrorBody, description = "`unknown_stream`, `unknown_block`"),
    (status = 409, body = ErrorBody, description = "`changed_meanwhile`: nothing was done, try again"),
    (status = 415, body = ErrorBody, description = "`form_refused`"),
    (status = 422, body = ErrorBody, description = "`invalid_list`: every bad line by its number; `invalid_config`; `no_schedule`"),
))]
pub(super) async fn import(
    State(registry): State<Registry>,
    State(store): State<MediaStore>,
    IdPath(id): IdPath,
    QueryOf(query): QueryOf<ImportQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Imported>, ApiError> {
    refuse_forms(&headers)?;
    let (config, blocks, keys) = bring_in(&registry, &id, &query, &body).await?;
    let items = keys.len();
    // It is done, whatever the store answers now.
    let missing = match list_prefixes(&store, &config).await {
        Ok(there) => Some(not_among(&there, keys)),
        Err(error) => {
            tracing::warn!(stream_id = %id, %error, "cannot tell which items of an import are missing");
            None
        }
    };
    Ok(Json(Imported {
        stream_id: id,
        blocks,
        items,
        missing,
    }))
}

/// Writes a list into the configuration, which others may be changing at the same time: what it is
/// now, the blocks that were written, and the keys in them.
async fn bring_in(
    registry: &Registry,
    id: &StreamId,
    query: &ImportQuery,
    body: &[u8],
) -> Result<(StreamConfig, Vec<String>, Vec<String>), ApiError> {
    let mut tries = 0;
    loop {
        let before = registry.get_config(id)?;
        let mut config = before.clone();
        let Some(schedule) = &mut config.programme.schedule else {
            return Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "no_schedule",
                "the stream has no schedule yet: give it one with a timezone by PUT /streams/{id}",
            ));
        };
        let list = import::read(query.format, body).map_err(import::refused)?;
        let (blocks, keys) = list.write_to(schedule, query.block.as_deref(), Timestamp::now())?;
        let text = serde_json::to_vec(&config).expect("a configuration is JSON");
        tries += 1;
        match registry.edit_config(id, before, &text).await {
            Ok(_) => return Ok((config, blocks, keys)),
            Err(RequestError::Superseded(_)) if tries < IMPORT_TRIES => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Those of `keys` that are not there, each once.
fn not_among(there: &[MediaObject], mut keys: Vec<String>) -> Vec<String> {
    let there: BTreeSet<&str> = there.iter().map(|object| object.key.as_str()).collect();
    let mut seen = BTreeSet::new();
    keys.retain(|key| !there.contains(key.as_str()) && seen.insert(key.clone()));
    keys
}

/// A page of another origin can send those without asking first.
fn refuse_forms(headers: &HeaderMap) -> Result<(), ApiError> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|kind| kind.trim().to_ascii_lowercase());
    let simple = [
        "text/plain",
        "multipart/form-data",
        "application/x-www-form-urlencoded",
    ];
    match kind {
        Some(kind) if !simple.contains(&kind.as_str()) => Ok(()),
        _ => Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "form_refused",
            "send the list with \"Content-Type: application/octet-stream\" (or application/json, \
             audio/x-mpegurl)",
        )),
    }
}
