//! `GET /v3/paths/list` of MediaMTX's control API.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use storage::model::ErrorReport;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::paths::{MediaPath, Page};
use crate::config::MediaMtxConfig;

/// A wrong password is answered after 2 s by version 1.9, and after up to 4 s by 1.20.
const CALL_LIMIT: Duration = Duration::from_secs(6);
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// What MediaMTX gives at once when nothing is said.
const PER_PAGE: u32 = 100;
/// More paths than any of ours can be behind.
const MOST_PAGES: u32 = 20;

/// Asks one MediaMTX.
#[derive(Debug)]
pub(super) struct Client {
    config: MediaMtxConfig,
}

/// Why the paths are not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// Nobody listens.
    #[error("MediaMTX's API cannot be reached")]
    Connect(#[source] std::io::Error),
    /// Somebody listens and does not answer.
    #[error("MediaMTX's API did not answer within {} s", CALL_LIMIT.as_secs())]
    TimedOut,
    /// The connection broke.
    #[error("the connection to MediaMTX's API broke")]
    Http(#[source] hyper::Error),
    /// It said no.
    #[error("MediaMTX's API answered {0}")]
    Status(StatusCode),
    /// Not what MediaMTX answers.
    #[error("MEDIAMTX_API_URL answers, but not as MediaMTX's API does")]
    Malformed,
}

// === impl Client ===

impl Client {
    pub(super) fn new(config: MediaMtxConfig) -> Self {
        Self { config }
    }

    /// Our paths.
    pub(super) async fn paths(&self) -> Result<Vec<MediaPath>, ClientError> {
        let all = async {
            let mut paths = Vec::new();
            let mut page = 0;
            loop {
                let answer = self.page(page).await?;
                page += 1;
                let more = page < answer.page_count.min(MOST_PAGES);
                paths.extend(answer.into_paths());
                if !more {
                    return Ok(paths);
                }
            }
        };
        tokio::time::timeout(CALL_LIMIT, all)
            .await
            .unwrap_or(Err(ClientError::TimedOut))
    }

    async fn page(&self, page: u32) -> Result<Page, ClientError> {
        let authority = self
            .config
            .api_url
            .trim_start_matches("http://")
            .trim_end_matches('/');
        let stream = TcpStream::connect(authority)
            .await
            .map_err(ClientError::Connect)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(ClientError::Http)?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(async move {
            // What breaks it is told to whoever waits for the answer.
            drop(connection.await);
        }));
        let mut request = Request::get(format!(
            "/v3/paths/list?page={page}&itemsPerPage={PER_PAGE}"
        ))
        .header(header::HOST, authority);
        if let Some((user, password)) = &self.config.credentials {
            let basic = BASE64.encode(format!("{user}:{}", password.expose()));
            request = request.header(header::AUTHORIZATION, format!("Basic {basic}"));
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|_| ClientError::Malformed)?;
        let answer = sender
            .send_request(request)
            .await
            .map_err(ClientError::Http)?;
        if answer.status() != StatusCode::OK {
            return Err(ClientError::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await;
        let body = body.map_err(|_| ClientError::Malformed)?.to_bytes();
        Page::read(&body).map_err(|_| ClientError::Malformed)
    }
}

// === impl ClientError ===

impl ClientError {
    pub(super) fn report(&self) -> ErrorReport {
        let (error_type, hint) = match self {
            Self::Connect(_) | Self::TimedOut | Self::Http(_) => (
                "mediamtx_unreachable",
                "is MediaMTX running, with `api: yes`? Feeds that it has go on; it is asked again every second",
            ),
            Self::Status(_) => (
                "mediamtx_refused",
                "set MEDIAMTX_API_USER and MEDIAMTX_API_PASSWORD to a user with the permission `api`",
            ),
            Self::Malformed => (
                "mediamtx_malformed",
                "MEDIAMTX_API_URL is the address of its control API, usually port 9997",
            ),
        };
        ErrorReport {
            error_type: error_type.to_owned(),
            message: crate::chain(self),
            hint: hint.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use storage::secret::Secret;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// As they came, `Date` apart: a head and a body for a right password, and for a wrong one.
    const RECORDED: [[(&str, &[u8]); 2]; 2] = [
        [
            (
                "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Credentials: true\r\nAccess-Control-Allow-Origin: *\r\n\
                 Content-Type: application/json; charset=utf-8\r\nServer: mediamtx\r\n",
                include_bytes!("answers/1.9.3.json"),
            ),
            (
                "HTTP/1.1 401 Unauthorized\r\nAccess-Control-Allow-Credentials: true\r\nAccess-Control-Allow-Origin: *\r\n\
                 Server: mediamtx\r\n",
                b"",
            ),
        ],
        [
            (
                "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Type: application/json; charset=utf-8\r\n\
                 Server: mediamtx\r\n",
                include_bytes!("answers/1.20.1.json"),
            ),
            (
                "HTTP/1.1 401 Unauthorized\r\nAccess-Control-Allow-Origin: *\r\n\
                 Content-Type: application/json; charset=utf-8\r\nServer: mediamtx\r\n\
                 Www-Authenticate: Basic realm=\"mediamtx\"\r\n",
                br#"{"status":"error","error":"authentication error"}"#,
            ),
        ],
    ];

    /// Asks a server that answers this; what it was asked besides.
    async fn asked(
        (head, body): (&str, &'static [u8]),
    ) -> (Result<Vec<MediaPath>, ClientError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let length = body.len();
        let head = format!("{head}Content-Length: {length}\r\n\r\n");
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("it connects");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let byte = stream.read_u8().await.expect("a request");
                request.push(byte);
            }
            stream.write_all(head.as_bytes()).await.expect("it reads");
            stream.write_all(body).await.expect("it reads");
            String::from_utf8(request).expect("text")
        });
        let client = Client::new(MediaMtxConfig {
            api_url: format!("http://{address}/"),
            credentials: Some(("watcher".to_owned(), Secret::new("right"))),
        });
        let paths = client.paths().await;
        (paths, server.await.expect("it answered"))
    }

    #[tokio::test]
    async fn what_1_9_and_todays_version_answered_is_understood() {
        for [listed, refused] in RECORDED {
            let (paths, request) = asked(listed).await;
            let usable = paths.expect("a list").into_iter();
            assert_eq!(usable.filter(|path| path.usable).count(), 2);
            let line = request.lines().next();
            assert_eq!(
                line,
                Some("GET /v3/paths/list?page=0&itemsPerPage=100 HTTP/1.1")
            );
            let credentials = "authorization: Basic d2F0Y2hlcjpyaWdodA==";
            assert!(request.contains(credentials), "{request}");

            let (paths, _) = asked(refused).await;
            let report = paths.expect_err("refused").report();
            assert_eq!(report.error_type, "mediamtx_refused");
        }
    }
}
