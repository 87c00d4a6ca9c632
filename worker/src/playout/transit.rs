//! Playout's side of transitions: what is in hand for one, when it is made, when it is due.
//!
//! ```text
//!          the director asks        planned            rendered            old source at the splice
//!  (none) ───────────────► Gathering ──────► Rendering ───────► Rendered ──────────────────────────► cut
//!                              │ impossible, too long │ failed, too late │ passed by
//!                              └──────────────────────┴──────────────────┴─► Failed ─► plain cut
//! ```
//! Nothing here delays a cut that is needed: a source that ends or runs dry meanwhile is followed as
//! ever, and whatever fails leads to a plain cut at the same place.

mod hand;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use storage::model::live::TransitionKind;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::Playout;
use crate::director::{Air, DRY_AFTER, SlateCause, Target, Transition};
use crate::flv::Packet;
use crate::transition::{self, Failure, Plan, Unfit, Wanted};

/// For what is needed of both sources; a feed with a keyframe every four seconds has it by then.
const GATHER_LIMIT: Duration = Duration::from_millis(4_500);
/// The same where all lies in hand already, or not: a feed that came by a cut has too little, and
/// whoever gives it back is not to wait.
const SOON_LIMIT: Duration = Duration::from_millis(1_500);
/// A splice is passed by when nothing was cut there so much later: the clock of what is on air jumped.
const PASSED_BY: Duration = Duration::from_millis(500);

/// The transition being made, and the one on air.
#[derive(Debug, Default)]
pub(super) struct Transit {
    preparing: Option<Preparing>,
    /// What is still to go out of a clip, before the source on air goes on.
    pub(super) clip: VecDeque<Packet>,
}

#[derive(Debug)]
struct Preparing {
    to: Target,
    since: Instant,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Gathering,
    Rendering {
        plan: Box<Plan>,
        due: Instant,
        outcome: oneshot::Receiver<Result<Vec<Packet>, Failure>>,
        _task: AbortOnDropHandle<()>,
    },
    Rendered {
        plan: Box<Plan>,
        due: Instant,
        clip: Vec<Packet>,
    },
    Failed,
}

/// A clip, and what it stands for.
#[derive(Debug)]
pub(super) struct Clip {
    taken: Vec<Packet>,
    packets: Vec<Packet>,
}

/// Where the source on air stands, seen from the splice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Front {
    Before,
    At,
    Behind,
    Nothing,
}

/// Why there is only a cut, for the log.
#[derive(Debug, thiserror::Error)]
enum Missed {
    #[error(transparent)]
    Never(#[from] transition::Never),
    #[error(transparent)]
    Failure(#[from] Failure),
    #[error("FFmpeg was not done in time")]
    Late,
    #[error("what it needs of both sources was not there in {:.1} s", .0.as_secs_f64())]
    NotThere(Duration),
    #[error("what is on air came to its end before")]
    Ended,
    #[error("what is on air went past the place where it was to begin")]
    PassedBy,
}

// === impl Transit ===

impl Transit {
    /// Nothing is being made, and nothing of a clip is left.
    pub(super) fn is_idle(&self) -> bool {
        self.preparing.is_none() && self.clip.is_empty()
    }

    /// Something is being made: what it is made of is to stay as it is.
    pub(super) fn is_preparing(&self) -> bool {
        let stage = self.preparing.as_ref().map(|preparing| &preparing.stage);
        stage.is_some_and(|stage| !matches!(stage, Stage::Failed))
    }

    fn standing(&self, at_splice: bool) -> Transition {
        match &self.preparing {
            None => Transition::Wanted,
            Some(preparing) => match preparing.stage {
                Stage::Failed => Transition::Failed(preparing.to),
                Stage::Rendered { .. } if at_splice => Transition::Made(preparing.to),
                Stage::Gathering | Stage::Rendering { .. } | Stage::Rendered { .. } => {
                    Transition::Making(preparing.to)
                }
            },
        }
    }
}

// === impl Stage ===

impl Stage {
    fn planned(&self) -> Option<(&Plan, Instant)> {
        match self {
            Self::Rendering { plan, due, .. } | Self::Rendered { plan, due, .. } => {
                Some((plan, *due))
            }
            Self::Gathering | Self::Failed => None,
        }
    }
}

impl Playout {
    /// What a cut begins with, for the director.
    pub(super) fn transition(&self) -> Transition {
        if self.wanted_transition().is_none() || self.order.is_some() {
            return Transition::Off;
        }
        let preparing = self.transit.preparing.as_ref();
        let planned = preparing.and_then(|preparing| preparing.stage.planned());
        let at_splice = planned.is_some_and(|(plan, _)| self.front(plan.splice_ms) == Front::At);
        self.transit.standing(at_splice)
    }

    fn wanted_transition(&self) -> Option<Wanted> {
        let config = self.job.config.live.transition;
        (config.kind != TransitionKind::Cut).then_some(Wanted {
            kind: config.kind,
            length_ms: (config.seconds * 1_000.0) as i64,
        })
    }

    /// The director wants a transition to there.
    pub(super) fn prepare(&mut self, to: Target, now: Instant) {
        self.drop_transition();
        match to {
            Target::Live => {
                if let Some(input) = self.live.wanted() {
                    input.buffer().hold();
                }
            }
            Target::Current | Target::Next => {
                let item = match to {
                    Target::Current => &mut self.current,
                    _ => &mut self.next,
                };
                if let Some(item) = item {
                    item.begin_at_keyframe();
                }
            }
            Target::Slate(_) => {}
        }
        self.transit.preparing = Some(Preparing {
            to,
            since: now,
            stage: Stage::Gathering,
        });
        self.mind_transition(now);
    }

    /// Nobody waits for it any more.
    pub(super) fn drop_transition(&mut self) {
        let dropped = self.transit.preparing.take();
        if dropped.is_some_and(|dropped| dropped.to == Target::Live) {
            for input in self.live.inputs.all() {
                input.buffer().let_go();
            }
        }
    }

    /// Goes on with what is being made.
    pub(super) fn mind_transition(&mut self, now: Instant) {
        let Some(Preparing { to, since, stage }) = self.transit.preparing.take() else {
            return;
        };
        let went_on = match stage {
            Stage::Gathering => {
                if to == Target::Current {
                    self.go_on_to_splice(now);
                }
                self.gather(to, since, now)
            }
            Stage::Rendering {
                plan,
                due,
                mut outcome,
                _task,
            } => match outcome.try_recv() {
                Ok(Ok(clip)) => Ok(Stage::Rendered { plan, due, clip }),
                Ok(Err(failure)) => Err(failure.into()),
                Err(oneshot::error::TryRecvError::Empty) => Ok(Stage::Rendering {
                    plan,
                    due,
                    outcome,
                    _task,
                }),
                Err(oneshot::error::TryRecvError::Closed) => Err(Missed::Late),
            },
            Stage::Rendered { .. } | Stage::Failed => Ok(stage),
        };
        let went_on = went_on.and_then(|stage| self.still_possible(stage, now));
        let stage = went_on.unwrap_or_else(|missed| {
            self.tell_missed(to, &missed);
            Stage::Failed
        });
        self.transit.preparing = Some(Preparing { to, since, stage });
    }

    fn gather(&self, to: Target, since: Instant, now: Instant) -> Result<Stage, Missed> {
        let limit = match (self.air, to) {
            (Air::Live, Target::Current | Target::Slate(_)) => SOON_LIMIT,
            _ => GATHER_LIMIT,
        };
        let Some(wanted) = self.wanted_transition() else {
            return Err(Missed::NotThere(limit));
        };
        let planned = match (self.outgoing(now), self.incoming(to)) {
            (Some(old), Some(new)) => Plan::make(wanted, &old, &new),
            (None, _) | (_, None) => Err(Unfit::NotYet),
        };
        let plan = match planned {
            Ok(plan) => plan,
            Err(Unfit::NotYet) if now < since + limit => return Ok(Stage::Gathering),
            Err(Unfit::NotYet) => return Err(Missed::NotThere(limit)),
            Err(Unfit::Never(never)) => return Err(never.into()),
        };
        let air_ms = plan.splice_ms + self.timeline.shift_ms().unwrap_or(0);
        let ahead_ms = air_ms - self.pacer.due_until(now).unwrap_or(air_ms);
        let due = now + Duration::from_millis(u64::try_from(ahead_ms).unwrap_or(0));
        let (tell, outcome) = oneshot::channel();
        let (sources, format, of_task) = (Arc::clone(&self.sources), self.format, plan.clone());
        let task: JoinHandle<()> = tokio::spawn(async move {
            let ffmpeg = sources.ffmpeg();
            let rendered = transition::render(of_task, ffmpeg, sources.redactor(), format).await;
            // Whoever waited may have given up.
            let _unread = tell.send(rendered);
        });
        Ok(Stage::Rendering {
            plan: Box::new(plan),
            due,
            outcome,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// Whether the source on air still comes to the splice, and the clip is there when it does.
    fn still_possible(&self, stage: Stage, now: Instant) -> Result<Stage, Missed> {
        let is_rendered = matches!(stage, Stage::Rendered { .. });
        let Some((plan, due)) = stage.planned() else {
            let is_over = self.front(i64::MAX) == Front::Nothing && self.has_ended(now);
            return match stage {
                Stage::Gathering if is_over => Err(Missed::Ended),
                stage => Ok(stage),
            };
        };
        match self.front(plan.splice_ms) {
            Front::At if !is_rendered => Err(Missed::Late),
            Front::Nothing if self.has_ended(now) => Err(Missed::Ended),
            Front::Behind => Err(Missed::PassedBy),
            Front::Before | Front::Nothing if now > due + PASSED_BY => Err(Missed::PassedBy),
            Front::At | Front::Before | Front::Nothing => Ok(stage),
        }
    }

    /// Nothing is in hand of what is on air, and nothing will be in time.
    fn has_ended(&self, now: Instant) -> bool {
        let is_over = match self.air {
            Air::Current => self
                .current
                .as_ref()
                .is_none_or(|item| item.source.queue().end().is_some()),
            Air::Live => !self.live.carries(),
            Air::Nothing | Air::Slate(_) => false,
        };
        is_over || self.overdue(now) >= DRY_AFTER
    }

    /// Where the next packet of the source on air stands.
    fn front(&self, splice_ms: i64) -> Front {
        let look = |packet: &Packet| match packet {
            Packet::Video(video) if video.dts_ms == splice_ms => Front::At,
            Packet::Video(video) if video.dts_ms > splice_ms => Front::Behind,
            Packet::Video(_)
            | Packet::Audio(_)
            | Packet::VideoHeader(_)
            | Packet::AudioHeader(_) => Front::Before,
        };
        let front = match self.air {
            Air::Current => self
                .current
                .as_ref()
                .and_then(|item| item.source.queue().with_front(look)),
            Air::Live => self
                .live
                .on_air()
                .and_then(|input| input.buffer().with_front(look)),
            Air::Slate(_) => Some(match &self.slate_packet {
                Some(packet) => look(packet),
                None => look(&self.slate_source.clone().pop()),
            }),
            Air::Nothing => None,
        };
        front.unwrap_or(Front::Nothing)
    }

    /// A cut to there is about to be made: the clip it begins with, if there is one.
    pub(super) fn take_clip(&mut self, to: Target) -> Option<Clip> {
        // What was left of the last one is cut off.
        self.transit.clip.clear();
        let preparing = self.transit.preparing.take()?;
        match preparing.stage {
            Stage::Rendered { plan, clip, .. }
                if preparing.to == to && self.front(plan.splice_ms) == Front::At =>
            {
                Some(Clip {
                    taken: plan.taken,
                    packets: clip,
                })
            }
            _ => {
                self.transit.preparing = Some(preparing);
                self.drop_transition();
                None
            }
        }
    }

    /// The cut was made: the clip goes out first.
    pub(super) fn begin_clip(&mut self, clip: Option<Clip>) {
        let Some(Clip { taken, packets }) = clip else {
            return;
        };
        let fits = match self.air {
            Air::Current => self.current.as_mut().is_some_and(|item| {
                item.note_headers(&taken);
                item.source.queue().drop_first(&taken)
            }),
            Air::Live => self
                .live
                .on_air()
                .is_some_and(|input| input.buffer().drop_first(&taken)),
            Air::Slate(_) => {
                self.slate_packet = None;
                taken
                    .iter()
                    .all(|packet| self.slate_source.pop() == *packet)
            }
            Air::Nothing => false,
        };
        if fits {
            let kind = self.job.config.live.transition.kind;
            tracing::info!(?kind, "a transition leads over");
            self.transit.clip = packets.into();
        } else {
            tracing::warn!("what took the air is not what the transition was made for: a cut");
        }
    }

    fn tell_missed(&self, to: Target, missed: &Missed) {
        let to = match to {
            Target::Live => "live",
            Target::Current | Target::Next => "programme",
            Target::Slate(SlateCause::Card) => "card",
            Target::Slate(_) => "slate",
        };
        let kind = self.job.config.live.transition.kind;
        let reason = missed as &dyn std::error::Error;
        tracing::warn!(?kind, to, reason, "a cut instead of a transition");
    }
}
