//! An installation of its own for each test: directories, the real controller, scripted workers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use supervise::watch::Watched;
use supervise::{Child, ExitReason, Output, Spec};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Nothing here takes longer on a machine that is not on fire, unless a test says so.
pub(crate) const SOON: Duration = Duration::from_secs(40);

/// Directories that outlive the controllers of one test.
pub(crate) struct Site {
    dir: TempDir,
    /// Of the next controller.
    variables: BTreeMap<&'static str, String>,
    /// Workers that were seen, to be ended with the test whatever happens in it.
    seen: Mutex<BTreeSet<i32>>,
}

/// A running controller.
pub(crate) struct Controller<'a> {
    site: &'a Site,
    pub(crate) child: Child,
    address: String,
}

// === impl Site ===

impl Site {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            variables: BTreeMap::new(),
            seen: Mutex::default(),
        }
    }

    /// Sets a variable of the controllers started from now on.
    pub(crate) fn variable(&mut self, name: &'static str, value: &str) {
        self.variables.insert(name, value.to_owned());
    }

    /// A site with one configured stream, `main`, of this script.
    pub(crate) fn with_script(script: &str) -> Self {
        let site = Self::new();
        let stream = stream(script);
        site.write_config(&format!(
            r#"{{"version": 1, "streams": {{"main": {stream}}}}}"#
        ));
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn write_config(&self, text: &str) {
        storage::atomic::write(&self.path("stream_config.json"), text.as_bytes()).unwrap();
    }

    fn spec(&self, log: &Path) -> Spec {
        let mut spec = Spec::new(env!("CARGO_BIN_EXE_stream-controller"));
        for (name, value) in &self.variables {
            spec = spec.env(*name, value);
        }
        spec.env("STATE_DIR", self.dir.path())
            .env("CONTROLLER_BIND", "127.0.0.1:0")
            .env("WORKER_BIN", scripted_worker())
            .env("LOG_FORMAT", "json")
            .env("MAIN_KEY", "canary-key-1234")
            .stderr(Output::File(File::create(log).unwrap()))
    }

    /// Starts a controller and waits until it is ready.
    pub(crate) async fn controller(&self) -> Controller<'_> {
        let log = self.path("controller.err");
        let child = supervise::spawn(self.spec(&log)).unwrap();
        let address = until(SOON, "the controller serves", async || {
            let text = std::fs::read_to_string(&log).unwrap();
            let line = text.lines().find(|line| line.contains(r#""serving""#))?;
            let event: Value = serde_json::from_str(line).ok()?;
            Some(event["address"].as_str()?.to_owned())
        })
        .await;
        let controller = Controller {
            site: self,
            child,
            address,
        };
        until(SOON, "the controller is ready", async || {
            (controller.get("/health/ready").await.0 == 200).then_some(())
        })
        .await;
        controller
    }

    /// Runs a controller that is expected not to serve; its exit and what it said.
    pub(crate) async fn refused(&self) -> (ExitReason, String) {
        let log = self.path("refused.err");
        let mut child = supervise::spawn(self.spec(&log)).unwrap();
        let exit = timeout(SOON, child.wait()).await.expect("it ends");
        (exit, std::fs::read_to_string(log).unwrap())
    }

    fn saw(&self, status: &Value) {
        if let Some(pid) = status["pid"].as_i64() {
            let pid = i32::try_from(pid).unwrap();
            self.seen.lock().unwrap().insert(pid);
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let seen = self
            .seen
            .lock()
            .unwrap_or_else(|broken| broken.into_inner());
        for pid in &*seen {
            if let Ok(watched) = Watched::open(*pid)
                && self.is_worker(*pid)
            {
                // It may have ended meanwhile.
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(watched.pid()),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
        }
    }
}

impl Site {
    /// Whether `pid` is a worker of this very site.
    pub(crate) fn is_worker(&self, pid: i32) -> bool {
        let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.contains(&self.dir.path().display().to_string())
    }
}

// === impl Controller ===

impl Controller<'_> {
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, "").await
    }

    pub(crate) async fn post(&self, path: &str) -> (u16, Value) {
        self.call("POST", path, "").await
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driven = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address)
            .header("content-type", "application/json")
            .body(Full::new(bytes::Bytes::from(body.to_owned())))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        driven.abort();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    pub(crate) async fn status(&self) -> Value {
        let (code, status) = self.get("/streams/status?stream_id=main").await;
        assert_eq!(code, 200, "{status}");
        self.site.saw(&status);
        status
    }

    /// Waits until the stream is in `state`.
    pub(crate) async fn state(&self, state: &str) -> Value {
        let mut last = Value::Null;
        let found = timeout(SOON, async {
            loop {
                last = self.status().await;
                if last["state"] == state {
                    return;
                }
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        assert!(found.is_ok(), "not {state} but {last}");
        last
    }

    /// Waits until the end of a worker that was on air is noticed, the `restarts`th; the status then.
    pub(crate) async fn noticed(&self, restarts: u64) -> Value {
        until(SOON, "its end is noticed", async || {
            let status = self.status().await;
            let noticed = status["state"] == "backoff" || status["restarts"] == restarts;
            noticed.then_some(status)
        })
        .await
    }

    /// Starts the stream and waits until it is on air; the worker's pid.
    pub(crate) async fn on_air(&self) -> i32 {
        let (code, answer) = self.post("/streams/start").await;
        assert_eq!(code, 202, "{answer}");
        pid(&self.state("running").await)
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.child.pid(), signal).unwrap();
    }

    /// Kills the controller as a power cut would.
    pub(crate) async fn crash(mut self) {
        self.child.kill_now();
        self.child.wait().await;
    }

    /// Signals the controller and waits for its end.
    pub(crate) async fn end(mut self, signal: nix::sys::signal::Signal) -> ExitReason {
        self.signal(signal);
        timeout(SOON, self.child.wait()).await.expect("it ends")
    }
}

/// The configuration of a stream of this script, with one keyed destination.
pub(crate) fn stream(script: &str) -> String {
    format!(
        r#"{{"programme": {{"items": [{{"key": "{script}"}}]}},
            "destinations": [{{"name": "main", "url": "rtmp://127.0.0.1:1/live", "key_env": "MAIN_KEY"}}]}}"#
    )
}

pub(crate) fn pid(status: &Value) -> i32 {
    i32::try_from(status["pid"].as_i64().expect("there is a worker")).unwrap()
}

/// Asks until there is an answer.
pub(crate) async fn until<T>(
    patience: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn is_alive(pid: i32) -> bool {
    Watched::open(pid).is_ok_and(|watched| !watched.has_exited())
}

fn scripted_worker() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile_dir = test.ancestors().nth(2).unwrap();
    let worker = profile_dir.join("examples/scripted-worker");
    assert!(
        worker.exists(),
        "{} is missing: run `cargo test -p controller`, or build it with `cargo build -p controller --examples`",
        worker.display()
    );
    worker
}
