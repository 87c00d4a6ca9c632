//! What the owner of an OBS does, and what was made of it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Hand, Obs};
use crate::controller::Controller;
use crate::wait;

/// The scene that the owner airs.
pub const SCENE: &str = "Owner Live";
/// The source in it.
pub const SOURCE: &str = "Camera";

const SOON: Duration = Duration::from_secs(40);

/// OBS as its owner leaves it: set to the ingest, on the scene that is going to be aired, the camera off.
pub fn prepared(obs: &Obs, server: &str, key: &str) -> Hand {
    let mut hand = obs.hand();
    wait::until("its scenes are there", SOON, || {
        let scenes = hand.scenes();
        scenes.iter().any(|scene| scene == SCENE).then_some(())
    });
    hand.colour(SCENE, SOURCE);
    hand.ask("SetCurrentProgramScene", json!({ "sceneName": SCENE }));
    hand.stream_to(server, key);
    hand
}

/// When OBS was told to stream for the last time.
pub fn told_to_stream(controller: &Controller) -> Timestamp {
    let log = controller.controller_log();
    let lines = log.lines().rev();
    let told = lines
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|line| line["act"] == "StartStream");
    let told = told.expect("OBS was told to stream");
    let at = told["timestamp"].as_str().expect("a time");
    at.parse().expect("RFC 3339")
}

/// The newest live session in the record.
pub fn newest_session(controller: &Controller) -> Value {
    controller.get("/health/transitions?stream_id=main")["sessions"][0].clone()
}
