//! The air record's routes.

use serde_json::json;

use crate::server::Server;

#[tokio::test]
async fn every_mistake_in_a_query_is_told_at_once() {
    let server = Server::plain().await;
    let answer = server
        .get("/health/incidents?window=1h&stream_id=No&cause=rain&limit=0&colour=red")
        .await;
    answer.refused(422, "invalid_query");
    let problems = answer.json()["error"]["problems"].clone();
    let paths: Vec<_> = problems
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|problem| problem["path"].as_str())
        .collect();
    assert_eq!(paths, ["limit", "window", "stream_id", "cause", "colour"]);

    let answer = server
        .get("/health/metrics?from=yesterday&to=2026-01-31T18:00:00Z&metric=mood&step=1&step=20")
        .await;
    answer.refused(422, "invalid_query");
    let problems = answer.json()["error"]["problems"].clone();
    assert_eq!(problems.as_array().unwrap().len(), 3, "{problems:#}");
    server
        .get("/health/transitions?cause=rain")
        .await
        .refused(422, "invalid_query");
    let backwards = "/health/metrics?from=2026-01-31T18:00:00Z&to=2026-01-30T18:00:00Z";
    server.get(backwards).await.refused(422, "invalid_query");
    let later = "/health/metrics?from=9000-01-01T00:00:00Z";
    server.get(later).await.refused(422, "invalid_query");
    let answer = server.get("/health/uptime?window=31d").await.json();
    let message = &answer["error"]["problems"][0]["message"];
    assert_eq!(message, "\"31d\" is not one of `24h`, `7d`, `30d`");
}

#[tokio::test]
async fn an_empty_record_is_an_answer_and_an_unknown_stream_is_not() {
    let server = Server::plain().await;
    let answer = server.get("/health/uptime?window=30d").await;
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    assert_eq!(
        (&answer["window"], &answer["streams"]),
        (&json!("30d"), &json!([]))
    );
    let answer = server.get("/health/incidents").await.json();
    assert_eq!(
        (&answer["incidents"], &answer["more"]),
        (&json!([]), &json!(false))
    );
    let answer = server.get("/health/transitions").await.json();
    assert_eq!(
        (&answer["sessions"], &answer["steps"]["loss_to_programme"]),
        (
            &json!([]),
            &json!({"count": 0, "p50_s": null, "p95_s": null, "max_s": null})
        )
    );
    for path in ["uptime", "incidents", "transitions", "metrics"] {
        let path = format!("/health/{path}?stream_id=nobody");
        server.get(&path).await.refused(404, "unknown_stream");
    }
    server
        .get("/health/metrics")
        .await
        .refused(404, "unknown_stream");
    // Nothing of a name that is mistyped would be good news.
    let config = r#"{"destinations": [{"name": "out", "url": "rtmp://127.0.0.1:1/live"}]}"#;
    server.call("PUT", "/streams/main", config).await;
    for path in ["incidents", "metrics"] {
        let path = format!("/health/{path}?destination=");
        assert_eq!(server.get(&format!("{path}out")).await.status, 200);
        let other = server.get(&format!("{path}uot")).await;
        other.refused(404, "unknown_destination");
    }
}

#[tokio::test]
async fn the_record_is_behind_the_token_like_everything_else() {
    let server = Server::with(&[("CONTROLLER_API_TOKEN", "t0ken")]).await;
    for path in ["uptime", "incidents", "transitions", "metrics"] {
        let path = format!("/health/{path}");
        server.get(&path).await.refused(401, "unauthorized");
    }
}
