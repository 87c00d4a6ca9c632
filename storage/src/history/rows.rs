//! What a row says.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::air::AirPart;
use crate::model::report::{DestinationState, OnAirKind};
use crate::model::{DarkCause, StreamId};

/// An interval; open while it has no end.
///
/// `*_ms` are on the record's axis, lengths are differences of them; `*_at` is what the wall clock
/// showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// When it began.
    pub start_ms: i64,
    /// When it ended.
    pub end_ms: Option<i64>,
    /// When it began, for people.
    pub start_at: Timestamp,
    /// When it ended, for people.
    pub end_at: Option<Timestamp>,
}

/// A stream was to be on air.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The stream.
    pub stream: StreamId,
    /// When.
    pub span: Span,
}

/// A destination acknowledged media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The stream.
    pub stream: StreamId,
    /// The destination.
    pub destination: String,
    /// When.
    pub span: Span,
    /// Which of its worker's connections.
    pub connection: u64,
}

/// A destination was to get media and did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The stream.
    pub stream: StreamId,
    /// The destination.
    pub destination: String,
    /// When.
    pub span: Span,
    /// Why; planned or not follows from it.
    pub cause: DarkCause,
    /// The exact failure, where one is known.
    pub error_type: Option<String>,
    /// How it ended; `None` while it has not, and where it goes on as another.
    pub recovery: Option<Recovery>,
}

/// One source was on air.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnAirSpan {
    /// The stream.
    pub stream: StreamId,
    /// When.
    pub span: Span,
    /// Programme, live or slate.
    pub source: OnAirKind,
    /// Object key or live input's name.
    pub item: Option<String>,
    /// Why the slate.
    pub cause: Option<DarkCause>,
    /// How a slate ended, as for a gap.
    pub recovery: Option<Recovery>,
}

/// How a gap or a slate ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// Nobody had to do anything.
    Automatic,
    /// The operator acted before it ended.
    ByHand,
    /// Its cause was meant, and nothing had to be mended.
    Planned,
    /// It did not recover: the operator stopped the stream, or took the destination away, while it lasted.
    Stopped,
}

/// Somebody was live, or asked to be: from when they asked to when they were off air again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSession {
    /// The stream.
    pub stream: StreamId,
    /// The live input; empty while only "whichever is ready" was asked for.
    pub input: String,
    /// From asked to off the air; a feed that was lost, and may come back, has ended for now.
    pub span: Span,
    /// Who asked.
    pub asked_by: AskedBy,
    /// When it was asked for and its media was there.
    pub media: Option<Mark>,
    /// When it was first on air.
    pub on_air: Option<Mark>,
    /// Why it ended.
    pub ended: Option<SessionEnd>,
    /// How often something else was on air in between, because the feed was lost.
    pub interruptions: u64,
    /// For how long, from each loss to the air again.
    pub interrupted_ms: i64,
    /// The longest time from a loss to something else on air.
    pub loss_to_programme_ms: Option<i64>,
}

/// An instant by both clocks, as in [`Span`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// On the record's axis.
    pub ms: i64,
    /// What the wall clock showed.
    pub at: Timestamp,
}

/// Who asked for a live input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AskedBy {
    /// Nobody: it takes the air when it is ready.
    Auto,
    /// The operator, through the API.
    Api,
    /// The owner, by switching a source on in OBS.
    Obs,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SessionEnd {
    /// The operator took something else, through the API.
    GivenBack,
    /// The owner switched the sources off in OBS.
    SourceOff,
    /// The feed ended and did not come back within its grace.
    Lost,
    /// Another live input was taken.
    OtherInput,
    /// The stream was stopped.
    Stopped,
    /// The worker ended.
    WorkerGone,
}

/// A row of an interval table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// Of `wanted`.
    Wanted(Wanted),
    /// Of `delivery`.
    Delivery(Delivery),
    /// Of `gap`.
    Gap(Gap),
    /// Of `on_air`.
    OnAir(OnAirSpan),
    /// Of `live_session`.
    LiveSession(LiveSession),
}

/// The interval tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// See [`Wanted`].
    Wanted,
    /// See [`Delivery`].
    Delivery,
    /// See [`Gap`].
    Gap,
    /// See [`OnAirSpan`].
    OnAir,
    /// See [`LiveSession`].
    LiveSession,
}

/// What names a row: intervals of one table and destination do not overlap, so the start is enough.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The table.
    pub table: Table,
    /// The stream.
    pub stream: StreamId,
    /// The destination, of a session the live input; empty for what belongs to the stream.
    pub destination: String,
    /// When it began.
    pub start_ms: i64,
}

/// What was measured at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The stream.
    pub stream: StreamId,
    /// The destination; `None` for what belongs to the stream as a whole.
    pub destination: Option<String>,
    /// When, on the record's axis.
    pub ms: i64,
    /// When, for people.
    pub at: Timestamp,
    /// State of the connection.
    pub state: Option<DestinationState>,
    /// Mean of the last seconds.
    pub bitrate_kbps: Option<u32>,
    /// Frames dropped since the worker started.
    pub dropped_frames: Option<u64>,
    /// Processor time of the worker and its children; 100 is one core.
    pub cpu_percent: Option<f64>,
    /// Resident memory of the same.
    pub memory_bytes: Option<u64>,
    /// Round trip to the peer.
    pub rtt_ms: Option<f64>,
    /// Bytes on their way to the peer.
    pub unacked_bytes: Option<u64>,
}

/// A part of a stream's journal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// The stream.
    pub stream: StreamId,
    /// The part.
    pub name: AirPart,
}

/// Where a boot of the machine lies on the record's axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// From the kernel; empty where it does not say.
    pub boot_id: String,
    /// Added to `CLOCK_BOOTTIME` in milliseconds.
    pub offset_ms: i64,
}

// === impl Span ===

impl Span {
    /// Milliseconds of it that lie between `from_ms` and `to_ms`; an open one reaches `to_ms`.
    pub fn within(&self, from_ms: i64, to_ms: i64) -> i64 {
        let end = self.end_ms.unwrap_or(to_ms).min(to_ms);
        (end - self.start_ms.max(from_ms)).max(0)
    }
}

// === impl Row ===

impl Row {
    /// When it was.
    pub fn span(&self) -> &Span {
        match self {
            Self::Wanted(row) => &row.span,
            Self::Delivery(row) => &row.span,
            Self::Gap(row) => &row.span,
            Self::OnAir(row) => &row.span,
            Self::LiveSession(row) => &row.span,
        }
    }

    /// Its name.
    pub fn key(&self) -> Key {
        let (table, stream, destination) = match self {
            Self::Wanted(row) => (Table::Wanted, &row.stream, ""),
            Self::Delivery(row) => (Table::Delivery, &row.stream, row.destination.as_str()),
            Self::Gap(row) => (Table::Gap, &row.stream, row.destination.as_str()),
            Self::OnAir(row) => (Table::OnAir, &row.stream, ""),
            Self::LiveSession(row) => (Table::LiveSession, &row.stream, row.input.as_str()),
        };
        Key {
            table,
            stream: stream.clone(),
            destination: destination.to_owned(),
            start_ms: self.span().start_ms,
        }
    }
}

// === impl Table ===

impl Table {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Wanted,
        Self::Delivery,
        Self::Gap,
        Self::OnAir,
        Self::LiveSession,
    ];

    /// Its name in the file.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Delivery => "delivery",
            Self::Gap => "gap",
            Self::OnAir => "on_air",
            Self::LiveSession => "live_session",
        }
    }

    /// The column that says which of a stream's a row is of; `None` when it is of the stream as a whole.
    pub(super) const fn part_column(self) -> Option<&'static str> {
        match self {
            Self::Wanted | Self::OnAir => None,
            Self::Delivery | Self::Gap => Some("destination"),
            Self::LiveSession => Some("input"),
        }
    }
}
