//! A controller of its own for each test, and a client that sends exactly what it is told.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::HeaderMap;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use supervise::{Child, Output, Spec};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

const SOON: Duration = Duration::from_secs(40);

pub(crate) struct Server {
    dir: TempDir,
    child: Child,
    pub(crate) address: String,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

// === impl Server ===

impl Server {
    /// A controller without streams, with these variables besides.
    pub(crate) async fn with(variables: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("media")).unwrap();
        let config = br#"{"version": 1, "streams": {}}"#;
        storage::atomic::write(&dir.path().join("stream_config.json"), config).unwrap();
        let log = dir.path().join("controller.err");
        let mut spec = Spec::new(env!("CARGO_BIN_EXE_stream-controller"))
            .env("STATE_DIR", dir.path())
            .env("CONTROLLER_BIND", "127.0.0.1:0")
            .env("WORKER_BIN", "/bin/false")
            .env("LOG_FORMAT", "json")
            .env("RUST_LOG", "debug")
            .stderr(Output::File(File::create(&log).unwrap()));
        for (name, value) in variables {
            spec = spec.env(name, value);
        }
        let child = supervise::spawn(spec).unwrap();
        let address = until("the controller serves", async || {
            let text = std::fs::read_to_string(&log).unwrap();
            let line = text.lines().find(|line| line.contains(r#""serving""#))?;
            let event: Value = serde_json::from_str(line).ok()?;
            Some(event["address"].as_str()?.to_owned())
        })
        .await;
        Self {
            dir,
            child,
            address,
        }
    }

    pub(crate) async fn plain() -> Self {
        Self::with(&[]).await
    }

    /// The data of a stream of server-sent events, until `enough`; then the rest is dropped.
    pub(crate) async fn events(&self, path: &str, mut enough: impl FnMut(&Value) -> bool) {
        let (mut body, driven) = self.open(path).await;
        let mut text = String::new();
        let read = async {
            loop {
                let frame = body.frame().await.expect("the stream goes on").unwrap();
                text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
                while let Some((event, rest)) = text.split_once("\n\n") {
                    let data = event.lines().find_map(|line| line.strip_prefix("data: "));
                    if data.is_some_and(|data| enough(&serde_json::from_str(data).unwrap())) {
                        return;
                    }
                    text = rest.to_owned();
                }
            }
        };
        timeout(SOON, read).await.expect("the event comes");
        driven.abort();
    }

    /// Ends the controller while a stream of events is open; how long the stream then lasts.
    pub(crate) async fn end_while_open(&self, path: &str) -> Duration {
        let (body, driven) = self.open(path).await;
        let asked = Instant::now();
        nix::sys::signal::kill(self.child.pid(), nix::sys::signal::Signal::SIGTERM).unwrap();
        let ended = timeout(SOON, body.collect())
            .await
            .expect("the stream ends");
        ended.expect("it ends in order, not by a cut connection");
        driven.abort();
        asked.elapsed()
    }

    async fn open(&self, path: &str) -> (Incoming, JoinHandle<hyper::Result<()>>) {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driven = tokio::spawn(connection);
        let request = Request::get(path).header("host", &self.address);
        let request = request.body(Full::new(Bytes::new())).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        (answer.into_body(), driven)
    }

    /// A file of this installation; media lie in `media/`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("controller.err")).unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    /// With a JSON body, or none.
    pub(crate) async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let json = [("content-type", "application/json")];
        self.send(method, path, &json, body.to_owned()).await
    }

    /// A `host` among the headers replaces the right one.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driven = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", &self.address);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = timeout(SOON, body.collect())
            .await
            .expect("the answer ends");
        driven.abort();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.unwrap().to_bytes(),
        }
    }
}

// === impl Answer ===

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{error}: {:?}", String::from_utf8_lossy(&self.body));
        })
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts the one shape of a refusal; its `error`.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        let body = self.json();
        let error = &body["error"];
        assert_eq!(
            (self.status, &error["code"]),
            (status, &Value::from(code)),
            "{body}"
        );
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| text.len() > 10),
            "{body}"
        );
        assert_eq!(error["request_id"], self.header("x-request-id"), "{body}");
        assert!(!self.header("x-request-id").is_empty());
        error.clone()
    }
}

/// Waits for a state of the world instead of a time.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = timeout(SOON, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(Duration::from_millis(10)).await;
        }
    });
    found
        .await
        .unwrap_or_else(|_| panic!("not within {SOON:?}: {what}"))
}
