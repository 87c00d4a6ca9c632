//! Playout on its way to the next image of this process, and its arrival there.
//!
//! What is handed over and why is in `docs/design/worker-upgrade.md`.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use programme::{Standing, StreamFormat};
use serde::{Deserialize, Serialize};
use storage::media::MediaStore;
use storage::model::report::{ItemProblem, UpgradeOutcome, UpgradeReport};
use storage::model::{Job, WorkerReport};
use supervise::Pid;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::card::Card;
use super::items::{Cursor, Interrupted};
use super::keeper::PositionKeeper;
use super::live::LiveDesk;
use super::on_air_log::OnAirLog;
use super::report::Since;
use super::slot::{FrozenItem, Item};
use super::storage_watch::StorageWatch;
use super::timetable::Timetable;
use super::transit::Transit;
use super::{Ended, Playout};
use crate::catalogue::Catalogue;
use crate::catalogue::book::{Book, FrozenBook};
use crate::catalogue::memory::Memory;
use crate::control::Command;
use crate::director::desk::Word;
use crate::director::{Air, Director, SlateCause};
use crate::fanout::{Fanout, FrozenFanout};
use crate::flv::Packet;
use crate::journal::Journal;
use crate::source::live::LiveInputs;
use crate::source::slate::Place;
use crate::source::{Slate, SlateSource, SourceContext};
use crate::timeline::{Pacer, Timeline};

/// How long outputs that are ending a connection are waited for.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
/// How long what is being written or closed may hold up a hand-over. It is not lost: a position is
/// written again by the next image, and a closed source is a process that was killed.
const LOOSE_ENDS_LIMIT: Duration = Duration::from_millis(100);

/// To become another program.
#[derive(Debug)]
pub(super) struct Order {
    program: PathBuf,
    given: Instant,
}

/// What playout would hand over, as far as that can be had without stopping anything.
#[derive(Debug)]
pub struct Rehearsal {
    /// In force now.
    pub job: Job,
    /// Without any FFmpeg.
    pub playout: FrozenPlayout,
    /// The newest.
    pub report: WorkerReport,
}

/// Playout, stopped, with everything another one needs to go on.
#[derive(Debug)]
pub struct HandedOver {
    /// What this process is to become.
    pub program: PathBuf,
    /// When the last packet went out.
    pub frozen_at: Instant,
    /// In force now.
    pub job: Job,
    /// All of it.
    pub playout: FrozenPlayout,
    /// The newest.
    pub report: WorkerReport,
    /// Where FFmpegs read their files.
    pub media_socket: std::io::Result<TcpListener>,
    /// Where those come from.
    pub store: MediaStore,
    /// Of the control socket, should it all go on here.
    pub channels: Channels,
}

/// Playout's ends of the control socket's channels.
#[derive(Debug)]
pub struct Channels {
    /// From the control socket.
    pub commands: mpsc::Receiver<Command>,
    /// To the control socket.
    pub report: watch::Sender<WorkerReport>,
}

/// How this image came to be the one that plays.
#[derive(Debug, Clone)]
pub struct TakeOver {
    /// When the last packet of the image before went out.
    pub frozen_at: Instant,
    /// Which upgrade it was.
    pub number: u64,
    /// Version that handed over.
    pub from: String,
    /// Why the old program goes on, if it does.
    pub fell_back: Option<String>,
}

/// What another playout goes on with, besides itself.
#[derive(Debug)]
pub struct Surroundings {
    /// In force.
    pub job: Job,
    /// The keys of its destinations.
    pub secrets: storage::model::JobSecrets,
    /// How sources are read.
    pub sources: Arc<SourceContext>,
    /// Where media comes from.
    pub store: MediaStore,
    /// What viewers can see is noted there.
    pub journal: Journal,
    /// To the control socket.
    pub channels: Channels,
}

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FrozenPlayout {
    format: StreamFormat,
    director: Director,
    timeline: Timeline,
    pacer: Pacer,
    slate: Slate,
    slate_problem: Option<ItemProblem>,
    /// The card, where there is one.
    #[serde(default)]
    card: Option<Slate>,
    slate_place: Place,
    /// The operator's.
    #[serde(default)]
    word: Word,
    slate_packet: Option<Packet>,
    air: Air,
    since: Since,
    current: Option<FrozenItem>,
    next: Option<FrozenItem>,
    cursor: Cursor,
    standing: Standing,
    programme_ended: bool,
    interrupted: Option<Interrupted>,
    seed: u64,
    released_ms: i64,
    dry: u64,
    slate_ms: u64,
    book: FrozenBook,
    fanout: FrozenFanout,
}

// === impl FrozenPlayout ===

impl FrozenPlayout {
    /// The FFmpegs that are handed over.
    pub fn pids(&self) -> Vec<Pid> {
        let sources = self.items().filter_map(|item| item.source.pid());
        sources
            .chain(self.fanout.sinks().map(|sink| sink.pid()))
            .collect()
    }

    /// What has to stay open for them.
    pub fn descriptors(&self) -> Vec<i32> {
        let sources = self.items().flat_map(|item| item.source.descriptors());
        let sinks = self.fanout.sinks().flat_map(|sink| sink.descriptors());
        sources.chain(sinks).collect()
    }

    fn items(&self) -> impl Iterator<Item = &FrozenItem> {
        self.current.iter().chain(&self.next)
    }
}

// === impl Playout ===

impl Playout {
    /// Goes on where another one was stopped.
    pub fn resume(frozen: FrozenPlayout, take_over: TakeOver, around: Surroundings) -> Self {
        let Surroundings {
            job,
            secrets,
            sources,
            store,
            journal,
            channels,
        } = around;
        let slate = Arc::new(frozen.slate);
        let card = Card::resume(frozen.card, &job);
        let is_card = frozen.air == Air::Slate(SlateCause::Card);
        let shown = card.get().filter(|_| is_card);
        let shown = shown.as_ref().unwrap_or(&slate);
        let format = frozen.format;
        let live = LiveInputs::open(&job, &sources, format, &secrets);
        let reach = sources.reach().clone();
        let memory = Memory::new(job.layout().listing(&job.stream_id), &job.storage);
        let upgrade = channels.report.borrow().upgrade.clone();
        let resume = |item: FrozenItem| Item::resume(item, &sources, format);
        Self {
            director: frozen.director,
            timeline: frozen.timeline,
            pacer: frozen.pacer,
            slate_source: SlateSource::resume(shown, frozen.slate_place),
            slate_packet: frozen.slate_packet,
            slate,
            card,
            live: LiveDesk::new(live, frozen.word),
            transit: Transit::default(),
            slate_problem: frozen.slate_problem,
            air: frozen.air,
            since: frozen.since,
            current: frozen.current.map(resume),
            next: frozen.next.map(resume),
            cursor: frozen.cursor,
            timetable: Timetable::resume(frozen.standing),
            plan: None,
            programme_ended: frozen.programme_ended,
            interrupted: frozen.interrupted,
            watch: StorageWatch::new(Instant::now()),
            seed: frozen.seed,
            catalogue: Catalogue::resume(store, reach, Some(memory), Book::resume(frozen.book)),
            fanout: Fanout::resume(frozen.fanout, &job, &secrets, format, journal.clone()),
            on_air_log: OnAirLog::new(journal),
            keeper: PositionKeeper::start(&job),
            closing: TaskTracker::new(),
            commands: channels.commands,
            upgrade,
            report: channels.report,
            reported_at: Instant::now(),
            released_ms: frozen.released_ms,
            batch: Vec::new(),
            dry: frozen.dry,
            slate_ms: frozen.slate_ms,
            order: None,
            taking_over: Some(take_over),
            sources,
            job,
            format,
        }
    }

    pub(super) fn rehearse(&self) -> Rehearsal {
        let items = [&self.current, &self.next].map(|item| item.as_ref().map(Item::snapshot));
        Rehearsal {
            job: self.job.clone(),
            playout: self.frozen_with(items, self.fanout.snapshot()),
            report: self.report.borrow().clone(),
        }
    }

    pub(super) fn order_hand_over(&mut self, program: PathBuf) {
        let given = Instant::now();
        // Now, while there is time for a disk.
        self.keep_position(Duration::ZERO, given);
        self.drop_transition();
        self.order = Some(Order { program, given });
    }

    /// The program to become, once every output can be handed over; an order is given up when that
    /// takes too long.
    pub(super) fn ready_to_hand_over(&mut self, now: Instant) -> Option<PathBuf> {
        let order = self.order.as_ref()?;
        if self.fanout.can_freeze() && self.air != Air::Live && self.transit.is_idle() {
            return self.order.take().map(|order| order.program);
        }
        if now >= order.given + SETTLE_LIMIT {
            self.order = None;
            let error = "a destination was being disconnected all the time; try again";
            tracing::warn!("the worker is not upgraded: {error}");
            self.upgrade = Some(UpgradeReport {
                number: self.upgrades() + 1,
                from: VERSION.to_owned(),
                to: VERSION.to_owned(),
                at: jiff::Timestamp::now(),
                outcome: UpgradeOutcome::FellBack,
                took_ms: 0,
                error: Some(error.to_owned()),
            });
            self.publish(now);
        }
        None
    }

    /// Stops, and lets go of everything.
    pub(super) async fn hand_over(mut self, program: PathBuf) -> Ended {
        let frozen_at = Instant::now();
        self.publish(frozen_at);
        let snapshot = self.frozen_with([None, None], self.fanout.snapshot());
        let freeze = async |item: Option<Item>| match item {
            Some(item) => Some(item.freeze().await),
            None => None,
        };
        self.closing.close();
        let loose_ends = async { tokio::join!(self.closing.wait(), self.keeper.stop()) };
        let (current, next, fanout, _, ()) = tokio::join!(
            freeze(self.current),
            freeze(self.next),
            self.fanout.freeze(),
            tokio::time::timeout(LOOSE_ENDS_LIMIT, loose_ends),
            self.catalogue.close(),
        );
        let playout = FrozenPlayout {
            current,
            next,
            fanout,
            ..snapshot
        };
        let report = self.report.borrow().clone();
        Ended::HandedOver(Box::new(HandedOver {
            program,
            frozen_at,
            job: self.job,
            playout,
            report,
            media_socket: self.sources.media_socket(),
            store: self.sources.store().clone(),
            channels: Channels {
                commands: self.commands,
                report: self.report,
            },
        }))
    }

    /// After the first turn of a playout that took over: how that went.
    pub(super) fn note_take_over(&mut self) -> bool {
        let Some(taken) = self.taking_over.take() else {
            return false;
        };
        let took_ms = taken.frozen_at.elapsed().as_millis();
        let (from, number) = (taken.from, taken.number);
        let outcome = match &taken.fell_back {
            None => {
                tracing::info!(
                    from,
                    to = VERSION,
                    number,
                    took_ms,
                    "the worker was upgraded"
                );
                UpgradeOutcome::Done
            }
            Some(error) => {
                tracing::error!(number, took_ms, "the old worker goes on: {error}");
                UpgradeOutcome::FellBack
            }
        };
        self.upgrade = Some(UpgradeReport {
            number,
            from,
            to: VERSION.to_owned(),
            at: jiff::Timestamp::now(),
            outcome,
            took_ms: u64::try_from(took_ms).unwrap_or(u64::MAX),
            error: taken.fell_back,
        });
        true
    }

    fn upgrades(&self) -> u64 {
        self.upgrade.as_ref().map_or(0, |upgrade| upgrade.number)
    }

    fn frozen_with(
        &self,
        [current, next]: [Option<FrozenItem>; 2],
        fanout: FrozenFanout,
    ) -> FrozenPlayout {
        FrozenPlayout {
            format: self.format,
            director: self.director.clone(),
            timeline: self.timeline.clone(),
            pacer: self.pacer.clone(),
            slate: self.slate.as_ref().clone(),
            slate_problem: self.slate_problem.clone(),
            card: self.card.get().as_deref().cloned(),
            word: self.live.word().clone(),
            slate_place: self.slate_source.place(),
            slate_packet: self.slate_packet.clone(),
            air: self.air,
            since: self.since,
            current,
            next,
            cursor: self.cursor.clone(),
            standing: self.timetable.standing.clone(),
            programme_ended: self.programme_ended,
            interrupted: self.interrupted.clone(),
            seed: self.seed,
            released_ms: self.released_ms,
            dry: self.dry,
            slate_ms: self.slate_ms,
            book: self.catalogue.snapshot(),
            fanout,
        }
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
