//! How each fault is made, and undone.
//!
//! A fault is played against one channel: made, held for a while where it has a length, and healed.
//! Whatever happens in between, it is undone before this returns.

mod destination;
mod keeping;
mod source;

use std::time::{Duration, Instant};

use super::fault::Fault;
use super::world::World;

/// A fault was made and is over.
#[derive(Debug, Clone, Copy)]
pub struct Played {
    /// From then on it was possible to go on.
    pub healed: Instant,
}

/// Why a fault cannot be made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable(pub &'static str);

/// Plays `fault` against a channel that is on air.
///
/// # Errors
/// When it could not be made or undone, or something that is asserted on the way did not happen.
pub async fn play(
    fault: Fault,
    world: &mut World,
    channel: usize,
    hold: Duration,
) -> anyhow::Result<Result<Played, Unavailable>> {
    let played = match fault {
        Fault::ControllerKilled => keeping::controller_killed(world, channel).await,
        Fault::ControllerRestarted => keeping::controller_restarted(world, channel).await,
        Fault::ControllerFrozen => keeping::controller_frozen(world, channel, hold).await,
        Fault::StateCorrupt => keeping::state_corrupt(world, channel).await,
        Fault::StateReadOnly => return keeping::state_read_only(world, channel).await,
        Fault::WorkerUpgraded => return keeping::worker_upgraded(world, channel).await,
        Fault::WorkerKilled => keeping::worker_killed(world, channel).await,
        Fault::WorkerAndFfmpegsKilled => keeping::worker_and_ffmpegs_killed(world, channel).await,
        Fault::WorkerPaused => keeping::worker_paused(world, channel).await,
        Fault::PublisherKilled => destination::publisher_killed(world, channel).await,
        Fault::PublisherFrozen => destination::publisher_frozen(world, channel).await,
        Fault::DestinationRefuses => destination::refuses(world, channel, hold).await,
        Fault::DestinationResets => destination::resets(world, channel).await,
        Fault::DestinationHalfOpen => return destination::half_open(world, channel, hold).await,
        Fault::DestinationStalls => destination::stalls(world, channel, hold).await,
        Fault::DestinationSlow => destination::slow(world, channel, hold).await,
        Fault::DestinationRejectsKey => destination::rejects_key(world, channel, hold).await,
        Fault::ReaderKilled => source::reader_killed(world, channel).await,
        Fault::ReaderFrozen => source::reader_frozen(world, channel).await,
        Fault::FileTruncated => source::file_truncated(world, channel).await,
        Fault::FileDeleted => source::file_deleted(world, channel, hold).await,
        Fault::FolderEmptied => source::folder_emptied(world, channel, hold).await,
        Fault::FolderAway => source::folder_away(world, channel, hold).await,
        Fault::StorageLost => source::storage_lost(world, channel, hold).await,
        Fault::SkipStorm => source::skip_storm(world, channel).await,
        Fault::OperatorSlate => source::operator_slate(world, channel, hold).await,
    };
    played.map(Ok)
}

// === impl Played ===

impl Played {
    /// A fault without a length: it could be repaired as soon as it was made.
    fn at_once(made: Instant) -> Self {
        Self { healed: made }
    }

    /// One that lasted until now.
    fn now() -> Self {
        Self {
            healed: Instant::now(),
        }
    }
}
