//! What became of a stream while no controller looked, or before it did.

use storage::document::{self, Opened};
use storage::model::{DarkCause, PositionFile, StreamId};

use super::super::air::Worker;
use super::super::axis::Instant;
use super::super::fact::What;
use super::super::moment::Moment;
use super::super::recorder::Recorder;
use super::{Keeper, fact};

impl Keeper {
    pub(super) fn recovered(
        &mut self,
        stream: &StreamId,
        moment: Moment,
        wanted: Option<Vec<String>>,
    ) {
        self.import_stream(stream);
        let known = self.recorders.get(stream);
        let as_known = match known {
            Some(recorder) => recorder.is_wanted(wanted.as_deref()),
            None => wanted.is_none(),
        };
        if as_known {
            return;
        }
        let what = match wanted {
            Some(destinations) => What::Wanted { destinations },
            None => What::Unwanted,
        };
        self.note(stream, moment, what);
    }

    /// It ended at `moment`, or after the last that is in its journal.
    pub(super) fn worker_is_gone(&mut self, stream: &StreamId, moment: Moment, what: What) {
        self.import_stream(stream);
        let mut instant = self.place(moment);
        let recorder = self.recorders.get(stream);
        if let What::Gone { worker, .. } = &what
            && let Some(known) = recorder.and_then(Recorder::living_worker)
            && known.nonce == *worker
            && known.last.ms >= instant.ms
        {
            // Of one millisecond, an end comes before what was said.
            let Instant { ms, at } = known.last;
            instant = Instant { ms: ms + 1, at };
        }
        self.record(stream, [fact(instant, what)]);
    }

    /// Of the worker that lived at `moment`, as far as was known, and does not: its journal is read to
    /// its end, and it ends where it was last known to live.
    pub(super) fn earlier_worker_is_gone(
        &mut self,
        stream: &StreamId,
        moment: Moment,
        pulse: Option<u64>,
    ) {
        self.import_stream(stream);
        let now = self.place(moment);
        let recorder = self.recorders.get(stream);
        // A later worker may be in the journal already.
        let Some(worker) = recorder.and_then(|it| it.living_worker_at(now.ms)) else {
            return;
        };
        let (instant, cause) = self.last_sign_of(stream, &worker, pulse);
        let what = What::Gone {
            worker: worker.nonce,
            cause,
            error_type: None,
        };
        self.record(stream, [fact(instant, what)]);
    }

    /// When a worker was last known to live whose end nobody saw, and what must have ended it.
    fn last_sign_of(
        &mut self,
        stream: &StreamId,
        worker: &Worker,
        pulse: Option<u64>,
    ) -> (Instant, DarkCause) {
        let mut last = worker.last;
        let same_boot = worker.boot_id == self.boot_id || worker.boot_id.is_empty();
        if let Some(boot_ms) = pulse {
            let boot_id = if same_boot {
                self.boot_id.clone()
            } else {
                worker.boot_id.clone()
            };
            let ms = self.axis.place(
                &boot_id,
                Moment {
                    at: last.at,
                    boot_ms,
                },
            );
            if ms > last.ms {
                // By the wall clock it was as long after the last entry as by the other.
                let since = jiff::SignedDuration::from_millis(ms - last.ms);
                let at = last.at.checked_add(since).unwrap_or(last.at);
                last = Instant { ms, at };
            }
        }
        if same_boot {
            return (last, DarkCause::WorkerCrashed);
        }
        if let Some(at) = self.position_at(stream)
            && at > last.at
            && let Some(ms) = self.axis.place_wall(at)
        {
            last = Instant {
                ms: ms.max(last.ms),
                at,
            };
        }
        (last, DarkCause::MachineDown)
    }

    fn position_at(&self, stream: &StreamId) -> Option<jiff::Timestamp> {
        let opened = document::read::<PositionFile>(&self.layout.position(stream)).ok()?;
        match opened {
            Opened::Loaded { value, .. } => Some(value.at),
            Opened::Absent | Opened::Corrupt(_) => None,
        }
    }
}
