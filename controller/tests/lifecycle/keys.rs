//! What a worker was given at its start, and what is said of what it was not.

use super::site::{SOON, Site, pid, stream, until};

/// A configured input adds its password to what a worker is given at its start.
#[tokio::test]
async fn what_a_worker_was_given_at_its_start_is_known_to_the_next_controller() {
    let with_input = |password: &str| {
        let input = format!(
            r#"{{"live_inputs": [{{"name": "studio", "url": "rtsp://127.0.0.1:1/x", "user": "u",
                "password_env": "{password}"}}], "#
        );
        stream("a.mp4").replacen('{', &input, 1)
    };
    let mut site = Site::new();
    let main = with_input("INPUT_PASSWORD");
    site.write_config(&format!(
        r#"{{"version": 1, "streams": {{"main": {main}}}}}"#
    ));
    site.variable("INPUT_PASSWORD", "canary-password-1");
    let controller = site.controller().await;
    let worker = controller.on_air().await;
    controller.crash().await;

    // Neither a password it was given, nor one that nobody has set, asks for a restart.
    site.variable("LATER_PASSWORD", "canary-password-2");
    let controller = site.controller().await;
    let status = controller.state("running").await;
    assert_eq!(pid(&status), worker);
    assert_eq!(status["restart_needed"], false, "{status:#}");
    let put = async |password: &str| {
        let body = with_input(password);
        let (code, answer) = controller.call("PUT", "/streams/main", &body).await;
        assert_eq!(code, 200, "{answer}");
        answer["applied"].clone()
    };
    assert_eq!(put("UNSET_PASSWORD").await, "live");
    assert_eq!(put("LATER_PASSWORD").await, "restart_needed");
    controller.crash().await;

    // The next one sees the same, and a restart brings it.
    let controller = site.controller().await;
    until(SOON, "it is told again", async || {
        let status = controller.status().await;
        (status["restart_needed"] == true && pid(&status) == worker).then_some(())
    })
    .await;
    assert_eq!(controller.post("/streams/stop").await.0, 200);
    let another = controller.on_air().await;
    assert_ne!(another, worker);
    assert_eq!(controller.status().await["restart_needed"], false);
    assert!(!site.read("run/main.job.json").contains("canary"));
}
