//! Who may call, from where, and how a call is found again in the log.

use super::server::Server;

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
