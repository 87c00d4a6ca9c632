//! Bringing files into the media store, by script and by signed address.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use e2e::controller::{Controller, Setup, repository, to_one};
use e2e::http::{self, Answer};
use e2e::media::{self, bad};
use e2e::process;
use e2e::rtmp::Receiver;
use e2e::s3::Bucket;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(40);

/// Asks for an address and uploads to it, as a browser would.
fn upload(controller: &Controller, key: &str, bytes: &[u8]) -> (String, Answer) {
    let asked = controller.call("POST", "/media/upload-url", &json!({ "key": key }));
    let target = asked.expect(200).json();
    let url = target["url"].as_str().expect("an address").to_owned();
    let content_type = target["headers"]["Content-Type"].as_str().expect("a type");
    let answer = put(&url, content_type, bytes);
    (url, answer)
}

fn put(url: &str, content_type: &str, bytes: &[u8]) -> Answer {
    let rest = url.strip_prefix("http://").expect("a plain address");
    let (host, path) = rest.split_once('/').expect("a path");
    let address: SocketAddr = host.parse().expect("a loopback address");
    let headers = [("Content-Type", content_type)];
    http::request(address, "PUT", &format!("/{path}"), &headers, bytes, SOON).expect("an answer")
}

fn airs_what_is_uploaded(controller: &Controller) {
    let film = fs::read(bad::good()).expect("a fixture");
    let (url, answer) = upload(controller, "shows/new film.mp4", &film);
    assert!(
        matches!(answer.status, 200 | 201 | 204),
        "{}",
        answer.text()
    );
    let listed = controller.get("/media");
    assert_eq!(
        listed["objects"][0]["key"], "shows/new film.mp4",
        "{listed:#}"
    );
    assert_eq!(listed["objects"][0]["size_bytes"], film.len());
    controller.start("main");
    controller.wait_on_air("main", "shows/new film.mp4", SOON);

    let tampered = url.replace("new", "old");
    assert_eq!(
        put(&tampered, "video/mp4", &film).status,
        403,
        "signed for one object only"
    );
    let bad_key = json!({ "key": "../outside.mp4" });
    controller
        .call("POST", "/media/upload-url", &bad_key)
        .expect(422);
}

#[test]
fn a_signed_address_takes_a_file_into_the_bucket() {
    let bucket = Bucket::start();
    let receiver = Receiver::start();
    let controller = Setup::new(bucket.environment())
        .stream("main", to_one(&receiver.url()))
        .start();
    airs_what_is_uploaded(&controller);
}

#[test]
fn a_signed_address_takes_a_file_into_the_local_folder() {
    let folder = media::folder(&[]);
    let receiver = Receiver::start();
    let controller = Setup::local(folder.path())
        .stream("main", to_one(&receiver.url()))
        .start();
    airs_what_is_uploaded(&controller);
    let status = controller.status("main");
    assert_ne!(status["on_air"]["item"], Value::Null, "{status:#}");
}

#[test]
fn upload_media_sh_brings_a_file_into_the_bucket() {
    let bucket = Bucket::start();
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new("timeout");
        command
            .arg("60")
            .arg(repository().join("scripts/upload_media.sh"))
            .args(arguments);
        command.env(
            "CONTROLLER_BIN",
            e2e::controller::binary("stream-controller"),
        );
        command.envs(bucket.environment());
        for name in ["STATE_DIR", "RUNTIME_DIR", "CACHE_DIR"] {
            command.env(name, directory.path().join(name));
        }
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (
            process::code(output.status),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    // Large enough for more than one part.
    let large = directory.path().join("large film.mp4");
    let piece = fs::read(media::long()).unwrap();
    fs::write(&large, piece.repeat(20_000_000 / piece.len() + 1)).unwrap();
    let (code, said) = run(&[large.to_str().unwrap(), "shows/"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(bucket.read("shows/large film.mp4"), fs::read(&large).ok());
    e2e::canary::assert_clean("upload_media.sh", said.as_bytes());
    let (code, said) = run(&["/nonexistent.mp4"]);
    assert!(
        code != 0 && said.contains("/nonexistent.mp4"),
        "{code}: {said}"
    );
}
