//! The page in a real browser, where one is installed.

use std::path::Path;
use std::time::Duration;

use e2e::controller::{Setup, to_one};
use e2e::media;
use e2e::nginx::free_address;
use e2e::process;
use e2e::rtmp::Receiver;
use serde_json::Value;

const BROWSERS: [&str; 4] = [
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/usr/bin/google-chrome-stable",
];

#[test]
fn the_page_shows_what_is_on_air() {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let receiver = Receiver::start();
    let controller = Setup::local(folder.path())
        .variable("INGEST_BIND", &free_address().to_string())
        .stream("main", to_one(&receiver.url()))
        .start();
    controller.start("main");
    controller.wait_state("main", "running", Duration::from_secs(15));

    // What the page consists of is served, with types that a browser accepts, from here alone.
    let index = controller.call("GET", "/", &Value::Null).expect(200);
    assert!(
        index
            .header("content-type")
            .is_some_and(|t| t.starts_with("text/html"))
    );
    let html = index.text();
    for part in html
        .split(['"', '\''])
        .filter(|part| part.starts_with("/page/"))
    {
        let answer = controller.call("GET", part, &Value::Null).expect(200);
        assert!(!answer.body.is_empty(), "{part}");
    }
    assert!(
        !html.contains("https://"),
        "nothing is loaded from elsewhere"
    );

    let Some(browser) = BROWSERS.iter().find(|path| Path::new(path).exists()) else {
        return super::skipped("the page's look in a browser: Chromium is not installed");
    };
    let profile = tempfile::tempdir().unwrap();
    let address = format!("http://{}/", controller.address());
    let data = format!("--user-data-dir={}", profile.path().display());
    let args = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=8000",
        &data,
        "--dump-dom",
        &address,
    ];
    let output = process::run(browser, &args, Duration::from_secs(60)).unwrap();
    let page = String::from_utf8_lossy(&output.stdout);
    for shown in ["long.mp4", "out", "ingest", "Nobody sends"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
}
