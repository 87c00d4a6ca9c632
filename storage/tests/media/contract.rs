//! What every media store does.

use std::sync::Mutex;
use std::time::Duration;

use axum::http::StatusCode;
use storage::media::{MediaErrorKind, MediaStore, UploadProgress};

use crate::bench::{Bench, noise};
use crate::http;

const MINUTE: Duration = Duration::from_secs(60);
const ODD: &str = "shows/ö b+c &=%25 (1)#?.mp4";

macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod bucket {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Bench::s3("").await).await;
            })*
        }
        mod bucket_below_a_prefix {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Bench::s3("tv/on air/").await).await;
            })*
        }
        mod folder {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Bench::local("").await).await;
            })*
        }
        mod folder_below_a_prefix {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Bench::local("tv/on air/").await).await;
            })*
        }
    };
}

contract!(
    lists_what_is_playable_in_key_order,
    lists_more_than_one_page,
    an_empty_store_is_an_empty_list,
    extensions_can_be_configured,
    stat_tells_size_and_a_version_that_follows_the_content,
    a_missing_object_is_told_apart,
    a_signed_address_gives_whole_and_parts,
    a_tampered_address_gives_nothing,
    an_address_expires,
    a_presigned_put_stores_the_body,
    a_put_address_is_not_a_get_address,
    uploads_small_files,
    uploads_large_files_in_parts,
    an_upload_of_nothing_there_stores_nothing,
    deleting_is_idempotent,
    keys_that_could_escape_are_refused,
);

async fn lists_what_is_playable_in_key_order(bench: Bench) {
    for key in [
        "b.mp4",
        "a.MKV",
        "shows/1.mov",
        "shows/2.webm",
        "shows/deep/er/3.ts",
        "showreel.flv",
        ODD,
    ] {
        bench.drop_in(key, b"media");
    }
    for other in [
        "notes.txt",
        "mp4",
        ".hidden.mp4",
        ".trash/x.mp4",
        "a.mp4.part",
    ] {
        bench.drop_in(other, b"other");
    }
    let all = [
        "a.MKV",
        "b.mp4",
        "showreel.flv",
        "shows/1.mov",
        "shows/2.webm",
        "shows/deep/er/3.ts",
        ODD,
    ];
    assert_eq!(bench.keys("").await, all);
    assert_eq!(bench.keys("show").await, all[2..]);
    assert_eq!(bench.keys("shows/").await, all[3..]);
    assert_eq!(bench.keys("shows/2").await, ["shows/2.webm"]);
    assert_eq!(bench.keys("nothing/").await, [""; 0]);
}

async fn lists_more_than_one_page(bench: Bench) {
    let keys: Vec<_> = (0..1050).map(|i| format!("p/{i:05}.mp4")).collect();
    for key in &keys {
        bench.drop_in(key, b"x");
    }
    assert_eq!(bench.keys("p/").await, keys);
}

async fn an_empty_store_is_an_empty_list(bench: Bench) {
    assert_eq!(bench.keys("").await, [""; 0]);
    bench.store.check().await.unwrap();
}

async fn extensions_can_be_configured(bench: Bench) {
    bench.drop_in("a.mp4", b"x");
    bench.drop_in("a.OGV", b"x");
    let mut settings = bench.settings.clone();
    settings.extensions = vec!["ogv".to_owned()];
    let store = MediaStore::open(&settings, crate::bench::keys())
        .await
        .unwrap();
    let keys: Vec<_> = store.list("").await.unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].key, "a.OGV");
}

async fn stat_tells_size_and_a_version_that_follows_the_content(bench: Bench) {
    bench.drop_in(ODD, b"12345");
    let before = bench.store.stat(ODD).await.unwrap();
    assert_eq!((before.key.as_str(), before.size_bytes), (ODD, 5));
    assert!(before.modified.is_some());
    assert_eq!(bench.store.list("").await.unwrap()[0].size_bytes, 5);
    bench.drop_in(ODD, b"123456");
    let after = bench.store.stat(ODD).await.unwrap();
    assert_ne!(before.version(), after.version());
    // What is not playable can still be named.
    bench.drop_in("slates/back soon.png", b"png");
    assert_eq!(
        bench
            .store
            .stat("slates/back soon.png")
            .await
            .unwrap()
            .size_bytes,
        3
    );
}

async fn a_missing_object_is_told_apart(bench: Bench) {
    let error = bench.store.stat("shows/gone.mp4").await.unwrap_err();
    assert_eq!(error.kind, MediaErrorKind::NoSuchKey);
    assert_eq!(error.error_type(), "no_such_key");
    assert_eq!(error.key(), Some("shows/gone.mp4"));
    assert!(error.to_string().contains("\"shows/gone.mp4\""), "{error}");
    let url = bench.store.signed_get("shows/gone.mp4", MINUTE).await;
    let answer = http::get(url.unwrap().expose()).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

async fn a_signed_address_gives_whole_and_parts(bench: Bench) {
    let content = noise(10_000);
    bench.drop_in(ODD, &content);
    let url = bench.store.signed_get(ODD, MINUTE).await.unwrap();
    let url = url.expose();
    let whole = http::get(url).await;
    assert_eq!(whole.status, StatusCode::OK);
    assert!(whole.body == content);
    let part = http::get_range(url, "bytes=100-199").await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.header("content-range"), "bytes 100-199/10000");
    assert_eq!(part.body, content[100..200]);
    let tail = http::get_range(url, "bytes=9900-").await;
    assert_eq!(tail.body, content[9900..]);
    let suffix = http::get_range(url, "bytes=-10").await;
    assert_eq!(suffix.body, content[9990..]);
    let past = http::get_range(url, "bytes=10000-").await;
    assert_eq!(past.status, StatusCode::RANGE_NOT_SATISFIABLE);
}

async fn a_tampered_address_gives_nothing(bench: Bench) {
    bench.drop_in("a.mp4", b"mine");
    bench.drop_in("b.mp4", b"theirs");
    let url = bench.store.signed_get("a.mp4", MINUTE).await.unwrap();
    let url = url.expose();
    assert_eq!(http::get(url).await.text(), "mine");
    let last = if url.ends_with('0') { "1" } else { "0" };
    let another_signature = format!("{}{last}", &url[..url.len() - 1]);
    let another_object = url.replacen("a.mp4", "b.mp4", 1);
    let later = url
        .replace("X-Amz-Expires=60", "X-Amz-Expires=61")
        .replace("expires=1", "expires=2");
    let unsigned = url.split('?').next().unwrap().to_owned();
    for bad in [another_signature, another_object, later, unsigned] {
        assert_ne!(bad, url);
        let answer = http::get(&bad).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{bad}");
        assert!(!answer.text().contains("mine") && !answer.text().contains("theirs"));
    }
}

async fn an_address_expires(bench: Bench) {
    bench.drop_in("a.mp4", b"x");
    let second = Duration::from_secs(1);
    let url = bench.store.signed_get("a.mp4", second).await.unwrap();
    let refused = http::get_until_refused(url.expose()).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

async fn a_presigned_put_stores_the_body(bench: Bench) {
    let content = noise(300_000);
    let url = bench.store.presigned_put(ODD, "video/mp4", MINUTE).await;
    let answer = http::put(url.unwrap().expose(), "video/mp4", content.clone()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert!(bench.content(ODD) == content);
    assert_eq!(bench.keys("").await, [ODD]);
}

async fn a_put_address_is_not_a_get_address(bench: Bench) {
    bench.drop_in("a.mp4", b"old");
    let get = bench.store.signed_get("a.mp4", MINUTE).await.unwrap();
    let put = bench
        .store
        .presigned_put("a.mp4", "video/mp4", MINUTE)
        .await;
    let refused = http::put(get.expose(), "video/mp4", "new").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let refused = http::get(put.unwrap().expose()).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(bench.content("a.mp4"), b"old");
}

async fn uploads_small_files(bench: Bench) {
    let file = bench.file("clip.mp4", b"small");
    let seen = Mutex::new(Vec::new());
    let note = |p: UploadProgress| seen.lock().unwrap().push((p.sent_bytes, p.total_bytes));
    let object = bench.store.upload(&file, ODD, &note).await.unwrap();
    assert_eq!((object.key.as_str(), object.size_bytes), (ODD, 5));
    assert_eq!(bench.content(ODD), b"small");
    assert_eq!(*seen.lock().unwrap(), [(0, 5), (5, 5)]);
}

async fn uploads_large_files_in_parts(bench: Bench) {
    let content = noise(21 * 1024 * 1024 + 7);
    let file = bench.file("film.mp4", &content);
    let seen = Mutex::new(Vec::new());
    let note = |p: UploadProgress| seen.lock().unwrap().push(p.sent_bytes);
    let object = bench.store.upload(&file, "film.mp4", &note).await.unwrap();
    assert_eq!(object.size_bytes, content.len() as u64);
    assert!(bench.content("film.mp4") == content);
    let seen = seen.into_inner().unwrap();
    assert!(seen.len() >= 4 && seen.is_sorted(), "{seen:?}");
    assert_eq!((seen[0], seen.last()), (0, Some(&(content.len() as u64))));
}

async fn an_upload_of_nothing_there_stores_nothing(bench: Bench) {
    let gone = bench.outside.path().join("gone.mp4");
    let error = bench
        .store
        .upload(&gone, "x.mp4", &|_| {})
        .await
        .unwrap_err();
    assert!(matches!(error.kind, MediaErrorKind::Disk(_)), "{error:?}");
    assert_eq!(bench.keys("").await, [""; 0]);
}

async fn deleting_is_idempotent(bench: Bench) {
    bench.drop_in(ODD, b"x");
    bench.drop_in("other.mp4", b"x");
    bench.store.delete(ODD).await.unwrap();
    assert_eq!(bench.keys("").await, ["other.mp4"]);
    bench.store.delete(ODD).await.unwrap();
}

async fn keys_that_could_escape_are_refused(bench: Bench) {
    for key in [
        "",
        "..",
        "../x.mp4",
        "a/../../x.mp4",
        "./x.mp4",
        "/etc/x.mp4",
        "a\0.mp4",
        "a\n.mp4",
    ] {
        let invalid = |kind| matches!(kind, MediaErrorKind::InvalidKey(_));
        let store = &bench.store;
        assert!(invalid(store.stat(key).await.unwrap_err().kind), "{key:?}");
        assert!(
            invalid(store.delete(key).await.unwrap_err().kind),
            "{key:?}"
        );
        let signed = store.signed_get(key, MINUTE).await;
        assert!(invalid(signed.unwrap_err().kind), "{key:?}");
        let signed = store.presigned_put(key, "video/mp4", MINUTE).await;
        assert!(invalid(signed.unwrap_err().kind), "{key:?}");
        let file = bench.file("clip.mp4", b"x");
        let uploaded = store.upload(&file, key, &|_| {}).await;
        assert!(invalid(uploaded.unwrap_err().kind), "{key:?}");
    }
}
