//! Loopback addresses for this process's own FFmpegs.
//!
//! FFmpeg is never given a signed URL: it would stand in `ps`, end up in FFmpeg's error lines, and
//! expire in the middle of a long file. It is given a *ticket*,
//! `http://127.0.0.1:{port}/m/{128 random bits}/{file name}`, which is good for one object and for as
//! long as the [`Ticket`] lives. A bucket's objects are answered with a redirect to a freshly
//! signed address, so a reconnect gets a new one; a folder's with the bytes, and so are objects that lie
//! in the cache, as long as the store does not say that it has another version.
//!
//! The server's one task is owned by [`MediaServer`] and ends with its last clone.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use programme::ListedObject;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tower::ServiceExt;
use tower_http::services::ServeFile;

use super::cache::fetch::Fetcher;
use super::cache::{Kept, MediaCache};
use super::reach::Reach;
use super::s3::Access;
use super::sign::encode_segment;
use super::{MediaError, MediaErrorKind, MediaStore, content_type};
use crate::secret::Secret;

/// A store that does not say within this which version it has, is not waited for.
const VERSION_LIMIT: Duration = Duration::from_millis(1_500);

/// The server. Cloning shares it.
#[derive(Debug, Clone)]
pub struct MediaServer {
    running: Arc<Running>,
}

#[derive(Debug)]
struct Running {
    address: SocketAddr,
    socket: std::net::TcpListener,
    tickets: Arc<Tickets>,
    reach: Reach,
    fetcher: Option<Fetcher>,
    task: JoinHandle<()>,
}

/// Permission to read one object, until dropped.
#[derive(Debug)]
pub struct Ticket {
    id: u128,
    url: String,
    grant: Arc<Grant>,
    tickets: Arc<Tickets>,
}

/// Where the bytes of a ticket come from.
#[derive(Debug, Clone)]
pub struct Origin(Arc<Grant>);

/// What a ticket is for, and how it was answered.
#[derive(Debug)]
struct Grant {
    key: String,
    /// The version that was listed; only that may come from the cache.
    object: Option<ListedObject>,
    /// Whether the store has that version; asked once.
    current: OnceCell<bool>,
    counted: AtomicBool,
    from_cache: AtomicBool,
}

/// Valid tickets and what they are for.
#[derive(Default)]
struct Tickets(Mutex<HashMap<u128, Arc<Grant>>>);

#[derive(Clone)]
struct Shared {
    store: MediaStore,
    tickets: Arc<Tickets>,
    reach: Reach,
    cache: Option<MediaCache>,
}

// === impl MediaServer ===

impl MediaServer {
    /// Starts serving `store` on a free port of the loopback interface.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(store: MediaStore) -> io::Result<Self> {
        Self::start_with(store, None).await
    }

    /// The same, with objects answered from `cache`, which is filled as [`Self::fetcher`] is told.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start_with(store: MediaStore, cache: Option<MediaCache>) -> io::Result<Self> {
        let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Self::resume(store, cache, socket)
    }

    /// The same at a socket that listens already: whoever was given an address there can still use
    /// it, once its ticket is valid again ([`Self::resume_ticket`]).
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub fn resume(
        store: MediaStore,
        cache: Option<MediaCache>,
        socket: std::net::TcpListener,
    ) -> io::Result<Self> {
        let address = socket.local_addr()?;
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(socket.try_clone()?)?;
        let tickets = Arc::new(Tickets::default());
        let reach = Reach::new(store.clone());
        let fetcher = match (&store, &cache) {
            (MediaStore::S3(store), Some(cache)) => {
                Some(Fetcher::start(cache.clone(), store.clone(), reach.clone()))
            }
            _ => None,
        };
        let router = Router::new()
            .route("/m/{ticket}/{name}", get(answer))
            .with_state(Shared {
                store,
                tickets: tickets.clone(),
                reach: reach.clone(),
                cache,
            });
        let task = tokio::spawn(async move {
            // `serve` itself never ends: it goes on after failed accepts.
            let _ = axum::serve(listener, router.into_make_service()).await;
        });
        Ok(Self {
            running: Arc::new(Running {
                address,
                socket,
                tickets,
                reach,
                fetcher,
                task,
            }),
        })
    }

    /// A ticket for `key`, which need not exist.
    ///
    /// # Errors
    /// When the kernel gives no random bytes.
    pub fn ticket(&self, key: &str) -> io::Result<Ticket> {
        self.grant(key, None)
    }

    /// A ticket for the version of an object that was listed: it may be answered from the cache.
    ///
    /// # Errors
    /// When the kernel gives no random bytes.
    pub fn ticket_for(&self, object: &ListedObject) -> io::Result<Ticket> {
        self.grant(&object.key, Some(object.clone()))
    }

    /// Whether the store can be read from.
    pub fn reach(&self) -> &Reach {
        &self.running.reach
    }

    /// Fills the cache, where there is one.
    pub fn fetcher(&self) -> Option<&Fetcher> {
        self.running.fetcher.as_ref()
    }

    fn grant(&self, key: &str, object: Option<ListedObject>) -> io::Result<Ticket> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let id = u128::from_ne_bytes(random);
        Ok(self.ticket_of(id, Grant::new(key, object)))
    }

    /// A ticket that another server at the same address gave out for `object`.
    pub fn resume_ticket(&self, id: u128, object: &ListedObject, from_cache: bool) -> Ticket {
        let grant = Grant {
            counted: AtomicBool::new(true),
            from_cache: AtomicBool::new(from_cache),
            ..Grant::new(&object.key, Some(object.clone()))
        };
        self.ticket_of(id, grant)
    }

    /// Another handle of the socket it listens at, for a server that takes its place.
    ///
    /// # Errors
    /// When the process has too many descriptors.
    pub fn socket(&self) -> io::Result<std::net::TcpListener> {
        self.running.socket.try_clone()
    }

    fn ticket_of(&self, id: u128, grant: Grant) -> Ticket {
        // The name is for FFmpeg, which tells some formats by their extension.
        let name = encode_segment(grant.key.rsplit('/').next().unwrap_or(&grant.key)).to_string();
        let address = self.running.address;
        let tickets = self.running.tickets.clone();
        let grant = Arc::new(grant);
        tickets.lock().insert(id, grant.clone());
        Ticket {
            id,
            grant,
            url: format!("http://{address}/m/{id:032x}/{name}"),
            tickets,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Ticket ===

impl Ticket {
    /// What makes it this one. As good as the address itself: not to be shown.
    pub fn id(&self) -> u128 {
        self.id
    }

    /// The address. It says nothing about where the object is and dies with the ticket.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What tells, now and after the ticket is gone, whether its last answer came from the cache.
    pub fn origin(&self) -> Origin {
        Origin(self.grant.clone())
    }
}

// === impl Grant ===

impl Grant {
    fn new(key: &str, object: Option<ListedObject>) -> Self {
        Self {
            key: key.to_owned(),
            object,
            current: OnceCell::new(),
            counted: AtomicBool::new(false),
            from_cache: AtomicBool::new(false),
        }
    }
}

// === impl Origin ===

impl Origin {
    /// Of a ticket for `key` that is gone.
    pub fn known(key: &str, from_cache: bool) -> Self {
        Self(Arc::new(Grant {
            from_cache: AtomicBool::new(from_cache),
            ..Grant::new(key, None)
        }))
    }

    /// Whether the last answer came from the cache.
    pub fn is_cache(&self) -> bool {
        self.0.from_cache.load(Ordering::Relaxed)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.tickets.lock().remove(&self.id);
    }
}

impl Tickets {
    fn lock(&self) -> MutexGuard<'_, HashMap<u128, Arc<Grant>>> {
        // The map is whole after every single call on it, so a panic elsewhere spoils nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, ticket: &str) -> Option<Arc<Grant>> {
        let id = u128::from_str_radix(ticket, 16).ok()?;
        self.lock().get(&id).cloned()
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tickets({})", self.lock().len())
    }
}

// === impl Grant ===

impl Grant {
    fn note(&self, from_cache: bool, cache: Option<&MediaCache>) {
        self.from_cache.store(from_cache, Ordering::Relaxed);
        if let Some(cache) = cache
            && !self.counted.swap(true, Ordering::Relaxed)
        {
            cache.count(from_cache);
        }
    }
}

// === impl Shared ===

impl Shared {
    /// The file that holds the object as it is now, as far as that can be known.
    async fn kept(&self, grant: &Grant) -> Option<PathBuf> {
        let cache = self.cache.clone()?;
        let object = grant.object.clone()?;
        let kept = spawn_blocking(move || cache.open_kept(&object));
        let kept = kept.await.ok().flatten()?;
        let current = match grant.current.get() {
            Some(current) => *current,
            // What was listed last holds, and may be asked about later.
            None if self.reach.is_away() => true,
            None => {
                let ask = || self.has_version(&kept, &grant.key);
                *grant.current.get_or_init(ask).await
            }
        };
        current.then_some(kept.path)
    }

    /// Whether the store has the version that is kept; a store that does not say so has.
    async fn has_version(&self, kept: &Kept, key: &str) -> bool {
        match timeout(VERSION_LIMIT, Box::pin(self.store.stat(key))).await {
            Ok(Ok(object)) => kept.is(&object),
            Ok(Err(error)) if error.blames_object() => false,
            Ok(Err(_)) | Err(_) => {
                self.reach.doubt(Some(key));
                true
            }
        }
    }
}

// === answering ===

async fn from_file(path: &std::path::Path, key: &str, request: Request<Body>) -> Response {
    let Ok(mut response) = ServeFile::new(path).oneshot(request).await;
    let content_type = HeaderValue::from_static(content_type(key));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response.map(Body::new)
}

async fn answer(
    State(shared): State<Shared>,
    Path((ticket, _name)): Path<(String, String)>,
    request: Request<Body>,
) -> Response {
    let Some(grant) = shared.tickets.get(&ticket) else {
        return (StatusCode::NOT_FOUND, "no such ticket\n").into_response();
    };
    let kept = shared.kept(&grant).await;
    grant.note(kept.is_some(), shared.cache.as_ref());
    if let Some(path) = kept {
        return from_file(&path, &grant.key, request).await;
    }
    let key = &grant.key;
    let answered = match &shared.store {
        MediaStore::Local(store) => store.serve(key, request).await,
        MediaStore::S3(store) => {
            let access = match *request.method() {
                Method::HEAD => Access::Head,
                _ => Access::Get,
            };
            let signed = store.signed_for_reader(access, key).await;
            signed.map(|url| redirect(&url))
        }
    };
    answered.unwrap_or_else(|error| failure(&error))
}

fn redirect(url: &Secret) -> Response {
    let Ok(location) = HeaderValue::from_str(url.expose()) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let no_store = HeaderValue::from_static("no-store");
    (
        StatusCode::FOUND,
        [
            (header::LOCATION, location),
            (header::CACHE_CONTROL, no_store),
        ],
    )
        .into_response()
}

fn failure(error: &MediaError) -> Response {
    tracing::warn!(error_type = error.error_type(), "media not served: {error}");
    let status = match error.kind {
        MediaErrorKind::NoSuchBucket | MediaErrorKind::NoSuchKey => StatusCode::NOT_FOUND,
        MediaErrorKind::InvalidKey(_) => StatusCode::BAD_REQUEST,
        _ => StatusCode::BAD_GATEWAY,
    };
    (status, format!("{error}\n")).into_response()
}
