//! One connection: from a started FFmpeg to its end.
//!
//! It ends in one of three ways ([`End`]) and says which only by returning it. Every wait also
//! watches for the wish to close, for FFmpeg's end and for the next look at the delivery.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::delivery::DeliveryProbe;
use super::failure::{Failure, FailureKind};
use super::feed::{Feed, ParameterSets};
use super::queue::{Beginning, Entry, Queue, payload_bytes};
use super::renewal::{Opportunity, Renewal};
use super::sink::Sink;
use super::stall::{Look, Progress, STALLED_AFTER};
use crate::flv::Metadata;

/// How often the delivery is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Looks the bit rate is the mean of: five seconds.
const RATE_LOOKS: usize = 20;
/// Media taken from the queue at once; more would be outside the queue's limits for too long.
const TAKE_BYTES: usize = 256 * 1024;

/// How a connection ended.
#[derive(Debug)]
pub enum End {
    /// It was to be closed, and was.
    Closed,
    /// It was old enough; the next one goes on with the same keyframe.
    Renewed,
    /// It did not hold.
    Failed(Failure),
}

/// What is new at a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// See [`Look`].
    pub look: Look,
    /// Media handed over, ms.
    pub media_ms: u64,
    /// Bytes the peer acknowledged, where that can be read.
    pub acked_bytes: Option<u64>,
    /// Mean of the last seconds.
    pub bitrate_kbps: u32,
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
}

enum Event {
    Close,
    Look,
    Begin(Beginning),
    Arrived,
    Taken(usize),
    SinkEnded,
}

/// Bytes handed over lately.
#[derive(Debug)]
struct Meter {
    total: u64,
    looks: VecDeque<(Instant, u64)>,
}

impl Connection<'_> {
    /// Publishes until the end, telling `observe` of every look.
    pub async fn run(mut self, mut observe: impl FnMut(Observation)) -> End {
        let now = Instant::now();
        let mut probe = DeliveryProbe::new(self.sink.pid());
        let mut progress = Progress::default();
        let mut meter = Meter::new(now);
        let mut looks = tokio::time::interval_at(now + LOOK_EVERY, LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut feed: Option<Feed> = None;
        loop {
            match self.next(&mut feed, &mut looks).await {
                Event::Close => {
                    self.sink.close().await;
                    return End::Closed;
                }
                Event::SinkEnded => return End::Failed(self.sink.ended(self.url).await),
                Event::Begin(Beginning { headers, origin_ms }) => {
                    feed = Some(Feed::new(&self.metadata, &headers, self.sets, origin_ms));
                }
                Event::Arrived => {
                    if let Some(feed) = &mut feed
                        && self.fill(feed) == Filled::RenewalDue
                    {
                        self.sink.close().await;
                        return End::Renewed;
                    }
                    progress.offered(Instant::now());
                }
                Event::Taken(bytes) => {
                    meter.total += bytes as u64;
                    progress.taken(Instant::now());
                    if feed.as_ref().is_some_and(|feed| !feed.is_taken()) {
                        progress.offered(Instant::now());
                    }
                }
                Event::Look => {
                    let now = Instant::now();
                    let delivery = probe.ask();
                    let look = progress.look(delivery, now);
                    observe(Observation {
                        look,
                        media_ms: feed.as_ref().map_or(0, Feed::media_ms),
                        acked_bytes: delivery.map(|delivery| delivery.acked_bytes),
                        bitrate_kbps: meter.kbps(now),
                    });
                    if let Some(failure) = self.stalled(look) {
                        self.sink.tear_down().await;
                        return End::Failed(failure);
                    }
                }
            }
        }
    }

    async fn next(&mut self, feed: &mut Option<Feed>, looks: &mut Interval) -> Event {
        let queue = self.queue;
        tokio::select! {
            biased;
            () = self.close.cancelled() => Event::Close,
            _ = looks.tick() => Event::Look,
            event = async {
                match feed {
                    None => tokio::select! {
                        beginning = queue.keyframe() => Event::Begin(beginning),
                        _ = self.sink.exited() => Event::SinkEnded,
                    },
                    Some(feed) if feed.is_taken() => tokio::select! {
                        () = queue.arrived() => Event::Arrived,
                        _ = self.sink.exited() => Event::SinkEnded,
                    },
                    // The pipe breaks when FFmpeg ends: no need to watch both.
                    Some(feed) => match self.sink.write(feed.untaken()).await {
                        Ok(bytes) => Event::Taken(bytes),
                        Err(_) => Event::SinkEnded,
                    },
                }
            } => event,
        }
    }

    fn fill(&self, feed: &mut Feed) -> Filled {
        let mut room = TAKE_BYTES;
        let mut filled = Filled::All;
        let age = Duration::from_millis(feed.media_ms());
        let taken = self.queue.take_while(|entry| {
            if self.is_renewal_due(entry, age) {
                filled = Filled::RenewalDue;
                return false;
            }
            let fits = room > 0;
            room = room.saturating_sub(payload_bytes(&entry.packet));
            fits
        });
        for entry in &taken {
            feed.add(&entry.packet);
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

    fn stalled(&self, look: Look) -> Option<Failure> {
        let what = match look {
            Look::Delivering | Look::Quiet => return None,
            Look::NotTaken => "takes no data",
            Look::NotAcknowledged => "acknowledges no data",
        };
        let message = format!("{} {what} for {} s", self.url, STALLED_AFTER.as_secs());
        Some(Failure::new(FailureKind::Stalled, message))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    All,
    RenewalDue,
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
        if self.looks.len() > RATE_LOOKS + 1 {
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
