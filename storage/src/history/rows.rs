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
    /// How it ended; `None` while it has not, and where its end was that nothing was wanted any more.
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

/// Who ended a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// Nobody had to do anything.
    Automatic,
    /// The operator acted before it ended.
    ByHand,
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
}

/// What names a row: intervals of one table and destination do not overlap, so the start is enough.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The table.
    pub table: Table,
    /// The stream.
    pub stream: StreamId,
    /// The destination; empty for what belongs to the stream.
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
    /// Its name.
    pub fn key(&self) -> Key {
        let (table, stream, destination, span) = match self {
            Self::Wanted(row) => (Table::Wanted, &row.stream, "", &row.span),
            Self::Delivery(row) => (
                Table::Delivery,
                &row.stream,
                row.destination.as_str(),
                &row.span,
            ),
            Self::Gap(row) => (Table::Gap, &row.stream, row.destination.as_str(), &row.span),
            Self::OnAir(row) => (Table::OnAir, &row.stream, "", &row.span),
        };
        Key {
            table,
            stream: stream.clone(),
            destination: destination.to_owned(),
            start_ms: span.start_ms,
        }
    }
}

// === impl Table ===

impl Table {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Wanted, Self::Delivery, Self::Gap, Self::OnAir];

    /// Its name in the file.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Delivery => "delivery",
            Self::Gap => "gap",
            Self::OnAir => "on_air",
        }
    }

    /// Whether its rows are of a destination.
    pub(super) const fn has_destination(self) -> bool {
        matches!(self, Self::Delivery | Self::Gap)
    }
}
