//! The API's contract, with the real controller over real sockets.

#![expect(
    clippy::unwrap_used,
    reason = "a harness that cannot do its part is a failed test"
)]

mod access;
mod history;
mod media;
mod openapi;
mod schedule;
mod server;
mod streams;

use serde_json::Value;

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
