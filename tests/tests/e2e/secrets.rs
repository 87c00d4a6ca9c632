//! Keys and signed addresses are never where somebody could read them.

use std::time::Duration;

use e2e::canary::{self, API_TOKEN, OTHER_STREAM_KEY, STREAM_KEY, Watch};
use e2e::controller::Setup;
use e2e::media::{self, bad};
use e2e::rtmp::{Manners, Receiver};
use e2e::s3::{Bucket, Fault};
use e2e::{http, wait};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(40);

#[test]
fn no_secret_is_seen_in_processes_logs_answers_or_files() {
    let bucket = Bucket::with(&[("a.mp4", &bad::good()), ("b.mp4", &media::ten()[0].1)]);
    let (good, rejecting) = (Receiver::start(), Receiver::start());
    rejecting.behave(Manners::RejectKey);
    let config = json!({
        "format": media::format(),
        "destinations": [
            { "name": "good", "url": good.url(), "key_env": "GOOD_KEY" },
            { "name": "rejecting", "url": rejecting.url(), "key_env": "REJECTED_KEY" }
        ],
        "retry": { "initial_s": 0.2 }
    });
    let controller = Setup::new(bucket.environment())
        .variable("GOOD_KEY", STREAM_KEY)
        .variable("REJECTED_KEY", OTHER_STREAM_KEY)
        .variable("CONTROLLER_API_TOKEN", API_TOKEN)
        .variable("RUST_LOG", "debug")
        .stream("main", config)
        .start();
    let watch = Watch::start(controller.pid(), controller.directory().join("run"));
    let bare = |path: &str| {
        http::request(controller.address(), "GET", path, &[], &[], SOON)
            .unwrap()
            .status
    };
    assert_eq!((bare("/streams/status"), bare("/health/live")), (401, 200));

    controller.start("main");
    good.wait_for_span(3_000, SOON);
    assert_eq!(
        good.look(|all| all[0].key.clone()),
        STREAM_KEY,
        "the key arrives whole"
    );
    let rejected = |status: &Value| status["destinations"][1]["error"]["type"] == "key_rejected";
    controller.wait(
        "main",
        "the server's refusal, which repeats the key",
        SOON,
        rejected,
    );
    // FFmpeg's own complaints name addresses, so let it complain: of a bucket that refuses, of a
    // connection that drops, of being killed.
    bucket.fault("mp4", Fault::Status(403));
    controller.call("POST", "/streams/main/skip", &Value::Null);
    wait::observe(Duration::from_secs(3));
    bucket.clear_faults();
    good.drop_connections();
    good.wait_for_media(1, SOON);
    let answers = [
        "/streams/status",
        "/streams",
        "/streams/main",
        "/streams/main/logs?lines=1000",
        "/media",
        "/metrics",
        "/health",
        "/openapi.json",
    ];
    for path in answers {
        let answer = controller.call("GET", path, &Value::Null).expect(200);
        canary::assert_clean(path, &answer.body);
    }
    let (_, said) = controller.script("check_status.sh", &[]);
    canary::assert_clean("check_status.sh", said.as_bytes());
    controller.stop("main");
    let seen = watch.finish();
    assert!(
        seen.contains("ffmpeg") && seen.contains("stream-worker"),
        "{seen:?}"
    );
    canary::assert_files_clean(controller.directory());
    assert!(
        controller.worker_log().contains("[FFMPEG]"),
        "FFmpeg's own words are logged"
    );
}
