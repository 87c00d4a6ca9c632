//! The programme while a live feed has the air: what will follow the feed is kept ready.
//!
//! ```text
//!         interrupted                          30 s                        back on air
//!  on air ───────────► waits where it was left ────► by `resume` ─────────────────────►
//!                                 │ position: waits on
//!                                 │ item: opened again, at its beginning
//!                                 │ schedule: goes on unseen, by the clock
//!                                 └ its time is over by the schedule: what is due is opened
//! ```
//! What takes an item's place is opened beside it and replaces it when it is ready, so that at every
//! moment something can follow.

use std::time::Duration;

use programme::Resume;
use tokio::time::Instant;

use crate::director::{Air, Phase, Why};
use crate::playout::Playout;
use crate::playout::slot::{Item, Opened};

/// A live that was shorter is an interruption: the item goes on where it was.
const SHORT_LIVE: Duration = Duration::from_secs(30);

/// What became of the programme since a live feed took the air from it.
#[derive(Debug)]
pub(in crate::playout) struct Beneath {
    left: Instant,
    /// The interrupted item was opened again at its beginning.
    begun_again: bool,
    /// The current item goes on by the clock: at this instant it was at this second.
    course: Option<(Instant, f64)>,
    /// When the item before it would have ended.
    next_from: Option<Instant>,
}

// === impl Beneath ===

impl Beneath {
    /// `item` is left, or nothing.
    pub(in crate::playout) fn begin(item: Option<&Item>, now: Instant) -> Self {
        Self {
            left: now,
            begun_again: false,
            course: item.map(|item| (now, item.position_s())),
            next_from: None,
        }
    }
}

impl Playout {
    /// Whether the programme goes on unseen, by the clock.
    pub(in crate::playout) fn goes_on_beneath(&self, now: Instant) -> bool {
        let beneath = self.live.beneath.as_ref();
        self.job.config.live.resume == Resume::Schedule
            && beneath.is_some_and(|beneath| now >= beneath.left + SHORT_LIVE)
    }

    /// Keeps ready what is to follow a live feed; behind a slate too what is due by the schedule.
    pub(in crate::playout) fn mind_beneath(&mut self, now: Instant) {
        if self.transit.is_preparing() || !matches!(self.air, Air::Live | Air::Slate(_)) {
            return;
        }
        let is_over = self.is_over();
        if is_over && self.next.is_none() {
            self.open_next(now);
        }
        if !is_over && self.begins_again(now) {
            self.begin_again(now);
        }
        // What else stands behind a slate is the director's matter.
        if is_over || self.air == Air::Live {
            self.replace_current(now);
        }
        if self.goes_on_beneath(now) {
            self.go_on_beneath(now);
        }
    }

    fn begins_again(&self, now: Instant) -> bool {
        let is_long = |beneath: &Beneath| !beneath.begun_again && now >= beneath.left + SHORT_LIVE;
        self.job.config.live.resume == Resume::Item
            && self.live.beneath.as_ref().is_some_and(is_long)
    }

    /// By the schedule the interrupted item has had its time.
    fn is_over(&self) -> bool {
        self.current.is_some() && self.timetable.left() == Some(Duration::ZERO)
    }

    fn begin_again(&mut self, now: Instant) {
        if let Some(beneath) = &mut self.live.beneath {
            beneath.begun_again = true;
        }
        if let Some(next) = self.next.take() {
            self.give_up(next, Why::TooEarly, now);
        }
        // As one that goes on where it broke off: not needed should the feed end before it is ready.
        if let Some(item) = &self.current {
            let place = (0.0, Opened::AfterOutage);
            let again = Self::again(&self.sources, item, place, self.format, now);
            self.next = Some(again);
        }
    }

    /// The item that waits in the other slot follows the feed, once it can.
    fn replace_current(&mut self, now: Instant) {
        let Some(next) = &self.next else { return };
        let seen = next.view_off_air(self.outside(next, Duration::ZERO, now));
        let is_ready = matches!(seen.phase, Phase::Ready | Phase::Ending(_));
        let takes_over = next.opened == Opened::AfterOutage || self.is_over();
        if !is_ready || (self.current.is_some() && !takes_over) {
            return;
        }
        self.remember_what_is_left();
        let Some(next) = self.next.take() else { return };
        if let Some(beneath) = &mut self.live.beneath {
            let from = beneath.next_from.take().unwrap_or(now);
            beneath.course = Some((from, next.source.start_s()));
        }
        tracing::info!(item = %next.object.key, "takes the place of what was left, unseen");
        if let Some(before) = self.current.replace(next) {
            self.close(before);
        }
    }

    /// An item that goes on unseen is to be where it would be when a transition leads over to it.
    pub(in crate::playout) fn go_on_to_splice(&mut self, now: Instant) {
        if !self.goes_on_beneath(now) {
            return;
        }
        self.go_on_beneath(now + self.render_time());
        if let Some(item) = &mut self.current {
            item.begin_at_keyframe();
        }
    }

    /// Lets go of what would have been aired by then.
    fn go_on_beneath(&mut self, now: Instant) {
        let (Some(beneath), Some(item)) = (&mut self.live.beneath, &mut self.current) else {
            return;
        };
        let (at, at_s) = *beneath.course.get_or_insert((now, item.position_s()));
        item.go_on_until(at_s + now.saturating_duration_since(at).as_secs_f64());
        if !item.source.queue().has_video_left() {
            let played_s = (item.position_s() - at_s).max(0.0);
            beneath.next_from = Some(at + Duration::from_secs_f64(played_s));
        }
    }
}
