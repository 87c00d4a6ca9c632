//! The REST API. Handlers parse, call the [`Registry`] and translate.
//!
//! | route | answers | |
//! | --- | --- | --- |
//! | `GET /health` | 200 | controller and one line a stream |
//! | `GET /health/live` | 200 | open without a token |
//! | `GET /health/ready` | 200, 503 | |
//! | `GET /health/uptime`, `/health/incidents`, `/health/metrics` | 200, 404, 422, 503 | the air record |
//! | `GET /streams` | 200 | |
//! | `GET /streams/status` | 200, 404 | `?stream_id=` |
//! | `POST /streams/start` | 202, 404, 409, 422 | body `{"stream_id"}` or none |
//! | `POST /streams/stop` | 200, 404, 422 | the same |
//! | `GET`, `PUT`, `DELETE /streams/{id}` | 200, 201, 204, 404, 409, 422, 507 | configuration |
//! | `POST /streams/{id}/start`, `/stop`, `/skip`, `/source` | 200, 202, 404, 409, 422, 502 | |
//! | `POST /streams/{id}/upgrade`, `POST /streams/upgrade` | 200, 404, 409, 502 | |
//! | `GET /streams/{id}/events` | 200, 404 | server-sent events |
//! | `GET /streams/{id}/logs` | 200, 404 | `?lines=` |
//! | `GET`, `POST /ingest/keys`, `DELETE /ingest/keys/{id}` | 200, 201, 204, 404, 409, 422, 507 | |
//! | `GET /streams/{id}/schedule` | 200, 404, 422, 502 | what will air: `?from=&to=&limit=` |
//! | `GET /streams/{id}/schedule.xml` | 200, 404, 422, 502 | the same as XMLTV |
//! | `POST /streams/{id}/schedule/import` | 200, 404, 415, 422 | `?format=json\|m3u\|text&block=` |
//! | `POST /v1/mediamtx/events/ready`, `/not-ready`, `POST /v1/mediamtx/auth` | 202, 204, 401, 404, 422 | |
//! | `GET /media` | 200, 404, 502 | `?prefix=`, `?stream_id=` |
//! | `POST /media/upload-url` | 200, 422, 502 | |
//! | `GET /preview/{id}/{file}` | 200, 404 | HLS |
//! | `GET /metrics`, `GET /openapi.json` | 200 | |
//! | `GET /`, `GET /page/{file}` | 200, 404 | open without a token: the page asks for it |
//! | `GET`, `HEAD`, `PUT /local-media/{key}` | 200, 206, 403, 404, 413 | for signed addresses of a local folder |
//!
//! Around them, from the outside in: `envelope` (request id, log line, body of a refusal), CORS,
//! `auth` (host, origin), time limit, token, body limit. Errors become statuses in `error` alone.
//! The routes and the OpenAPI document are one list, so neither can be without the other.

mod auth;
mod body;
mod envelope;
mod error;
mod events;
mod health;
mod history;
mod ingest;
mod local_media;
mod media;
mod mediamtx;
mod metrics;
mod page;
mod preview;
mod schedule;
mod schema;
mod streams;
mod upgrade;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use storage::layout::Layout;
use storage::media::MediaStore;
use storage::media::server::MediaServer;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::auth::Gate;
use self::envelope::REQUEST_ID;
use self::error::ApiError;
use self::health::Started;
use self::media::Prober;
use self::schema::Rendered;
use crate::config::Config;
use crate::history::History;
use crate::ingest::Keys;
use crate::registry::Registry;
use crate::upstream::mediamtx::MediaMtx;
use crate::upstream::obs::ObsStatus;

/// No configuration is near this; uploads go to `/local-media` or straight to the bucket.
const BODY_LIMIT_BYTES: usize = 256 * 1024;
const CORS_MAX_AGE: Duration = Duration::from_hours(1);

/// What the API stands on.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The streams.
    pub registry: Registry,
    /// What was on air, and what was not.
    pub history: History,
    /// The media; a local folder must be the one with `served_at`.
    pub store: MediaStore,
    /// Who may publish to the ingest.
    pub keys: Keys,
    /// MediaMTX, where there is one, and its hooks.
    pub mediamtx: MediaMtx,
    /// OBS, where there is one.
    pub obs: Option<watch::Receiver<ObsStatus>>,
    /// Loopback tickets of `store`.
    pub media_server: MediaServer,
    /// Cancelled when the controller goes down: open event streams end then.
    pub closing: CancellationToken,
}

/// What handlers take out of the router, which copies it for every request and layer.
#[derive(Debug, Clone)]
struct Shared(Arc<State>);

#[derive(Debug)]
struct State {
    parts: Parts,
    layout: Layout,
    prober: Prober,
    started: Started,
    document: Rendered,
}

/// The whole API, page and preview included.
pub fn router(config: &Config, parts: Parts) -> Router {
    let gate = Gate::new(config);
    let (open, document) = open_routes().split_for_parts();
    let (guarded, mut document) = OpenApiRouter::with_openapi(document)
        .merge(guarded_routes())
        .split_for_parts();
    schema::complete(&mut document);
    let local_media = local_media::router(&parts.store);
    let cache_dir = media::dir(&config.layout.cache_dir);
    let shared = Shared(Arc::new(State {
        prober: Prober::start(
            config.ffprobe_bin.clone(),
            parts.media_server.clone(),
            cache_dir,
        ),
        layout: config.layout.clone(),
        started: Started(Instant::now()),
        document: Rendered::of(&document),
        parts,
    }));
    let api = guarded
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .route_layer(from_fn_with_state(gate.clone(), auth::check_token))
        .merge(open)
        .method_not_allowed_fallback(async || ApiError::of_status(StatusCode::METHOD_NOT_ALLOWED))
        .fallback(async || ApiError::of_status(StatusCode::NOT_FOUND))
        .layer(from_fn(envelope::limit_time))
        .with_state(shared);
    // An upload may take hours and be large: neither limit is for it, and its address is its token.
    let api = api
        .merge(local_media)
        .layer(from_fn_with_state(gate, auth::check_caller));
    let api = match config.cors_origins.as_slice() {
        [] => api,
        origins => api.layer(cors(origins)),
    };
    api.layer(from_fn(envelope::envelope))
}

/// Without a token even when there is one: probes, and a page that can then ask for it.
fn open_routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(schema::head())
        .routes(routes!(health::live))
        .routes(routes!(page::index))
        .routes(routes!(page::file))
}

fn guarded_routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default()
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
        .routes(routes!(history::uptime))
        .routes(routes!(history::incidents))
        .routes(routes!(history::transitions))
        .routes(routes!(history::metrics))
        .routes(routes!(streams::list))
        .routes(routes!(streams::status))
        .routes(routes!(streams::start_named))
        .routes(routes!(streams::stop_named))
        .routes(routes!(
            streams::get_config,
            streams::put_config,
            streams::delete_config
        ))
        .routes(routes!(streams::start_by_path))
        .routes(routes!(streams::stop_by_path))
        .routes(routes!(streams::skip))
        .routes(routes!(streams::source))
        .routes(routes!(upgrade::upgrade_all))
        .routes(routes!(upgrade::upgrade))
        .routes(routes!(events::events))
        .routes(routes!(events::logs))
        .routes(routes!(ingest::list_keys, ingest::make_key))
        .routes(routes!(ingest::revoke_key))
        .routes(routes!(schedule::get))
        .routes(routes!(schedule::guide))
        .routes(routes!(schedule::import))
        .routes(routes!(mediamtx::feed_ready))
        .routes(routes!(mediamtx::feed_not_ready))
        .routes(routes!(mediamtx::permit))
        .routes(routes!(media::list))
        .routes(routes!(media::upload_url))
        .routes(routes!(preview::file))
        .routes(routes!(metrics::metrics))
        .routes(routes!(schema::openapi))
}

/// For pages of other origins, where any are named.
fn cors(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().map(|origin| {
        HeaderValue::from_str(origin).expect("origins are checked when the settings are read")
    });
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, REQUEST_ID])
        .expose_headers([REQUEST_ID, HeaderName::from_static("retry-after")])
        .max_age(CORS_MAX_AGE)
}

macro_rules! part {
    ($type:ty, $($field:ident).+) => {
        impl FromRef<Shared> for $type {
            fn from_ref(shared: &Shared) -> Self {
                shared.0.$($field).+.clone()
            }
        }
    };
}

part!(Registry, parts.registry);
part!(History, parts.history);
part!(MediaStore, parts.store);
part!(CancellationToken, parts.closing);
part!(Layout, layout);
part!(Option<watch::Receiver<ObsStatus>>, parts.obs);
part!(Keys, parts.keys);
part!(MediaMtx, parts.mediamtx);
part!(Prober, prober);
part!(Started, started);
part!(Rendered, document);
