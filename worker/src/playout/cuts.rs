//! What the director decided, done: slots opened and closed, and who has the air.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::report::{self, Since};
use super::slot::Opened;
use super::{Playout, frame_of};
use crate::director::{Action, Air, SlateCause, Target, Why};
use crate::source::{Slate, SlateSource};

impl Playout {
    pub(super) fn apply(&mut self, action: Action, now: Instant) {
        tracing::debug!(?action, "director");
        match action {
            Action::OpenNext => self.open_next(now),
            Action::OpenContinuation => self.open_continuation(now),
            Action::DropNext(why) => {
                if let Some(item) = self.next.take() {
                    self.give_up(item, why, now);
                }
            }
            Action::DropCurrent(why) => {
                if let Some(item) = self.current.take() {
                    self.give_up(item, why, now);
                }
            }
            Action::CutToNext => {
                let clip = self.take_clip(Target::Next);
                self.leave_current();
                self.remember_what_is_left();
                if let Some(next) = self.next.take() {
                    let continued = next.opened != Opened::Afresh;
                    match self.current.replace(next) {
                        // Its successor was open already, so nobody tried to continue it.
                        Some(item) if !continued && item.ended_early() => {
                            self.give_up(item, Why::EndedEarly, now);
                        }
                        Some(item) => self.close(item),
                        None => {}
                    }
                    self.cut_to_current(now);
                    self.begin_clip(clip);
                }
            }
            Action::CutToCurrent => {
                let clip = self.take_clip(Target::Current);
                self.leave_current();
                if let Some(item) = &mut self.current {
                    item.begin_at_keyframe();
                }
                self.cut_to_current(now);
                self.begin_clip(clip);
            }
            Action::CutToSlate(reason) => {
                if reason == SlateCause::Stalled {
                    self.fill_up(now);
                }
                let clip = self.take_clip(Target::Slate(reason));
                self.cut_to_slate(reason);
                self.begin_clip(clip);
            }
            Action::CutToLive => {
                let clip = self.take_clip(Target::Live);
                self.cut_to_live(now);
                self.begin_clip(clip);
            }
            Action::Prepare(to) => self.prepare(to, now),
        }
    }

    /// What has to be done before something else takes the air.
    pub(super) fn leave_current(&mut self) {
        match self.air {
            Air::Current => self.flush_sound(),
            Air::Live => self.flush_live_sound(),
            Air::Nothing | Air::Slate(_) => {}
        }
    }

    fn cut_to_current(&mut self, now: Instant) {
        self.leave_live();
        let Some(item) = &self.current else {
            return;
        };
        self.timeline.join(self.shape_of(item));
        for header in item.headers() {
            self.timeline.push(header, &mut self.batch);
        }
        tracing::info!(
            item = %item.object.key,
            position_s = item.position_s(),
            "on air"
        );
        self.air = Air::Current;
        self.live.beneath = None;
        self.watch.joined(now);
        self.since = Since::now();
        self.fanout.mark_join();
        self.keep_position(Duration::ZERO, now);
    }

    /// What is shown then.
    pub(super) fn slate_for(&self, reason: SlateCause) -> Arc<Slate> {
        let card = (reason == SlateCause::Card).then(|| self.card.get());
        card.flatten().unwrap_or_else(|| Arc::clone(&self.slate))
    }

    pub(super) fn cut_to_slate(&mut self, reason: SlateCause) {
        match reason {
            SlateCause::Starting | SlateCause::Operator | SlateCause::Card => {
                tracing::info!(reason = report::slate_reason(reason), "the slate is on air");
            }
            SlateCause::Stalled
            | SlateCause::NextNotReady
            | SlateCause::StorageUnreachable
            | SlateCause::LiveLost => {
                self.dry += 1;
                tracing::warn!(
                    reason = report::slate_reason(reason),
                    item = self.current.as_ref().map(|item| item.object.key.as_str()),
                    "the slate is on air"
                );
            }
        }
        self.leave_current();
        self.leave_live();
        let shown = self.slate_for(reason);
        let same = Arc::ptr_eq(&shown, self.slate_source.slate());
        if !same || !matches!(self.air, Air::Slate(_)) {
            self.slate_source = SlateSource::new(&shown);
            self.slate_packet = None;
            self.timeline.join(frame_of(f64::from(self.format.fps)));
            self.since = Since::now();
        }
        self.air = Air::Slate(reason);
    }
}
