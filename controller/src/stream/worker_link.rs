//! The worker's control socket: HTTP/1.1 over a unix socket, each call within two seconds.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::json;
use storage::model::{StreamConfig, WorkerReport};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::request::Take;

/// A worker that is well answers in milliseconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// The program it is to become may take five seconds to say whether it can.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(8);
/// The protocol's events come at least every 10 s; a stream of them that is silent for longer is dead.
const EVENT_TIMEOUT: Duration = Duration::from_secs(15);
/// Reports and logs of a healthy worker are far below this.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// A way to a worker, whichever process listens at its socket at the moment of a call.
#[derive(Debug, Clone)]
pub(super) struct WorkerLink {
    socket: PathBuf,
}

/// A worker's answer about itself.
#[derive(Debug)]
pub(super) struct Status {
    /// What it says.
    pub(super) report: WorkerReport,
    /// The process that made the socket, as the kernel says.
    pub(super) pid: Option<i32>,
}

/// Reports as the worker sends them.
#[derive(Debug)]
pub(super) struct Events {
    body: Incoming,
    buffer: Vec<u8>,
    _connection: AbortOnDropHandle<()>,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// Nobody listens.
    #[error("cannot connect to its socket")]
    Connect(#[source] io::Error),
    /// Somebody listens and does not answer.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The connection broke.
    #[error("the connection broke")]
    Http(#[from] hyper::Error),
    /// It said no.
    #[error("{message}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// Its code, as `format_changed`.
        code: String,
        /// In its own words.
        message: String,
    },
    /// Not what the protocol says.
    #[error("it answered something that is not of the protocol: {0}")]
    Malformed(String),
}

#[derive(serde::Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(serde::Deserialize)]
struct ErrorDetail {
    code: String,
    message: String,
}

#[derive(serde::Deserialize)]
struct LogLines {
    lines: Vec<String>,
}

// === impl WorkerLink ===

impl WorkerLink {
    /// The worker behind `socket`.
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Asks for its report.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub(super) async fn status(&self) -> Result<Status, LinkError> {
        let (pid, body) = self.call(Method::GET, "/v1/status", Bytes::new()).await?;
        Ok(Status {
            report: parse(&body)?,
            pid,
        })
    }

    /// Goes on with the next item.
    ///
    /// # Errors
    /// See [`LinkError`]; refused with 409 when there is nothing to skip.
    pub(super) async fn skip(&self) -> Result<(), LinkError> {
        self.call(Method::POST, "/v1/skip", Bytes::new()).await?;
        Ok(())
    }

    /// Puts something else on air.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub(super) async fn take(&self, what: Take) -> Result<(), LinkError> {
        let body = match what {
            Take::Programme => json!({"take": "programme"}),
            Take::Slate => json!({"take": "slate"}),
            Take::Card => json!({"take": "card"}),
            Take::Live(input) => json!({"take": "live", "input": input}),
        };
        let body = body.to_string();
        self.call(Method::POST, "/v1/source", body.into()).await?;
        Ok(())
    }

    /// Has a live input tried now.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub(super) async fn look(&self, input: &str) -> Result<(), LinkError> {
        let path = format!("/v1/live/{input}/look");
        self.call(Method::POST, &path, Bytes::new()).await?;
        Ok(())
    }

    /// Cuts off whoever publishes with this ingest key.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub(super) async fn end_publisher(&self, key_id: &str) -> Result<(), LinkError> {
        let path = format!("/v1/ingest/{key_id}");
        self.call(Method::DELETE, &path, Bytes::new()).await?;
        Ok(())
    }

    /// Has it become `program`, once that has said that it can go on.
    ///
    /// # Errors
    /// See [`LinkError`]; refused, with its reason, when it stays what it is.
    pub(super) async fn upgrade(&self, program: &Path) -> Result<(), LinkError> {
        let body = serde_json::json!({ "program": program }).to_string();
        let asked = self.exchange(Method::POST, "/v1/upgrade", body.into());
        timeout(UPGRADE_TIMEOUT, asked)
            .await
            .unwrap_or(Err(LinkError::TimedOut(UPGRADE_TIMEOUT)))?;
        Ok(())
    }

    /// Keeps the preview for another minute.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub(super) async fn preview(&self) -> Result<(), LinkError> {
        self.call(Method::POST, "/v1/preview", Bytes::new()).await?;
        Ok(())
    }

    /// Hands over a new configuration.
    ///
    /// # Errors
    /// See [`LinkError`]; refused with 409 `format_changed` when only a restart can apply it.
    pub(super) async fn configure(&self, config: &StreamConfig) -> Result<(), LinkError> {
        let body =
            serde_json::to_vec(config).map_err(|error| LinkError::Malformed(error.to_string()))?;
        self.call(Method::PUT, "/v1/config", body.into()).await?;
        Ok(())
    }

    /// Its last lines, oldest first.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub(super) async fn logs(&self, lines: usize) -> Result<Vec<String>, LinkError> {
        let path = format!("/v1/logs?lines={lines}");
        let (_, body) = self.call(Method::GET, &path, Bytes::new()).await?;
        Ok(parse::<LogLines>(&body)?.lines)
    }

    /// Subscribes to its reports.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub(super) async fn events(&self) -> Result<Events, LinkError> {
        let open = async {
            let mut connection = self.connect().await?;
            let answer = connection
                .sender
                .send_request(request(Method::GET, "/v1/events", Bytes::new()))
                .await?;
            if !answer.status().is_success() {
                return Err(refusal(answer.status(), &[]));
            }
            Ok(Events {
                body: answer.into_body(),
                buffer: Vec::new(),
                _connection: connection.driver,
            })
        };
        within(open).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(Option<i32>, Bytes), LinkError> {
        within(self.exchange(method, path, body)).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(Option<i32>, Bytes), LinkError> {
        let mut connection = self.connect().await?;
        let answer = connection
            .sender
            .send_request(request(method, path, body))
            .await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| LinkError::Malformed(error.to_string()))?
            .to_bytes();
        if status.is_success() {
            Ok((connection.peer, body))
        } else {
            Err(refusal(status, &body))
        }
    }

    async fn connect(&self) -> Result<Connection, LinkError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(LinkError::Connect)?;
        let peer = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let driver = AbortOnDropHandle::new(tokio::spawn(async move {
            // Whoever waits on the sender hears of the error too.
            let _ = connection.await;
        }));
        Ok(Connection {
            peer,
            sender,
            driver,
        })
    }

    /// The process that made the socket, if one still listens at it; it need not answer.
    pub(super) async fn listener(&self) -> Option<i32> {
        let stream = timeout(CALL_TIMEOUT, UnixStream::connect(&self.socket)).await;
        stream.ok()?.ok()?.peer_cred().ok()?.pid()
    }
}

struct Connection {
    peer: Option<i32>,
    sender: http1::SendRequest<Full<Bytes>>,
    driver: AbortOnDropHandle<()>,
}

async fn within<T>(call: impl Future<Output = Result<T, LinkError>>) -> Result<T, LinkError> {
    timeout(CALL_TIMEOUT, call)
        .await
        .unwrap_or(Err(LinkError::TimedOut(CALL_TIMEOUT)))
}

fn request(method: Method, path: &str, body: Bytes) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "worker")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .expect("the parts are constants and a number")
}

fn refusal(status: StatusCode, body: &[u8]) -> LinkError {
    let (code, message) = match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => (body.error.code, body.error.message),
        Err(_) => (String::new(), format!("it answered {status}")),
    };
    LinkError::Refused {
        status,
        code,
        message,
    }
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, LinkError> {
    serde_json::from_slice(body).map_err(|error| LinkError::Malformed(error.to_string()))
}

// === impl LinkError ===

impl LinkError {
    /// Whether the worker refused with 409.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::CONFLICT)
    }

    /// Whether what was asked is not done, for certain. Without an answer it may be.
    pub(super) fn is_undone(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Refused { .. } => true,
            Self::TimedOut(_) | Self::Http(_) | Self::Malformed(_) => false,
        }
    }
}

// === impl Events ===

impl Events {
    /// The next report; `None` when there will be no more from this subscription. Cancel-safe: what
    /// was received stays in the buffer.
    pub(super) async fn next(&mut self) -> Option<WorkerReport> {
        loop {
            if let Some(event) = self.take_event() {
                if let Some(report) = parse_event(&event) {
                    return Some(report);
                }
                continue;
            }
            let frame = timeout(EVENT_TIMEOUT, self.body.frame())
                .await
                .ok()??
                .ok()?;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
            if self.buffer.len() > MAX_ANSWER_BYTES {
                return None;
            }
        }
    }

    /// Cuts the first whole event (up to its empty line) out of the buffer.
    fn take_event(&mut self) -> Option<Vec<u8>> {
        let end = self.buffer.windows(2).position(|pair| pair == b"\n\n")?;
        Some(self.buffer.drain(..end + 2).collect())
    }
}

/// The report in one event; comments and other events have none.
fn parse_event(event: &[u8]) -> Option<WorkerReport> {
    let text = std::str::from_utf8(event).ok()?;
    let mut name = "";
    let mut data = String::new();
    for line in text.lines() {
        if let Some(value) = line.strip_prefix("event:") {
            name = value.trim();
        } else if let Some(value) = line.strip_prefix("data:") {
            data.push_str(value.strip_prefix(' ').unwrap_or(value));
            data.push('\n');
        }
    }
    if name != "report" {
        return None;
    }
    serde_json::from_str(&data)
        .inspect_err(|error| tracing::debug!(%error, "event that is no report"))
        .ok()
}
