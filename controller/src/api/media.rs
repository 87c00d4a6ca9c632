//! Media: what can be played, how it fits a stream, and a way to bring more.

mod prober;

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use programme::format::auto;
use programme::{Fit, FormatChoice, MediaInfo, StreamFormat, TranscodeReason, fit};
use serde::{Deserialize, Serialize};
use storage::media::{MediaObject, MediaStore};
use storage::model::StreamId;
use utoipa::{IntoParams, ToSchema};

pub(super) use self::prober::{Prober, dir};
use super::body::{QueryOf, RequiredJson};
use super::error::{ApiError, ErrorBody};
use crate::media::probe::Outcome;
use crate::registry::Registry;
use crate::stream::RequestError;

/// The list is sent after this, with what is known by then.
const PATIENCE: Duration = Duration::from_millis(4500);
const UPLOAD_URL_TTL: Duration = Duration::from_hours(1);

/// Which objects, and which stream's format they are compared with.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct MediaQuery {
    /// Only keys that begin with this.
    prefix: Option<String>,
    /// Compare with this stream's format; may be left out where there is one stream.
    stream_id: Option<StreamId>,
}

/// What can be played.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MediaList {
    /// Whose format `fit` is about; `null`: the default format.
    stream_id: Option<StreamId>,
    /// The format compared with; `null` while `"auto"` cannot be known.
    format: Option<StreamFormat>,
    /// Objects still being looked into: ask again.
    pending: usize,
    /// In key order.
    objects: Vec<MediaEntry>,
}

/// One playable object.
#[derive(Debug, Serialize, ToSchema)]
struct MediaEntry {
    /// Below `STORAGE_PREFIX`.
    key: String,
    size_bytes: u64,
    modified: Option<Timestamp>,
    /// `null` until it is known.
    duration_s: Option<f64>,
    fit: MediaFit,
    /// What the file is; `null` until it is known.
    info: Option<MediaInfo>,
}

/// How an object reaches the air.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "how")]
enum MediaFit {
    /// Not looked into yet.
    Pending,
    /// Nothing is decoded.
    Copy,
    /// Each track with at least one reason is transcoded.
    Transcode {
        video: Vec<TranscodeReason>,
        audio: Vec<TranscodeReason>,
    },
    /// It is skipped.
    Unplayable { reason: String },
    /// It could not be looked into; it is tried again.
    Unknown { reason: String },
}

/// What is to be uploaded.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UploadRequest {
    /// Key below `STORAGE_PREFIX`; an object that is there is replaced.
    #[schema(example = "shows/tuesday.mp4")]
    key: String,
    /// Must be sent as `Content-Type` with the upload; by default it follows from the extension.
    #[schema(example = "video/mp4")]
    content_type: Option<String>,
}

/// Where to upload to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UploadTarget {
    /// `PUT` the bytes here. Whoever has this address can write this one object.
    url: String,
    method: &'static str,
    headers: UploadHeaders,
    expires_at: Timestamp,
}

/// What the upload must be sent with.
#[derive(Debug, Serialize, ToSchema)]
struct UploadHeaders {
    #[serde(rename = "Content-Type")]
    content_type: String,
}

/// Playable objects with size, duration and fit
///
/// Answers within 5 s; objects that were not looked into by then have the fit `pending`.
#[utoipa::path(get, path = "/media", operation_id = "list_media", tag = "media", params(MediaQuery), responses(
    (status = 200, body = MediaList),
    (status = 404, body = ErrorBody, description = "`unknown_stream`"),
    (status = 502, body = ErrorBody, description = "The store failed; the code says how"),
))]
pub(super) async fn list(
    State(registry): State<Registry>,
    State(store): State<MediaStore>,
    State(prober): State<Prober>,
    QueryOf(query): QueryOf<MediaQuery>,
) -> Result<Json<MediaList>, ApiError> {
    let until = tokio::time::Instant::now() + PATIENCE;
    let (stream_id, choice) = format_of(&registry, query.stream_id)?;
    let objects = store.list(query.prefix.as_deref().unwrap_or("")).await?;
    let outcomes = prober.probe(&objects, until).await;
    let infos = outcomes.iter().flatten().filter_map(Outcome::info);
    let pending = outcomes.iter().filter(|outcome| outcome.is_none()).count();
    let format = match choice {
        FormatChoice::Fixed(format) => Some(format),
        FormatChoice::Auto => (pending == 0).then(|| auto(infos)),
    };
    let objects = objects
        .into_iter()
        .zip(outcomes)
        .map(|(object, outcome)| entry(object, outcome, format.as_ref()))
        .collect();
    Ok(Json(MediaList {
        stream_id,
        format,
        pending,
        objects,
    }))
}

/// An address to upload one object to
#[utoipa::path(post, path = "/media/upload-url", tag = "media", request_body = UploadRequest, responses(
    (status = 200, body = UploadTarget),
    (status = 422, body = ErrorBody, description = "`invalid_key`"),
    (status = 502, body = ErrorBody, description = "The store failed; the code says how"),
))]
pub(super) async fn upload_url(
    State(store): State<MediaStore>,
    RequiredJson(request): RequiredJson<UploadRequest>,
) -> Result<Json<UploadTarget>, ApiError> {
    let content_type = request
        .content_type
        .unwrap_or_else(|| storage::media::content_type(&request.key).to_owned());
    let url = store
        .presigned_put(&request.key, &content_type, UPLOAD_URL_TTL)
        .await?;
    Ok(Json(UploadTarget {
        url: url.expose().to_owned(),
        method: "PUT",
        headers: UploadHeaders { content_type },
        expires_at: Timestamp::now() + UPLOAD_URL_TTL,
    }))
}

/// The format on air, else the configured one, else (no stream is meant) the default.
fn format_of(
    registry: &Registry,
    named: Option<StreamId>,
) -> Result<(Option<StreamId>, FormatChoice), ApiError> {
    let id = match named.map_or_else(|| registry.only(), Ok) {
        Ok(id) => id,
        Err(RequestError::StreamNotNamed(_)) => return Ok((None, FormatChoice::default())),
        Err(error) => return Err(error.into()),
    };
    let choice = match registry.status(&id)?.format {
        Some(on_air) => FormatChoice::Fixed(on_air),
        None => registry.get_config(&id)?.format,
    };
    Ok((Some(id), choice))
}

fn entry(
    object: MediaObject,
    outcome: Option<Outcome>,
    format: Option<&StreamFormat>,
) -> MediaEntry {
    let fit = match (&outcome, format) {
        (None, _) | (Some(Outcome::Media(_)), None) => MediaFit::Pending,
        (Some(Outcome::Media(info)), Some(format)) => fit::fit(info, format).into(),
        (Some(Outcome::NotMedia(reason)), _) => MediaFit::Unplayable {
            reason: reason.clone(),
        },
        (Some(Outcome::Failed(reason)), _) => MediaFit::Unknown {
            reason: reason.clone(),
        },
    };
    let info = outcome.and_then(Outcome::into_info);
    MediaEntry {
        key: object.key,
        size_bytes: object.size_bytes,
        modified: object.modified,
        duration_s: info.as_ref().and_then(|info| info.duration_s),
        fit,
        info,
    }
}

impl From<Fit> for MediaFit {
    fn from(fit: Fit) -> Self {
        match fit {
            Fit::Copy => Self::Copy,
            Fit::Transcode { video, audio } => Self::Transcode { video, audio },
            Fit::Unplayable { reason } => Self::Unplayable { reason },
        }
    }
}
