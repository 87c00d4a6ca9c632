//! Streams on air, and the ingest at which each of them can be taken over.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::controller::{Controller, Setup, to_one};
use crate::nginx::free_address;
use crate::process::{self, Child};
use crate::rtmp::Receiver;

const SOON: Duration = Duration::from_secs(40);

/// A stream of a [`Stage`], and who receives it.
#[derive(Debug)]
pub struct OnAir {
    /// Its id.
    pub stream: String,
    /// Where it pushes to.
    pub receiver: Receiver,
}

/// Streams that are on air.
#[derive(Debug)]
pub struct Stage {
    /// What runs them.
    pub controller: Controller,
    /// All of them, as they were asked for.
    pub streams: Vec<OnAir>,
    /// `rtmp://ADDRESS/live`.
    pub ingest: String,
}

/// A stream's configuration: the usual fields, and these.
pub fn config(receiver: &Receiver, fields: Value) -> Value {
    let mut config = to_one(&receiver.url());
    let all = config.as_object_mut().expect("an object");
    if let Value::Object(fields) = fields {
        all.extend(fields);
    }
    config
}

/// Plays `file` again and again, as an encoder would.
pub fn publish(file: &Path, more: &[&str], url: &str) -> Child {
    let mut command = process::command("ffmpeg");
    command.args(["-v", "error", "-re", "-stream_loop", "-1", "-i"]);
    command.arg(file).args(more);
    command.args(["-f", "flv", url]).stderr(Stdio::null());
    Child::spawn(&mut command)
}

/// One stream, `main`, with the usual configuration.
pub fn main() -> Vec<(String, Receiver, Value)> {
    vec![("main".to_owned(), Receiver::start(), json!({}))]
}

// === impl Stage ===

impl Stage {
    /// Starts these streams, each with more fields than the usual ones; their viewers see `item` when this
    /// returns.
    pub fn start(setup: Setup, streams: Vec<(String, Receiver, Value)>, item: &str) -> Self {
        let address = free_address().to_string();
        let mut setup = setup.variable("INGEST_BIND", &address);
        let mut on_air = Vec::new();
        for (stream, receiver, fields) in streams {
            setup = setup.stream(&stream, config(&receiver, fields));
            on_air.push(OnAir { stream, receiver });
        }
        let controller = setup.start();
        for OnAir { stream, .. } in &on_air {
            controller.start(stream);
        }
        for OnAir { stream, receiver } in &on_air {
            controller.wait_on_air(stream, item, SOON);
            // On air is what the worker sends; the viewer has it a connection later.
            receiver.wait_for_span(1_000, SOON);
        }
        Self {
            controller,
            streams: on_air,
            ingest: format!("rtmp://{address}/live"),
        }
    }

    /// The first stream's receiver.
    pub fn receiver(&self) -> &Receiver {
        &self.streams[0].receiver
    }

    /// What is answered to somebody who wants to publish to `stream`: the key, and what is kept of it.
    pub fn new_key(&self, stream: &str) -> Value {
        let asked = json!({ "stream_id": stream });
        let answer = self.controller.call("POST", "/ingest/keys", &asked);
        answer.expect(201).json()
    }

    /// Where somebody with a new key of `stream` publishes.
    pub fn address(&self, stream: &str) -> String {
        let answer = self.new_key(stream);
        format!("{}/{}", self.ingest, answer["key"].as_str().expect("a key"))
    }

    /// Sends `file`, as it is, to each of the streams.
    pub fn publish_to_all(&self, file: &Path) -> Vec<Child> {
        let urls = self.streams.iter().map(|it| self.address(&it.stream));
        urls.map(|url| publish(file, &["-c", "copy"], &url))
            .collect()
    }

    /// Waits until this kind of thing is on air.
    pub fn wait_kind(&self, stream: &str, kind: &str) -> Value {
        let what = format!("{kind} on air");
        let is = |status: &Value| status["on_air"]["kind"] == kind;
        self.controller.wait(stream, &what, SOON, is)
    }

    /// The same of all streams.
    pub fn wait_all(&self, kind: &str) {
        for OnAir { stream, .. } in &self.streams {
            self.wait_kind(stream, kind);
        }
    }
}
