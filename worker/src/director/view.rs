//! What a decision depends on, and what it can be: the words director and playout share.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use storage::model::report::SlateCause;
use tokio::time::Instant;

use super::{REOPEN_AFTER, REOPEN_EVERY};

/// What the operator wants on air.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wish {
    /// The programme, as far as it can be had.
    Programme,
    /// The slate, until told otherwise.
    Slate,
    /// The card, until told otherwise.
    Card,
    /// The slate, while a live input that was lost may come back.
    Standby,
    /// A live feed, which is ready.
    Live,
}

/// What is on air.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Air {
    /// Not a packet was released yet.
    Nothing,
    /// The slate.
    Slate(SlateCause),
    /// The current slot's source.
    Current,
    /// A live feed; the current slot is kept for afterwards.
    Live,
}

/// How a source's reader ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All of the item was read.
    Complete,
    /// It ended or broke off before its length.
    Short,
    /// It yielded nothing that can be shown.
    Failed,
    /// The media store stopped delivering it.
    Interrupted,
}

/// Whether the media store can be read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// As far as is known.
    Up,
    /// Only what is kept on this machine can be opened.
    Away,
}

/// Where a source stands, seen from the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not ready.
    Opening,
    /// Can be cut to, or is delivering.
    Ready,
    /// Nothing is there, and the reader has not seen the end.
    Dry,
    /// The reader has seen the end; packets are left.
    Ending(End),
    /// The reader has seen the end and its last picture has been released (or it had none).
    Drained(End),
}

/// One slot of playout.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    /// Where the source stands.
    pub phase: Phase,
    /// When it was opened.
    pub opened: Instant,
    /// What is left to air by the item's stated length.
    pub remaining: Option<Duration>,
    /// For how long something has been due that is not there; zero when not on air.
    pub late: Duration,
    /// For how long its reader has had room and got nothing.
    pub quiet: Duration,
    /// It continues an item that broke off.
    pub continuation: bool,
    /// A continuation of it has been opened before.
    pub continued: bool,
    /// It has got further into its item than where it was opened.
    pub progressed: bool,
    /// It ran dry although something came, and is being filled up before it goes on.
    pub filling: bool,
    /// Less is in hand than the air needs soon, and no end was seen.
    pub short: bool,
    /// It lies whole on this machine.
    pub kept: bool,
    /// It is read from there.
    pub from_cache: bool,
}

/// Everything a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// What is on air.
    pub air: Air,
    /// The item that is or was on air.
    pub current: Option<Slot>,
    /// The item that follows.
    pub next: Option<Slot>,
    /// The catalogue has an item to open, that can be had now.
    pub more: bool,
    /// The media store.
    pub store: Store,
    /// A cut now loses no picture of the running source.
    pub clean: bool,
    /// The live feed on air is the one that is wanted.
    pub live_is_wanted: bool,
    /// The live feed on air delivers.
    pub live_carries: bool,
    /// What a cut that is wished for begins with.
    pub transition: Transition,
}

/// What a cut that is wished for begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// Nothing: it is a plain cut.
    Off,
    /// A transition, of which nothing is there yet.
    Wanted,
    /// A transition that is being made, or is there before its time.
    Making(Target),
    /// A transition, now.
    Made(Target),
    /// Nothing: the transition could not be made.
    Failed(Target),
}

/// What a cut leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The live feed that is wanted.
    Live,
    /// The current slot.
    Current,
    /// The next slot.
    Next,
    /// The slate.
    Slate(SlateCause),
}

/// What playout is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Open the item that follows into the next slot.
    OpenNext,
    /// Open the current item again, where it broke off, into the next slot.
    OpenContinuation,
    /// Close the next slot.
    DropNext(Why),
    /// Close the current slot, which is not on air.
    DropCurrent(Why),
    /// The next slot becomes the current one and takes the air.
    CutToNext,
    /// The current slot takes the air again.
    CutToCurrent,
    /// The slate takes the air; the current slot stays open.
    CutToSlate(SlateCause),
    /// The live feed that is wanted takes the air; the current slot stays open.
    CutToLive,
    /// Make a transition for the cut that is wished for; meanwhile everything stays as it is.
    Prepare(Target),
}

/// Why a slot is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It was aired as far as it goes.
    Finished,
    /// The operator skipped it.
    Skipped,
    /// Its reader said why.
    Failed,
    /// It ended before its length, twice at the same place.
    EndedEarly,
    /// What came within [`STALL_LIMIT`](super::STALL_LIMIT) is nothing to begin with; it is to be tried once
    /// more at its position.
    StalledOnce,
    /// Nothing to go on with came for [`STALL_LIMIT`](super::STALL_LIMIT), though it was opened again.
    Stalled,
    /// It was not ready within [`OPEN_LIMIT`](super::OPEN_LIMIT).
    OpenTimeout,
    /// Its predecessor broke off and is continued first.
    TooEarly,
    /// The media store stopped delivering it; it is opened again when it can be had.
    Interrupted,
    /// It continues an item that goes on by itself.
    NotNeeded,
}

// === impl Target ===

impl Target {
    /// The cut that leads there.
    pub(super) fn cut(self) -> Action {
        match self {
            Self::Live => Action::CutToLive,
            Self::Current => Action::CutToCurrent,
            Self::Next => Action::CutToNext,
            Self::Slate(cause) => Action::CutToSlate(cause),
        }
    }
}

// === impl Slot ===

impl Slot {
    pub(super) fn can_take_the_air(&self) -> bool {
        match self.phase {
            Phase::Ready => true,
            Phase::Ending(_) => !self.continuation || self.progressed,
            Phase::Opening | Phase::Dry | Phase::Drained(_) => false,
        }
    }

    /// An item is continued where it broke off as long as that gets it further.
    pub(super) fn deserves_continuation(&self) -> bool {
        !self.continued && (!self.continuation || self.progressed)
    }

    /// It is read from the store, although it lies on this machine.
    pub(super) fn is_nearer(&self) -> bool {
        self.kept && !self.from_cache
    }

    /// Its reader has been without a byte for so long that another is to be tried.
    pub(super) fn is_silent(&self) -> bool {
        let patience = match self.filling {
            // A large picture takes a slow store seconds.
            true => REOPEN_EVERY,
            false => REOPEN_AFTER,
        };
        self.quiet >= patience
    }

    /// Whether its file can be opened now.
    pub(super) fn can_be_had(&self, store: Store) -> bool {
        store == Store::Up || self.kept
    }
}

// === impl View ===

impl View {
    /// Why it is the slate: the store, where that is the reason.
    pub(super) fn cause(&self, otherwise: SlateCause) -> SlateCause {
        match self.store {
            Store::Up => otherwise,
            Store::Away => SlateCause::StorageUnreachable,
        }
    }

    /// The next slot, if it can take the air from an item that is not at its end: it goes on with that
    /// item, or it is all there is.
    pub(super) fn stand_in(&self) -> Option<Slot> {
        let stands_in = |next: &Slot| {
            next.can_take_the_air()
                && (next.continuation || (self.store == Store::Away && next.from_cache))
        };
        self.next.filter(stands_in)
    }
}
