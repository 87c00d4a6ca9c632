//! Configuration and state that were damaged, lost or edited by hand.

use nix::sys::signal::Signal;
use storage::document::Opened;
use storage::model::StreamStateFile;
use supervise::ExitReason;

use super::kill;
use super::site::{Controller, SOON, Site, pid, stream, until};

/// A file is whole a moment before its writer knows that it is.
async fn is_well(controller: &Controller<'_>) {
    until(SOON, "it is well", async || {
        let (_, health) = controller.get("/health").await;
        (health["status"] == "ok").then_some(())
    })
    .await;
}

/// Without one, what is damaged is lost.
async fn good_copy(site: &Site) {
    // The copy is one write older than the file: one with the wish in it is to be there.
    until(SOON, "a good copy that knows of the stream", async || {
        let copy = std::fs::read_to_string(site.path("stream_state.json.bak"));
        copy.is_ok_and(|copy| copy.contains("running"))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_configuration_broken_by_hand_is_told_and_what_was_in_force_runs_on() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let worker = controller.on_air().await;
    controller.end(Signal::SIGTERM).await;
    let broken = "{\n  \"version\": 1,\n  \"streams\": {,}\n}\n";
    site.write_config(broken);

    let controller = site.controller().await;
    assert_eq!(pid(&controller.state("running").await), worker);
    let (_, health) = controller.get("/health").await;
    let problem = health["problem"].as_str().unwrap();
    assert_eq!(health["status"], "degraded");
    assert!(problem.contains("line 3, column 15"), "{problem}");
    assert!(problem.contains("stream_config.json.bak"), "{problem}");
    let refused = controller
        .call("PUT", "/streams/main", &stream("b.mp4"))
        .await;
    assert!(refused.0 >= 400, "{refused:?}");
    assert_eq!(site.read("stream_config.json"), broken);

    site.write_config(&site.read("stream_config.json.bak"));
    controller.signal(Signal::SIGHUP);
    is_well(&controller).await;
}

#[tokio::test]
async fn a_configuration_without_a_good_copy_is_refused_with_its_place_and_left_alone() {
    let site = Site::new();
    let broken = "{\n  \"version\": 1,\n  \"streams\": {,}\n}\n";
    site.write_config(broken);
    let (exit, said) = site.refused().await;
    assert_eq!(exit, ExitReason::Code(78));
    assert!(said.contains("line 3, column 15"), "{said}");
    assert_eq!(site.read("stream_config.json"), broken);
}

#[tokio::test]
async fn a_damaged_state_file_is_replaced_by_its_good_copy_and_kept() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let worker = controller.on_air().await;
    good_copy(&site).await;
    controller.crash().await;
    kill(worker, Signal::SIGKILL);
    let damaged = site.read("stream_state.json").replace("run", "r\u{0}n");
    storage::atomic::write(&site.path("stream_state.json"), damaged.as_bytes()).unwrap();

    let controller = site.controller().await;
    controller.state("running").await;
    let said = site.read("controller.err");
    assert!(
        said.contains("state_recovered") && said.contains("line "),
        "{said}"
    );
    assert_eq!(site.read("stream_state.json.corrupt"), damaged);
    assert!(site.read("stream_state.json").contains("running"));
    is_well(&controller).await;
}

#[tokio::test]
async fn a_damaged_state_file_is_whole_again_before_anything_changes() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let worker = controller.on_air().await;
    good_copy(&site).await;
    controller.crash().await;
    let damaged = "{ \"version\": 1, \"streams\": oops";
    storage::atomic::write(&site.path("stream_state.json"), damaged.as_bytes()).unwrap();

    // What is adopted as it was is no change to write down.
    let controller = site.controller().await;
    assert_eq!(pid(&controller.state("running").await), worker);
    until(SOON, "the state file is whole", async || {
        let read = storage::document::read(&site.path("stream_state.json"));
        matches!(read, Ok(Opened::<StreamStateFile>::Loaded { .. })).then_some(())
    })
    .await;
    assert_eq!(site.read("stream_state.json.corrupt"), damaged);
    is_well(&controller).await;
}

#[tokio::test]
async fn without_any_state_what_is_found_on_air_stays_and_it_is_told() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let worker = controller.on_air().await;
    controller.crash().await;
    for name in ["stream_state.json", "stream_state.json.bak"] {
        storage::atomic::write(&site.path(name), b"\0\0\0\0").unwrap();
    }
    let controller = site.controller().await;
    assert_eq!(pid(&controller.state("running").await), worker);
    let (_, health) = controller.get("/health").await;
    assert_eq!(health["status"], "degraded", "{health}");
    assert!(health["problem"].as_str().unwrap().contains("autostart"));
    controller.crash().await;
    let controller = site.controller().await;
    assert_eq!(pid(&controller.state("running").await), worker);
    assert_eq!(controller.get("/health").await.1["status"], "ok");
}

#[tokio::test]
async fn sighup_takes_over_an_edited_file_and_leaves_a_broken_one() {
    let site = Site::with_script("a.mp4");
    let controller = site.controller().await;
    let worker = controller.on_air().await;

    site.write_config("{");
    controller.signal(Signal::SIGHUP);
    until(SOON, "the mistake is logged", async || {
        site.read("controller.err")
            .contains("config_unusable")
            .then_some(())
    })
    .await;
    assert_eq!(pid(&controller.status().await), worker);
    let refused = controller
        .call("PUT", "/streams/main", &stream("b.mp4"))
        .await;
    assert!(refused.0 >= 400, "{refused:?}");
    assert_eq!(site.read("stream_config.json"), "{");

    let (main, shop) = (stream("a.mp4"), stream("b.mp4"));
    site.write_config(&format!(
        r#"{{"version": 1, "streams": {{"main": {main}, "shop": {shop}}}}}"#
    ));
    controller.signal(Signal::SIGHUP);
    until(SOON, "the new stream is there", async || {
        (controller.get("/streams/shop").await.0 == 200).then_some(())
    })
    .await;
    assert_eq!(pid(&controller.status().await), worker);
}
