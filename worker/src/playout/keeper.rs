//! Writes the position without ever making playout wait for a disk.

use std::time::Duration;

use storage::model::{Job, PositionFile};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::position::PositionStore;

/// Playout's end of the task that owns the position file.
#[derive(Debug)]
pub(super) struct PositionKeeper {
    newest: watch::Sender<Option<PositionFile>>,
    kept_at: Option<Instant>,
    task: JoinHandle<()>,
}

// === impl PositionKeeper ===

impl PositionKeeper {
    pub(super) fn start(job: &Job) -> Self {
        let layout = job.layout();
        let mut store = PositionStore::new(layout.position(&job.stream_id));
        let (newest, mut wanted) = watch::channel(None);
        let task = tokio::spawn(async move {
            while wanted.changed().await.is_ok() {
                let position = wanted.borrow_and_update().clone();
                if let Some(position) = position {
                    store.save(position).await;
                }
            }
        });
        Self {
            newest,
            kept_at: None,
            task,
        }
    }

    /// Has what `position` says written, unless that was done less than `at_most_every` ago.
    pub(super) fn keep(
        &mut self,
        at_most_every: Duration,
        now: Instant,
        position: impl FnOnce() -> PositionFile,
    ) {
        if self.kept_at.is_none_or(|at| now >= at + at_most_every) {
            self.kept_at = Some(now);
            self.newest.send_replace(Some(position()));
        }
    }

    /// Ends the task once the newest position has been written.
    pub(super) async fn stop(self) {
        drop(self.newest);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the task that keeps the position failed");
        }
    }
}
