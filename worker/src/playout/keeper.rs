//! Writes the position without ever making playout wait for a disk: durably now and then, and for
//! a worker that is killed several times a second.

use std::time::Duration;

use storage::model::{Job, PositionFile};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::position::PositionStore;

/// How far back a worker begins that follows one that was killed, besides the way to a keyframe.
const NOTE_EVERY: Duration = Duration::from_millis(250);

/// Playout's end of the task that owns the position file.
#[derive(Debug)]
pub(super) struct PositionKeeper {
    newest: watch::Sender<Option<PositionFile>>,
    noted: watch::Sender<Option<PositionFile>>,
    kept_at: Option<Instant>,
    noted_at: Option<Instant>,
    task: JoinHandle<()>,
}

// === impl PositionKeeper ===

impl PositionKeeper {
    pub(super) fn start(job: &Job) -> Self {
        let layout = job.layout();
        let mut store = PositionStore::of(&layout, &job.stream_id);
        let (newest, mut wanted) = watch::channel(None);
        let (noted, mut to_note) = watch::channel(None);
        let task = tokio::spawn(async move {
            loop {
                let durably = tokio::select! {
                    biased;
                    changed = wanted.changed() => match changed {
                        Ok(()) => true,
                        Err(_) => return,
                    },
                    Ok(()) = to_note.changed() => false,
                };
                let newest = match durably {
                    true => wanted.borrow_and_update().clone(),
                    false => to_note.borrow_and_update().clone(),
                };
                match newest {
                    Some(position) if durably => store.save(position).await,
                    Some(position) => store.note(position).await,
                    None => {}
                }
            }
        });
        Self {
            newest,
            noted,
            kept_at: None,
            noted_at: None,
            task,
        }
    }

    /// Has what `position` says written, unless that was done less than `at_most_every` ago; then it
    /// is noted.
    pub(super) fn keep(
        &mut self,
        at_most_every: Duration,
        now: Instant,
        position: impl FnOnce() -> PositionFile,
    ) {
        if self.kept_at.is_none_or(|at| now >= at + at_most_every) {
            self.kept_at = Some(now);
            self.newest.send_replace(Some(position()));
        } else if self.noted_at.is_none_or(|at| now >= at + NOTE_EVERY) {
            self.noted_at = Some(now);
            self.noted.send_replace(Some(position()));
        }
    }

    /// Ends the task once the newest position has been written.
    pub(super) async fn stop(self) {
        drop((self.newest, self.noted));
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the task that keeps the position failed");
        }
    }
}
