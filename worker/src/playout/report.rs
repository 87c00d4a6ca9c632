//! What playout says of itself, in the words of the control protocol.

use jiff::Timestamp;
use programme::Part;
use serde::{Deserialize, Serialize};
use storage::model::report::{
    AirCounters, CONTROL_PROTOCOL, OnAirKind, PreviewState, ProgrammeReport,
};
use storage::model::{DarkCause, ErrorReport, Job, OnAir, WorkerReport};
use tokio::time::Instant;

use super::Playout;
use super::slot::Item;
use crate::director::{Air, SlateCause, Why};

/// When what is on air took it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Since(Timestamp);

impl Since {
    pub(super) fn now() -> Self {
        Self(Timestamp::now())
    }

    /// How long ago, by a clock that may have been set meanwhile.
    fn seconds(self) -> f64 {
        let ago = Timestamp::now().duration_since(self.0);
        ago.as_secs_f64().max(0.0)
    }
}

/// The report of a worker that is still starting.
pub fn empty_report(job: &Job) -> WorkerReport {
    WorkerReport {
        protocol: CONTROL_PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        stream_id: job.stream_id.clone(),
        generation: job.generation,
        nonce: job.nonce.clone(),
        pid: std::process::id(),
        started_at: Timestamp::now(),
        format: None,
        on_air: None,
        destinations: Vec::new(),
        programme: ProgrammeReport::default(),
        live_inputs: Vec::new(),
        preview: PreviewState::Idle,
        counters: AirCounters::default(),
        upgrade: None,
    }
}

/// Why the slate is on, for the operator.
pub(super) fn slate_reason(reason: SlateCause) -> &'static str {
    match reason {
        SlateCause::Starting => "the first item is not ready yet",
        SlateCause::Operator => "the operator asked for it",
        SlateCause::Stalled => "the item on air delivers nothing",
        SlateCause::NextNotReady => "the last item ended and the next is not ready",
        SlateCause::StorageUnreachable => "the media store cannot be reached",
        SlateCause::LiveLost => "the live feed was lost",
        SlateCause::Card => "a live feed is announced",
    }
}

/// What the air record calls the slate's cause; `trouble` is the bucket's.
pub(super) fn dark_cause(
    reason: SlateCause,
    trouble: Option<&ErrorReport>,
    programme_ended: bool,
) -> DarkCause {
    let of_bucket = trouble.map(|trouble| match trouble.error_type.as_str() {
        "programme_empty" => DarkCause::ProgrammeEmpty,
        _ => DarkCause::StorageUnreachable,
    });
    match (reason, of_bucket) {
        (SlateCause::Operator | SlateCause::Card, _) => DarkCause::Operator,
        (SlateCause::LiveLost, _) => DarkCause::LiveLost,
        (SlateCause::StorageUnreachable, _)
        | (SlateCause::Stalled, Some(DarkCause::StorageUnreachable)) => {
            DarkCause::StorageUnreachable
        }
        (SlateCause::Stalled, _) => DarkCause::SourceStalled,
        (SlateCause::Starting | SlateCause::NextNotReady, Some(of_bucket)) => of_bucket,
        (SlateCause::Starting, None) => DarkCause::Starting,
        (SlateCause::NextNotReady, None) if programme_ended => DarkCause::ProgrammeEmpty,
        (SlateCause::NextNotReady, None) => DarkCause::SourceFailed,
    }
}

/// What was wrong with an item that is given up.
pub(super) fn item_problem(item: &Item, why: Why) -> ErrorReport {
    let key = &item.object.key;
    let report = |error_type: &str, message: String, hint: &str| ErrorReport {
        error_type: error_type.to_owned(),
        message,
        hint: hint.to_owned(),
    };
    match why {
        Why::EndedEarly => report(
            "source_ended_early",
            match item.source.duration_s() {
                Some(length) => {
                    format!(
                        "{key:?} ends at {:.1} s of {length:.1} s",
                        item.position_s()
                    )
                }
                None => format!("{key:?} ended without a picture"),
            },
            "the file is probably truncated: upload it again",
        ),
        Why::Stalled | Why::StalledOnce => report(
            "source_stalled",
            format!(
                "{key:?} delivered nothing for 10 s, though it was opened again, at {:.1} s",
                item.position_s()
            ),
            "check the connection to the bucket; the item is tried again in its next round",
        ),
        Why::OpenTimeout => report(
            "source_open_timeout",
            format!("{key:?} could not be opened within 15 s"),
            "check the connection to the bucket; the item is tried again in its next round",
        ),
        Why::Failed
        | Why::Finished
        | Why::Skipped
        | Why::TooEarly
        | Why::Interrupted
        | Why::NotNeeded => item.failure().unwrap_or_else(|| {
            report(
                "source_failed",
                format!("{key:?} could not be played"),
                "see the [FFMPEG] lines before this one in the stream's log",
            )
        }),
    }
}

impl Playout {
    /// Publishes a new report.
    pub(super) fn publish(&mut self, now: Instant) {
        self.reported_at = now;
        let on_air = self.on_air();
        let live_inputs = self.live_reports(now);
        let slow = self.slow_problem();
        if let Some(on_air) = &on_air {
            let cause = on_air.slate.map(|reason| self.dark_cause(reason));
            self.on_air_log.note(on_air, cause);
        }
        self.report.send_modify(|report| {
            report.format = Some(self.format);
            report.on_air = on_air;
            report.destinations = self.fanout.reports();
            report.programme = self.catalogue.report();
            let more = self.slate_problem.iter().cloned().chain(slow);
            report.programme.problems.extend(more);
            report.programme.storage = self.sources.reach().away().map(|away| away.error);
            let fetcher = self.sources.fetcher();
            report.programme.cache = fetcher.map(|fetcher| fetcher.cache().report());
            report.live_inputs = live_inputs;
            report.preview = self.fanout.preview();
            report.upgrade = self.upgrade.clone();
            report.counters = AirCounters {
                air_ms: self.released_ms.max(0).unsigned_abs(),
                slate_ms: self.slate_ms,
                joins: self.timeline.counters().joins,
                silence_frames: self.timeline.counters().silent_frames,
                dry: self.dry,
            };
        });
    }

    /// The programme's end, or the bucket's trouble, is the better answer where it is the cause.
    fn why_slate(&self, reason: SlateCause) -> String {
        let away = || self.sources.reach().away().map(|away| away.error.message);
        let trouble = match reason {
            SlateCause::Operator | SlateCause::LiveLost | SlateCause::Card => None,
            SlateCause::Stalled => self.slow_problem().map(|slow| slow.error.message),
            SlateCause::StorageUnreachable => away(),
            SlateCause::Starting | SlateCause::NextNotReady => {
                let trouble = self.catalogue.report().error;
                match trouble {
                    Some(error) => Some(error.message),
                    None if self.programme_ended && self.next.is_none() => {
                        Some("the programme has ended and does not loop".to_owned())
                    }
                    None => None,
                }
            }
        };
        trouble.unwrap_or_else(|| slate_reason(reason).to_owned())
    }

    /// The same for the air record.
    fn dark_cause(&self, reason: SlateCause) -> DarkCause {
        let trouble = self.catalogue.report().error;
        dark_cause(
            reason,
            trouble.as_ref(),
            self.programme_ended && self.next.is_none(),
        )
    }

    fn on_air(&self) -> Option<OnAir> {
        let next = self
            .next
            .as_ref()
            .map(|item| item.object.key.clone())
            .or_else(|| self.planned().map(|(object, _)| object.key.clone()));
        let item = self.current.as_ref();
        match self.air {
            Air::Nothing => None,
            Air::Current => item.map(|item| OnAir {
                kind: OnAirKind::Programme,
                item: Some(item.object.key.clone()),
                block: match &item.part {
                    Part::Block { name, .. } => Some(name.clone()),
                    Part::Ordinary => None,
                },
                position_s: item.position_s(),
                duration_s: item.source.duration_s(),
                next,
                fit: item.source.fit().cloned(),
                from_cache: item.source.is_from_cache(),
                slate: None,
                reason: None,
                since: self.since.0,
            }),
            Air::Live => self.live.on_air().map(|input| OnAir {
                kind: OnAirKind::Live,
                item: Some(input.config().name.clone()),
                block: None,
                position_s: self.since.seconds(),
                duration_s: None,
                next: item.map(|item| item.object.key.clone()).or(next),
                fit: None,
                from_cache: false,
                slate: None,
                reason: None,
                since: self.since.0,
            }),
            Air::Slate(reason) => Some(OnAir {
                kind: OnAirKind::Slate,
                item: None,
                block: None,
                position_s: 0.0,
                duration_s: None,
                next,
                fit: None,
                from_cache: false,
                slate: Some(reason),
                reason: Some(self.why_slate(reason)),
                since: self.since.0,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buckets_trouble_is_the_cause_where_it_explains_the_slate() {
        let trouble = |error_type: &str| ErrorReport {
            error_type: error_type.to_owned(),
            message: String::new(),
            hint: String::new(),
        };
        let (empty, gone) = (trouble("programme_empty"), trouble("storage_unreachable"));
        for (reason, trouble, ended, cause) in [
            (
                SlateCause::Operator,
                Some(&gone),
                false,
                DarkCause::Operator,
            ),
            (
                SlateCause::StorageUnreachable,
                None,
                false,
                DarkCause::StorageUnreachable,
            ),
            (SlateCause::Starting, None, false, DarkCause::Starting),
            (
                SlateCause::Starting,
                Some(&empty),
                false,
                DarkCause::ProgrammeEmpty,
            ),
            (
                SlateCause::Starting,
                Some(&gone),
                false,
                DarkCause::StorageUnreachable,
            ),
            (SlateCause::Stalled, None, false, DarkCause::SourceStalled),
            (
                SlateCause::Stalled,
                Some(&empty),
                false,
                DarkCause::SourceStalled,
            ),
            (
                SlateCause::Stalled,
                Some(&gone),
                false,
                DarkCause::StorageUnreachable,
            ),
            (
                SlateCause::NextNotReady,
                None,
                true,
                DarkCause::ProgrammeEmpty,
            ),
            (
                SlateCause::NextNotReady,
                None,
                false,
                DarkCause::SourceFailed,
            ),
        ] {
            assert_eq!(
                dark_cause(reason, trouble, ended),
                cause,
                "{reason:?} {trouble:?}"
            );
        }
    }
}
