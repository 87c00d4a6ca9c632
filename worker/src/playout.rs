//! The one task that owns director and timeline, and releases packets by the clock.
//!
//! Every 40 ms it asks the director what is to be done, moves what is due from the source on air
//! through the timeline, and hands the whole batch to the fanout. Nothing in a turn waits: opening,
//! closing, listing and writing happen in other tasks, and their results are seen a turn later.

mod card;
mod commands;
mod cuts;
mod hand_over;
mod items;
mod keeper;
mod live;
mod on_air_log;
mod release;
mod report;
mod slot;
mod storage_watch;
mod timetable;
mod transit;

use std::sync::Arc;
use std::time::Duration;

use programme::format::AUDIO_RATE_HZ;
use programme::{Fit, StreamFormat};
use storage::model::report::{ItemProblem, UpgradeReport};
use storage::model::{ErrorReport, Job, PositionFile, WorkerReport};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalogue::Catalogue;
use crate::control::Command;
use crate::director::desk::Word;
use crate::director::{Air, Director, Store, View};
use crate::fanout::Fanout;
use crate::flv::Packet;
use crate::journal::Journal;
use crate::source::live::LiveInputs;
use crate::source::{Slate, SlateSource, SourceContext};
use crate::timeline::{Pacer, Silence, SourceShape, Timeline};
use card::Card;
use hand_over::Order;
pub use hand_over::{Channels, FrozenPlayout, HandedOver, Rehearsal, Surroundings, TakeOver};
use items::{Cursor, Plan};
use keeper::PositionKeeper;
use live::LiveDesk;
use on_air_log::OnAirLog;
use report::Since;
pub use report::empty_report;
use slot::{Item, Outside};
use storage_watch::StorageWatch;
use timetable::Timetable;
use transit::Transit;

/// How often what is due is released. Fewer, larger steps cost less CPU in every process of the
/// chain; players buffer hundreds of times this.
pub const STEP: Duration = Duration::from_millis(40);
/// How often the report is refreshed when nothing changes.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Samples in an AAC-LC frame (ISO/IEC 14496-3 §4.5.1.1).
const AAC_FRAME_SAMPLES: u32 = 1024;
/// How often the position is written when nothing changes.
const POSITION_EVERY: Duration = Duration::from_secs(5);

/// Everything playout works with, made by start-up.
#[derive(Debug)]
pub struct Parts {
    /// What this worker was started for.
    pub job: Job,
    /// The one shape on air.
    pub format: StreamFormat,
    /// Rendered in that shape.
    pub slate: Arc<Slate>,
    /// Why it is the generated card and not what the configuration asks for.
    pub slate_problem: Option<ItemProblem>,
    /// The programme.
    pub catalogue: Catalogue,
    /// How sources are opened.
    pub sources: Arc<SourceContext>,
    /// What feeds the stream besides its programme.
    pub live: LiveInputs,
    /// Where packets go.
    pub fanout: Fanout,
    /// What viewers can see is noted there.
    pub journal: Journal,
    /// Of every shuffle, should the programme begin anew.
    pub seed: u64,
    /// Where the last worker of this stream stood.
    pub resume: Option<PositionFile>,
    /// From the control socket.
    pub commands: mpsc::Receiver<Command>,
    /// To the control socket.
    pub report: watch::Sender<WorkerReport>,
}

/// Why playout ended.
#[derive(Debug)]
pub enum Ended {
    /// It was asked to.
    Stopped,
    /// Every destination was given up; the last failure.
    Exhausted(ErrorReport),
    /// It is to go on in another program.
    HandedOver(Box<HandedOver>),
}

/// See the module.
#[derive(Debug)]
pub struct Playout {
    job: Job,
    format: StreamFormat,
    director: Director,
    timeline: Timeline,
    pacer: Pacer,
    slate: Arc<Slate>,
    slate_problem: Option<ItemProblem>,
    card: Card,
    /// The slate's or the card's.
    slate_source: SlateSource,
    /// Its next packet.
    slate_packet: Option<Packet>,
    air: Air,
    since: Since,
    live: LiveDesk,
    transit: Transit,
    current: Option<Item>,
    next: Option<Item>,
    /// Where what follows is looked up.
    cursor: Cursor,
    /// The same where there is a schedule.
    timetable: Timetable,
    /// What the catalogue says comes after `cursor`.
    plan: Option<Plan>,
    /// Nothing does: the programme does not loop, and its last item was opened.
    programme_ended: bool,
    watch: StorageWatch,
    /// Where the store's bytes stopped coming last.
    interrupted: Option<items::Interrupted>,
    seed: u64,
    catalogue: Catalogue,
    sources: Arc<SourceContext>,
    fanout: Fanout,
    on_air_log: OnAirLog,
    keeper: PositionKeeper,
    closing: TaskTracker,
    commands: mpsc::Receiver<Command>,
    report: watch::Sender<WorkerReport>,
    reported_at: Instant,
    /// Air time of the last packet released, ms.
    released_ms: i64,
    batch: Vec<Packet>,
    dry: u64,
    slate_ms: u64,
    /// To become another program as soon as that can be done.
    order: Option<Order>,
    /// Taken over, and nothing was played yet.
    taking_over: Option<TakeOver>,
    /// The last upgrade.
    upgrade: Option<UpgradeReport>,
}

// === impl Playout ===

impl Playout {
    /// Nothing is on air yet.
    pub fn new(parts: Parts) -> Self {
        let now = Instant::now();
        Self {
            director: Director::new(now),
            timeline: Timeline::new(Silence {
                header: parts.slate.audio_header().clone(),
                frame: parts.slate.silence_frame().clone(),
                rate_hz: AUDIO_RATE_HZ,
                frame_samples: AAC_FRAME_SAMPLES,
            }),
            pacer: Pacer::new(STEP),
            slate_source: SlateSource::new(&parts.slate),
            slate_packet: None,
            slate: parts.slate,
            slate_problem: parts.slate_problem,
            air: Air::Nothing,
            card: Card::resume(None, &parts.job),
            live: LiveDesk::new(parts.live, Word::Auto),
            transit: Transit::default(),
            since: Since::now(),
            current: None,
            next: None,
            timetable: Timetable::new(parts.resume.as_ref(), parts.seed),
            cursor: Cursor::new(parts.resume),
            plan: None,
            programme_ended: false,
            watch: StorageWatch::new(now),
            interrupted: None,
            seed: parts.seed,
            catalogue: parts.catalogue,
            sources: parts.sources,
            fanout: parts.fanout,
            on_air_log: OnAirLog::new(parts.journal),
            keeper: PositionKeeper::start(&parts.job),
            closing: TaskTracker::new(),
            commands: parts.commands,
            report: parts.report,
            reported_at: now,
            released_ms: 0,
            batch: Vec::new(),
            dry: 0,
            slate_ms: 0,
            order: None,
            taking_over: None,
            upgrade: None,
            job: parts.job,
            format: parts.format,
        }
    }

    /// Keeps the stream on air until it is told to stop or no destination is left, then closes
    /// sources and outputs.
    pub async fn run(mut self, shutdown: &CancellationToken) -> Ended {
        self.card.prepare(&self.job, &self.sources, self.format);
        let mut wake_up = Instant::now();
        let mut changes = self.fanout.changes();
        let ended = loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break Ended::Stopped,
                Some(command) = self.commands.recv() => {
                    if self.obey(command).is_break() {
                        break Ended::Stopped;
                    }
                    self.publish(Instant::now());
                }
                Ok(()) = changes.changed() => {
                    if let Some(failure) = self.fanout.exhausted() {
                        break Ended::Exhausted(failure);
                    }
                    self.publish(Instant::now());
                }
                () = tokio::time::sleep_until(wake_up) => {
                    wake_up = self.turn(Instant::now());
                    if let Some(program) = self.ready_to_hand_over(Instant::now()) {
                        // Boxed: it is large, and happens once in months.
                        return Box::pin(self.hand_over(program)).await;
                    }
                }
            }
        };
        self.wind_up().await;
        ended
    }

    /// One step of the clock; returns when the next is due.
    fn turn(&mut self, now: Instant) -> Instant {
        self.mind_storage(now);
        self.mind_schedule(now);
        self.plan(now);
        if let Some(late) = self.pacer.held_up(now) {
            tracing::warn!(
                late_ms = late.as_millis(),
                "the worker was held up; the stream goes on from now, nothing is sent faster than real time"
            );
        }
        self.mind_live(now);
        self.mind_card();
        self.mind_transition(now);
        self.mind_beneath(now);
        let mut changed = false;
        loop {
            let view = self.view(now);
            if let Some(action) = self.director.step(now, &view) {
                self.apply(action, now);
                changed = true;
            } else if !self.release_one(now) {
                break;
            }
        }
        let due_ms = self.pacer.due_until(now);
        if let Some(due_ms) = due_ms {
            self.timeline
                .fill_silence(due_ms.min(self.released_ms), &mut self.batch);
        }
        if !self.batch.is_empty() {
            self.fanout.send(&self.batch);
            self.batch.clear();
        }
        if self.air == Air::Current || self.goes_on_beneath(now) {
            self.keep_position(POSITION_EVERY, now);
        }
        changed |= self.note_take_over();
        if changed || now >= self.reported_at + REPORT_EVERY {
            self.publish(now);
        }
        let next_ms = due_ms.map(|due_ms| due_ms + STEP.as_millis() as i64);
        let wake_up = next_ms.and_then(|next_ms| self.pacer.next_wakeup(next_ms));
        wake_up.unwrap_or(now + STEP)
    }

    fn view(&self, now: Instant) -> View {
        let on_air = self.air == Air::Current;
        let head = self
            .current
            .as_ref()
            .and_then(|item| item.source.queue().peek());
        let late = self.overdue(now);
        View {
            air: self.air,
            current: self.current.as_ref().map(|item| match on_air {
                true => {
                    let late = if head.is_none() { late } else { Duration::ZERO };
                    let slot = item.view_on_air(head, self.outside(item, late, now));
                    self.within_its_time(slot)
                }
                false => item.view_off_air(self.outside(item, Duration::ZERO, now)),
            }),
            next: self
                .next
                .as_ref()
                .map(|item| item.view_off_air(self.outside(item, Duration::ZERO, now))),
            more: self.planned().is_some(),
            store: match self.sources.reach().is_away() {
                true => Store::Away,
                false => Store::Up,
            },
            clean: match self.air {
                Air::Current => self.at_clean_point(),
                Air::Live => self.live_is_at_clean_point(),
                Air::Nothing | Air::Slate(_) => true,
            },
            live_is_wanted: self.live.is_as_wanted(),
            live_carries: self.live.carries(),
            transition: self.transition(),
        }
    }

    fn outside(&self, item: &Item, late: Duration, now: Instant) -> Outside {
        Outside {
            late,
            quiet: item.source.queue().quiet(now),
            short: self.watch.is_short(item),
            kept: self.sources.is_kept(&item.object),
        }
    }

    /// A copied picture keeps its file's rate, which a whole number only approximates.
    fn shape_of(&self, item: &Item) -> SourceShape {
        let copied = match item.source.fit() {
            Some(Fit::Copy) => true,
            Some(Fit::Transcode { video, .. }) => video.is_empty(),
            Some(Fit::Unplayable { .. }) | None => false,
        };
        let info = item.source.info().filter(|_| copied);
        let fps = info
            .and_then(|info| info.video.as_ref())
            .map(|video| video.fps);
        frame_of(fps.unwrap_or(f64::from(self.format.fps)))
    }

    /// How long ago the packet after the last one released was due.
    fn overdue(&self, now: Instant) -> Duration {
        let frame_ms = 1000 / i64::from(self.format.fps.max(1));
        let due_ms = self.pacer.due_until(now).unwrap_or(0);
        let late_ms = due_ms - (self.released_ms + frame_ms);
        Duration::from_millis(late_ms.max(0).unsigned_abs())
    }

    /// Whether a cut now loses no picture of the item on air.
    fn at_clean_point(&self) -> bool {
        let Some(item) = &self.current else {
            return true;
        };
        item.source
            .queue()
            .with_front(|packet| match packet {
                Packet::Video(video) => self.timeline.is_clean_point(video),
                Packet::VideoHeader(_) | Packet::AudioHeader(_) | Packet::Audio(_) => false,
            })
            .unwrap_or(true)
    }

    fn keep_position(&mut self, at_most_every: Duration, now: Instant) {
        if let Some(item) = &self.current {
            self.keeper.keep(at_most_every, now, || {
                let next = self.next.as_ref();
                self.timetable
                    .position_file(item, next, jiff::Timestamp::now())
            });
        }
    }

    async fn wind_up(mut self) {
        self.keep_position(Duration::ZERO, Instant::now());
        for item in self.current.take().into_iter().chain(self.next.take()) {
            self.close(item);
        }
        self.closing.close();
        tokio::join!(
            self.fanout.stop(),
            self.closing.wait(),
            self.keeper.stop(),
            self.catalogue.close(),
        );
    }
}

fn frame_of(fps: f64) -> SourceShape {
    SourceShape {
        frame_us: (1_000_000.0 / fps.max(1.0)).round() as u64,
    }
}
