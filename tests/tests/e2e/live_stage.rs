//! A stream on air, and the ingest it can be taken over through.

use std::path::Path;
use std::time::Duration;

use e2e::controller::{Controller, Setup, binary};
use e2e::media::{self, Clip};
use e2e::process::Child;
use e2e::rtmp::Receiver;
use e2e::stage::{self, OnAir};
pub(crate) use e2e::stage::{config, publish};
use e2e::viewer::Report;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const SOON: Duration = Duration::from_secs(40);

/// The one stream `main`, and a key for its ingest.
pub(crate) struct Stage {
    pub(crate) folder: TempDir,
    pub(crate) receiver: Receiver,
    pub(crate) controller: Controller,
    pub(crate) ingest: String,
    pub(crate) key: String,
    pub(crate) key_id: String,
}

/// What the owner sends: fits the format, a keyframe each second.
pub(crate) fn feed() -> std::path::PathBuf {
    Clip {
        name: "feed.flv",
        seconds: 20.0,
        b_frames: 0,
        gop: 30,
        ..Clip::default()
    }
    .file()
}

impl Stage {
    pub(crate) fn with(live_inputs: Value) -> Self {
        Self::of(json!({ "live_inputs": live_inputs }))
    }

    /// With these fields of the stream's configuration besides the usual ones.
    pub(crate) fn of(fields: Value) -> Self {
        Self::at(Receiver::start(), fields)
    }

    /// The same, with this receiver.
    pub(crate) fn at(receiver: Receiver, fields: Value) -> Self {
        Self::made_of(receiver, fields, |setup| setup)
    }

    /// With more of the controller's own settings.
    pub(crate) fn set_up(fields: Value, more: impl FnOnce(Setup) -> Setup) -> Self {
        Self::made_of(Receiver::start(), fields, more)
    }

    fn made_of(receiver: Receiver, fields: Value, more: impl FnOnce(Setup) -> Setup) -> Self {
        let folder = media::folder(&[("long.mp4", &media::long())]);
        let worker = folder.path().join("stream-worker");
        std::fs::copy(binary("stream-worker"), &worker).expect("copied");
        let setup =
            Setup::local(folder.path()).variable("WORKER_BIN", &worker.display().to_string());
        let streams = vec![("main".to_owned(), receiver, fields)];
        let mut stage = stage::Stage::start(more(setup), streams, "long.mp4");
        let answer = stage.new_key("main");
        let OnAir { receiver, .. } = stage.streams.remove(0);
        Self {
            folder,
            receiver,
            controller: stage.controller,
            ingest: stage.ingest,
            key: answer["key"].as_str().expect("a key").to_owned(),
            key_id: answer["kept"]["id"].as_str().expect("its id").to_owned(),
        }
    }

    pub(crate) fn new() -> Self {
        Self::of(json!({}))
    }

    pub(crate) fn publish(&self, file: &Path, more: &[&str]) -> Child {
        publish(file, more, &format!("{}/{}", self.ingest, self.key))
    }

    /// What the operator says.
    pub(crate) fn take(&self, take: &str) {
        let body = json!({ "take": take });
        let answer = self.controller.call("POST", "/streams/main/source", &body);
        answer.expect(202);
    }

    pub(crate) fn wait_kind(&self, kind: &str) -> Value {
        let what = format!("{kind} on air");
        let is = |status: &Value| status["on_air"]["kind"] == kind;
        self.controller.wait("main", &what, SOON, is)
    }

    /// What is on air now.
    pub(crate) fn kind(&self) -> Value {
        self.controller.status("main")["on_air"]["kind"].clone()
    }

    pub(crate) fn wait_input(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let status = self.controller.wait("main", what, SOON, |status| {
            wanted(&status["live_inputs"][0])
        });
        status["live_inputs"][0].clone()
    }

    /// One unbroken session, whatever was shown in it.
    pub(crate) fn assert_seamless(&self) {
        let connection = self.receiver.only_connection();
        Report::of(&connection.messages).assert_seamless(media::FPS);
    }
}
