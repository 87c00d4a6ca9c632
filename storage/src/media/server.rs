//! Loopback addresses for this process's own FFmpegs.
//!
//! FFmpeg is never given a signed URL: it would stand in `ps`, end up in FFmpeg's error lines, and
//! expire in the middle of a long file. It is given a *ticket*,
//! `http://127.0.0.1:{port}/m/{128 random bits}/{file name}`, which is good for one object and for as
//! long as the [`Ticket`] lives. A bucket's objects are answered with a redirect to a freshly
//! signed address, so a reconnect gets a new one; a folder's with the bytes.
//!
//! The server's one task is owned by [`MediaServer`] and ends with its last clone.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::s3::Reading;
use super::sign::encode_segment;
use super::{MediaError, MediaErrorKind, MediaStore};
use crate::secret::Secret;

/// The server. Cloning shares it.
#[derive(Debug, Clone)]
pub struct MediaServer {
    running: Arc<Running>,
}

#[derive(Debug)]
struct Running {
    address: SocketAddr,
    tickets: Arc<Tickets>,
    task: JoinHandle<()>,
}

/// Permission to read one object, until dropped.
#[derive(Debug)]
pub struct Ticket {
    id: u128,
    url: String,
    tickets: Arc<Tickets>,
}

/// Valid tickets and the keys they are for.
#[derive(Default)]
struct Tickets(Mutex<HashMap<u128, String>>);

#[derive(Clone)]
struct Shared {
    store: MediaStore,
    tickets: Arc<Tickets>,
}

// === impl MediaServer ===

impl MediaServer {
    /// Starts serving `store` on a free port of the loopback interface.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(store: MediaStore) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let tickets = Arc::new(Tickets::default());
        let router = Router::new()
            .route("/m/{ticket}/{name}", get(answer))
            .with_state(Shared {
                store,
                tickets: tickets.clone(),
            });
        let task = tokio::spawn(async move {
            // `serve` itself never ends: it goes on after failed accepts.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            running: Arc::new(Running {
                address,
                tickets,
                task,
            }),
        })
    }

    /// A ticket for `key`, which need not exist.
    ///
    /// # Errors
    /// When the kernel gives no random bytes.
    pub fn ticket(&self, key: &str) -> io::Result<Ticket> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let id = u128::from_ne_bytes(random);
        // The name is for FFmpeg, which tells some formats by their extension.
        let name = encode_segment(key.rsplit('/').next().unwrap_or(key));
        let address = self.running.address;
        let tickets = self.running.tickets.clone();
        tickets.lock().insert(id, key.to_owned());
        Ok(Ticket {
            id,
            url: format!("http://{address}/m/{id:032x}/{name}"),
            tickets,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Ticket ===

impl Ticket {
    /// The address. It says nothing about where the object is and dies with the ticket.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.tickets.lock().remove(&self.id);
    }
}

impl Tickets {
    fn lock(&self) -> MutexGuard<'_, HashMap<u128, String>> {
        // The map is whole after every single call on it, so a panic elsewhere spoils nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, ticket: &str) -> Option<String> {
        let id = u128::from_str_radix(ticket, 16).ok()?;
        self.lock().get(&id).cloned()
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tickets({})", self.lock().len())
    }
}

// === answering ===

async fn answer(
    State(shared): State<Shared>,
    Path((ticket, _name)): Path<(String, String)>,
    request: Request<Body>,
) -> Response {
    let Some(key) = shared.tickets.key(&ticket) else {
        return (StatusCode::NOT_FOUND, "no such ticket\n").into_response();
    };
    let answered = match &shared.store {
        MediaStore::Local(store) => store.serve(&key, request).await,
        MediaStore::S3(store) => {
            let reading = match *request.method() {
                Method::HEAD => Reading::Head,
                _ => Reading::Get,
            };
            let signed = store.signed_for_reader(reading, &key).await;
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
