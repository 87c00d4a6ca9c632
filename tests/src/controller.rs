//! stream-controller as built, in temporary directories, and what an operator does with it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::contract;
use crate::http::{self, Answer};
use crate::media;
use crate::process::{self, Child, LastWill, Process};
use crate::wait;

/// How long a call may take; a stop may take its whole ladder of signals.
const CALL_LIMIT: Duration = Duration::from_secs(40);

/// A controller about to be started: directories, variables and configuration.
#[derive(Debug)]
pub struct Setup {
    directory: TempDir,
    variables: BTreeMap<String, String>,
    streams: serde_json::Map<String, Value>,
    under: Vec<String>,
}

impl Setup {
    /// With fresh directories, and media from `storage` (`STORAGE_*` variables).
    pub fn new(storage: Vec<(String, String)>) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("sc-")
            .tempdir()
            .expect("a temporary directory");
        let setup = Self {
            directory,
            variables: storage.into_iter().collect(),
            streams: serde_json::Map::new(),
            under: Vec::new(),
        };
        let place = |name: &str| setup.directory.path().join(name).display().to_string();
        let (state, runtime, cache) = (place("state"), place("run"), place("cache"));
        setup
            .variable("STATE_DIR", &state)
            .variable("RUNTIME_DIR", &runtime)
            .variable("CACHE_DIR", &cache)
            .variable("CONTROLLER_BIND", "127.0.0.1:0")
            .variable("WORKER_BIN", &binary("stream-worker").display().to_string())
            .variable("FFMPEG_BIN", "ffmpeg")
            .variable("FFPROBE_BIN", "ffprobe")
            .variable("LOG_FORMAT", "json")
            .variable("RUST_LOG", "info")
    }

    /// The directory that will hold `state`, `run` and `cache`.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Media from a local folder.
    pub fn local(folder: &Path) -> Self {
        Self::new(vec![
            ("STORAGE_PROVIDER".into(), "local".into()),
            ("STORAGE_LOCAL_DIR".into(), folder.display().to_string()),
        ])
    }

    /// Sets a variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Has the controller started by a command that ends by executing it, as `nice` does.
    #[must_use]
    pub fn under(mut self, command: Vec<String>) -> Self {
        self.under = command;
        self
    }

    /// Adds a stream.
    #[must_use]
    pub fn stream(mut self, id: &str, config: Value) -> Self {
        self.streams.insert(id.to_owned(), config);
        self
    }

    /// Writes the configuration and starts the controller; it answers when this returns.
    pub fn start(self) -> Controller {
        let state = self.directory.path().join("state");
        fs::create_dir_all(&state).expect("creating STATE_DIR");
        let file = json!({ "version": 1, "streams": self.streams });
        let text = serde_json::to_vec_pretty(&file).expect("JSON");
        fs::write(state.join("stream_config.json"), text).expect("writing the configuration");
        let (child, address) = launch(self.directory.path(), &self.variables, &self.under);
        Controller {
            child,
            address: address.unwrap_or_else(|| {
                panic!(
                    "the controller ended: {}",
                    read(&self.directory.path().join("controller.log"))
                )
            }),
            token: self.variables.get("CONTROLLER_API_TOKEN").cloned(),
            variables: self.variables,
            under: self.under,
            _last_will: LastWill::about(&self.directory.path().join("run")),
            directory: self.directory,
        }
    }
}

/// A stream that pushes the whole bucket to one place, in the tests' usual format.
pub fn to_one(url: &str) -> Value {
    json!({
        "format": media::format(),
        "destinations": [{ "name": "out", "url": format!("{url}/key") }]
    })
}

/// A running controller. Its workers and their FFmpegs end with it when it is dropped.
#[derive(Debug)]
pub struct Controller {
    child: Child,
    address: SocketAddr,
    token: Option<String>,
    variables: BTreeMap<String, String>,
    under: Vec<String>,
    _last_will: LastWill,
    directory: TempDir,
}

impl Controller {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.pid()
    }

    /// The directory that holds `state`, `run`, `cache` and `controller.log`.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Controller, workers and everything they started.
    pub fn family(&self) -> Vec<Process> {
        process::family(Some(self.pid()), &self.directory.path().join("run"))
    }

    /// What the controller and all its workers and FFmpegs have logged.
    pub fn logs(&self) -> String {
        let mut text = read(&self.directory.path().join("controller.log"));
        text.push_str(&self.worker_log());
        text
    }

    /// What the workers have logged.
    pub fn worker_log(&self) -> String {
        let folder = self.directory.path().join("state/logs");
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| read(&entry.path())).collect()
    }

    /// One call.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = match body {
            Value::Null => Vec::new(),
            body => serde_json::to_vec(body).expect("JSON"),
        };
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let mut headers = vec![("Content-Type", "application/json")];
        if let Some(bearer) = &bearer {
            headers.push(("Authorization", bearer));
        }
        let answer = http::request(self.address, method, path, &headers, &body, CALL_LIMIT)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.logs()));
        let faults = match self.document(&headers) {
            Some(document) => contract::faults(document, method, path, &answer),
            None => Vec::new(),
        };
        assert!(
            faults.is_empty(),
            "{method} {path}: {faults:#?} in {}",
            answer.text()
        );
        answer
    }

    /// Its OpenAPI document, to which every answer is held; the same for all controllers of a run.
    fn document(&self, headers: &[(&str, &str)]) -> Option<&'static Value> {
        static DOCUMENT: OnceLock<Value> = OnceLock::new();
        if DOCUMENT.get().is_none() {
            let path = "/openapi.json";
            let answer = http::request(self.address, "GET", path, headers, &[], CALL_LIMIT).ok()?;
            let document = serde_json::from_slice(&answer.body);
            // A controller that is short of something answers the next one.
            drop(DOCUMENT.set(document.ok().filter(|_| answer.status == 200)?));
        }
        DOCUMENT.get()
    }

    /// `GET path`, answered 200.
    pub fn get(&self, path: &str) -> Value {
        self.call("GET", path, &Value::Null).expect(200).json()
    }

    /// `POST /streams/start`; gives the moment before the call.
    pub fn start(&self, id: &str) -> Instant {
        let begun = Instant::now();
        self.call("POST", "/streams/start", &json!({ "stream_id": id }))
            .expect(202);
        begun
    }

    /// `POST /streams/stop`; gives how long it took.
    pub fn stop(&self, id: &str) -> Duration {
        let begun = Instant::now();
        self.call("POST", "/streams/stop", &json!({ "stream_id": id }))
            .expect(200);
        begun.elapsed()
    }

    /// A stream's status.
    pub fn status(&self, id: &str) -> Value {
        self.get(&format!("/streams/status?stream_id={id}"))
    }

    /// Polls a stream's status until it is as wanted; panics with the last one.
    pub fn wait(
        &self,
        id: &str,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut last = Value::Null;
        wait::within(limit, || {
            last = self.status(id);
            wanted(&last).then_some(())
        })
        .unwrap_or_else(|| {
            panic!(
                "{what}: not within {limit:?}; status {last:#}\n{}",
                tail(&self.logs())
            )
        });
        last
    }

    /// Waits for a state by its name.
    pub fn wait_state(&self, id: &str, state: &str, limit: Duration) -> Value {
        self.wait(id, state, limit, |status| status["state"] == state)
    }

    /// Waits until `key` is on air.
    pub fn wait_on_air(&self, id: &str, key: &str, limit: Duration) -> Value {
        let what = format!("{key} on air");
        self.wait(id, &what, limit, |status| status["on_air"]["item"] == key)
    }

    /// The worker's process id, as the status tells it.
    pub fn worker_pid(&self, id: &str) -> i32 {
        let pid = self.status(id)["pid"].as_i64().expect("a running worker");
        i32::try_from(pid).expect("a process id")
    }

    /// The FFmpegs of a worker, by a part of their arguments.
    pub fn ffmpegs(&self, argument: &str) -> Vec<Process> {
        let mut family = self.family();
        family.retain(|p| {
            p.state != 'Z' && p.name.starts_with("ffmpeg") && p.command_line().contains(argument)
        });
        family
    }

    /// Sends the controller a signal.
    pub fn signal(&self, signal: Signal) {
        self.child.signal(signal);
    }

    /// Waits for the controller's own end.
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        self.child.wait(limit)
    }

    /// Kills the controller, and nothing else, without warning.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Starts it again on the same directories.
    pub fn start_again(&mut self) {
        let (child, address) = launch(self.directory.path(), &self.variables, &self.under);
        self.child = child;
        self.address = address.expect("the controller starts again");
    }

    /// Starts another one on the same directories, which is expected to refuse: its exit code and
    /// what it said.
    pub fn start_second(&self) -> (i32, String) {
        let before = self.controller_log().len();
        let (mut child, _) = launch(self.directory.path(), &self.variables, &self.under);
        let status = child.wait(CALL_LIMIT);
        let said = self.controller_log().split_off(before);
        (process::code(status), said)
    }

    /// What the controller itself has logged.
    pub fn controller_log(&self) -> String {
        read(&self.directory.path().join("controller.log"))
    }

    /// The variables it runs with.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// Runs a script of the repository against this controller.
    pub fn script(&self, name: &str, arguments: &[&str]) -> (i32, String) {
        self.script_with(name, arguments, &BTreeMap::new())
    }

    /// The same with more variables.
    pub fn script_with(
        &self,
        name: &str,
        arguments: &[&str],
        variables: &BTreeMap<String, String>,
    ) -> (i32, String) {
        let script = repository().join("scripts").join(name);
        let mut command = std::process::Command::new("timeout");
        command.arg("30").arg(&script).args(arguments);
        command.envs(variables);
        command.env("CONTROLLER_URL", format!("http://{}", self.address));
        command.env("CONTROLLER_BIN", binary("stream-controller"));
        if let Some(token) = &self.token {
            command.env("CONTROLLER_API_TOKEN", token);
        }
        let output = command.output().expect("starting a script");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        (process::code(output.status), text)
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if std::thread::panicking() {
            report(&self.logs());
        }
        let family = self.family();
        for process in family {
            process::signal(process.pid, Signal::SIGKILL);
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the test runner shows it with the failed test"
)]
fn report(logs: &str) {
    eprintln!("--- last log lines ---\n{}", tail(logs));
}

/// Starts a controller; its address is `None` when it ended instead of listening.
fn launch(
    directory: &Path,
    variables: &BTreeMap<String, String>,
    under: &[String],
) -> (Child, Option<SocketAddr>) {
    let log = directory.join("controller.log");
    let before = read(&log).len();
    let program = binary("stream-controller");
    let mut command = match under {
        [] => process::command(program),
        [first, rest @ ..] => {
            let mut command = process::command(first);
            command.args(rest).arg(program);
            command
        }
    };
    command.env_clear().envs(variables);
    for inherited in ["PATH", "HOME"] {
        command.envs(std::env::var_os(inherited).map(|value| (inherited, value)));
    }
    command.stdout(append(&log)).stderr(append(&log));
    command.current_dir(directory);
    let mut child = Child::spawn(&mut command);
    let found = wait::within(CALL_LIMIT, || {
        let said = read(&log).split_off(before);
        match said.lines().find_map(serving_at) {
            Some(address) => Some(Some(address)),
            None => child.exit().map(|_| None),
        }
    });
    let address = found.unwrap_or_else(|| panic!("neither serves nor ends: {}", read(&log)));
    (child, address)
}

/// The address in the log line that tells it.
fn serving_at(line: &str) -> Option<SocketAddr> {
    let event: Value = serde_json::from_str(line).ok()?;
    (event["message"] == "serving").then(|| event["address"].as_str()?.parse().ok())?
}

fn append(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    options.open(path).expect("opening the log")
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// A binary of this workspace, built in the same profile as the running test.
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the test's own path");
    let found = own
        .ancestors()
        .map(|dir| dir.join(name))
        .find(|p| p.is_file());
    found.unwrap_or_else(|| panic!("{name} is not built: run `cargo build` first"))
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests/ is below the root").to_owned()
}
