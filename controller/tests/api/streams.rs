//! Streams over the API: made, started, watched, deleted.

use std::time::Duration;

use serde_json::json;

use super::server::Server;

#[tokio::test]
async fn a_stream_is_made_replaced_and_asked_for_its_state() {
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
}

#[tokio::test]
async fn one_of_several_streams_has_to_be_named_and_can_be_deleted() {
    let server = Server::plain().await;
    server.call("PUT", "/streams/main", "{}").await;
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
    assert!(lasted < Duration::from_secs(5), "{lasted:?}");
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
