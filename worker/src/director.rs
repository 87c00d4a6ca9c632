//! Decides what is on air: a pure state machine over wishes, source states and now.
//!
//! It never sees a packet. Playout describes its two slots (the item that is or was on air, and the
//! one that follows) in a [`View`], asks [`Director::step`] for the next [`Action`], applies it,
//! and asks again until there is none.
//!
//! ```text
//!            first ready item                    drained, next ready
//!  Nothing ───────────────────► Current ◄──────────────────────────┐
//!     │ 1 s without one          │   ▲   └──────────────────────────┘
//!     ▼                          │   │ ready again, or next ready
//!   Slate ◄──────────────────────┘   │
//!     │   dry, drained without next, │
//!     │   or wished                  │
//!     └──────────────────────────────┘
//! ```
//!
//! A live feed that is wanted has the air instead (`live`); who is wanted is decided by the [`desk`].
//!
//! The rules and their numbers are in `docs/design/on-air-chain.md`, "Director".

pub mod desk;
mod live;
mod view;

use serde::{Deserialize, Serialize};
use std::time::Duration;

pub use storage::model::report::SlateCause;
use tokio::time::Instant;
pub use view::{Action, Air, End, Phase, Slot, Store, Target, Transition, View, Why, Wish};

/// The next item is opened when the running one has no more than this left.
pub const OPEN_AHEAD: Duration = Duration::from_secs(20);
/// A packet this late means the source has run dry.
pub const DRY_AFTER: Duration = Duration::from_millis(200);
/// A wished cut waits this long for a point where no picture is lost.
pub const CLEAN_CUT_WAIT: Duration = Duration::from_millis(250);
/// A reader that has room and gets nothing for this long has its item opened again, beside it.
pub const REOPEN_AFTER: Duration = Duration::from_secs(1);
/// From one such try to the next.
pub const REOPEN_EVERY: Duration = Duration::from_secs(5);
/// A source that stays dry this long is given up.
pub const STALL_LIMIT: Duration = Duration::from_secs(10);
/// A source that is not ready after this long is given up.
pub const OPEN_LIMIT: Duration = Duration::from_secs(15);
/// Nothing is shown for this long at the very start, to go on air with an item rather than a slate.
pub const FIRST_ITEM_WAIT: Duration = Duration::from_millis(1000);

/// See the module's text.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Director {
    #[serde(with = "crate::handover::instant")]
    started: Instant,
    wish: Wish,
    skip: bool,
    #[serde(with = "crate::handover::instant::option")]
    cut_wished: Option<Instant>,
    #[serde(with = "crate::handover::instant::option")]
    stalled_since: Option<Instant>,
    /// An item whose reader got nothing was opened again then.
    #[serde(default, with = "crate::handover::instant::option")]
    reopened: Option<Instant>,
    /// The media store was away while the current item was dry: its connection may be a dead one.
    cut_off: bool,
}

// === impl Director ===

impl Director {
    /// A director that wants the programme.
    pub fn new(now: Instant) -> Self {
        Self {
            started: now,
            wish: Wish::Programme,
            skip: false,
            cut_wished: None,
            stalled_since: None,
            reopened: None,
            cut_off: false,
        }
    }

    /// The operator wants this on air from now on.
    pub fn wish(&mut self, wish: Wish) {
        self.wish = wish;
    }

    /// What the operator wants.
    pub fn wished(&self) -> Wish {
        self.wish
    }

    /// The operator wants the next item.
    pub fn skip(&mut self) {
        self.skip = true;
    }

    /// The one thing to do next, or nothing.
    pub fn step(&mut self, now: Instant, view: &View) -> Option<Action> {
        if let Some(action) = next_is_hopeless(now, view) {
            return Some(action);
        }
        match self.wish {
            Wish::Slate => return self.step_wished_slate(SlateCause::Operator, now, view),
            Wish::Card => return self.step_wished_slate(SlateCause::Card, now, view),
            Wish::Standby => return self.step_wished_slate(SlateCause::LiveLost, now, view),
            Wish::Live => return self.step_wished_live(now, view),
            Wish::Programme => {}
        }
        if self.skip
            && let Some(decision) = self.step_skip(now, view)
        {
            return decision;
        }
        match view.air {
            Air::Nothing => self.step_nothing(now, view),
            Air::Current => self.step_current(now, view),
            Air::Slate(_) => self.step_slate(now, view),
            Air::Live => self.step_given_back(now, view),
        }
    }

    fn step_nothing(&mut self, now: Instant, view: &View) -> Option<Action> {
        match view.next {
            Some(next) if next.can_take_the_air() => Some(Action::CutToNext),
            _ if now >= self.started + FIRST_ITEM_WAIT => {
                Some(Action::CutToSlate(view.cause(SlateCause::Starting)))
            }
            Some(_) => None,
            None => view.more.then_some(Action::OpenNext),
        }
    }

    fn step_current(&mut self, now: Instant, view: &View) -> Option<Action> {
        let Some(current) = view.current else {
            return Some(Action::CutToSlate(view.cause(SlateCause::NextNotReady)));
        };
        match current.phase {
            Phase::Opening | Phase::Ready if current.short && current.is_nearer() => rescue(view),
            Phase::Opening | Phase::Ready => {
                let near = current.remaining.is_some_and(|left| left <= OPEN_AHEAD);
                let reopened = self.step_silent(now, &current, view);
                reopened.or_else(|| match view.next {
                    Some(next) if next.continuation && !current.is_silent() => {
                        Some(Action::DropNext(Why::NotNeeded))
                    }
                    Some(_) => None,
                    None => (near && view.more).then_some(Action::OpenNext),
                })
            }
            Phase::Dry
                if (current.late >= DRY_AFTER || current.is_silent())
                    && view.stand_in().is_some() =>
            {
                Some(Action::CutToNext)
            }
            Phase::Dry if current.late >= DRY_AFTER => {
                self.stalled_since = Some(now);
                Some(Action::CutToSlate(view.cause(SlateCause::Stalled)))
            }
            Phase::Dry => self.step_silent(now, &current, view),
            // Its reader got on by itself, and to the end.
            Phase::Ending(End::Complete) | Phase::Drained(End::Complete)
                if view.next.is_some_and(|next| next.continuation) =>
            {
                Some(Action::DropNext(Why::NotNeeded))
            }
            Phase::Ending(end) => follow_up(&current, end, view),
            Phase::Drained(End::Interrupted) if view.stand_in().is_some() => {
                Some(Action::CutToNext)
            }
            Phase::Drained(end) => match view.next {
                // Whatever is ready: it is too late to prefer a continuation.
                Some(next) if next.can_take_the_air() && end != End::Interrupted => {
                    Some(Action::CutToNext)
                }
                _ => follow_up(&current, end, view).or_else(|| {
                    (current.late >= DRY_AFTER)
                        .then_some(Action::CutToSlate(view.cause(SlateCause::NextNotReady)))
                }),
            },
        }
    }

    fn step_slate(&mut self, now: Instant, view: &View) -> Option<Action> {
        if let Air::Slate(told) = view.air
            && view.store == Store::Away
            && told != SlateCause::StorageUnreachable
        {
            return Some(Action::CutToSlate(SlateCause::StorageUnreachable));
        }
        let Some(current) = view.current else {
            return match view.next {
                Some(next) if next.can_take_the_air() => self.cut_over(now, view, Target::Next),
                Some(_) => None,
                None => view.more.then_some(Action::OpenNext),
            };
        };
        match current.phase {
            Phase::Drained(End::Interrupted) => match view.stand_in() {
                Some(_) => Some(Action::CutToNext),
                None => follow_up(&current, End::Interrupted, view),
            },
            Phase::Drained(end) => {
                follow_up(&current, end, view).or(Some(Action::DropCurrent(Why::Finished)))
            }
            Phase::Ready | Phase::Ending(_) => {
                self.stalled_since = None;
                self.cut_off = false;
                self.cut_over(now, view, Target::Current)
            }
            Phase::Opening | Phase::Dry => self.step_dry(now, &current, view),
        }
    }

    /// The slate covers for an item of which nothing comes.
    fn step_dry(&mut self, now: Instant, current: &Slot, view: &View) -> Option<Action> {
        if view.stand_in().is_some() {
            return Some(Action::CutToNext);
        }
        if current.is_nearer() && view.next.is_none() {
            return Some(self.cut_loose());
        }
        if view.store == Store::Away {
            // It says nothing of the item, however long it takes.
            self.stalled_since = None;
            self.cut_off = true;
            return match view.next {
                None => view.more.then_some(Action::OpenNext),
                Some(_) => None,
            };
        }
        if self.cut_off {
            return Some(match view.next {
                Some(_) => Action::DropNext(Why::TooEarly),
                None => self.cut_loose(),
            });
        }
        if current.filling && !current.is_silent() {
            // It comes slower than it plays: rarely something else than often.
            self.stalled_since = None;
            return None;
        }
        let since = *self.stalled_since.get_or_insert(now);
        if now < since + STALL_LIMIT {
            return self.step_silent(now, current, view);
        }
        if view.next.is_some_and(|next| next.continuation) {
            return Some(Action::DropNext(Why::NotNeeded));
        }
        self.stalled_since = None;
        // One whose reader gets nothing was opened again all the while.
        let again = !current.is_silent() && current.deserves_continuation() && view.next.is_none();
        Some(Action::DropCurrent(if again {
            Why::StalledOnce
        } else {
            Why::Stalled
        }))
    }

    /// Opens an item again beside its reader that gets nothing: the first of the two that delivers goes
    /// on, and what is in hand is aired meanwhile.
    fn step_silent(&mut self, now: Instant, current: &Slot, view: &View) -> Option<Action> {
        let tried = self.reopened.is_some_and(|at| now < at + REOPEN_EVERY);
        if !current.is_silent() || tried || !current.can_be_had(view.store) {
            return None;
        }
        let action = rescue(view)?;
        if action == Action::OpenContinuation {
            self.reopened = Some(now);
        }
        Some(action)
    }

    /// Closes a current item whose connection is dead, to open it again.
    fn cut_loose(&mut self) -> Action {
        self.stalled_since = None;
        self.cut_off = false;
        Action::DropCurrent(Why::Interrupted)
    }

    fn step_wished_slate(
        &mut self,
        cause: SlateCause,
        now: Instant,
        view: &View,
    ) -> Option<Action> {
        self.skip = false;
        match view.air {
            Air::Slate(told) if told == cause => None,
            Air::Nothing | Air::Slate(_) => Some(Action::CutToSlate(cause)),
            Air::Live if !view.live_carries => Some(Action::CutToSlate(cause)),
            Air::Current | Air::Live => self.cut_over(now, view, Target::Slate(cause)),
        }
    }

    /// `None`: the skip has been dealt with, go on with the ordinary rules.
    fn step_skip(&mut self, now: Instant, view: &View) -> Option<Option<Action>> {
        if view.air == Air::Live {
            self.skip = false;
            return None;
        }
        if let Air::Nothing | Air::Slate(_) = view.air {
            self.skip = false;
            return match (view.current, view.next) {
                (Some(_), _) => Some(Some(Action::DropCurrent(Why::Skipped))),
                (None, Some(_)) => Some(Some(Action::DropNext(Why::Skipped))),
                (None, None) => None,
            };
        }
        match view.next {
            Some(next) if next.continuation => Some(Some(Action::DropNext(Why::Skipped))),
            Some(next) if next.can_take_the_air() && self.may_cut(now, view) => {
                self.skip = false;
                Some(Some(Action::CutToNext))
            }
            // What is on air goes on until its successor is ready.
            Some(_) => None,
            None if view.more => Some(Some(Action::OpenNext)),
            None => {
                self.skip = false;
                None
            }
        }
    }

    /// A cut from something that could go on: by a transition, where that is wanted, or plainly.
    ///
    /// A slate that stands in for something else is no such thing: nothing may come later for looks.
    fn cut_over(&mut self, now: Instant, view: &View, to: Target) -> Option<Action> {
        let at_once = match view.air {
            Air::Nothing => true,
            Air::Slate(cause) => !matches!(cause, SlateCause::Operator | SlateCause::Card),
            Air::Current | Air::Live => false,
        };
        match view.transition {
            _ if at_once => Some(to.cut()),
            Transition::Made(made) if made == to => Some(to.cut()),
            Transition::Making(made) if made == to => None,
            Transition::Off => self.may_cut(now, view).then_some(to.cut()),
            Transition::Failed(made) if made == to => self.may_cut(now, view).then_some(to.cut()),
            Transition::Wanted
            | Transition::Making(_)
            | Transition::Made(_)
            | Transition::Failed(_) => Some(Action::Prepare(to)),
        }
    }

    /// Whether a wished cut may happen now: at a clean point, or when none came in time.
    fn may_cut(&mut self, now: Instant, view: &View) -> bool {
        let since = *self.cut_wished.get_or_insert(now);
        let may = view.clean || now >= since + CLEAN_CUT_WAIT;
        if may {
            self.cut_wished = None;
        }
        may
    }
}

/// What to open beside an item whose reader gets too little, or nothing.
fn rescue(view: &View) -> Option<Action> {
    match view.next {
        Some(next) if next.continuation => None,
        Some(_) => Some(Action::DropNext(Why::TooEarly)),
        None => Some(Action::OpenContinuation),
    }
}

/// What to open behind an item whose end has been seen.
fn follow_up(current: &Slot, end: End, view: &View) -> Option<Action> {
    if end == End::Interrupted {
        return match view.next {
            Some(next) if next.continuation => None,
            Some(_) if current.can_be_had(view.store) => Some(Action::DropNext(Why::TooEarly)),
            Some(_) => None,
            None if current.can_be_had(view.store) => Some(Action::OpenContinuation),
            None => view.more.then_some(Action::OpenNext),
        };
    }
    let continues = end == End::Short && current.deserves_continuation();
    match view.next {
        Some(next) if continues && !next.continuation => Some(Action::DropNext(Why::TooEarly)),
        Some(_) => None,
        None if continues => Some(Action::OpenContinuation),
        None => view.more.then_some(Action::OpenNext),
    }
}

/// Closes a next slot that can never take the air.
fn next_is_hopeless(now: Instant, view: &View) -> Option<Action> {
    let next = view.next?;
    match next.phase {
        Phase::Drained(End::Failed) | Phase::Ending(End::Failed) => {
            Some(Action::DropNext(Why::Failed))
        }
        Phase::Drained(End::Interrupted) => Some(Action::DropNext(Why::Interrupted)),
        Phase::Drained(_) => Some(Action::DropNext(Why::EndedEarly)),
        Phase::Ending(_) if !next.can_take_the_air() => Some(Action::DropNext(Why::EndedEarly)),
        // Its connection is a dead one; it is opened anew when the store is back.
        Phase::Opening if view.store == Store::Away && !next.kept && !next.from_cache => {
            Some(Action::DropNext(Why::Interrupted))
        }
        Phase::Opening if now >= next.opened + OPEN_LIMIT => {
            Some(Action::DropNext(match view.store {
                Store::Up => Why::OpenTimeout,
                Store::Away => Why::Interrupted,
            }))
        }
        Phase::Opening | Phase::Ready | Phase::Dry | Phase::Ending(_) => None,
    }
}

#[cfg(test)]
mod tests;
