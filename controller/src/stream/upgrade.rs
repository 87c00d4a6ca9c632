//! Putting a newer program into a worker that is on air, and telling that there is one.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use axum::http::StatusCode;
use storage::model::StreamId;
use storage::model::report::{UpgradeOutcome, UpgradeReport};
use supervise::watch::Watched;
use tokio::time::{Instant, sleep};

use super::request::RequestError;
use super::worker_link::{LinkError, WorkerLink};

/// A worker waits up to ten seconds for a destination that is being disconnected. With the calls before, it
/// is less than a request may take.
const LIMIT: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Whether the program at `path` is another file than the one process `pid` executes.
pub(super) fn is_available(path: &Path, pid: u32) -> bool {
    let file = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.dev(), found.ino()))
    };
    let running = file(Path::new(&format!("/proc/{pid}/exe")));
    let installed = file(path);
    running.is_some() && installed.is_some() && running != installed
}

/// Has the worker of stream `id` become `program`; answers when that is what it is.
pub(super) async fn upgrade(
    id: &StreamId,
    link: &WorkerLink,
    program: &Path,
) -> Result<UpgradeReport, RequestError> {
    let first = link.status().await;
    let first = first.map_err(|error| unavailable(id, &error))?;
    // It stays the same process, so its end means that there will be no answer.
    let worker = first.pid.and_then(|pid| Watched::open(pid).ok());
    let worker = worker.ok_or_else(|| gone(id))?;
    let before = first.report.upgrade.map_or(0, |last| last.number);
    link.upgrade(program).await.map_err(|error| match error {
        LinkError::Refused {
            status, message, ..
        } => RequestError::NotUpgraded {
            stream_id: id.clone(),
            later: status == StatusCode::CONFLICT,
            message,
        },
        error => unavailable(id, &error),
    })?;
    let done = tokio::select! {
        done = outcome(link, before) => done,
        () = worker.exited() => return Err(gone(id)),
    };
    let done = done.ok_or_else(|| {
        let message = format!(
            "it has not said how its upgrade went within {} s",
            LIMIT.as_secs()
        );
        RequestError::WorkerUnavailable {
            stream_id: id.clone(),
            message,
        }
    })?;
    match done.outcome {
        UpgradeOutcome::Done => Ok(done),
        UpgradeOutcome::FellBack => Err(RequestError::NotUpgraded {
            stream_id: id.clone(),
            later: false,
            message: done.error.unwrap_or_else(|| "the log says why".to_owned()),
        }),
    }
}

/// How the upgrade after number `before` went. While it happens nobody answers.
async fn outcome(link: &WorkerLink, before: u64) -> Option<UpgradeReport> {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        if let Ok(status) = link.status().await
            && let Some(last) = status.report.upgrade
            && last.number > before
        {
            return Some(last);
        }
        sleep(LOOK_EVERY).await;
    }
    None
}

fn gone(id: &StreamId) -> RequestError {
    RequestError::WorkerUnavailable {
        stream_id: id.clone(),
        message: "it ended before it had become the other program".to_owned(),
    }
}

fn unavailable(id: &StreamId, error: &LinkError) -> RequestError {
    RequestError::WorkerUnavailable {
        stream_id: id.clone(),
        message: error.to_string(),
    }
}
