//! The air journal: what a worker writes down of what its viewers could see.
//!
//! Lines of JSON in `STATE_DIR/streams/<id>/air/`, appended by the worker alone and read by the
//! controller alone, so a controller that was away loses nothing. Invariants, file names and how
//! they end are in `docs/design/air-record.md`.

use jiff::Timestamp;
use serde::de::value::{Error, StrDeserializer};
use serde::{Deserialize, Serialize};

use super::live::LiveInputState;
use super::report::OnAirKind;

/// Version of [`AirEntry`] this build writes.
pub const AIR_VERSION: u32 = 1;

/// Name of one file of the journal: `<generation, 8 digits>-<part, 4 digits>.jsonl`. Names in order
/// are entries in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AirPart {
    /// Generation of the worker that writes it.
    pub generation: u64,
    /// Counts the files of that generation, from 1.
    pub part: u32,
}

impl std::fmt::Display for AirPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08}-{:04}.jsonl", self.generation, self.part)
    }
}

impl AirPart {
    /// Reads a file's name; `None` when it is not a part's.
    pub fn parse(name: &str) -> Option<Self> {
        let (generation, part) = name.strip_suffix(".jsonl")?.split_once('-')?;
        let part = Self {
            generation: generation.parse().ok()?,
            part: part.parse().ok()?,
        };
        // Only what is written this way sorts as it should.
        (part.to_string() == name).then_some(part)
    }
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AirEntry {
    /// See [`AIR_VERSION`].
    pub v: u32,
    /// Nonce of the worker that wrote it.
    pub worker: String,
    /// Counts this worker's entries, from 0.
    pub seq: u64,
    /// When it happened, by the wall clock; may be seconds before it was written.
    pub at: Timestamp,
    /// The same instant in milliseconds since the machine was started (`CLOCK_BOOTTIME`): lengths are
    /// counted with it, because the wall clock may be set.
    pub boot_ms: u64,
    /// What happened.
    pub event: AirEvent,
}

/// What can happen on air.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AirEvent {
    /// A worker began, or (with `takes_over`) a newer binary went on in its process.
    Started {
        /// From the job.
        generation: u64,
        /// Crate version of the worker.
        version: String,
        /// Which boot `boot_ms` counts from (`/proc/sys/kernel/random/boot_id`, where it can be read).
        boot_id: Option<String>,
        /// The connections of the process before it are still up.
        #[serde(default)]
        takes_over: bool,
    },
    /// Something else is released from now on.
    OnAir {
        /// Programme, live or slate.
        source: OnAirKind,
        /// Object key or live input's name.
        item: Option<String>,
        /// Why it is the slate; `None` when it is not.
        cause: Option<DarkCause>,
    },
    /// The destination acknowledges media, from now on.
    Delivering {
        /// The destination's name.
        destination: String,
        /// Counts this worker's connections to it, from 1.
        connection: u64,
    },
    /// The destination has taken nothing since.
    Dark {
        /// The destination's name.
        destination: String,
        /// Why.
        cause: DarkCause,
        /// The exact failure (`connection_refused`, `stalled`, …), where there is one.
        error_type: Option<String>,
    },
    /// A live input is in another state.
    LiveInput {
        /// The input's name.
        input: String,
        /// `ready` from its first keyframe on; `lost` from when nothing of it was left to show.
        state: LiveInputState,
        /// For how long after a loss it is taken back, seconds.
        #[serde(default)]
        grace_s: u32,
    },
    /// The worker ends, and says so itself.
    Ended {
        /// Exit code about to be returned.
        code: i32,
    },
}

/// Why viewers saw nothing, or not the programme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DarkCause {
    /// The stream was just started and nothing is ready yet.
    Starting,
    /// An item could not be opened, is damaged, or ended before its length.
    SourceFailed,
    /// The item on air delivered nothing in time.
    SourceStalled,
    /// A live input was lost.
    LiveLost,
    /// The media store could not be reached, or refused.
    StorageUnreachable,
    /// There is nothing to play: the bucket is empty, or the programme has ended.
    ProgrammeEmpty,
    /// The connection was refused, reset, timed out, or the name was not found.
    DestinationLost,
    /// The connection stood, and the peer took or acknowledged nothing.
    DestinationStalled,
    /// The platform refused the key or the name.
    DestinationRejected,
    /// The worker's process ended by a fault.
    WorkerCrashed,
    /// The worker did not answer and was replaced, or it stood still for a while.
    WorkerUnresponsive,
    /// The worker cannot run here, or was given up (`error`).
    GivenUp,
    /// The start was refused by the pre-flight checks.
    PreflightFailed,
    /// The operator asked for it: the slate was taken, or the stream restarted.
    Operator,
    /// A connection that was old enough was made anew between two items.
    PlannedRenewal,
    /// The machine, or everything that could have written it down, was down.
    MachineDown,
    /// None of the above is known.
    Unknown,
}

impl DarkCause {
    /// The cause with this name in JSON.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::deserialize(StrDeserializer::<Error>::new(name)).ok()
    }

    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Starting,
        Self::SourceFailed,
        Self::SourceStalled,
        Self::LiveLost,
        Self::StorageUnreachable,
        Self::ProgrammeEmpty,
        Self::DestinationLost,
        Self::DestinationStalled,
        Self::DestinationRejected,
        Self::WorkerCrashed,
        Self::WorkerUnresponsive,
        Self::GivenUp,
        Self::PreflightFailed,
        Self::Operator,
        Self::PlannedRenewal,
        Self::MachineDown,
        Self::Unknown,
    ];

    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::SourceFailed => "source_failed",
            Self::SourceStalled => "source_stalled",
            Self::LiveLost => "live_lost",
            Self::StorageUnreachable => "storage_unreachable",
            Self::ProgrammeEmpty => "programme_empty",
            Self::DestinationLost => "destination_lost",
            Self::DestinationStalled => "destination_stalled",
            Self::DestinationRejected => "destination_rejected",
            Self::WorkerCrashed => "worker_crashed",
            Self::WorkerUnresponsive => "worker_unresponsive",
            Self::GivenUp => "given_up",
            Self::PreflightFailed => "preflight_failed",
            Self::Operator => "operator",
            Self::PlannedRenewal => "planned_renewal",
            Self::MachineDown => "machine_down",
            Self::Unknown => "unknown",
        }
    }

    /// Says little enough to give way to whatever is learned later.
    pub const fn is_vague(self) -> bool {
        matches!(self, Self::Starting | Self::Unknown)
    }

    /// Whether somebody meant it: planned darkness is listed, and told apart in the sums.
    pub const fn is_planned(self) -> bool {
        matches!(self, Self::Operator | Self::PlannedRenewal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_listed_by_its_name() {
        for (index, cause) in DarkCause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index);
            assert_eq!(DarkCause::from_name(cause.name()), Some(cause));
        }
        assert_eq!(DarkCause::ALL.last(), Some(&DarkCause::Unknown));
    }

    #[test]
    fn a_parts_name_is_read_as_it_is_written_and_no_other_is() {
        let part = AirPart {
            generation: 12,
            part: 3,
        };
        assert_eq!(part.to_string(), "00000012-0003.jsonl");
        assert_eq!(AirPart::parse("00000012-0003.jsonl"), Some(part));
        for other in [
            "12-3.jsonl",
            "00000012-0003.json",
            "notes.jsonl",
            "00000012-0003.jsonl.bak",
        ] {
            assert_eq!(AirPart::parse(other), None, "{other}");
        }
    }
}
