//! A live feed takes the air, has it, and gives it back.

use tokio::time::Instant;

use super::{Action, Air, Director, Phase, STALL_LIMIT, SlateCause, Target, View, Why, follow_up};

impl Director {
    /// A live feed that is ready is wanted.
    pub(super) fn step_wished_live(&mut self, now: Instant, view: &View) -> Option<Action> {
        self.skip = false;
        match view.air {
            Air::Live if view.live_is_wanted => {
                self.cut_wished = None;
                self.stalled_since = None;
                keep_something_ready(view)
            }
            Air::Live if !view.live_carries => Some(Action::CutToLive),
            Air::Nothing | Air::Slate(_) | Air::Current | Air::Live => {
                self.cut_over(now, view, Target::Live)
            }
        }
    }

    /// The programme is wanted back, or the feed is gone.
    pub(super) fn step_given_back(&mut self, now: Instant, view: &View) -> Option<Action> {
        let back = match (view.current, view.next) {
            (Some(current), _) if current.can_take_the_air() => Some(Target::Current),
            (None, Some(next)) if next.can_take_the_air() => Some(Target::Next),
            _ => None,
        };
        match back {
            Some(to) => {
                let cut = match view.live_carries {
                    true => self.cut_over(now, view, to),
                    false => Some(to.cut()),
                };
                if cut.is_some() {
                    self.stalled_since = None;
                }
                cut
            }
            None if !view.live_carries => {
                Some(Action::CutToSlate(view.cause(SlateCause::LiveLost)))
            }
            // The feed goes on until something can follow it, but not for ever.
            None => keep_something_ready(view).or_else(|| {
                let since = *self.stalled_since.get_or_insert(now);
                (now >= since + STALL_LIMIT)
                    .then_some(Action::CutToSlate(view.cause(SlateCause::NextNotReady)))
            }),
        }
    }
}

/// Something of the programme is to be ready when the feed ends.
fn keep_something_ready(view: &View) -> Option<Action> {
    match (view.current, view.next) {
        (Some(current), _) => match current.phase {
            Phase::Drained(end) => {
                follow_up(&current, end, view).or(Some(Action::DropCurrent(Why::Finished)))
            }
            Phase::Opening | Phase::Ready | Phase::Dry | Phase::Ending(_) => None,
        },
        (None, Some(_)) => None,
        (None, None) => view.more.then_some(Action::OpenNext),
    }
}
