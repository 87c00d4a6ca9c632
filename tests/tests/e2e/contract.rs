//! Every operation of the API, called rightly and wrongly while a stream is on air: what comes back is
//! what its OpenAPI document says. `Controller::call` holds all other tests' answers to it as well.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use e2e::contract::{operation, operations};
use e2e::controller::{Setup, to_one};
use e2e::http::Answer;
use e2e::media;
use e2e::nginx::free_address;
use e2e::rtmp::Receiver;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(40);
/// An answer without an end, read by the tests of the API; and one that is waited for.
const APART: [&str; 2] = ["GET /streams/{id}/events", "GET /preview/{id}/{file}"];

#[test]
fn every_operation_answers_as_the_document_says() {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    fs::write(folder.path().join("broken.mp4"), "nonsense").unwrap();
    let receiver = Receiver::start();
    let mut config = to_one(&receiver.url());
    config["programme"]["schedule"] = json!({ "timezone": "Europe/Berlin", "blocks": [
        { "name": "morning", "days": ["mon"], "from": "06:00", "to": "07:00", "items": [{ "key": "long.mp4" }] }] });
    let lost = json!({ "name": "lost", "url": format!("rtmp://{}/live/key", free_address()) });
    config["destinations"].as_array_mut().unwrap().push(lost);
    let controller = Setup::local(folder.path())
        .variable("INGEST_BIND", &free_address().to_string())
        .variable("MEDIAMTX_API_URL", "http://127.0.0.1:9")
        .variable("OBS_WEBSOCKET_URL", "ws://127.0.0.1:9")
        .variable("OBS_OWNER_SOURCES", "Camera")
        .variable("OBS_STREAM", "main")
        .stream("main", config.clone())
        .stream("other", json!({}))
        .start();
    let document = controller.get("/openapi.json");
    let mut called = BTreeSet::from(APART.map(str::to_owned));
    let mut call = |method: &str, path: &str, body: Value, wanted: u16| {
        called.extend(operation(&document, method, path));
        controller.call(method, path, &body).expect(wanted)
    };
    call_off_air(&mut call);
    // On air, with a destination that is not.
    call(
        "POST",
        "/streams/start",
        json!({ "stream_id": "main" }),
        202,
    );
    controller.wait("main", "on air", SOON, |status| {
        status["on_air"]["item"] == "long.mp4" && status["destinations"][1]["state"] == "backoff"
    });
    call("PUT", "/streams/main", config, 200);
    call_on_air(&mut call);
    call_schedule_and_media(&mut call);
    call_keys(&mut call);
    call("POST", "/streams/main/upgrade", Value::Null, 200);
    call("POST", "/streams/upgrade", Value::Null, 200);
    let preview = "/preview/main/index.m3u8";
    let begun = || (controller.call("GET", preview, &Value::Null).status == 200).then_some(());
    e2e::wait::within(SOON, begun).expect("a preview");
    call_record(&mut call);
    call("GET", "/health", Value::Null, 200);
    call("POST", "/streams/main/stop", Value::Null, 200);
    call("GET", "/streams/status", Value::Null, 200);

    let all: BTreeSet<String> = operations(&document).into_iter().collect();
    let left: Vec<_> = all.difference(&called).collect();
    assert!(left.is_empty(), "not called: {left:?}");
}

/// Calls, and holds the status of the answer to what was expected.
type Call<'a> = dyn FnMut(&str, &str, Value, u16) -> Answer + 'a;

/// Before anything is on air, and of what is not there.
fn call_off_air(call: &mut Call<'_>) {
    let none = Value::Null;
    for path in [
        "/",
        "/health",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/openapi.json",
        "/streams",
    ] {
        call("GET", path, none.clone(), 200);
    }
    call("GET", "/page/style.css", none.clone(), 200);
    call("GET", "/streams/status?stream_id=main", none.clone(), 200);
    call(
        "POST",
        "/streams/start",
        json!({ "stream_id": "gone" }),
        404,
    );
    call("POST", "/streams/stop", json!({ "stream_id": "main" }), 404);
    for what in ["start", "stop", "skip", "upgrade"] {
        call("POST", &format!("/streams/gone/{what}"), none.clone(), 404);
    }
    call(
        "PUT",
        "/streams/new",
        json!({ "format": { "fps": 500 } }),
        422,
    );
    call("PUT", "/streams/new", json!({}), 201);
    call("DELETE", "/streams/new", none.clone(), 204);
    call("DELETE", "/streams/new", none.clone(), 404);
    call(
        "POST",
        "/v1/mediamtx/auth",
        json!({ "action": "publish", "path": "live/main/in", "password": "?" }),
        401,
    );
    let hook = json!({ "path": "live/main/in", "sourceType": "rtmpConn", "sourceId": "1" });
    for what in ["ready", "not-ready"] {
        call(
            "POST",
            &format!("/v1/mediamtx/events/{what}"),
            hook.clone(),
            202,
        );
    }
}

fn call_on_air(call: &mut Call<'_>) {
    let none = Value::Null;
    call("POST", "/streams/main/start", none.clone(), 409);
    call("GET", "/streams/status", none.clone(), 200);
    call("GET", "/streams/main", none.clone(), 200);
    call("DELETE", "/streams/main", none.clone(), 409);
    call("GET", "/streams/main/logs?lines=5", none.clone(), 200);
    call("POST", "/streams/main/skip", none.clone(), 202);
    for take in ["slate", "card", "programme"] {
        call("POST", "/streams/main/source", json!({ "take": take }), 202);
        call("GET", "/streams/status?stream_id=main", none.clone(), 200);
    }
    call(
        "POST",
        "/streams/main/source",
        json!({ "take": "live", "input": "gone" }),
        409,
    );
}

fn call_schedule_and_media(call: &mut Call<'_>) {
    let none = Value::Null;
    call(
        "GET",
        "/streams/main/schedule?from=yesterday",
        none.clone(),
        400,
    );
    for path in [
        "/streams/main/schedule",
        "/streams/main/schedule.xml",
        "/media",
        "/media?prefix=none/",
    ] {
        call("GET", path, none.clone(), 200);
    }
    let day = json!({ "date": "2099-12-24", "items": [{ "at": "18:00", "key": "gone.mp4" }] });
    call(
        "POST",
        "/streams/main/schedule/import?format=json",
        day,
        200,
    );
    call(
        "POST",
        "/media/upload-url",
        json!({ "key": "new.mp4" }),
        200,
    );
    call(
        "POST",
        "/media/upload-url",
        json!({ "key": "../new.mp4" }),
        422,
    );
}

fn call_keys(call: &mut Call<'_>) {
    let none = Value::Null;
    let key = call(
        "POST",
        "/ingest/keys",
        json!({ "stream_id": "main", "note": "a phone" }),
        201,
    );
    call("GET", "/ingest/keys", none.clone(), 200);
    let key = format!(
        "/ingest/keys/{}",
        key.json()["kept"]["id"].as_str().expect("the id of a key")
    );
    call("DELETE", &key, none.clone(), 204);
    call("DELETE", &key, none.clone(), 404);
}

fn call_record(call: &mut Call<'_>) {
    let none = Value::Null;
    for path in ["uptime", "incidents", "transitions", "metrics"] {
        call(
            "GET",
            &format!("/health/{path}?stream_id=main"),
            none.clone(),
            200,
        );
        call(
            "GET",
            &format!("/health/{path}?stream_id=main&window=x&from=x"),
            none.clone(),
            422,
        );
    }
}
