//! How soon MediaMTX is answered: its hooks, and its question who may publish.

use std::time::{Duration, Instant};

use e2e::controller::{Controller, Setup};
use e2e::http;
use e2e::media;
use e2e::stage::{self, Stage};
use e2e::storm::percentile;
use serde_json::{Value, json};

use crate::table::Table;

const SOON: Duration = Duration::from_secs(20);
const CALLS: usize = 1_000;
/// Keys an answer has to look through.
const KEYS: usize = 100;

pub(crate) fn measure(table: &mut Table) {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let stage = Stage::start(Setup::local(folder.path()), stage::main(), "long.mp4");
    let controller = &stage.controller;
    let make = || controller.call("POST", "/ingest/keys", &json!({})).json();
    let keys: Vec<Value> = std::iter::repeat_with(make).take(KEYS).collect();
    let key = keys.last().and_then(|made| made["key"].as_str());

    let event =
        json!({"path": "live/main/in", "query": "", "sourceType": "rtmpConn", "sourceId": "a1"});
    let ready = took(controller, "/v1/mediamtx/events/ready", 202, &event);
    table.at_most("MediaMTX's hook: answer, p99 of 1,000", ready, 20.0, "ms");
    let question = json!({"ip": "203.0.113.9", "user": "owner", "password": key, "token": "", "action": "publish",
                          "path": "live/main/in", "protocol": "rtmp", "id": null, "query": "", "userAgent": ""});
    let allowed = took(controller, "/v1/mediamtx/auth", 204, &question);
    table.at_most(
        "MediaMTX's question who may publish, 100 keys: answer, p99 of 1,000",
        allowed,
        5.0,
        "ms",
    );
}

/// The 99th percentile in ms, each call on a connection of its own as MediaMTX makes them.
fn took(controller: &Controller, path: &str, wanted: u16, body: &Value) -> f64 {
    let body = body.to_string();
    let headers = [("Content-Type", "application/json")];
    let times: Vec<Duration> = (0..CALLS)
        .map(|_| {
            let begun = Instant::now();
            let answer = http::request(
                controller.address(),
                "POST",
                path,
                &headers,
                body.as_bytes(),
                SOON,
            );
            let took = begun.elapsed();
            let answer = answer.expect("the controller answers");
            assert_eq!(answer.status, wanted, "{}", answer.text());
            took
        })
        .collect();
    percentile(&times, 0.99).as_secs_f64() * 1_000.0
}
