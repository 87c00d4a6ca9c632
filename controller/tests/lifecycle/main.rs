//! The life of streams and of the controller itself, with the real controller, real processes and a
//! scripted worker: what the operator sees, and what is left running.

#![expect(
    clippy::unwrap_used,
    reason = "a harness that cannot do its part is a failed test"
)]

mod adoption;
mod documents;
mod keys;
mod launch;
mod restarts;
mod site;
mod starts;

use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;

use site::{SOON, Site, is_alive, until};

/// Far less than anything the controller waits for: nobody was waited for.
const AT_ONCE: Duration = Duration::from_secs(5);
/// Less than the five seconds between two looks at a worker: its end was told, not found.
const TOLD: Duration = Duration::from_secs(3);

fn kill(pid: i32, signal: Signal) {
    nix::sys::signal::kill(Pid::from_raw(pid), signal).unwrap();
}

fn error_type(status: &Value) -> &str {
    status["error"]["type"].as_str().unwrap_or_default()
}

async fn gone(pid: i32) {
    until(SOON, "the process is gone", async || {
        (!is_alive(pid)).then_some(())
    })
    .await;
}

/// The workers of the site that run at the same time.
fn workers(site: &Site) -> Vec<i32> {
    let mut found: Vec<i32> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| site.is_worker(*pid) && is_alive(*pid))
        .collect();
    // One that was seen early may have ended before the next one was started.
    found.retain(|pid| is_alive(*pid));
    found
}
