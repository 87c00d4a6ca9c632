//! The loopback server FFmpeg reads from.

use std::time::Duration;

use axum::http::StatusCode;
use storage::media::server::MediaServer;

use crate::bench::{Bench, noise};
use crate::http;

const ODD: &str = "shows/ö b+c &=%25 (1)#?.mp4";

#[tokio::test]
async fn a_folders_ticket_gives_bytes_and_ranges() {
    let bench = Bench::local("tv/").await;
    let content = noise(5000);
    bench.drop_in(ODD, &content);
    let server = MediaServer::start(bench.store.clone()).await.unwrap();
    let ticket = server.ticket(ODD).unwrap();
    assert!(
        ticket.url().starts_with("http://127.0.0.1:"),
        "{}",
        ticket.url()
    );
    assert!(ticket.url().ends_with(".mp4"), "{}", ticket.url());
    assert!(http::get(ticket.url()).await.body == content);
    let part = http::get_range(ticket.url(), "bytes=10-19").await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.body, content[10..20]);
    assert_eq!(
        http::head(ticket.url()).await.header("content-length"),
        "5000"
    );
}

#[tokio::test]
async fn a_buckets_ticket_redirects_to_a_fresh_address_each_time() {
    let bench = Bench::s3("tv/").await;
    let content = noise(5000);
    bench.drop_in(ODD, &content);
    let server = MediaServer::start(bench.store.clone()).await.unwrap();
    let ticket = server.ticket(ODD).unwrap();
    let redirect = http::get(ticket.url()).await;
    assert_eq!(redirect.status, StatusCode::FOUND);
    assert_eq!(redirect.header("cache-control"), "no-store");
    assert!(redirect.body.is_empty());
    let part = http::get_range(redirect.header("location"), "bytes=10-19").await;
    assert_eq!(part.body, content[10..20]);
    let redirect = http::head(ticket.url()).await;
    assert_eq!(redirect.status, StatusCode::FOUND);
    let head = http::head(redirect.header("location")).await;
    assert_eq!(head.status, StatusCode::OK);
    assert_eq!(head.header("content-length"), "5000");
}

#[tokio::test]
async fn a_dropped_ticket_is_worth_nothing() {
    let bench = Bench::local("").await;
    bench.drop_in("a.mp4", b"x");
    let server = MediaServer::start(bench.store.clone()).await.unwrap();
    let ticket = server.ticket("a.mp4").unwrap();
    let other = server.ticket("a.mp4").unwrap();
    let url = ticket.url().to_owned();
    assert_ne!(url, other.url());
    drop(ticket);
    assert_eq!(http::get(&url).await.status, StatusCode::NOT_FOUND);
    assert_eq!(http::get(other.url()).await.status, StatusCode::OK);
    let guess = url.replace("/m/", "/m/0");
    assert_eq!(http::get(&guess).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_object_deleted_meanwhile_is_not_found() {
    let bench = Bench::local("").await;
    bench.drop_in("a.mp4", b"x");
    let server = MediaServer::start(bench.store.clone()).await.unwrap();
    let ticket = server.ticket("a.mp4").unwrap();
    bench.store.delete("a.mp4").await.unwrap();
    let answer = http::get(ticket.url()).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(
        answer.text().contains("there is no such object"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn the_last_clone_closes_the_port() {
    let bench = Bench::local("").await;
    let server = MediaServer::start(bench.store.clone()).await.unwrap();
    let url = server.ticket("a.mp4").unwrap().url().to_owned();
    let address = url.split('/').nth(2).unwrap().to_owned();
    let clone = server.clone();
    drop(server);
    assert!(tokio::net::TcpStream::connect(&address).await.is_ok());
    drop(clone);
    let closed = async {
        while tokio::net::TcpStream::connect(&address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), closed)
        .await
        .unwrap();
}

/// What FFmpeg makes of an input from second 5 on: checksums of its packets.
async fn packets(input: &str) -> String {
    let arguments = ["-v", "error", "-ss", "5", "-i", input];
    ffmpeg(&[&arguments[..], &["-c", "copy", "-f", "framemd5", "-"]].concat()).await
}

#[expect(
    clippy::disallowed_methods,
    reason = "storage lies below supervise; these runs end by themselves"
)]
async fn ffmpeg(arguments: &[&str]) -> String {
    let mut command = tokio::process::Command::new("ffmpeg");
    let done = command.args(arguments).output().await.unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.is_empty(), "{said}");
    String::from_utf8(done.stdout).unwrap()
}

/// FFmpeg seeks: the index of this file is at its end.
#[tokio::test]
async fn ffmpeg_reads_and_seeks_by_ticket_as_in_a_file() {
    let outside = tempfile::tempdir().unwrap();
    let clip = outside.path().join("clip.mp4");
    let clip = clip.to_str().unwrap();
    let picture = "testsrc2=size=320x180:rate=25:duration=8";
    let input = ["-v", "error", "-f", "lavfi", "-i", picture];
    let output = ["-g", "25", "-b:v", "2M", clip];
    ffmpeg(&[&input[..], &output[..]].concat()).await;
    let expected = packets(clip).await;
    assert!(expected.lines().count() > 50, "{expected}");
    for bench in [Bench::s3("tv/").await, Bench::local("tv/").await] {
        bench.drop_in(ODD, &std::fs::read(clip).unwrap());
        let server = MediaServer::start(bench.store.clone()).await.unwrap();
        let ticket = server.ticket(ODD).unwrap();
        assert_eq!(packets(ticket.url()).await, expected);
    }
}
