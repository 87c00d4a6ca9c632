//! The API's contract, with the real controller over real sockets.

#![expect(
    clippy::unwrap_used,
    reason = "a harness that cannot do its part is a failed test"
)]

mod history;
mod media;
mod openapi;
mod schedule;
mod server;

use serde_json::{Value, json};

use server::Server;

#[tokio::test]
async fn every_refusal_has_one_shape() {
    let server = Server::plain().await;
    server.get("/nowhere").await.refused(404, "not_found");
    server
        .get("/streams/main/nowhere")
        .await
        .refused(404, "not_found");
    server
        .get("/page/../../etc/passwd")
        .await
        .refused(404, "not_found");
    let answer = server.call("DELETE", "/health", "").await;
    answer.refused(405, "method_not_allowed");
    assert!(answer.header("allow").contains("GET"));

    let start = async |kind, body: &str| {
        let headers = [("content-type", kind)];
        server
            .send("POST", "/streams/start", &headers, body.to_owned())
            .await
    };
    let json = "application/json";
    start("text/plain", r#"{"stream_id": "main"}"#)
        .await
        .refused(415, "not_json");
    start(json, r#"{"stream_id": "#)
        .await
        .refused(400, "malformed_json");
    start(json, r#"{"stream": "main"}"#)
        .await
        .refused(422, "invalid_body");
    start(json, r#"{"stream_id": "../x"}"#)
        .await
        .refused(422, "invalid_body");
    start(json, &" ".repeat(300 * 1024))
        .await
        .refused(413, "body_too_large");
    server
        .call("PUT", "/streams/main", "")
        .await
        .refused(400, "no_body");
    server
        .get("/streams/Main")
        .await
        .refused(422, "invalid_stream_id");
    server
        .get("/streams/status?id=main")
        .await
        .refused(400, "invalid_query");
}

#[tokio::test]
async fn a_stream_lives_from_put_to_delete() {
    let server = Server::plain().await;
    assert_eq!(server.get("/streams").await.json(), json!({"streams": []}));
    assert_eq!(
        server.get("/streams/status").await.json(),
        json!({"streams": []})
    );
    server
        .call("POST", "/streams/start", "")
        .await
        .refused(404, "unknown_stream");

    let put = server.call("PUT", "/streams/main", "{}").await;
    assert_eq!(
        (put.status, &put.json()["applied"]),
        (201, &json!("created"))
    );
    let again = server
        .call("PUT", "/streams/main", r#"{"autostart": false}"#)
        .await;
    assert_eq!(
        (again.status, &again.json()["applied"]),
        (200, &json!("saved"))
    );

    let config = server.get("/streams/main").await;
    let back = server
        .call(
            "PUT",
            "/streams/main",
            std::str::from_utf8(&config.body).unwrap(),
        )
        .await;
    assert_eq!(
        back.json()["config"],
        config.json(),
        "what is read can be written back"
    );

    let status = server.get("/streams/status").await.json();
    assert_eq!(
        (&status["stream_id"], &status["state"]),
        (&json!("main"), &json!("stopped"))
    );
    for field in [
        "since",
        "pid",
        "started_at",
        "last_health_check",
        "restarts",
        "exit_code",
        "error",
        "on_air",
        "destinations",
    ] {
        assert!(status.get(field).is_some(), "{field} is in {status}");
    }
    server
        .call("POST", "/streams/stop", "")
        .await
        .refused(404, "not_running");
    server
        .call("POST", "/streams/main/skip", "")
        .await
        .refused(404, "not_running");
    server
        .get("/preview/main/index.m3u8")
        .await
        .refused(404, "not_running");

    server.call("PUT", "/streams/second", "{}").await;
    server
        .call("POST", "/streams/start", "")
        .await
        .refused(422, "stream_not_named");
    let all = server.get("/streams/status").await.json();
    let ids: Vec<_> = all["streams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["stream_id"])
        .collect();
    assert_eq!(ids, ["main", "second"]);
    let one = server.get("/streams/status?stream_id=second").await.json();
    assert_eq!(one["stream_id"], "second");

    assert_eq!(
        server.call("DELETE", "/streams/second", "").await.status,
        204
    );
    server
        .get("/streams/second")
        .await
        .refused(404, "unknown_stream");
    server
        .get("/streams/second/events")
        .await
        .refused(404, "unknown_stream");
    server
        .get("/streams/status?stream_id=second")
        .await
        .refused(404, "unknown_stream");
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_every_mistake() {
    let server = Server::plain().await;
    let wrong = json!({
        "autostrat": true,
        "programme": {"order": "random"},
        "format": {"width": 1279},
        "destinations": [
            {"name": "A!", "url": "http://example.org/live"},
            {"name": "b", "url": "rtmp://example.org/live", "key": "abcd"},
        ],
    });
    let answer = server
        .call("PUT", "/streams/main", &wrong.to_string())
        .await;
    let error = answer.refused(422, "invalid_config");
    let paths: Vec<_> = error["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["path"].as_str().unwrap())
        .collect();
    for path in [
        "autostrat",
        "programme.order",
        "format.width",
        "destinations[0].name",
        "destinations[0].url",
        "destinations[1].key",
    ] {
        assert!(paths.contains(&path), "{path} is in {paths:?}");
    }
    server
        .get("/streams/main")
        .await
        .refused(404, "unknown_stream");
}

#[tokio::test]
async fn a_destination_without_its_key_does_not_start() {
    let server = Server::plain().await;
    let config = json!({"destinations": [
        {"name": "a", "url": "rtmps://a.example/live", "key_env": "A_KEY"},
        {"name": "b", "url": "rtmps://b.example/live", "key_env": "B_KEY"},
    ]});
    server
        .call("PUT", "/streams/main", &config.to_string())
        .await;
    let answer = server.call("POST", "/streams/main/start", "").await;
    let error = answer.refused(422, "invalid_config");
    let said = error["problems"].to_string();
    assert!(said.contains("A_KEY") && said.contains("B_KEY"), "{said}");
}

#[tokio::test]
async fn events_tell_every_state_and_end_with_the_controller() {
    let server = Server::plain().await;
    server.call("PUT", "/streams/main", "{}").await;
    let mut states = Vec::new();
    let watch = server.events("/streams/main/events", |status| {
        states.push(status["state"].as_str().unwrap().to_owned());
        status["state"] == "backoff"
    });
    let start = async {
        let answer = server.call("POST", "/streams/start", "").await;
        assert_eq!(answer.status, 202, "{}", answer.json());
        assert_eq!(answer.json()["desired"], "running");
    };
    // The worker is `false`: it ends at once.
    tokio::join!(watch, start);
    states.dedup();
    assert_eq!(states.last().unwrap(), "backoff", "{states:?}");
    assert_eq!(
        server.call("POST", "/streams/stop", "").await.json()["state"],
        "stopped"
    );
    let lasted = server.end_while_open("/streams/main/events").await;
    assert!(lasted < std::time::Duration::from_secs(2), "{lasted:?}");
}

#[tokio::test]
async fn a_source_is_taken_only_while_running_and_in_known_words() {
    let server = Server::plain().await;
    server.call("PUT", "/streams/main", "{}").await;
    let take = async |body: &str| server.call("POST", "/streams/main/source", body).await;
    take(r#"{"take": "live", "input": "owner"}"#)
        .await
        .refused(404, "not_running");
    take(r#"{"take": "slate"}"#)
        .await
        .refused(404, "not_running");
    take(r#"{"take": "slate", "input": "owner"}"#)
        .await
        .refused(422, "invalid_body");
    take(r#"{"take": "nothing"}"#)
        .await
        .refused(422, "invalid_body");
}

#[tokio::test]
async fn request_ids_are_kept_when_plain_and_made_otherwise() {
    let server = Server::plain().await;
    let id_for = async |sent: &str| {
        let answer = server
            .send("PUT", "/streams/BAD", &[("x-request-id", sent)], "")
            .await;
        answer.header("x-request-id").to_owned()
    };
    assert_eq!(id_for("abc-DEF-123").await, "abc-DEF-123");
    assert!(
        server.log().contains("abc-DEF-123"),
        "the log line carries it"
    );
    for bad in ["a b", "", "x\"y", "ü", &"a".repeat(65)] {
        let made = id_for(bad).await;
        assert!(made != *bad && made.len() == 16, "{bad:?} became {made:?}");
    }
}

#[tokio::test]
async fn with_a_token_only_the_probe_and_the_page_are_open() {
    let server = Server::with(&[("CONTROLLER_API_TOKEN", "correct-horse-battery")]).await;
    for open in [
        "/health/live",
        "/",
        "/page/app.js",
        "/page/style.css",
        "/page/hls.light.min.js",
    ] {
        assert_eq!(server.get(open).await.status, 200, "{open}");
    }
    for closed in [
        "/health",
        "/health/ready",
        "/streams",
        "/streams/main",
        "/streams/status",
        "/media",
        "/metrics",
        "/openapi.json",
        "/preview/main/index.m3u8",
        "/streams/main/events",
    ] {
        let answer = server.get(closed).await;
        answer.refused(401, "unauthorized");
        assert!(
            answer.header("www-authenticate").starts_with("Bearer"),
            "{closed}"
        );
    }
    server
        .call("POST", "/streams/start", "")
        .await
        .refused(401, "unauthorized");
    server
        .call("PUT", "/streams/main", "{}")
        .await
        .refused(401, "unauthorized");
    let with = async |value| {
        server
            .send("GET", "/health", &[("authorization", value)], "")
            .await
    };
    assert_eq!(with("Bearer correct-horse-battery").await.status, 200);
    for wrong in [
        "Bearer correct-horse-batter",
        "Basic correct-horse-battery",
        "Bearer ",
    ] {
        with(wrong).await.refused(401, "unauthorized");
    }
    assert!(
        !server.log().contains("correct-horse"),
        "the log holds no token"
    );
}

#[tokio::test]
async fn another_host_or_origin_gets_nothing_done() {
    let server = Server::plain().await;
    let evil = [("host", "evil.example")];
    server
        .send("GET", "/health", &evil, "")
        .await
        .refused(403, "host_refused");
    for ours in ["localhost:1", "[::1]:80", "127.0.0.1"] {
        assert_eq!(
            server
                .send("GET", "/health", &[("host", ours)], "")
                .await
                .status,
            200,
            "{ours}"
        );
    }
    let foreign = [("origin", "https://evil.example")];
    server
        .send("POST", "/streams/stop", &foreign, "")
        .await
        .refused(403, "origin_refused");
    let same = format!("http://{}", server.address);
    let own = server
        .send("POST", "/streams/stop", &[("origin", same.as_str())], "")
        .await;
    own.refused(404, "unknown_stream");
}

#[tokio::test]
async fn cors_is_off_until_origins_are_named() {
    let ask = async |server: &Server, origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "PUT"),
            (
                "access-control-request-headers",
                "authorization,content-type",
            ),
        ];
        let answer = server.send("OPTIONS", "/streams/main", &headers, "").await;
        answer.header("access-control-allow-origin").to_owned()
    };
    let plain = Server::plain().await;
    assert_eq!(ask(&plain, "https://dash.example").await, "");
    let named = [
        ("CONTROLLER_CORS_ORIGINS", "https://dash.example"),
        ("CONTROLLER_API_TOKEN", "correct-horse-battery"),
    ];
    let server = Server::with(&named).await;
    assert_eq!(
        ask(&server, "https://dash.example").await,
        "https://dash.example"
    );
    assert_eq!(ask(&server, "https://evil.example").await, "");
    let refused = server
        .send("GET", "/health", &[("origin", "https://dash.example")], "")
        .await;
    refused.refused(401, "unauthorized");
    assert_eq!(
        refused.header("access-control-allow-origin"),
        "https://dash.example",
        "so that the page can read why"
    );
}

#[tokio::test]
async fn health_tells_the_controller_and_each_stream() {
    let server = Server::plain().await;
    server.call("PUT", "/streams/main", "{}").await;
    server::until("it is ready", async || {
        (server.get("/health/ready").await.status == 200).then_some(())
    })
    .await;
    let health = server.get("/health").await.json();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert!(health["uptime_s"].is_u64());
    assert_eq!(health["streams"][0]["stream_id"], "main");
    assert_eq!(health["streams"][0]["state"], "stopped");
    let metrics = server.get("/metrics").await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(
        metrics
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    assert!(
        text.contains("stream_controller_stream_state{stream=\"main\",state=\"stopped\"} 1\n"),
        "{text}"
    );
}

#[tokio::test]
async fn the_preview_leads_nowhere_else() {
    let server = Server::plain().await;
    server.call("PUT", "/streams/main", "{}").await;
    for path in [
        "/preview/main/..%2f..%2fstream_config.json",
        "/preview/main/%2e%2e",
        "/preview/main/x.json",
        "/preview/main/.ts",
    ] {
        let answer = server.get(path).await;
        assert_eq!(
            answer.refused(404, "not_found")["problems"],
            Value::Null,
            "{path}"
        );
    }
    server
        .get("/preview/..%2fmain/index.m3u8")
        .await
        .refused(422, "invalid_stream_id");
    server
        .get("/preview/other/index.m3u8")
        .await
        .refused(404, "unknown_stream");
}

#[tokio::test]
async fn the_page_needs_nobody_else() {
    let server = Server::plain().await;
    let page = server.get("/").await;
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(
        page.header("content-security-policy")
            .starts_with("default-src 'none'")
    );
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(
        !text.contains("https://"),
        "nothing is fetched from elsewhere"
    );
    for file in text.split('"').filter(|part| part.starts_with("/page/")) {
        let answer = server.get(file).await;
        assert_eq!(answer.status, 200, "{file}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
}
