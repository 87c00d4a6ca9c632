//! What an operator is told when a store does not work, and what nobody is ever told.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use jiff::Timestamp;
use storage::media::{Denial, MediaError, MediaErrorKind, MediaStore, UploadProgress};
use storage::secret::Secret;
use tokio::net::TcpListener;

use crate::bench::{self, Bench, KEY_ID, SECRET};

async fn open(settings: &storage::model::StorageSettings) -> MediaStore {
    MediaStore::open(settings, bench::keys()).await.unwrap()
}

/// Nothing listens there: the port was free a moment ago and is in the reserved state of a closed
/// listener now.
async fn dead_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// A server that answers everything with one S3 error.
async fn server_saying(status: u16, code: &str, message: &str, date: &str) -> String {
    let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    let (status, date) = (StatusCode::from_u16(status).unwrap(), date.to_owned());
    let app = Router::new().fallback(move || async move {
        (
            status,
            [("date", date), ("content-type", "application/xml".into())],
            body,
        )
            .into_response()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    endpoint
}

/// Everything an error can show.
fn shown(error: &MediaError) -> String {
    let report = serde_json::to_string(&error.report()).unwrap();
    format!("{error} {error:?} {error:#?} {} {report}", error.hint())
}

#[tokio::test]
async fn a_missing_bucket_is_named_whatever_was_tried() {
    let bench = Bench::s3("").await;
    let mut settings = bench.settings.clone();
    settings.bucket = Some("flims".to_owned());
    let store = open(&settings).await;
    for error in [
        store.check().await.unwrap_err(),
        store.list("").await.unwrap_err(),
        store.stat("a.mp4").await.unwrap_err(),
        // No upload: this server makes a bucket of whatever is put.
    ] {
        assert_eq!(error.kind, MediaErrorKind::NoSuchBucket, "{error}");
        assert!(
            error
                .to_string()
                .contains("bucket \"flims\" at http://127.0.0.1:"),
            "{error}"
        );
        assert!(error.hint().contains("STORAGE_BUCKET"));
    }
}

#[tokio::test]
async fn a_missing_folder_is_named_whatever_was_tried() {
    let bench = Bench::local("").await;
    let gone = bench.root.join("gone");
    let store = open(&bench::local_settings(&gone, "")).await;
    let file = bench.file("x.mp4", b"x");
    for error in [
        store.check().await.unwrap_err(),
        store.list("").await.unwrap_err(),
        store.stat("a.mp4").await.unwrap_err(),
        store.upload(&file, "a.mp4", &|_| {}).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, MediaErrorKind::NoSuchBucket, "{error}");
        assert!(
            error.to_string().contains(&gone.display().to_string()),
            "{error}"
        );
        assert!(
            error.hint().contains("STORAGE_LOCAL_DIR"),
            "{}",
            error.hint()
        );
    }
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_id_are_told_apart() {
    let bench = Bench::s3("").await;
    bench.drop_in("a.mp4", b"x");
    let with = async |id: &str, secret: &str| {
        let keys = Some((Secret::new(id), Secret::new(secret)));
        MediaStore::open(&bench.settings, keys).await.unwrap()
    };
    let store = with(KEY_ID, "another").await;
    for error in [
        store.list("").await.unwrap_err(),
        store.stat("a.mp4").await.unwrap_err(),
    ] {
        let wrong_secret = MediaErrorKind::AccessDenied(Denial::WrongSecret);
        assert_eq!(error.kind, wrong_secret, "{error}");
        assert_eq!(error.error_type(), "access_denied");
        assert!(error.hint().contains("STORAGE_SECRET_ACCESS_KEY"));
    }
    let error = with("AKIDOTHER", SECRET).await.list("").await.unwrap_err();
    // This server answers AccessDenied where AWS answers InvalidAccessKeyId; see the table below.
    assert!(
        matches!(error.kind, MediaErrorKind::AccessDenied(_)),
        "{error}"
    );
}

#[tokio::test]
async fn codes_of_s3_become_reasons() {
    let table = [
        (404, "NoSuchBucket", "no_such_bucket"),
        (403, "InvalidAccessKeyId", "access_denied"),
        (403, "SignatureDoesNotMatch", "access_denied"),
        (403, "AccessDenied", "access_denied"),
        (400, "ExpiredToken", "access_denied"),
        (403, "RequestTimeTooSkewed", "clock_skew"),
        (301, "PermanentRedirect", "wrong_region"),
        (400, "AuthorizationHeaderMalformed", "wrong_region"),
        (400, "EntityTooLarge", "too_large"),
        (418, "SomethingElse", "storage_error"),
    ];
    for (status, code, expected) in table {
        let endpoint = server_saying(status, code, "says the server", "").await;
        let store = open(&bench::s3_settings(&endpoint, "")).await;
        let error = store.list("").await.unwrap_err();
        assert_eq!(error.error_type(), expected, "{code}: {error}");
        assert!(error.to_string().contains(code), "{error}");
        assert!(!error.hint().is_empty());
    }
}

#[tokio::test]
async fn a_throttling_store_is_tried_three_times() {
    let endpoint = server_saying(503, "SlowDown", "please", "").await;
    let store = open(&bench::s3_settings(&endpoint, "")).await;
    let error = store.list("").await.unwrap_err();
    assert_eq!(error.kind, MediaErrorKind::Throttled);
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_wrong_clock_is_told_with_its_difference() {
    let ahead = Timestamp::now() + Duration::from_secs(3600);
    let date = jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&ahead)
        .unwrap();
    let endpoint = server_saying(403, "RequestTimeTooSkewed", "too far", &date).await;
    let store = open(&bench::s3_settings(&endpoint, "")).await;
    let error = store.check().await.unwrap_err();
    let MediaErrorKind::ClockSkew {
        server_ahead_s: Some(seconds),
    } = error.kind
    else {
        panic!("{error:?}");
    };
    assert!((3590..=3600).contains(&seconds), "{seconds}");
    assert!(
        error.to_string().contains("s behind the store's"),
        "{error}"
    );
    assert!(error.hint().contains("timedatectl"));
}

#[tokio::test]
async fn a_dead_endpoint_is_unreachable_and_named() {
    let endpoint = dead_endpoint().await;
    let store = open(&bench::s3_settings(&endpoint, "")).await;
    let error = store.check().await.unwrap_err();
    assert_eq!(error.kind, MediaErrorKind::Unreachable, "{error:?}");
    assert!(error.to_string().contains(&endpoint), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(error.is_transient());
    // Signing needs no network.
    let url = store.signed_get("a.mp4", Duration::from_secs(60)).await;
    assert!(url.unwrap().expose().starts_with(&endpoint));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_never_answers_is_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(listener.accept().await.unwrap());
        }
    });
    let store = open(&bench::s3_settings(&endpoint, "")).await;
    let begun = tokio::time::Instant::now();
    let error = store.check().await.unwrap_err();
    assert_eq!(error.kind, MediaErrorKind::Timeout, "{error:?}");
    // Three attempts of ten seconds and the pauses between them.
    let took = begun.elapsed().as_secs();
    assert!((30..60).contains(&took), "{took} s");
    server.abort();
}

#[tokio::test]
async fn settings_that_do_not_fit_are_refused_at_once() {
    let mut settings = bench::s3_settings("http://127.0.0.1:1", "");
    settings.bucket = None;
    let error = MediaStore::open(&settings, bench::keys())
        .await
        .unwrap_err();
    assert_eq!(error.error_type(), "storage_settings");
    assert!(error.to_string().contains("STORAGE_BUCKET"), "{error}");
    for endpoint in [
        "s3.example.org",
        "https://id:canary@s3.example.org",
        "ftp://h",
    ] {
        let settings = bench::s3_settings(endpoint, "");
        let error = MediaStore::open(&settings, bench::keys())
            .await
            .unwrap_err();
        assert!(error.hint().contains("STORAGE_ENDPOINT"), "{error}");
        assert!(!shown(&error).contains("canary"), "{error:?}");
    }
    for settings in [
        bench::s3_settings("http://127.0.0.1:1", "../other/"),
        bench::local_settings("/".as_ref(), "../other/"),
    ] {
        let error = MediaStore::open(&settings, bench::keys())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("STORAGE_PREFIX"), "{error}");
    }
    let mut settings = bench::local_settings("/".as_ref(), "");
    settings.local_dir = None;
    let error = MediaStore::open(&settings, None).await.unwrap_err();
    assert!(error.to_string().contains("STORAGE_LOCAL_DIR"), "{error}");
}

#[tokio::test]
async fn a_large_upload_that_fails_gives_its_parts_back() {
    let bench = Bench::s3("").await;
    let file = bench.file("film.mp4", &bench::noise(24 * 1024 * 1024));
    // The file shrinks while it is being sent.
    let shrink = |progress: UploadProgress| {
        if progress.sent_bytes > 0 {
            let file = std::fs::File::options().write(true).open(&file).unwrap();
            file.set_len(9 * 1024 * 1024).unwrap();
        }
    };
    bench
        .store
        .upload(&file, "film.mp4", &shrink)
        .await
        .unwrap_err();
    assert_eq!(bench.keys("").await, [""; 0]);
    let server_root = bench.root.parent().unwrap();
    let left: Vec<_> = std::fs::read_dir(server_root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, [bench::BUCKET], "parts were left behind");
}

#[tokio::test]
async fn no_error_shows_a_credential_or_a_signature() {
    let bench = Bench::s3("").await;
    let file = bench.file("x.mp4", b"x");
    let echo = format!("{KEY_ID} with {SECRET} may not");
    let mut stores = vec![
        open(&bench::s3_settings(&dead_endpoint().await, "")).await,
        open(&bench::s3_settings(
            &server_saying(403, "AccessDenied", &echo, "").await,
            "",
        ))
        .await,
        open(&bench::s3_settings(
            &server_saying(200, "?", &echo, "").await,
            "",
        ))
        .await,
    ];
    let mut other = bench.settings.clone();
    other.bucket = Some("flims".to_owned());
    stores.push(open(&other).await);
    let half_right = Some((Secret::new(KEY_ID), Secret::new(format!("{SECRET}x"))));
    stores.push(MediaStore::open(&bench.settings, half_right).await.unwrap());
    let mut errors = 0;
    for store in &stores {
        let failed = [
            store.list("").await.err(),
            store.stat("a.mp4").await.err(),
            store.delete("a.mp4").await.err(),
            store.upload(&file, "a.mp4", &|_| {}).await.err(),
            store
                .signed_get("../a", Duration::from_secs(60))
                .await
                .err(),
        ];
        for error in failed.into_iter().flatten() {
            errors += 1;
            let shown = shown(&error);
            for canary in [KEY_ID, SECRET, "X-Amz-", "Signature=", "Authorization"] {
                assert!(!shown.contains(canary), "{canary} in {shown}");
            }
        }
        let signed = store.signed_get("a.mp4", Duration::from_secs(60)).await;
        let debugged = format!("{store:?} {:?}", signed.unwrap());
        assert!(
            !debugged.contains(KEY_ID) && !debugged.contains(SECRET),
            "{debugged}"
        );
    }
    assert!(errors >= 20, "only {errors} errors were looked at");
}
