//! What is asked of the history, and what it answers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use storage::history::{AskedBy, Recovery, SessionEnd, UnrecordedCause};
use storage::model::report::DestinationState;
use storage::model::{DarkCause, StreamId};
use utoipa::ToSchema;

/// How far back is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Window {
    /// A day.
    #[serde(rename = "24h")]
    Day,
    /// A week.
    #[serde(rename = "7d")]
    Week,
    /// Thirty days.
    #[serde(rename = "30d")]
    Month,
}

/// Availability in a window.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Uptime {
    /// The window.
    pub window: Window,
    /// Where it begins.
    pub from: Timestamp,
    /// Now.
    pub to: Timestamp,
    /// What of it is not in the record, oldest first. It counts for nothing below.
    pub unrecorded: Vec<Unrecorded>,
    /// By id; those that were removed since included.
    pub streams: Vec<StreamUptime>,
}

/// A stretch of which nothing is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Unrecorded {
    /// Where it begins, or the window.
    pub from: Timestamp,
    /// Where it ends.
    pub to: Timestamp,
    /// Why.
    pub cause: UnrecordedCause,
}

/// A stream's part in it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StreamUptime {
    /// The stream.
    pub stream_id: StreamId,
    /// Seconds with anything on air, the slate included, of those wanted; `null` without a wanted one.
    pub availability: Option<f64>,
    /// Seconds in which it was to be on air.
    pub wanted_s: f64,
    /// Of those, with anything on air.
    pub on_air_s: f64,
    /// Of those, with the slate on air.
    pub slate_s: f64,
    /// How often the slate came.
    pub slates: usize,
    /// By name; those that were removed since included.
    pub destinations: Vec<DestinationUptime>,
}

/// A destination's part in it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DestinationUptime {
    /// The destination.
    pub name: String,
    /// Seconds with media acknowledged of those wanted; `null` without a wanted one.
    pub availability: Option<f64>,
    /// Seconds in which it was to get media.
    pub wanted_s: f64,
    /// Of those, in which it acknowledged media.
    pub delivered_s: f64,
    /// Of those, in which it did not, planned ones included.
    pub dark_s: f64,
    /// Of the delivered ones, with the slate.
    pub slate_s: f64,
    /// The longest gap that was not planned.
    pub longest_gap_s: Option<f64>,
    /// Gaps that were not planned.
    pub gaps: usize,
    /// Of those, under way.
    pub open_gaps: usize,
    /// Of those, ended without anyone's doing.
    pub automatic: usize,
    /// Of those, ended after the operator did something.
    pub by_hand: usize,
    /// Of those, never over: the stream was stopped, or the destination taken away.
    pub stopped: usize,
    /// How long it took to be back.
    pub recovery: RecoveryTimes,
    /// What somebody meant.
    pub planned: Planned,
    /// The last gap that was not planned; the start of the stream only while it lasts.
    pub last_incident: Option<Incident>,
}

/// Lengths of ended gaps that were neither planned nor the start of the stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub struct RecoveryTimes {
    /// Half of them were shorter.
    pub median_s: Option<f64>,
    /// Nineteen of twenty were shorter.
    pub p95_s: Option<f64>,
    /// None was longer.
    pub max_s: Option<f64>,
}

/// Gaps that somebody meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub struct Planned {
    /// How many.
    pub gaps: usize,
    /// Their seconds.
    pub dark_s: f64,
}

/// Which gaps and slates are asked for; `None` is any.
#[derive(Debug, Clone, PartialEq)]
pub struct AskedIncidents {
    /// In this window.
    pub window: Window,
    /// Of this stream.
    pub stream: Option<StreamId>,
    /// Of this destination.
    pub destination: Option<String>,
    /// With this cause.
    pub cause: Option<DarkCause>,
    /// At most so many.
    pub limit: usize,
}

/// Gaps and slates.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Incidents {
    /// The window.
    pub window: Window,
    /// Where it begins.
    pub from: Timestamp,
    /// Now.
    pub to: Timestamp,
    /// What of it is not in the record, oldest first: what happened then is not known, and not listed.
    pub unrecorded: Vec<Unrecorded>,
    /// There are older ones than were asked for.
    pub more: bool,
    /// Newest first.
    pub incidents: Vec<Incident>,
}

/// What an incident was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentKind {
    /// A destination got nothing.
    Gap,
    /// Every destination got the slate.
    Slate,
}

/// A gap or a slate.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Incident {
    /// The stream.
    pub stream_id: StreamId,
    /// Which.
    pub kind: IncidentKind,
    /// The destination of a gap.
    pub destination: Option<String>,
    /// When it began.
    pub start: Timestamp,
    /// When it ended; `null` while it has not.
    pub end: Option<Timestamp>,
    /// How long it was, or has been; by a clock that nobody sets.
    pub length_s: f64,
    /// Why.
    pub cause: DarkCause,
    /// The exact failure, where one is known.
    pub error_type: Option<String>,
    /// Whether somebody meant it.
    pub planned: bool,
    /// How it ended; `null` while it has not, and where it goes on as another incident.
    pub recovery: Option<Recovery>,
}

/// Which live sessions are asked for; `None` is any.
#[derive(Debug, Clone, PartialEq)]
pub struct AskedTransitions {
    /// In this window.
    pub window: Window,
    /// Of this stream.
    pub stream: Option<StreamId>,
    /// At most so many; the steps are of all.
    pub limit: usize,
}

/// How long it took to go live and back.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Transitions {
    /// The window.
    pub window: Window,
    /// Where it begins.
    pub from: Timestamp,
    /// Now.
    pub to: Timestamp,
    /// Of all sessions in the window.
    pub steps: Steps,
    /// There are older ones than were asked for.
    pub more: bool,
    /// Newest first.
    pub sessions: Vec<Session>,
}

/// Times of each step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Steps {
    /// From asked until media was there; without the sessions that nobody asked for.
    pub asked_to_media: StepTimes,
    /// From asked, with media there, until it was on air.
    pub media_to_on_air: StepTimes,
    /// From asked until it was on air; without the sessions that nobody asked for.
    pub asked_to_on_air: StepTimes,
    /// From the loss of the feed until something else was on air; the slowest of each session.
    pub loss_to_programme: StepTimes,
}

/// Times of one step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub struct StepTimes {
    /// How many sessions came so far.
    pub count: usize,
    /// Half of them took no longer.
    pub p50_s: Option<f64>,
    /// Nineteen of twenty took no longer.
    pub p95_s: Option<f64>,
    /// None took longer.
    pub max_s: Option<f64>,
}

/// Somebody was live, or asked to be.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Session {
    /// The stream.
    pub stream_id: StreamId,
    /// The live input; `null` while only whichever is ready was asked for.
    pub input: Option<String>,
    /// Who asked.
    pub asked_by: AskedBy,
    /// When; of `obs` when the source was seen to be on, of `auto` when media was there.
    pub asked_at: Timestamp,
    /// When media was there; a feed that was there before counts from when it was asked for.
    pub media_at: Option<Timestamp>,
    /// When it was first on air.
    pub on_air_at: Option<Timestamp>,
    /// When it was off the air again, or not asked for any more; `null` while it lasts.
    pub off_at: Option<Timestamp>,
    /// Why it ended.
    pub ended: Option<SessionEnd>,
    /// From asked to media, by a clock that nobody sets.
    pub asked_to_media_s: Option<f64>,
    /// From media to on air.
    pub media_to_on_air_s: Option<f64>,
    /// From first on air to the end, or until now.
    pub on_air_s: Option<f64>,
    /// How often something else was on air in between, because the feed was lost.
    pub interruptions: u64,
    /// Of the time on air, from each loss to the air again.
    pub interrupted_s: f64,
    /// The longest time from a loss to something else on air.
    pub loss_to_programme_s: Option<f64>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// State of the connection.
    State,
    /// Mean bit rate.
    BitrateKbps,
    /// Frames dropped since the worker started.
    DroppedFrames,
    /// Processor time of the worker and its children; 100 is one core.
    CpuPercent,
    /// Resident memory of the same.
    MemoryBytes,
    /// Round trip to the peer.
    RttMs,
    /// Bytes on their way to the peer.
    UnackedBytes,
}

/// Which measurements are asked for; `None` is any.
#[derive(Debug, Clone, PartialEq)]
pub struct AskedMetrics {
    /// Of this destination.
    pub destination: Option<String>,
    /// From then on; a day ago when left out.
    pub from: Option<Timestamp>,
    /// Until then; now when left out.
    pub to: Option<Timestamp>,
    /// Only this one.
    pub metric: Option<Metric>,
    /// One point for so many seconds; more where the answer would be too long.
    pub step_s: Option<u32>,
}

/// Measurements.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Metrics {
    /// The stream.
    pub stream_id: StreamId,
    /// Where they begin.
    pub from: Timestamp,
    /// Where they end.
    pub to: Timestamp,
    /// Each point is the mean of so many seconds; counters and states are its last ones.
    pub step_s: u32,
    /// The stream's own first, then each destination's.
    pub series: Vec<Series>,
}

/// Measurements of one thing.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Series {
    /// The destination; `null` for the stream as a whole.
    pub destination: Option<String>,
    /// Oldest first.
    pub points: Vec<Point>,
}

/// Measurements of one moment; what was not measured or not asked for is left out.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Point {
    /// When.
    pub at: Timestamp,
    /// See [`Metric::State`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<DestinationState>,
    /// See [`Metric::BitrateKbps`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitrate_kbps: Option<u32>,
    /// See [`Metric::DroppedFrames`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped_frames: Option<u64>,
    /// See [`Metric::CpuPercent`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
    /// See [`Metric::MemoryBytes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// See [`Metric::RttMs`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// See [`Metric::UnackedBytes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unacked_bytes: Option<u64>,
}

// === impl Window ===

impl Window {
    /// Its length.
    pub(super) const fn length_ms(self) -> i64 {
        const HOUR_MS: i64 = 3_600_000;
        match self {
            Self::Day => 24 * HOUR_MS,
            Self::Week => 7 * 24 * HOUR_MS,
            Self::Month => 30 * 24 * HOUR_MS,
        }
    }
}
