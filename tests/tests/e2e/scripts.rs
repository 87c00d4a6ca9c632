//! The operator's scripts against a live controller.

use std::fs;
use std::time::Duration;

use e2e::controller::{Setup, repository, to_one};
use e2e::media;
use e2e::nginx::free_address;
use e2e::process;
use e2e::rtmp::Receiver;
use serde_json::json;

const SOON: Duration = Duration::from_secs(40);

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
fn every_script_explains_itself_and_refuses_what_it_does_not_know() {
    let mut scripts = 0;
    for entry in fs::read_dir(repository().join("scripts"))
        .unwrap()
        .flatten()
    {
        if !entry.path().is_file() {
            continue;
        }
        scripts += 1;
        let path = entry.path().display().to_string();
        let run = |argument| process::run(&path, &[argument], Duration::from_secs(20)).unwrap();
        let (help, refused) = (run("--help"), run("--no-such-option"));
        let said = String::from_utf8_lossy(&help.stdout).into_owned();
        let name = entry.file_name().into_string().unwrap();
        assert!(
            help.status.success() && said.contains(&name),
            "{path}: {said}"
        );
        assert!(!said.contains("set -euo"), "{path}: {said}");
        assert_eq!(refused.status.code(), Some(64), "{path}");
        assert!(
            refused.stdout.is_empty() && !refused.stderr.is_empty(),
            "{path}"
        );
    }
    assert!(scripts >= 15, "{scripts}");
}
