//! One connection: from a started FFmpeg to its end.
//!
//! It ends in one of three ways ([`End`]) and says which only by returning it. Every wait also
//! watches for the wish to close, for FFmpeg's end and for the next look at the delivery.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::behind::Given;
use super::delivery::{Delivery, DeliveryProbe};
use super::failure::Failure;
use super::feed::{Feed, ParameterSets};
use super::observation::Observation;
use super::pace::Pace;
use super::queue::{Beginning, Entry, Queue, payload_bytes};
use super::renewal::{Opportunity, Renewal};
use super::sink::{FrozenSink, Sink};
use super::stall::{Look, Progress};
use crate::flv::Metadata;

/// How often the delivery is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Until there is one: the record is to hold the instant at which it began.
const FIRST_LOOKS_EVERY: Duration = Duration::from_millis(50);
/// Nothing here ever waits as long: whoever does was stopped, or got no processor.
const STOOD_STILL: Duration = Duration::from_secs(1);
/// What the bit rate is the mean of.
const RATE_OVER: Duration = Duration::from_secs(5);
/// Media taken from the queue at once; more would be outside the queue's limits for too long.
const TAKE_BYTES: usize = 256 * 1024;
/// What is due within this is taken with what is due now: fewer, larger writes.
const TAKE_AHEAD: Duration = Duration::from_millis(20);

/// How a connection ended.
#[derive(Debug)]
pub enum End {
    /// It was to be closed, and was.
    Closed,
    /// It was old enough; the next one goes on with the same keyframe.
    Renewed,
    /// It did not hold.
    Failed(Failure),
    /// It goes on, in other hands.
    Frozen(Box<FrozenConnection>),
}

/// A connection on its way to the next image of this process. How its delivery was judged stays
/// behind: the socket is asked anew.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FrozenConnection {
    /// Its FFmpeg.
    pub sink: FrozenSink,
    /// What that is given, and when; `None` before the first keyframe.
    pub under_way: Option<UnderWay>,
}

/// How a connection ended, and since when it had delivered nothing.
#[derive(Debug)]
pub struct Outcome {
    /// How.
    pub end: End,
    /// After this instant nothing was delivered any more.
    pub dark_since: Instant,
    /// For how long it had delivered; `None`: it never did.
    pub delivered_for: Option<Duration>,
}

/// What a connection is made of.
pub struct Connection<'a> {
    /// Where packets come from.
    pub queue: &'a Queue,
    /// Where they go.
    pub sink: Sink,
    /// Written before the first of them.
    pub metadata: Metadata,
    /// How changed parameter sets are told.
    pub sets: ParameterSets,
    /// When to make it anew.
    pub renewal: Renewal,
    /// Shown in failures.
    pub url: &'a str,
    /// The wish to close.
    pub close: &'a CancellationToken,
    /// The wish to hand it over as it is.
    pub freeze: &'a CancellationToken,
    /// What it goes on with.
    pub under_way: Option<UnderWay>,
    /// Set while it is being ended, which takes a moment.
    pub ending: &'a AtomicBool,
}

enum Event {
    Close,
    Freeze,
    Look,
    Begin(Beginning),
    Due,
    Taken(usize),
    SinkEnded,
}

/// What is known of a connection while it lasts.
struct Course {
    probe: DeliveryProbe,
    progress: Progress,
    meter: Meter,
    given: Given,
    looks: Interval,
    under_way: Option<UnderWay>,
    awake_at: Instant,
    stood_still_since: Option<Instant>,
}

/// What is given to FFmpeg from the first keyframe on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnderWay {
    feed: Feed,
    pace: Pace,
}

/// Bytes handed over lately.
#[derive(Debug)]
struct Meter {
    total: u64,
    looks: VecDeque<(Instant, u64)>,
}

impl Connection<'_> {
    /// Publishes until the end, telling `observe` of every look.
    pub async fn run(mut self, mut observe: impl FnMut(Observation)) -> Outcome {
        let mut course = Course::new(self.sink.pid(), self.under_way.take(), Instant::now());
        loop {
            let event = self.next(&mut course).await;
            let now = Instant::now();
            course.awake(now);
            match event {
                Event::Freeze => {
                    let end = self.sink.freeze().await.map(|sink| {
                        let under_way = course.under_way.take();
                        End::Frozen(Box::new(FrozenConnection { sink, under_way }))
                    });
                    // One that has just ended is made anew by whoever goes on, none too soon.
                    return course.ends(end.unwrap_or(End::Closed), now, now);
                }
                Event::Close => {
                    self.ending();
                    self.sink.close().await;
                    return course.ends(End::Closed, now, now);
                }
                Event::SinkEnded => {
                    self.ending();
                    let dark_since = course.progress.dark_since(now);
                    let failure = self.sink.ended(self.url).await;
                    return course.ends(End::Failed(failure), dark_since, now);
                }
                Event::Begin(Beginning { headers, origin_ms }) => {
                    course.under_way = Some(UnderWay {
                        feed: Feed::new(&self.metadata, &headers, self.sets, origin_ms),
                        pace: Pace::new(origin_ms, now),
                    });
                }
                Event::Due => {
                    if self.fill(&mut course, now) == Filled::RenewalDue {
                        self.ending();
                        self.sink.close().await;
                        return course.ends(End::Renewed, now, now);
                    }
                }
                Event::Taken(bytes) => course.taken(bytes, now),
                Event::Look => {
                    course.progress.may_deliver(self.sink.may_be_connected());
                    let seen = course.look(self.queue, now);
                    course.probe.abandon(course.progress.is_suspect(now));
                    observe(seen);
                    match seen.look {
                        Look::Quiet => {}
                        Look::Delivering => self.delivering(&mut course, now),
                        Look::Held(held) => {
                            let dark_since = course.progress.dark_since(now);
                            self.ending();
                            course.probe.abandon(true);
                            self.sink.tear_down().await;
                            let failure = Failure::held(held, self.url);
                            return course.ends(End::Failed(failure), dark_since, now);
                        }
                    }
                }
            }
        }
    }

    fn ending(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    async fn next(&mut self, course: &mut Course) -> Event {
        let queue = self.queue;
        tokio::select! {
            biased;
            () = self.close.cancelled() => Event::Close,
            () = self.freeze.cancelled() => Event::Freeze,
            _ = course.looks.tick() => Event::Look,
            event = async {
                match &mut course.under_way {
                    None => tokio::select! {
                        beginning = queue.keyframe() => Event::Begin(beginning),
                        _ = self.sink.exited() => Event::SinkEnded,
                    },
                    Some(UnderWay { feed, pace }) if feed.is_taken() => tokio::select! {
                        () = due(queue, pace) => Event::Due,
                        _ = self.sink.exited() => Event::SinkEnded,
                    },
                    // The pipe breaks when FFmpeg ends: no need to watch both.
                    Some(UnderWay { feed, .. }) => match self.sink.write(feed.untaken()).await {
                        Ok(bytes) => Event::Taken(bytes),
                        Err(_) => Event::SinkEnded,
                    },
                }
            } => event,
        }
    }

    /// The first delivery starts the clock, and makes the next looks rarer.
    fn delivering(&self, course: &mut Course, now: Instant) {
        let Some(UnderWay { pace, .. }) = &mut course.under_way else {
            return;
        };
        if pace.delivering(now) {
            self.queue.stay_behind();
            course.looks = looks(LOOK_EVERY, now);
        }
    }

    /// Takes from the queue what may be given now.
    fn fill(&self, course: &mut Course, now: Instant) -> Filled {
        let Some(UnderWay { feed, pace }) = &mut course.under_way else {
            return Filled::All;
        };
        let mut room = TAKE_BYTES;
        let mut filled = Filled::All;
        let age = Duration::from_millis(feed.media_ms());
        let taken = self.queue.take_while(|entry| {
            if self.is_renewal_due(entry, age) {
                filled = Filled::RenewalDue;
                return false;
            }
            let dts_ms = entry.packet.dts_ms();
            let is_due = dts_ms.is_none_or(|dts_ms| pace.due(dts_ms) <= now + TAKE_AHEAD);
            let fits = room > 0;
            room = room.saturating_sub(payload_bytes(&entry.packet));
            is_due && fits
        });
        for entry in &taken {
            feed.add(&entry.packet);
        }
        if !feed.is_taken() {
            course.progress.offered(now);
        }
        // What was taken before the keyframe goes out first; the keyframe stays in front meanwhile.
        match taken.is_empty() {
            true => filled,
            false => Filled::All,
        }
    }

    fn is_renewal_due(&self, entry: &Entry, age: Duration) -> bool {
        let at = match entry.joins {
            true => Opportunity::Join,
            false => Opportunity::Keyframe,
        };
        entry.is_keyframe() && self.renewal.is_due(age, at)
    }
}

/// Waits until there is something to take that may be given. Cancel-safe.
async fn due(queue: &Queue, pace: &Pace) {
    queue.arrived().await;
    if let Some(dts_ms) = queue.front_dts_ms() {
        tokio::time::sleep_until(pace.due(dts_ms)).await;
    }
}

fn looks(every: Duration, now: Instant) -> Interval {
    let mut looks = tokio::time::interval_at(now + every, every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    looks
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    All,
    RenewalDue,
}

// === impl Course ===

impl Course {
    fn new(ffmpeg: supervise::Pid, under_way: Option<UnderWay>, now: Instant) -> Self {
        let delivers = |under_way: &UnderWay| under_way.pace.delivers_since().is_some();
        let looks_every = match under_way.as_ref().is_some_and(delivers) {
            true => LOOK_EVERY,
            false => FIRST_LOOKS_EVERY,
        };
        Self {
            probe: DeliveryProbe::new(ffmpeg),
            progress: Progress::new(now),
            meter: Meter::new(now),
            given: Given::default(),
            looks: looks(looks_every, now),
            under_way,
            awake_at: now,
            stood_still_since: None,
        }
    }

    fn awake(&mut self, now: Instant) {
        let was = std::mem::replace(&mut self.awake_at, now);
        if now.saturating_duration_since(was) >= STOOD_STILL {
            self.stood_still_since.get_or_insert(was);
        }
    }

    fn taken(&mut self, bytes: usize, now: Instant) {
        self.meter.total += bytes as u64;
        self.progress.taken(now);
        let feed = self.under_way.as_ref().map(|under_way| &under_way.feed);
        if feed.is_some_and(|feed| !feed.is_taken()) {
            self.progress.offered(now);
        }
    }

    fn ends(&self, end: End, dark_since: Instant, now: Instant) -> Outcome {
        let pace = self.under_way.as_ref().map(|under_way| &under_way.pace);
        let since = pace.and_then(Pace::delivers_since);
        Outcome {
            end,
            dark_since,
            delivered_for: since.map(|since| now.saturating_duration_since(since)),
        }
    }

    /// What waits here beyond its time, and what FFmpeg and its socket wait with.
    fn behind(&mut self, queue: &Queue, delivery: Option<&Delivery>, now: Instant) -> Duration {
        let Some(UnderWay { pace, feed }) = &self.under_way else {
            return Duration::ZERO;
        };
        let here = queue.overdue(|dts_ms| pace.due(dts_ms), now);
        let unacked = delivery.map_or(0, |delivery| delivery.unacked_bytes);
        let (media_ms, untaken) = (feed.media_ms(), feed.untaken_bytes());
        let (all, waiting) = (self.meter.total + untaken, unacked + untaken);
        here + self.given.waiting(media_ms, all, waiting)
    }

    fn look(&mut self, queue: &Queue, now: Instant) -> Observation {
        let delivery = self.probe.ask();
        let behind = self.behind(queue, delivery.as_ref(), now);
        let feed = self.under_way.as_ref().map(|under_way| &under_way.feed);
        Observation {
            look: self.progress.look(delivery, now),
            media_ms: feed.map_or(0, Feed::media_ms),
            media_bytes: self.meter.total + feed.map_or(0, Feed::untaken_bytes),
            delivery,
            stood_still_since: self.stood_still_since.take(),
            delivered_at: self.progress.delivered_at(now),
            behind,
            bitrate_kbps: self.meter.kbps(now),
        }
    }
}

// === impl Meter ===

impl Meter {
    fn new(now: Instant) -> Self {
        Self {
            total: 0,
            looks: VecDeque::from([(now, 0)]),
        }
    }

    fn kbps(&mut self, now: Instant) -> u32 {
        self.looks.push_back((now, self.total));
        let is_old = |look: &(Instant, u64)| now.saturating_duration_since(look.0) > RATE_OVER;
        while self.looks.front().is_some_and(is_old) {
            self.looks.pop_front();
        }
        let (since, before) = self.looks.front().copied().unwrap_or((now, self.total));
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        let kilobits = (self.total - before) as f64 * 8.0 / 1000.0;
        // Saturates; a first look of no length is no rate.
        if seconds > 0.0 {
            (kilobits / seconds) as u32
        } else {
            0
        }
    }
}
