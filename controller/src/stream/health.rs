//! Whether a worker answers, and whether what it says is what was wanted. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use storage::model::report::{
    DestinationReport, DestinationState, ErrorReport, OnAirKind, SlateCause,
};
use storage::model::{OnAir, WorkerReport};
use tokio::time::Instant;

/// Unanswered checks in a row that make a worker unresponsive.
const TOLERATED_SILENCES: u32 = 3;
/// Silence that makes a worker unresponsive, however few checks fell into it.
const TOLERATED_SILENCE: Duration = Duration::from_secs(6);
/// The same for one that has never answered.
const START_TOLERATED_SILENCE: Duration = Duration::from_secs(10);
/// Silence after which a worker is replaced.
const REPLACED_AFTER: Duration = Duration::from_secs(30);
/// The same for one that has never answered: it may be rendering its slate on a busy machine.
const START_REPLACED_AFTER: Duration = Duration::from_secs(60);
/// Over what time dropped frames are counted.
const DROP_WINDOW: Duration = Duration::from_secs(60);
/// Share of frames a destination may miss.
const TOLERATED_DROPS: f64 = 0.01;

/// Whether a worker answers.
#[derive(Debug)]
pub(super) struct Health {
    since: Instant,
    answered: bool,
    failures: u32,
    unresponsive: bool,
}

/// How what is on air falls short of what was wanted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shortfall(Option<ErrorReport>);

/// Frames lost per destination in the last minute.
#[derive(Debug, Default)]
pub(super) struct DropMeter {
    counters: BTreeMap<String, VecDeque<(Instant, u64)>>,
    /// Those that lose too many, and what to tell of it.
    warnings: BTreeMap<String, ErrorReport>,
}

// === impl Health ===

impl Health {
    /// A worker that has to answer from `now` on.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            answered: false,
            failures: 0,
            unresponsive: false,
        }
    }

    /// It answered.
    pub(super) fn answered(&mut self, now: Instant) {
        *self = Self {
            since: now,
            answered: true,
            failures: 0,
            unresponsive: false,
        };
    }

    /// It did not answer a check. One that has never answered is given the time of a start.
    pub(super) fn silent(&mut self, now: Instant) {
        self.failures += 1;
        let patience = if self.answered {
            TOLERATED_SILENCE
        } else {
            START_TOLERATED_SILENCE
        };
        let too_long = now.duration_since(self.since) >= patience;
        let too_often = self.answered && self.failures >= TOLERATED_SILENCES;
        self.unresponsive = too_long || too_often;
    }

    /// Whether it has been silent for so long that nobody waits for it.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        let patience = if self.answered {
            REPLACED_AFTER
        } else {
            START_REPLACED_AFTER
        };
        self.failures > 0 && now.duration_since(self.since) >= patience
    }

    /// Whether it is overdue with an answer.
    pub(super) fn is_unresponsive(&self) -> bool {
        self.unresponsive
    }

    /// What to tell the operator while it is.
    pub(super) fn error(&self) -> Option<ErrorReport> {
        self.unresponsive.then(|| ErrorReport {
            error_type: "worker_unresponsive".into(),
            message: format!(
                "the worker has not answered {} health checks in a row",
                self.failures
            ),
            hint: "it may still be on air; unless it answers again it is ended and started anew \
                   by itself. Look for a machine out of CPU, memory or disk"
                .into(),
        })
    }
}

// === impl Shortfall ===

impl Shortfall {
    /// Judges what a worker reports.
    pub(super) fn of(report: &WorkerReport, drops: &mut DropMeter, now: Instant) -> Self {
        let dropping = drops.observe(report, now);
        let down = report
            .destinations
            .iter()
            .find(|destination| destination.state != DestinationState::Live);
        Self(
            down.map(destination_down)
                .or_else(|| {
                    report
                        .on_air
                        .as_ref()
                        .and_then(|on_air| slate(on_air, report))
                })
                .or_else(|| report.destinations.iter().find_map(slow))
                .or(dropping),
        )
    }

    /// Nothing falls short.
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// The worst of it.
    pub(super) fn error(&self) -> Option<&ErrorReport> {
        self.0.as_ref()
    }
}

/// Whether the start is over: media flows, and each destination has had its first try.
pub(super) fn is_on_air(report: &WorkerReport) -> bool {
    let trying = |destination: &DestinationReport| {
        destination.state == DestinationState::Connecting && destination.retry_count == 0
    };
    let live = report
        .destinations
        .iter()
        .any(|destination| destination.state == DestinationState::Live);
    report.on_air.is_some() && (live || !report.destinations.iter().any(trying))
}

fn destination_down(destination: &DestinationReport) -> ErrorReport {
    let name = &destination.name;
    if let Some(error) = &destination.error {
        return ErrorReport {
            message: format!("{name}: {}", error.message),
            ..error.clone()
        };
    }
    ErrorReport {
        error_type: "destination_not_live".into(),
        message: format!("{name} is not receiving the stream"),
        hint: "it is connected again by itself; the other destinations are not affected".into(),
    }
}

/// A destination that gets everything, and ever later: frames will be dropped.
fn slow(destination: &DestinationReport) -> Option<ErrorReport> {
    let error = destination.error.as_ref()?;
    let is_slow = destination.state == DestinationState::Live && error.error_type == "slow";
    is_slow.then(|| destination_down(destination))
}

fn slate(on_air: &OnAir, report: &WorkerReport) -> Option<ErrorReport> {
    // What the operator asked for is as wanted.
    let is_asked_for = matches!(on_air.slate, Some(SlateCause::Operator | SlateCause::Card));
    if on_air.kind != OnAirKind::Slate || is_asked_for {
        return None;
    }
    report.programme.error.clone().or_else(|| {
        Some(ErrorReport {
            error_type: "slate_on_air".into(),
            message: match &on_air.reason {
                Some(reason) => format!("the slate is on air: {reason}"),
                None => "the slate is on air instead of the programme".into(),
            },
            hint: "see programme.problems in the status for the items that were skipped".into(),
        })
    })
}

// === impl DropMeter ===

impl DropMeter {
    /// What to tell of destinations that lose too many frames, by their names.
    pub(super) fn warnings(&self) -> &BTreeMap<String, ErrorReport> {
        &self.warnings
    }

    /// Notes the counters of `report` and names the first destination that loses too many frames.
    fn observe(&mut self, report: &WorkerReport, now: Instant) -> Option<ErrorReport> {
        let fps = f64::from(report.format?.fps);
        let configured = |name: &String| report.destinations.iter().any(|d| d.name == *name);
        self.counters.retain(|name, _| configured(name));
        self.warnings.clear();
        for destination in &report.destinations {
            let name = &destination.name;
            let samples = self.counters.entry(name.clone()).or_default();
            let share = dropped_share(samples, destination.dropped_frames, fps, now);
            if share > TOLERATED_DROPS {
                self.warnings
                    .insert(name.clone(), frames_dropped(name, share));
            }
        }
        let mut names = report.destinations.iter().map(|to| &to.name);
        names.find_map(|name| self.warnings.get(name).cloned())
    }
}

/// Share of the window's frames that were dropped. The window is counted whole from the start, so
/// that one hiccup in a young stream is not a quarter of it.
fn dropped_share(
    samples: &mut VecDeque<(Instant, u64)>,
    dropped: u64,
    fps: f64,
    now: Instant,
) -> f64 {
    samples.push_back((now, dropped));
    while samples.len() > 1 && now.duration_since(samples[1].0) >= DROP_WINDOW {
        samples.pop_front();
    }
    let (_, before) = samples[0];
    let lost = dropped.saturating_sub(before) as f64;
    lost / (fps * DROP_WINDOW.as_secs_f64())
}

fn frames_dropped(name: &str, share: f64) -> ErrorReport {
    ErrorReport {
        error_type: "frames_dropped".into(),
        message: format!(
            "{name}: {:.1} % of the last minute's frames were dropped",
            share * 100.0
        ),
        hint: "it took nothing for more than 5 s, or takes less than the stream brings: if it was live \
               all the while, lower format.video_kbps, or look at the network of this machine"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use programme::StreamFormat;
    use storage::model::report::{AirCounters, PreviewState, ProgrammeReport};

    use super::*;

    fn destination(name: &str, state: DestinationState) -> DestinationReport {
        DestinationReport {
            name: name.into(),
            url: "rtmp://127.0.0.1/live".into(),
            state,
            since: Timestamp::UNIX_EPOCH,
            retry_count: 0,
            will_retry: true,
            next_retry_at: None,
            sent_media_s: 0.0,
            bytes_acked: None,
            unacked_bytes: None,
            rtt_ms: None,
            retransmits: None,
            behind_s: 0.0,
            bitrate_kbps: 0,
            dropped_frames: 0,
            connections: 1,
            error: None,
        }
    }

    fn report(kind: Option<OnAirKind>, destinations: Vec<DestinationReport>) -> WorkerReport {
        WorkerReport {
            protocol: 1,
            version: "0.1.0".into(),
            stream_id: "main".parse().unwrap(),
            generation: 1,
            nonce: "n".into(),
            pid: 1,
            started_at: Timestamp::UNIX_EPOCH,
            format: Some(StreamFormat::default()),
            on_air: kind.map(|kind| OnAir {
                kind,
                item: None,
                block: None,
                position_s: 0.0,
                duration_s: None,
                next: None,
                fit: None,
                from_cache: false,
                slate: None,
                reason: None,
                since: Timestamp::UNIX_EPOCH,
            }),
            destinations,
            programme: ProgrammeReport::default(),
            live_inputs: Vec::new(),
            preview: PreviewState::Idle,
            counters: AirCounters::default(),
            upgrade: None,
        }
    }

    fn shortfall(report: &WorkerReport) -> Option<String> {
        Shortfall::of(report, &mut DropMeter::default(), Instant::now())
            .error()
            .map(|error| error.error_type.clone())
    }

    #[test]
    fn a_stream_is_on_air_when_media_flows_and_someone_gets_it() {
        let programme = Some(OnAirKind::Programme);
        assert!(is_on_air(&report(programme, vec![])));
        assert!(!is_on_air(&report(None, vec![])));
        let connecting = destination("a", DestinationState::Connecting);
        let live = destination("b", DestinationState::Live);
        assert!(!is_on_air(&report(programme, vec![connecting.clone()])));
        assert!(is_on_air(&report(
            programme,
            vec![connecting.clone(), live]
        )));
    }

    #[test]
    fn a_start_is_over_when_every_destination_has_had_its_first_try() {
        let refused = destination("a", DestinationState::Rejected);
        let programme = Some(OnAirKind::Programme);
        let report = report(programme, vec![refused]);
        assert!(is_on_air(&report));
        assert_eq!(shortfall(&report).as_deref(), Some("destination_not_live"));
    }

    #[test]
    fn slate_instead_of_programme_falls_short() {
        let live = destination("a", DestinationState::Live);
        let good = report(Some(OnAirKind::Programme), vec![live.clone()]);
        assert_eq!(shortfall(&good), None);
        let slate = report(Some(OnAirKind::Slate), vec![live]);
        assert_eq!(shortfall(&slate).as_deref(), Some("slate_on_air"));
        let mut wished = slate;
        let on_air = wished.on_air.as_mut().expect("made with one");
        on_air.slate = Some(SlateCause::Operator);
        assert_eq!(shortfall(&wished), None);
    }

    #[test]
    fn a_slow_destination_falls_short_and_one_that_was_lost_a_while_ago_does_not() {
        let with = |error_type: &str| {
            let mut live = destination("a", DestinationState::Live);
            live.error = Some(ErrorReport {
                error_type: error_type.to_owned(),
                message: String::new(),
                hint: String::new(),
            });
            shortfall(&report(Some(OnAirKind::Programme), vec![live]))
        };
        assert_eq!(with("slow").as_deref(), Some("slow"));
        assert_eq!(with("connection_lost"), None);
    }

    #[test]
    fn more_than_one_percent_of_dropped_frames_fall_short_until_the_minute_has_passed() {
        let mut drops = DropMeter::default();
        let start = Instant::now();
        let at = |seconds, dropped, drops: &mut DropMeter| {
            let mut live = destination("a", DestinationState::Live);
            live.dropped_frames = dropped;
            let report = report(Some(OnAirKind::Programme), vec![live]);
            Shortfall::of(&report, drops, start + Duration::from_secs(seconds)).is_none()
        };
        // One percent of a minute at 30 frames per second is 18 frames.
        assert!(at(0, 1000, &mut drops), "drops of long ago do not count");
        assert!(at(5, 1018, &mut drops));
        assert!(!at(10, 1019, &mut drops));
        assert!(!at(60, 1019, &mut drops));
        assert!(at(71, 1019, &mut drops));
    }

    #[test]
    fn silence_is_told_after_three_checks_and_ended_after_thirty_seconds() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut health = Health::new(start);
        health.answered(start);
        for second in [1, 2] {
            health.silent(after(second));
            assert!(!health.is_unresponsive());
        }
        health.silent(after(3));
        assert!(health.is_unresponsive());
        health.answered(after(4));
        health.silent(after(9));
        assert!(!health.is_unresponsive(), "for five seconds");
        health.silent(after(11));
        assert!(health.is_unresponsive(), "for seven");
        health.answered(start);
        health.silent(after(29));
        assert!(!health.is_lost(after(29)));
        assert!(health.is_lost(after(30)));
        health.answered(after(31));
        assert!(!health.is_unresponsive());
        assert!(!health.is_lost(after(31)));
    }

    #[test]
    fn a_worker_that_renders_its_slate_is_given_a_minute() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut health = Health::new(start);
        for seconds in [5, 7, 9] {
            health.silent(after(seconds));
        }
        assert!(!health.is_unresponsive());
        health.silent(after(59));
        assert!(!health.is_lost(after(59)));
        assert!(health.is_lost(after(60)));
    }
}
