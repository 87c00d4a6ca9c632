//! What will air, as it is told, and lists brought in.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::server::Server;

/// A stream with a block over the whole of every day, but for one second, and two objects.
async fn scheduled(server: &Server) {
    for name in ["a", "b"] {
        let path = server.path(&format!("media/{name}.mp4"));
        storage::atomic::write(&path, b"not a film").unwrap();
    }
    let config = json!({"programme": {"schedule": {
        "timezone": "Europe/Berlin",
        "blocks": [{"name": "all", "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
                    "from": "00:00", "to": "23:59:59", "items": [{"key": "gone.mp4"}]}],
        "metadata": {"a.mp4": {"title": "A <film>"}}}}});
    let answer = server
        .call("PUT", "/streams/main", &config.to_string())
        .await;
    assert!(answer.status < 300, "{:?}", answer.json());
}

fn kinds(answer: &Value) -> Vec<&str> {
    let problems = answer["problems"].as_array().unwrap();
    let mut kinds: Vec<_> = problems
        .iter()
        .map(|p| p["kind"].as_str().unwrap())
        .collect();
    kinds.dedup();
    kinds
}

#[tokio::test]
async fn what_will_air_is_told_without_a_gap_and_with_its_problems() {
    let server = Server::plain().await;
    scheduled(&server).await;
    let answer = server.get("/streams/main/schedule?limit=50").await.json();
    assert_eq!(answer["timezone"], "Europe/Berlin");
    let airings = answer["airings"].as_array().unwrap();
    assert!(!airings.is_empty(), "{answer:#}");
    for pair in airings.windows(2) {
        assert_eq!(pair[0]["ends"], pair[1]["begins"]);
    }
    let kinds = kinds(&answer);
    for kind in ["missing_item", "nothing_to_play"] {
        assert!(kinds.contains(&kind), "{answer:#}");
    }
    let guide = server
        .send("GET", "/streams/main/schedule.xml", &[], "")
        .await;
    assert_eq!(guide.status, 200);
    assert!(guide.header("content-type").starts_with("application/xml"));
}

#[tokio::test]
async fn windows_are_bounded() {
    let server = Server::plain().await;
    scheduled(&server).await;
    let now = Timestamp::now();
    let at = |hours: i64| now + jiff::SignedDuration::from_hours(hours);
    for (from, to) in [
        (at(1), at(1)),
        (at(0), at(32 * 24)),
        (at(90 * 24), at(93 * 24)),
        (at(-48), at(-24)),
    ] {
        let path = format!("/streams/main/schedule?from={from}&to={to}");
        server.get(&path).await.refused(422, "invalid_window");
    }
    let path = "/streams/main/schedule?from=tomorrow";
    server.get(path).await.refused(400, "invalid_query");
    let path = "/streams/nobody/schedule";
    server.get(path).await.refused(404, "unknown_stream");
}

#[tokio::test]
async fn a_list_is_brought_in_whole_or_not_at_all() {
    let server = Server::plain().await;
    let binary = [("content-type", "application/octet-stream")];
    let import = |query: &str| format!("/streams/main/schedule/import?{query}");
    let path = import("format=text&block=all");
    server.call("PUT", "/streams/main", "{}").await.json();
    let answer = server.send("POST", &path, &binary, "a.mp4\n").await;
    answer.refused(422, "no_schedule");
    scheduled(&server).await;

    let answer = server.send("POST", &path, &binary, "a.mp4\n../x\n").await;
    let body = answer.refused(422, "invalid_list");
    assert_eq!(body["problems"][0]["path"], "line 2");
    let form = [("content-type", "text/plain")];
    let answer = server.send("POST", &path, &form, "a.mp4\n").await;
    answer.refused(415, "form_refused");
    let items = |config: &Value| config["programme"]["schedule"]["blocks"][0]["items"].clone();
    let before = server.get("/streams/main").await.json();
    assert_eq!(items(&before), json!([{"key": "gone.mp4"}]));

    let list = "a.mp4\nlater.mp4\n";
    let answer = server.send("POST", &path, &binary, list).await.json();
    assert_eq!(answer["blocks"], json!(["all"]), "{answer:#}");
    assert_eq!(answer["missing"], json!(["later.mp4"]));
    let after = server.get("/streams/main").await.json();
    assert_eq!(
        items(&after),
        json!([{"key": "a.mp4"}, {"key": "later.mp4"}])
    );

    // One of them would take back what the other has brought, had both begun from the same.
    let days = (1..=9).map(|n| {
        let day =
            json!({"date": format!("2031-01-0{n}"), "items": [{"at": "20:15", "key": "a.mp4"}]});
        let (server, path) = (&server, import("format=json"));
        async move { server.call("POST", &path, &day.to_string()).await.status }
    });
    for status in futures_util::future::join_all(days).await {
        assert_eq!(status, 200);
    }
    let config = server.get("/streams/main").await.json();
    let blocks = config["programme"]["schedule"]["blocks"].as_array();
    assert_eq!(blocks.unwrap().len(), 1 + 9, "{config:#}");

    let day = json!({"date": "2031-12-24", "items": [{"at": "20:15", "key": "a.mp4"}]});
    let path = import("format=json");
    let answer = server.call("POST", &path, &day.to_string()).await.json();
    assert_eq!(answer["blocks"], json!(["2031-12-24 20:15"]), "{answer:#}");
}
