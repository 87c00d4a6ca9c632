//! The operator's scripts against a live controller.

use std::fs;
use std::time::Duration;

use e2e::controller::{Setup, repository, to_one};
use e2e::media;
use e2e::nginx::free_address;
use e2e::process;
use e2e::rtmp::Receiver;
use e2e::s3::Bucket;
use serde_json::json;

const SOON: Duration = Duration::from_secs(15);

#[test]
fn health_sh_tells_by_its_exit_code() {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let receiver = Receiver::start();
    let mut config = to_one(&receiver.url());
    let nobody = format!("rtmp://{}/live/key", free_address());
    config["retry"] = json!({ "initial_s": 0.2 });
    let mut controller = Setup::local(folder.path())
        .stream("main", config.clone())
        .start();
    let health = |controller: &e2e::controller::Controller, wanted: i32| {
        let (code, said) = controller.script("health.sh", &[]);
        assert_eq!(code, wanted, "{said}");
        assert!(!said.trim().is_empty());
    };

    health(&controller, 0);
    let (code, said) = controller.script("start.sh", &["main"]);
    assert_eq!(code, 0, "{said}");
    controller.wait_state("main", "running", SOON);
    health(&controller, 0);
    let (code, said) = controller.script("check_status.sh", &[]);
    assert!(
        code == 0 && said.contains("long.mp4") && said.contains("out"),
        "{code}: {said}"
    );
    let (code, said) = controller.script("start.sh", &["main"]);
    assert_eq!(code, 1, "already running: {said}");

    let lost = json!({ "name": "lost", "url": nobody });
    config["destinations"].as_array_mut().unwrap().push(lost);
    controller.call("PUT", "/streams/main", &config).expect(200);
    controller.wait_state("main", "degraded", SOON);
    health(&controller, 1);
    let (code, said) = controller.script("restart.sh", &["main"]);
    assert_eq!(code, 0, "{said}");
    receiver.wait_for_media(1, SOON);
    let (code, said) = controller.script("stop.sh", &[]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = controller.script("stop.sh", &[]);
    assert_eq!(code, 1, "not running: {said}");

    config["destinations"].as_array_mut().unwrap().remove(0);
    config["retry"] = json!({ "initial_s": 0.2, "max_s": 0.2, "max_attempts": 1 });
    controller.call("PUT", "/streams/main", &config).expect(200);
    controller.start("main");
    controller.wait_state("main", "error", SOON);
    health(&controller, 2);
    controller.kill();
    health(&controller, 3);
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
