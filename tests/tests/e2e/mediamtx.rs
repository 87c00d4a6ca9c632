//! What MediaMTX does to us: its hooks as it runs them, its API's answers, its question who may.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use e2e::controller::{Controller, Setup, repository};
use e2e::nginx::free_address;
use e2e::{http, media, process, wait};
use serde_json::{Value, json};

use crate::live_stage::Stage;

const LIMIT: Duration = Duration::from_secs(40);
/// As version 1.20 answers `GET /v3/paths/list`.
const LISTED: &str = r#"{"itemCount":1,"pageCount":1,"items":[{"name":"live/main/in","confName":"x",
    "source":{"type":"rtmpConn","id":"a1"},"ready":true,"available":true,"online":true,"tracks":["H264"],
    "tracks2":[{"codec":"H264","codecProps":{}},{"codec":"MPEG-4 Audio","codecProps":{}}],"inboundBytes":4711,"readers":[]}]}"#;
/// The same while nobody publishes.
const EMPTY: &str = r#"{"itemCount":0,"pageCount":0,"items":[]}"#;

fn controller(setup: impl FnOnce(Setup) -> Setup) -> (tempfile::TempDir, Controller) {
    let folder = media::folder(&[("a.mp4", &media::ten()[0].1)]);
    let setup_of = Setup::local(folder.path()).stream("main", json!({"format": media::format()}));
    let controller = setup(setup_of).start();
    (folder, controller)
}

/// Runs the hook as MediaMTX does: no shell, nothing but its environment.
fn hook(
    event: &str,
    controller: SocketAddr,
    variables: &[(&str, &str)],
) -> (i32, String, Duration) {
    let script = repository().join("scripts/mtx-hook");
    let started = Instant::now();
    let mut command = std::process::Command::new(script);
    command.arg(event).env_clear().current_dir("/");
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command.env("CONTROLLER_URL", format!("http://{controller}"));
    command.envs(variables.iter().copied());
    let output = command.output().expect("the hook runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (process::code(output.status), said, started.elapsed())
}

#[test]
fn the_hook_tells_and_says_clearly_when_it_cannot() {
    let (_folder, controller) =
        controller(|setup| setup.variable("CONTROLLER_API_TOKEN", "CANARY-token"));
    let address = controller.address();
    let token = ("CONTROLLER_API_TOKEN", "CANARY-token");
    let of = |path| ("MTX_PATH", path);
    let more = [
        ("MTX_QUERY", "user=u&pass=CANARY-pass"),
        ("MTX_SOURCE_TYPE", "rtmpConn"),
        ("MTX_SOURCE_ID", "5d2c"),
    ];
    // Twice, and in the wrong order: hints, not states.
    for event in ["not-ready", "ready", "ready", "not-ready"] {
        let (code, said, _) = hook(
            event,
            address,
            &[&[token, of("live/main/in")], &more[..]].concat(),
        );
        assert_eq!((code, said.as_str()), (0, ""), "{event}");
    }
    for (path, word) in [
        ("live/none/in", "unknown_stream"),
        ("elsewhere", "invalid_path"),
        ("live/main/on", "invalid_path"),
    ] {
        let (code, said, _) = hook("ready", address, &[token, of(path)]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(word) && said.lines().count() <= 3, "{said}");
    }
    let (code, said, _) = hook("ready", address, &[of("live/main/in")]);
    assert!(
        code == 1 && said.contains("CONTROLLER_API_TOKEN"),
        "{code} {said}"
    );
    let (code, said, _) = hook("ready", address, &[token]);
    assert!(code == 64 && said.contains("MTX_PATH"), "{code} {said}");
    let (code, said, _) = hook("online", address, &[token, of("live/main/in")]);
    assert!(
        code == 64 && said.contains("ready or not-ready"),
        "{code} {said}"
    );

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, said, took) = hook(
        "ready",
        nobody.local_addr().unwrap(),
        &[token, of("live/main/in")],
    );
    assert!(
        code == 3 && said.contains("no answer from"),
        "{code} {said}"
    );
    // It gives up after a second; the rest is the machine's, which starts five programs for it.
    assert!(took < Duration::from_secs(8), "MediaMTX waits: {took:?}");
    assert!(!controller.controller_log().contains("CANARY"));
}

/// Its API: says what `listed` holds to who knows the password. Gives its address.
fn api(listed: &Arc<Mutex<&'static str>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket's address");
    let url = format!("http://{address}");
    let listed = Arc::clone(listed);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut asked = [0; 2048];
            let read = stream.read(&mut asked).unwrap_or(0);
            let asked = String::from_utf8_lossy(&asked[..read]).into_owned();
            // `watcher:CANARY-api` in Base64.
            let known = asked.contains("Basic d2F0Y2hlcjpDQU5BUlktYXBp");
            let status = if known && asked.starts_with("GET /v3/paths/list?") {
                "200 OK"
            } else {
                "401 Unauthorized"
            };
            let body = *listed.lock().expect("nobody panics with it");
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    url
}

#[test]
fn what_its_hooks_do_not_tell_or_tell_wrongly_its_api_corrects_within_two_seconds() {
    /// Two seconds, and what a busy machine adds to them.
    const CORRECTED: Duration = Duration::from_secs(4);
    let listed = Arc::new(Mutex::new(EMPTY));
    let url = api(&listed);
    let (_folder, controller) = controller(|setup| {
        setup
            .variable("CONTROLLER_API_TOKEN", "CANARY-token")
            .variable("MEDIAMTX_API_URL", &url)
            .variable("MEDIAMTX_API_USER", "watcher")
            .variable("MEDIAMTX_API_PASSWORD", "CANARY-api")
    });
    let paths = || controller.get("/health")["mediamtx"]["paths"].clone();
    let becomes = |what: &str, number: usize| {
        let begun = Instant::now();
        wait::until(what, LIMIT, || {
            (paths().as_array()?.len() == number).then_some(())
        });
        let took = begun.elapsed();
        assert!(took <= CORRECTED, "{what}: after {took:?}");
    };
    wait::until("it answers", LIMIT, || {
        (controller.get("/health")["mediamtx"]["reachable"] == true).then_some(())
    });

    // Lost: a feed that came, and one that went, without a word.
    *listed.lock().unwrap() = LISTED;
    becomes("the feed nobody told of", 1);
    *listed.lock().unwrap() = EMPTY;
    becomes("the end nobody told of", 0);

    // Doubled, and out of order: what it lists is what there is.
    let told = [
        ("CONTROLLER_API_TOKEN", "CANARY-token"),
        ("MTX_PATH", "live/main/in"),
    ];
    for event in ["ready", "ready", "not-ready", "ready"] {
        assert_eq!(hook(event, controller.address(), &told).0, 0, "{event}");
    }
    assert_eq!(
        paths(),
        json!([]),
        "there is no feed, whatever the hook says"
    );

    // Forged.
    let forged = [
        ("Authorization", "Bearer guessed"),
        ("Content-Type", "application/json"),
    ];
    let body = br#"{"path": "live/main/in"}"#;
    for event in ["ready", "not-ready"] {
        let path = format!("/v1/mediamtx/events/{event}");
        for headers in [&forged[..], &forged[1..]] {
            let answer = http::request(controller.address(), "POST", &path, headers, body, LIMIT);
            assert_eq!(answer.unwrap().status, 401, "{event}");
        }
    }
    assert!(!controller.controller_log().contains("CANARY"));
}

#[test]
fn its_api_is_asked_and_what_it_says_is_shown() {
    let url = api(&Arc::new(Mutex::new(LISTED)));
    let (_folder, watching) = controller(|setup| {
        setup
            .variable("MEDIAMTX_API_URL", &url)
            .variable("MEDIAMTX_API_USER", "watcher")
            .variable("MEDIAMTX_API_PASSWORD", "CANARY-api")
    });
    let seen = wait::until("the path is seen", LIMIT, || {
        let seen = watching.get("/health")["mediamtx"].clone();
        (seen["reachable"] == true).then_some(seen)
    });
    assert_eq!(
        seen["paths"],
        json!([{"name": "live/main/in", "usable": true, "source": "rtmpConn",
                "tracks": ["H264", "MPEG-4 Audio"], "inbound_bytes": 4711}])
    );
    assert!(!watching.controller_log().contains("CANARY"));

    let (_folder, stranger) = controller(|setup| setup.variable("MEDIAMTX_API_URL", &url));
    let refused = wait::until("the refusal is told", LIMIT, || {
        let seen = stranger.get("/health")["mediamtx"].clone();
        (seen["error"]["type"] == "mediamtx_refused").then_some(seen)
    });
    assert_eq!(refused["reachable"], false);
}

#[test]
fn one_that_is_down_is_told_and_leaves_the_air_alone() {
    let nobody = free_address();
    let url = format!("rtsp://{nobody}/live/main/in");
    let fields = json!({ "live_inputs": [{ "name": "owner", "url": url }] });
    let stage = Stage::set_up(fields, |setup| {
        setup.variable("MEDIAMTX_API_URL", &format!("http://{nobody}"))
    });
    let seen = wait::until("it is told to be away", LIMIT, || {
        let seen = stage.controller.get("/health")["mediamtx"].clone();
        (!seen["error"].is_null()).then_some(seen)
    });
    assert_eq!(seen["error"]["type"], "mediamtx_unreachable", "{seen:#}");
    assert_eq!(seen["reachable"], false);
    let input = stage.wait_input("its feed is told to be away", |input| {
        !input["error"].is_null()
    });
    assert_eq!(input["error"]["type"], "live_unreachable", "{input:#}");
    let (code, said, _) = hook(
        "ready",
        stage.controller.address(),
        &[("MTX_PATH", "live/main/in")],
    );
    assert_eq!(code, 0, "a hook is noted whatever its API does: {said}");
    assert_eq!(stage.kind(), "programme");
    stage.controller.stop("main");
    stage.assert_seamless();
}

#[test]
fn who_may_publish_is_answered_from_the_ingest_keys() {
    let (_folder, controller) = controller(|setup| setup.variable("CONTROLLER_API_TOKEN", "t0ken"));
    let made = controller
        .call("POST", "/ingest/keys", &json!({"note": "studio"}))
        .expect(201)
        .json();
    let key = made["key"].as_str().unwrap();
    assert_eq!(made["kept"]["input"], "ingest");
    let ask = |authorization: &str, question: &Value| {
        let headers = [
            ("Authorization", authorization),
            ("Content-Type", "application/json"),
        ];
        http::request(
            controller.address(),
            "POST",
            "/v1/mediamtx/auth",
            &headers,
            question.to_string().as_bytes(),
            LIMIT,
        )
        .unwrap()
        .status
    };
    // `mediamtx:t0ken` in Base64: the user part of authHTTPAddress.
    let basic = "Basic bWVkaWFtdHg6dDBrZW4=";
    let publish = |path: &str, query: &str| {
        json!({
        "ip": "203.0.113.9", "user": "", "password": "", "token": "", "action": "publish", "path": path,
        "protocol": "rtmp", "id": null, "query": query, "userAgent": "FMLE/3.0"})
    };
    let with = format!("key={key}");
    assert_eq!(ask(basic, &publish("live/main/in", &with)), 204);
    assert_eq!(ask(basic, &publish("live/other/in", &with)), 401);
    assert_eq!(ask(basic, &publish("live/main/in", "key=guess")), 401);
    assert_eq!(
        ask(
            "Basic bWVkaWFtdHg6d3Jvbmc=",
            &publish("live/main/in", &with)
        ),
        401
    );

    let id = made["kept"]["id"].as_str().unwrap();
    let listed = controller.get("/ingest/keys");
    assert_eq!(listed["keys"][0]["id"], id);
    assert!(!listed.to_string().contains(key), "a key is shown once");
    controller
        .call("DELETE", &format!("/ingest/keys/{id}"), &Value::Null)
        .expect(204);
    controller
        .call("DELETE", &format!("/ingest/keys/{id}"), &Value::Null)
        .expect(404);
    assert_eq!(ask(basic, &publish("live/main/in", &with)), 401);
    assert!(!controller.controller_log().contains(key));
    let saved =
        std::fs::read_to_string(controller.directory().join("state/ingest_keys.json")).unwrap();
    assert!(!saved.contains(key));
}
