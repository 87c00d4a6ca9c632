//! The folder's own HTTP side: what it refuses, and what a broken upload leaves behind.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use futures_util::stream;
use storage::media::{MediaErrorKind, MediaStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bench::{self, Bench, MAX_UPLOAD, make, noise};
use crate::http;

const MINUTE: Duration = Duration::from_secs(60);

async fn put_url(bench: &Bench, key: &str) -> String {
    let url = bench.store.presigned_put(key, "video/mp4", MINUTE).await;
    url.unwrap().expose().to_owned()
}

/// All names in the folder, hidden ones too.
fn names(bench: &Bench) -> Vec<String> {
    let entries = fs::read_dir(&bench.root).unwrap();
    entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[tokio::test]
async fn an_expired_address_says_so() {
    let bench = Bench::local("").await;
    bench.drop_in("a.mp4", b"x");
    let url = bench.store.signed_get("a.mp4", Duration::ZERO).await;
    let answer = http::get_until_refused(url.unwrap().expose()).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["error"]["code"], "url_expired");
}

#[tokio::test]
async fn head_works_and_the_type_follows_the_extension() {
    let bench = Bench::local("").await;
    bench.drop_in("a.mp4", b"12345");
    let url = bench.store.signed_get("a.mp4", MINUTE).await.unwrap();
    let answer = http::head(url.expose()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-length"), "5");
    assert_eq!(answer.header("content-type"), "video/mp4");
    assert_eq!(answer.header("accept-ranges"), "bytes");
    assert!(answer.body.is_empty());
}

#[tokio::test]
async fn links_out_of_the_folder_lead_nowhere() {
    let bench = Bench::local("").await;
    let secret = bench.file("secret.mp4", b"secret");
    let outside = bench.outside.path().join("outside");
    make(&outside.join("x.mp4"), b"secret");
    bench.drop_in("real.mp4", b"real");
    symlink(&secret, bench.root.join("link.mp4")).unwrap();
    symlink(&outside, bench.root.join("linked")).unwrap();
    symlink(bench.root.join("real.mp4"), bench.root.join("alias.mp4")).unwrap();
    symlink(&bench.root, bench.root.join("circle")).unwrap();
    symlink("nowhere", bench.root.join("dangling.mp4")).unwrap();
    assert_eq!(bench.keys("").await, ["alias.mp4", "real.mp4"]);
    for key in ["link.mp4", "linked/x.mp4", "dangling.mp4"] {
        let error = bench.store.stat(key).await.unwrap_err();
        assert_eq!(error.kind, MediaErrorKind::NoSuchKey, "{key}");
        let url = bench.store.signed_get(key, MINUTE).await.unwrap();
        let answer = http::get(url.expose()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{key}");
    }
    let answer = http::put(&put_url(&bench, "linked/new.mp4").await, "video/mp4", "x").await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(!outside.join("new.mp4").exists());
    // Writing to a name that is a link replaces the link, not what it leads to.
    let answer = http::put(&put_url(&bench, "link.mp4").await, "video/mp4", "new").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(fs::read(&secret).unwrap(), b"secret");
    assert_eq!(bench.content("link.mp4"), b"new");
}

#[tokio::test]
async fn hidden_files_do_not_exist() {
    let bench = Bench::local("").await;
    bench.drop_in(".env/a.mp4", b"x");
    for key in [".env/a.mp4", ".a.mp4", "x/.a.mp4"] {
        let error = bench.store.stat(key).await.unwrap_err();
        assert_eq!(error.kind, MediaErrorKind::NoSuchKey);
        assert!(bench.store.presigned_put(key, "", MINUTE).await.is_err());
    }
}

#[tokio::test]
async fn a_put_makes_folders_and_replaces_whole_files_only() {
    let bench = Bench::local("").await;
    let answer = http::put(&put_url(&bench, "new/deep/a.mp4").await, "video/mp4", "1").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(bench.content("new/deep/a.mp4"), b"1");
    for in_the_way in ["new/deep", "new/deep/a.mp4/b.mp4"] {
        let answer = http::put(&put_url(&bench, in_the_way).await, "video/mp4", "2").await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{in_the_way}");
    }
    assert_eq!(bench.content("new/deep/a.mp4"), b"1");
}

#[tokio::test]
async fn a_body_that_is_too_large_leaves_nothing() {
    let bench = Bench::local("").await;
    let url = put_url(&bench, "a.mp4").await;
    let length = usize::try_from(MAX_UPLOAD).unwrap() + 1;
    // Announced: refused before a byte is written.
    let announced = Request::put(&url).header("content-length", length);
    let bytes = Bytes::from(noise(length));
    let body = || {
        let chunk = Ok::<_, std::io::Error>(bytes.clone());
        Body::from_stream(stream::iter([chunk]))
    };
    let answer = http::send(announced.body(body()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    // Not announced: cut off when it gets there.
    let answer = http::send(Request::put(&url).body(body()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(names(&bench), [""; 0]);
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_the_old_file() {
    let bench = Bench::local("").await;
    bench.drop_in("a.mp4", b"old");
    let url = put_url(&bench, "a.mp4").await;
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut socket = TcpStream::connect(host).await.unwrap();
    let head = format!("PUT /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 1000\r\n\r\nnew");
    socket.write_all(head.as_bytes()).await.unwrap();
    // Half-closed: the server sees the end of the body before its end, and may still answer.
    socket.shutdown().await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    while names(&bench).len() > 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(bench.content("a.mp4"), b"old");
}

#[tokio::test]
async fn what_a_killed_upload_left_is_removed_a_day_later() {
    let bench = Bench::local("").await;
    let old = ".film.mp4.0123456789abcdef.tmp";
    let running = ".film.mp4.fedcba9876543210.tmp";
    let own = ".film.mp4.notes.tmp";
    for name in [old, running, own] {
        bench.drop_in(name, b"half");
    }
    let yesterday = std::time::SystemTime::now() - Duration::from_hours(25);
    for name in [old, own] {
        let file = fs::File::options().write(true).open(bench.root.join(name));
        file.unwrap().set_modified(yesterday).unwrap();
    }
    let file = bench.file("a.mp4", b"x");
    bench.store.upload(&file, "a.mp4", &|_| {}).await.unwrap();
    let mut left = names(&bench);
    left.sort();
    assert_eq!(left, [running, own, "a.mp4"]);
}

#[tokio::test]
async fn a_folder_that_is_not_served_signs_nothing() {
    let bench = Bench::local("").await;
    let store = MediaStore::Local(bench::open_local(&bench.settings).await);
    let error = store.signed_get("a.mp4", MINUTE).await.unwrap_err();
    assert_eq!(error.error_type(), "storage_settings");
}
