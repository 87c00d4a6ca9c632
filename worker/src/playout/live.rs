//! Playout's side of live feeds: what the desk is told, what a cut to a feed does, what is reported.

mod beneath;
mod told;

use std::time::Duration;

use storage::model::{LiveInputReport, LiveInputState, OnLoss};
use tokio::time::Instant;

use super::report::Since;
use super::slot::MOST_IN_GROUP;
use super::{Playout, frame_of};
use crate::control::command::{NoLiveInput, Take};
use crate::director::desk::{Desk, Input, Want, Word};
use crate::director::{Air, Wish};
use crate::flv::Packet;
use crate::journal::Stamp;
use crate::source::file;
use crate::source::live::{LiveInput, LiveInputs};
use beneath::Beneath;
use told::Told;

/// A feed this late has run dry: with the 300 ms it has in hand, what follows is on air within a
/// second of its last packet.
const DRY_AFTER: Duration = Duration::from_millis(400);
/// A feed that delivers, and always this late, has a slower clock than ours.
const SLOW_AFTER: Duration = Duration::from_millis(160);
/// What it is given in hand then.
const SLIP: Duration = Duration::from_millis(200);

/// Live inputs, and who of them is wanted.
#[derive(Debug)]
pub(super) struct LiveDesk {
    pub(super) inputs: LiveInputs,
    desk: Desk,
    /// Name of the input that is wanted on air.
    wanted: Option<String>,
    /// Name of the input on air.
    on_air: Option<String>,
    /// It delivers.
    carries: bool,
    /// What was released of it since its last keyframe, that one included.
    group: Vec<Packet>,
    told: Told,
    /// Of the programme, since a feed took the air from it.
    pub(super) beneath: Option<Beneath>,
}

// === impl LiveDesk ===

impl LiveDesk {
    pub(super) fn new(inputs: LiveInputs, word: Word) -> Self {
        Self {
            inputs,
            desk: Desk::resume(word),
            wanted: None,
            on_air: None,
            carries: false,
            group: Vec::new(),
            told: Told::default(),
            beneath: None,
        }
    }

    pub(super) fn on_air(&self) -> Option<&LiveInput> {
        let name = self.on_air.as_ref()?;
        self.named(name)
    }

    /// The feed on air is the one that is wanted.
    pub(super) fn is_as_wanted(&self) -> bool {
        self.on_air.is_some() && self.on_air == self.wanted
    }

    /// The input that is wanted on air.
    pub(super) fn wanted(&self) -> Option<&LiveInput> {
        self.named(self.wanted.as_ref()?)
    }

    /// What was released of the input on air since its last keyframe; nothing when that is too long ago.
    pub(super) fn group(&self) -> &[Packet] {
        match self.group.len() {
            0..MOST_IN_GROUP => &self.group,
            _ => &[],
        }
    }

    fn note(&mut self, packet: &Packet) {
        if matches!(packet, Packet::Video(video) if video.keyframe) {
            self.group.clear();
        }
        if packet.dts_ms().is_some() && self.group.len() < MOST_IN_GROUP {
            self.group.push(packet.clone());
        }
    }

    /// What the operator said last.
    pub(super) fn word(&self) -> &Word {
        self.desk.word()
    }

    /// The feed on air delivers.
    pub(super) fn carries(&self) -> bool {
        self.carries
    }

    fn named(&self, name: &str) -> Option<&LiveInput> {
        let mut inputs = self.inputs.all().iter();
        inputs.find(|input| input.config().name == name)
    }

    fn inputs(&self, late: Duration, now: Instant) -> Vec<Input<'_>> {
        let inputs = self.inputs.all().iter();
        inputs
            .map(|input| {
                let config = input.config();
                let standing = input.buffer().standing(late, DRY_AFTER, now);
                Input {
                    name: &config.name,
                    take: config.take,
                    on_loss: match input.has_left() {
                        // Nothing was lost: the programme goes on, whatever is to cover a loss.
                        true => OnLoss::Programme,
                        false => config.on_loss,
                    },
                    grace: Duration::from_secs(config.grace_s.into()),
                    feed: standing.feed,
                    ready: standing.ready,
                    carrying: standing.carrying,
                }
            })
            .collect()
    }

    /// One per input.
    fn states(&self, inputs: &[Input<'_>], desk: &Desk, now: Instant) -> Vec<LiveInputState> {
        let all = self.inputs.all().iter().zip(inputs);
        all.map(|(input, standing)| {
            if standing.ready || standing.carrying {
                LiveInputState::Ready
            } else if desk.is_lost(standing.name, now) {
                LiveInputState::Lost
            } else if standing.feed.is_some() || input.is_connecting() {
                LiveInputState::Connecting
            } else {
                LiveInputState::Waiting
            }
        })
        .collect()
    }
}

impl Playout {
    /// Looks at every feed, and tells the director who is wanted.
    pub(super) fn mind_live(&mut self, now: Instant) {
        let late = self.overdue(now);
        let mut desk = self.live.desk.clone();
        let inputs = self.live.inputs(late, now);
        let want = desk.want(now, &inputs);
        let on_air = inputs
            .iter()
            .find(|input| Some(input.name) == self.live.on_air.as_deref());
        let carries = on_air.is_some_and(|input| input.carrying);
        let wanted = match want {
            Want::Live(at) => Some(inputs[at].name.to_owned()),
            Want::Programme | Want::Slate | Want::Card | Want::Standby => None,
        };
        let states = self.live.states(&inputs, &desk, now);
        self.tell_states(&states, now);
        self.live.desk = desk;
        self.live.carries = carries;
        let changed = std::mem::replace(&mut self.live.wanted, wanted) != self.live.wanted;
        let wish = match want {
            Want::Programme => Wish::Programme,
            Want::Slate => Wish::Slate,
            Want::Card => Wish::Card,
            Want::Standby => Wish::Standby,
            // No feed is handed over: the programme has the air before.
            Want::Live(_) if self.order.is_some() => Wish::Programme,
            Want::Live(_) => Wish::Live,
        };
        if changed || self.director.wished() != wish {
            self.drop_transition();
        }
        self.director.wish(wish);
    }

    /// The operator's word.
    pub(super) fn take(&mut self, take: Take, now: Instant) -> Result<(), NoLiveInput> {
        let word = match take {
            Take::Programme => Word::Programme,
            Take::Slate => Word::Slate,
            Take::Card => Word::Card,
            Take::Live { input: None } if self.live.inputs.all().is_empty() => {
                return Err(NoLiveInput);
            }
            Take::Live { input: Some(name) } if self.live.named(&name).is_none() => {
                return Err(NoLiveInput);
            }
            Take::Live { input } => Word::Live(input),
        };
        let late = self.overdue(now);
        let mut desk = self.live.desk.clone();
        desk.say(word, &self.live.inputs(late, now));
        self.live.desk = desk;
        self.mind_live(now);
        Ok(())
    }

    /// The feed that is wanted takes the air.
    pub(super) fn cut_to_live(&mut self, now: Instant) {
        self.leave_current();
        if self.air == Air::Current {
            self.interrupt(now);
        }
        let beneath = &mut self.live.beneath;
        beneath.get_or_insert_with(|| Beneath::begin(self.current.as_ref(), now));
        self.leave_live();
        let Some(name) = self.live.wanted.clone() else {
            return;
        };
        let Some(input) = self.live.named(&name) else {
            return;
        };
        let headers = input.buffer().take_the_air();
        self.timeline.join(frame_of(f64::from(self.format.fps)));
        for header in headers {
            self.timeline.push(header, &mut self.batch);
        }
        tracing::info!(input = name, "live is on air");
        self.live.on_air = Some(name);
        self.live.carries = true;
        self.air = Air::Live;
        self.since = Since::now();
        self.fanout.mark_join();
    }

    /// Something else takes the air.
    pub(super) fn leave_live(&mut self) {
        if let Some(input) = self.live.on_air() {
            input.buffer().leave_the_air();
            tracing::info!(input = input.config().name, "live is off air");
        }
        self.live.on_air = None;
        self.live.carries = false;
        self.live.group.clear();
    }

    /// Keeps the item that has the air for afterwards.
    fn interrupt(&mut self, now: Instant) {
        self.keep_position(Duration::ZERO, now);
        let Some(item) = &mut self.current else {
            return;
        };
        self.live.beneath = Some(Beneath::begin(Some(item), now));
        if !item.rewind_to_keyframe() {
            let source = file::open(&self.sources, &item.object, item.position_s(), self.format);
            let again = item.opened_again(source, now);
            let before = std::mem::replace(item, again);
            self.close(before);
        }
    }

    /// Moves the next packet of the feed on air into the batch, if it is due.
    pub(super) fn release_live(&mut self, now: Instant) -> bool {
        let late = self.overdue(now);
        let Some(input) = self.live.on_air() else {
            return false;
        };
        let buffer = input.buffer();
        let (timeline, pacer) = (&self.timeline, &mut self.pacer);
        let due = buffer.with_front(|packet| super::release::is_due(timeline, pacer, packet, now));
        let Some(packet) = due.filter(|due| *due).and_then(|_| buffer.pop()) else {
            return false;
        };
        let last = !buffer.has_picture_left();
        let is_picture = matches!(packet, Packet::Video(_));
        self.live.note(&packet);
        self.push(packet);
        if last {
            self.flush_live_sound();
        } else if is_picture && late >= SLOW_AFTER {
            self.pacer.slip(late + SLIP);
        }
        true
    }

    /// As [`Playout::flush_sound`], for a feed.
    pub(super) fn flush_live_sound(&mut self) {
        let (Some(input), Some(shift_ms)) = (self.live.on_air(), self.timeline.shift_ms()) else {
            return;
        };
        self.timeline.close();
        let end_ms = self.timeline.video_end_ms();
        let within = |packet: &Packet| packet.dts_ms().is_none_or(|ms| ms + shift_ms < end_ms);
        let mut sound = Vec::new();
        while input.buffer().with_front(within) == Some(true)
            && let Some(packet) = input.buffer().pop()
        {
            sound.push(packet);
        }
        for packet in sound {
            self.timeline.push(packet, &mut self.batch);
        }
    }

    /// Whether a cut now loses no picture of the feed on air.
    pub(super) fn live_is_at_clean_point(&self) -> bool {
        let Some(input) = self.live.on_air() else {
            return true;
        };
        let is_clean = |packet: &Packet| match packet {
            Packet::Video(video) => self.timeline.is_clean_point(video),
            Packet::VideoHeader(_) | Packet::AudioHeader(_) | Packet::Audio(_) => false,
        };
        input.buffer().with_front(is_clean).unwrap_or(true)
    }

    /// Tells what has changed, before what is done about it. The feed on air was lost when its last
    /// picture was over, not when that was noticed.
    fn tell_states(&mut self, states: &[LiveInputState], now: Instant) {
        let dry_for_ms = self.pacer.due_until(now).unwrap_or(0) - self.timeline.video_end_ms();
        let dry_for = Duration::from_millis(dry_for_ms.max(0).unsigned_abs());
        let live = &mut self.live;
        let on_air = live.on_air.as_deref();
        for (input, state) in live.inputs.all().iter().zip(states) {
            let is_lost_on_air = *state != LiveInputState::Ready
                && on_air.is_some_and(|name| name == input.config().name);
            let since = match is_lost_on_air {
                true => now.checked_sub(dry_for).unwrap_or(now),
                false => now,
            };
            let log = &self.on_air_log;
            live.told
                .tell(input.config(), *state, Stamp::of(since), log);
        }
        let inputs = live.inputs.all().iter();
        let is_configured = |name: &str| inputs.clone().any(|input| input.config().name == name);
        live.told.forget_others(is_configured, &self.on_air_log);
    }

    /// One entry per input.
    pub(super) fn live_reports(&self, now: Instant) -> Vec<LiveInputReport> {
        let late = self.overdue(now);
        let standings = self.live.inputs(late, now);
        let mut reports = Vec::new();
        for (input, standing) in self.live.inputs.all().iter().zip(&standings) {
            let facts = input.facts();
            let (state, since) = self.live.told.of(standing.name);
            reports.push(LiveInputReport {
                name: standing.name.to_owned(),
                state,
                since,
                wanted: self.live.desk.wants(standing),
                on_air: self.live.on_air.as_deref() == Some(standing.name),
                from: facts.from,
                media: facts.media,
                copied: facts.copied,
                retry_count: facts.retry_count,
                error: facts.error,
            });
        }
        reports
    }
}
