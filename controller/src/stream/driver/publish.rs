//! What outsiders and the state file learn of a stream.

use std::time::Duration;

use jiff::Timestamp;
use storage::model::report::PreviewState;
use storage::model::{ErrorReport, ObservedState, StreamRecord};
use tokio::time::Instant;

use super::Driver;
use crate::stream::state::{Configured, Life};
use crate::stream::status::{ProgrammeStatus, StreamStatus};

/// How often a state file is written for nothing but the time of a health check.
const REMEMBER_CHECKS_EVERY: Duration = Duration::from_secs(30);

impl Driver {
    /// Tells what has changed, to watchers at once and to the state file when it is worth a write.
    pub(super) fn publish(&mut self) {
        let observed = self.life.observed();
        let error = self.error();
        if observed != self.record.observed {
            // What ended a worker has a line of its own; what degrades the stream only the stream's log has.
            let degraded = observed == ObservedState::Degraded;
            let why = error.as_ref().filter(|_| degraded);
            tracing::info!(
                stream_id = %self.id,
                from = self.record.observed.as_str(),
                to = observed.as_str(),
                why = why.map(|error| error.message.as_str()),
                "state"
            );
            self.record.observed = observed;
            self.record.since = Timestamp::now();
        }
        self.record.error = error;
        self.record.failures = self.restarts.failures();
        self.remember();
        let status = self.current();
        self.status.send_if_modified(|published| {
            let changed = *published != status;
            *published = status;
            changed
        });
    }

    fn error(&self) -> Option<ErrorReport> {
        match &self.life {
            // While a restart has not succeeded, why it was needed is what matters.
            Life::Launching(_) | Life::Starting(_) => {
                self.life.error().or_else(|| self.last_error.clone())
            }
            _ => self.life.error(),
        }
    }

    /// A check that only moved its time is not worth a write of its own.
    fn remember(&mut self) {
        let (last, at) = &self.remembered;
        let same_but_checked = StreamRecord {
            last_health_check: self.record.last_health_check,
            ..last.clone()
        } == self.record;
        let recent = at.elapsed() < REMEMBER_CHECKS_EVERY;
        if *last == self.record || (same_but_checked && recent) {
            return;
        }
        self.remembered = (self.record.clone(), Instant::now());
        self.machine.ledger.remember(&self.id, self.record.clone());
    }

    fn current(&self) -> StreamStatus {
        let worker = self.life.worker();
        let report = worker.and_then(|worker| worker.report.as_deref());
        StreamStatus {
            state: self.record.observed,
            since: self.record.since,
            pid: worker.map(|worker| worker.attended.pid()),
            started_at: worker.map(|worker| worker.started_at),
            next_restart_at: match &self.life {
                Life::Backoff(wait) => Some(wait.next_restart_at),
                _ => None,
            },
            on_air: report.and_then(|report| report.on_air.clone()),
            format: report.and_then(|report| report.format),
            destinations: report.map_or_else(Vec::new, |report| report.destinations.clone()),
            live_inputs: report.map_or_else(Vec::new, |report| report.live_inputs.clone()),
            programme: report.map_or_else(ProgrammeStatus::default, |report| ProgrammeStatus {
                items: Some(report.programme.items),
                listed_at: report.programme.listed_at,
                problems: report.programme.problems.clone(),
                error: report.programme.error.clone(),
                storage: report.programme.storage.clone(),
                cache: report.programme.cache,
            }),
            preview: report.map_or(PreviewState::Idle, |report| report.preview),
            warnings: worker.map_or_else(Vec::new, |_| {
                self.drops.warnings().values().cloned().collect()
            }),
            worker_version: report.map(|report| report.version.clone()),
            upgrade_available: worker.is_some_and(|worker| worker.upgrade_available),
            upgrade: report.and_then(|report| report.upgrade.clone()),
            restart_needed: worker
                .is_some_and(|worker| worker.configured == Configured::NeedsRestart),
            ..StreamStatus::remembered(self.id.clone(), &self.record)
        }
    }
}
