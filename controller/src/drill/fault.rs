//! The faults: what each is, and what it may cost the viewer. Pure; how each is made is in
//! [`super::play()`].

use std::time::Duration;

use super::verdict::{Limits, Reach};

/// A fault the drill can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The controller is killed, several times.
    ControllerKilled,
    /// The controller is told to leave, as for an upgrade, and started again.
    ControllerRestarted,
    /// The controller hangs for a while.
    ControllerFrozen,
    /// The state file is unreadable when the controller starts.
    StateCorrupt,
    /// Nothing can be written in the state directory.
    StateReadOnly,
    /// The worker is killed.
    WorkerKilled,
    /// The worker and all its FFmpegs are killed in one moment.
    WorkerAndFfmpegsKilled,
    /// The worker stands still for a moment, as on a machine that is moved.
    WorkerPaused,
    /// The worker becomes its program anew.
    WorkerUpgraded,
    /// The FFmpeg that publishes is killed.
    PublisherKilled,
    /// The FFmpeg that publishes hangs.
    PublisherFrozen,
    /// The destination refuses connections for a while.
    DestinationRefuses,
    /// The connection is reset.
    DestinationResets,
    /// The line is dead without a word.
    DestinationHalfOpen,
    /// The destination reads nothing any more.
    DestinationStalls,
    /// The destination takes less than the stream's bit rate.
    DestinationSlow,
    /// The destination does not know the key for a while.
    DestinationRejectsKey,
    /// The FFmpeg that reads the item on air is killed.
    ReaderKilled,
    /// The FFmpeg that reads the item on air hangs.
    ReaderFrozen,
    /// The file on air is cut off.
    FileTruncated,
    /// The file on air is deleted.
    FileDeleted,
    /// The folder is emptied while playing, and filled again.
    FolderEmptied,
    /// The folder is gone for a while.
    FolderAway,
    /// The folder is gone for longer than was read ahead, and the FFmpeg that reads ended with it.
    StorageLost,
    /// Skips, one after the other.
    SkipStorm,
    /// The operator wants the slate for a while.
    OperatorSlate,
}

/// A fault, described.
#[derive(Debug, Clone)]
pub struct Spec {
    /// For `--only`.
    pub name: &'static str,
    /// What is done.
    pub what: &'static str,
    /// What it may cost.
    pub limits: Limits,
}

/// All faults, in the order of the drill.
pub const ALL: [Fault; 26] = [
    Fault::ControllerKilled,
    Fault::ControllerRestarted,
    Fault::ControllerFrozen,
    Fault::StateCorrupt,
    Fault::StateReadOnly,
    Fault::WorkerUpgraded,
    Fault::PublisherKilled,
    Fault::PublisherFrozen,
    Fault::DestinationRefuses,
    Fault::DestinationResets,
    Fault::DestinationHalfOpen,
    Fault::DestinationStalls,
    Fault::DestinationSlow,
    Fault::DestinationRejectsKey,
    Fault::ReaderKilled,
    Fault::ReaderFrozen,
    Fault::FileTruncated,
    Fault::FileDeleted,
    Fault::FolderEmptied,
    Fault::FolderAway,
    Fault::StorageLost,
    Fault::SkipStorm,
    Fault::OperatorSlate,
    Fault::WorkerPaused,
    Fault::WorkerKilled,
    Fault::WorkerAndFfmpegsKilled,
];

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

// === impl Fault ===

impl Fault {
    /// The fault of this name.
    pub fn named(name: &str) -> Option<Self> {
        ALL.into_iter()
            .find(|fault| fault.spec(Duration::ZERO).name == name)
    }

    /// Its description; `hold` is how long a fault lasts that has a length.
    pub fn spec(self, hold: Duration) -> Spec {
        let (name, what) = self.words();
        Spec {
            name,
            what,
            limits: self.limits(hold),
        }
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::ControllerKilled => ("controller-killed", "kill -9 of the controller, 5 times"),
            Self::ControllerRestarted => ("controller-restarted", "SIGTERM, then started again"),
            Self::ControllerFrozen => ("controller-frozen", "SIGSTOP of the controller"),
            Self::StateCorrupt => (
                "state-corrupt",
                "an unreadable state file at the next start",
            ),
            Self::StateReadOnly => ("state-read-only", "a state directory that refuses writes"),
            Self::WorkerKilled => ("worker-killed", "kill -9 of the worker"),
            Self::WorkerAndFfmpegsKilled => (
                "worker-and-ffmpegs-killed",
                "kill -9 of the worker and its FFmpegs",
            ),
            Self::WorkerPaused => ("worker-paused", "SIGSTOP of the worker for 3 s"),
            Self::WorkerUpgraded => ("worker-upgraded", "POST /streams/{id}/upgrade"),
            Self::PublisherKilled => ("publisher-killed", "kill -9 of the FFmpeg that publishes"),
            Self::PublisherFrozen => ("publisher-frozen", "SIGSTOP of the FFmpeg that publishes"),
            Self::DestinationRefuses => ("destination-refuses", "connections are refused"),
            Self::DestinationResets => ("destination-resets", "the connection is reset"),
            Self::DestinationHalfOpen => (
                "destination-half-open",
                "a dead line: nothing is acknowledged",
            ),
            Self::DestinationStalls => ("destination-stalls", "accepts and reads nothing more"),
            Self::DestinationSlow => ("destination-slow", "takes a quarter of the bit rate"),
            Self::DestinationRejectsKey => ("destination-rejects-key", "refuses the stream key"),
            Self::ReaderKilled => ("reader-killed", "kill -9 of the FFmpeg that reads the item"),
            Self::ReaderFrozen => ("reader-frozen", "SIGSTOP of the FFmpeg that reads the item"),
            Self::FileTruncated => ("file-truncated", "the file on air is cut off"),
            Self::FileDeleted => ("file-deleted", "the file on air is deleted"),
            Self::FolderEmptied => (
                "folder-emptied",
                "all files are gone, the next is asked for",
            ),
            Self::FolderAway => (
                "folder-away",
                "the folder itself is gone, the next is asked for",
            ),
            Self::StorageLost => (
                "storage-lost",
                "the folder is gone, and the FFmpeg that reads from it",
            ),
            Self::SkipStorm => ("skip-storm", "20 skips within 4 s"),
            Self::OperatorSlate => ("operator-slate", "the slate by command, then the programme"),
        }
    }

    fn limits(self, hold: Duration) -> Limits {
        let unnoticed = Limits::unnoticed();
        match self {
            Self::ControllerKilled
            | Self::ControllerRestarted
            | Self::ControllerFrozen
            | Self::StateCorrupt
            | Self::StateReadOnly
            | Self::WorkerUpgraded
            | Self::ReaderKilled
            | Self::FileTruncated
            | Self::FileDeleted
            | Self::SkipStorm => unnoticed,
            Self::WorkerKilled | Self::WorkerAndFfmpegsKilled => Limits {
                hole: s(2),
                reconnects: 1..=1,
                recovery: s(2),
                ..unnoticed
            },
            // The connections outlive it, and not a picture is missing.
            Self::WorkerPaused => Limits {
                hole: s(4),
                recovery: s(2),
                ..unnoticed
            },
            Self::PublisherKilled | Self::DestinationResets => Limits::one_destination(s(3), s(3)),
            // Noticed within 5 s, then a first wait and a connection.
            Self::PublisherFrozen => Limits::one_destination(s(8), s(8)),
            Self::DestinationRefuses | Self::DestinationRejectsKey => {
                Limits::one_destination(hold + s(3), s(3))
            }
            Self::DestinationHalfOpen | Self::DestinationStalls => {
                Limits::one_destination(hold + s(3), s(3))
            }
            Self::DestinationSlow => Limits {
                reach: Reach::OneDestination,
                hole: hold + s(3),
                reconnects: 0..=hold.as_secs() as usize,
                recovery: s(5),
                thinned: true,
                ..unnoticed
            },
            // It is opened again while what was read ahead is aired; a busy machine may need longer for that.
            Self::ReaderFrozen => Limits {
                slate: Duration::ZERO..=s(2),
                ..unnoticed
            },
            Self::FolderEmptied | Self::FolderAway => Limits {
                slate: Duration::ZERO..=hold + s(10),
                recovery: s(8),
                ..unnoticed
            },
            // Asked every second whether it is back, then the item is opened.
            Self::StorageLost => Limits {
                slate: Duration::ZERO..=hold + s(15),
                recovery: s(5),
                ..unnoticed
            },
            Self::OperatorSlate => Limits {
                slate: hold.saturating_sub(s(2)).max(ms(500))..=hold + s(2),
                recovery: s(2),
                ..unnoticed
            },
        }
    }

    /// Whether it is made to files that every channel of a drill plays from.
    pub fn is_of_the_folder(self) -> bool {
        matches!(
            self,
            Self::FileTruncated
                | Self::FileDeleted
                | Self::FolderEmptied
                | Self::FolderAway
                | Self::StorageLost
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::verdict::JITTER;
    use super::*;

    #[test]
    fn every_fault_is_in_the_drill_under_a_name_of_its_own() {
        let names: BTreeSet<_> = ALL.iter().map(|f| f.spec(s(8)).name).collect();
        assert_eq!(names.len(), ALL.len());
        let faults: BTreeSet<_> = ALL.into_iter().collect();
        assert_eq!(faults.len(), ALL.len());
        for fault in ALL {
            assert_eq!(Fault::named(fault.spec(s(1)).name), Some(fault));
        }
        assert_eq!(Fault::named("none"), None);
    }

    #[test]
    fn nothing_may_hide_behind_a_generous_limit() {
        for fault in ALL {
            let limits = fault.spec(s(8)).limits;
            let dark = limits.reconnects != (0..=0) || fault == Fault::WorkerPaused;
            assert!(dark || limits.hole == JITTER, "{fault:?} loses nobody");
        }
    }
}
