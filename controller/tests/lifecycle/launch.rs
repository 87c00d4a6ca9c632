//! A worker that takes long to be made: its log is a pipe that nobody reads yet, so opening it waits as
//! it would for a disk that hangs.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Instant;

use nix::libc::O_NONBLOCK;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use super::site::{Controller, SOON, Site, until};
use super::{AT_ONCE, workers};

/// A controller whose stream has been started, and hangs in being made.
async fn launching(site: &Site) -> Controller<'_> {
    let controller = site.controller().await;
    mkfifo(&site.path("logs/main.log"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let (code, status) = controller.post("/streams/start").await;
    assert_eq!((code, status["state"].as_str()), (202, Some("starting")));
    controller
}

/// Lets the worker be made; to be kept as long as the worker may write.
fn open(site: &Site) -> File {
    let mut reader = OpenOptions::new();
    reader.read(true).custom_flags(O_NONBLOCK);
    reader.open(site.path("logs/main.log")).unwrap()
}

fn wanted(site: &Site) -> Value {
    let state: Value = serde_json::from_str(&site.read("stream_state.json")).unwrap();
    state["streams"]["main"]["desired"].clone()
}

#[tokio::test]
async fn who_asks_while_a_worker_is_being_made_is_answered_at_once() {
    let site = Site::with_script("a.mp4");
    let controller = launching(&site).await;
    assert_eq!(wanted(&site), "running", "answered before it was on disk");
    let asked = Instant::now();
    assert_eq!(controller.post("/streams/start").await.0, 409);
    assert_eq!(controller.call("DELETE", "/streams/main", "").await.0, 409);
    let (code, refused) = controller.post("/streams/main/skip").await;
    assert_eq!((code, &refused["error"]["code"]), (409, &"starting".into()));
    let status = controller.status().await;
    assert_eq!(status["state"], "starting");
    assert!(status["pid"].is_null(), "{status}");
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());

    let _log = open(&site);
    controller.state("running").await;
    assert_eq!(workers(&site).len(), 1);
    assert_eq!(controller.post("/streams/stop").await.0, 200);
}

#[tokio::test]
async fn a_stop_while_a_worker_is_being_made_ends_it() {
    let site = Site::with_script("a.mp4");
    let controller = launching(&site).await;
    let stopped = async {
        let (code, status) = controller.post("/streams/stop").await;
        assert_eq!((code, status["state"].as_str()), (200, Some("stopped")));
        assert!(workers(&site).is_empty(), "it answers when none is left");
    };
    let meanwhile = async {
        controller.state("stopping").await;
        until(SOON, "the wish is on disk", async || {
            (wanted(&site) == "stopped").then_some(())
        })
        .await;
        assert_eq!(controller.post("/streams/start").await.0, 409);
        open(&site)
    };
    let ((), _log) = tokio::join!(stopped, meanwhile);
    assert_eq!(controller.post("/streams/start").await.0, 202);
    controller.state("running").await;
    assert_eq!(controller.post("/streams/stop").await.0, 200);
}

#[tokio::test]
async fn a_controller_that_lets_go_waits_for_the_worker_it_makes() {
    let site = Site::with_script("a.mp4");
    let controller = launching(&site).await;
    let (_, _log) = tokio::join!(controller.end(Signal::SIGTERM), async {
        until(SOON, "it is going", async || {
            let log = site.read("controller.err");
            log.contains(r#""ending""#).then_some(())
        })
        .await;
        open(&site)
    });
    let controller = site.controller().await;
    controller.state("running").await;
    assert_eq!(workers(&site).len(), 1);
    assert_eq!(controller.post("/streams/stop").await.0, 200);
}
