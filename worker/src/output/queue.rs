//! The bounded queue between playout and one output.
//!
//! Playout pushes and never waits; the output's task takes. Two modes:
//!
//! ```text
//!  Holding  nobody takes: only the newest group of pictures is kept, so that a connection can
//!           begin with a picture at once
//!  Flowing  a connection takes: everything is kept, up to 8 MiB or 5 s; above that the oldest
//!           packets go, up to the next keyframe, and their pictures are counted
//! ```
//!
//! Headers travel in line. [`Headers`] in force at the front are kept beside the packets, so
//! whatever was dropped, a connection that begins at the front begins rightly.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::flv::Headers;
use crate::flv::Packet;

/// Most media time queued, ms.
pub const LIMIT_MS: i64 = 5_000;
/// Most bytes queued.
pub const LIMIT_BYTES: usize = 8 * 1024 * 1024;

/// The shared queue; clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Queue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    backlog: Mutex<Backlog>,
    arrived: Notify,
}

/// What a connection begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// In force at its first keyframe.
    pub headers: Headers,
    /// Decode time of that keyframe, air time.
    pub origin_ms: i64,
}

/// A packet as it is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The packet, in air time.
    pub packet: Packet,
    /// A keyframe that is the first after a join between items.
    pub joins: bool,
}

/// The queue itself, without sharing or waiting.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Backlog {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Most media time queued: what a connection is behind by comes on top of [`LIMIT_MS`].
    limit_ms: i64,
    /// In force before the first entry.
    headers: Headers,
    /// What the one who takes knows; differs from `headers` after a drop.
    told: Headers,
    mode: Mode,
    gap: Gap,
    /// A join was marked and its keyframe has not come yet.
    join_marked: bool,
    dropped_frames: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Mode {
    Holding,
    Flowing,
}

/// What is kept of what comes before the next keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Gap {
    /// Everything: it follows on what is queued or was taken.
    Closed,
    /// Nothing: there was no keyframe yet.
    Beginning,
    /// Nothing: what it follows on was dropped because nobody took it in time.
    Loss,
}

// === impl Queue ===

impl Queue {
    /// An empty queue, holding, before whose first packet `headers` are in force.
    pub fn new(headers: Headers) -> Self {
        Self {
            shared: Arc::new(Shared {
                backlog: Mutex::new(Backlog::new(headers)),
                arrived: Notify::new(),
            }),
        }
    }

    /// With what another queue held.
    pub fn resume(backlog: Backlog) -> Self {
        Self {
            shared: Arc::new(Shared {
                backlog: Mutex::new(backlog),
                arrived: Notify::new(),
            }),
        }
    }

    /// What it holds now.
    pub fn snapshot(&self) -> Backlog {
        self.backlog().clone()
    }

    /// Adds packets; drops what is too much. Never waits.
    pub fn push(&self, packets: &[Packet]) {
        let mut backlog = self.backlog();
        for packet in packets {
            backlog.push(packet.clone());
        }
        let wake = backlog.mode == Mode::Flowing && !backlog.entries.is_empty();
        drop(backlog);
        if wake {
            self.shared.arrived.notify_one();
        }
    }

    /// The next keyframe is the first after a join.
    pub fn mark_join(&self) {
        self.backlog().join_marked = true;
    }

    /// From now on everything is kept for the one who takes.
    pub fn flow(&self) {
        self.backlog().mode = Mode::Flowing;
    }

    /// From now on nobody takes.
    pub fn hold(&self) {
        self.backlog().hold();
    }

    /// Waits for a keyframe at the front and answers how a connection begins there, without taking
    /// it. Whatever lies before it is dropped, uncounted: no connection was to get it.
    pub async fn keyframe(&self) -> Beginning {
        loop {
            let beginning = self.backlog().begin();
            match beginning {
                Some(beginning) => return beginning,
                None => self.shared.arrived.notified().await,
            }
        }
    }

    /// What is queued now stays queued: the one who takes is that far behind from now on, and that
    /// is no reason to drop anything.
    pub fn stay_behind(&self) {
        let mut backlog = self.backlog();
        backlog.limit_ms = LIMIT_MS + backlog.span_ms();
    }

    /// For how long the front has been waiting beyond the time at which it was `due`. What was late
    /// when it came, because a feed is slower than the clock, waits no longer than what is queued lasts.
    pub fn overdue(&self, due: impl Fn(i64) -> Instant, now: Instant) -> Duration {
        let Some(dts_ms) = self.front_dts_ms() else {
            return Duration::ZERO;
        };
        let queued = u64::try_from(self.backlog().span_ms()).unwrap_or(0);
        let late = now.saturating_duration_since(due(dts_ms));
        late.min(Duration::from_millis(queued))
    }

    /// Decode time of the first entry that has one.
    pub fn front_dts_ms(&self) -> Option<i64> {
        let backlog = self.backlog();
        backlog
            .entries
            .iter()
            .find_map(|entry| entry.packet.dts_ms())
    }

    /// Waits until there is something to take. Cancel-safe; for one waiter.
    pub async fn arrived(&self) {
        while self.is_empty() {
            self.shared.arrived.notified().await;
        }
    }

    /// Whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.backlog().entries.is_empty()
    }

    /// Takes from the front while `wanted` says so. Headers that were dropped and are still in
    /// force come first.
    pub fn take_while(&self, wanted: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
        self.backlog().take_while(wanted)
    }

    /// Pictures dropped while flowing, since the queue was made.
    pub fn dropped_frames(&self) -> u64 {
        self.backlog().dropped_frames
    }

    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        // A panic while it was held left at worst a packet uncounted; the stream must go on.
        self.shared
            .backlog
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Entry ===

impl Entry {
    /// Whether a connection can begin here.
    pub fn is_keyframe(&self) -> bool {
        matches!(&self.packet, Packet::Video(video) if video.keyframe)
    }

    fn is_picture(&self) -> bool {
        matches!(self.packet, Packet::Video(_))
    }

    fn size(&self) -> usize {
        payload_bytes(&self.packet)
    }
}

/// Bytes of the packet's body.
pub fn payload_bytes(packet: &Packet) -> usize {
    match packet {
        Packet::VideoHeader(body) | Packet::AudioHeader(body) => body.len(),
        Packet::Video(video) => video.payload.len(),
        Packet::Audio(audio) => audio.payload.len(),
    }
}

// === impl Backlog ===

impl Backlog {
    fn new(headers: Headers) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            limit_ms: LIMIT_MS,
            told: headers.clone(),
            headers,
            mode: Mode::Holding,
            gap: Gap::Beginning,
            join_marked: false,
            dropped_frames: 0,
        }
    }

    fn push(&mut self, packet: Packet) {
        let mut entry = Entry {
            packet,
            joins: false,
        };
        if entry.is_keyframe() {
            entry.joins = std::mem::take(&mut self.join_marked);
            if self.mode == Mode::Holding {
                self.drop_front(self.entries.len());
            }
            self.gap = Gap::Closed;
        }
        if self.gap != Gap::Closed {
            self.headers.follow(&entry.packet);
            let lost = self.gap == Gap::Loss && entry.is_picture();
            self.dropped_frames += u64::from(lost);
            return;
        }
        self.bytes += entry.size();
        self.entries.push_back(entry);
        // One small group may not be enough where a large one follows.
        while self.is_full() {
            self.shed();
        }
    }

    fn is_full(&self) -> bool {
        self.bytes > LIMIT_BYTES || self.span_ms() > self.limit_ms
    }

    fn span_ms(&self) -> i64 {
        let first = self.entries.iter().find_map(|entry| entry.packet.dts_ms());
        let last = self.entries.iter().rev().find_map(|e| e.packet.dts_ms());
        first.zip(last).map_or(0, |(first, last)| last - first)
    }

    /// Drops from the front up to the next keyframe, or everything when there is none.
    fn shed(&mut self) {
        let lost = self.mode == Mode::Flowing;
        let mut later = self.entries.iter().enumerate().skip(1);
        let keyframe = later.find(|(_, entry)| entry.is_keyframe());
        let keyframe = keyframe.map(|(at, _)| at);
        let end = keyframe.unwrap_or(self.entries.len());
        for at in 0..end {
            self.dropped_frames += u64::from(lost && self.entries[at].is_picture());
        }
        self.drop_front(end);
        self.gap = match keyframe {
            Some(_) => Gap::Closed,
            None if lost => Gap::Loss,
            None => Gap::Beginning,
        };
    }

    /// Keeps the newest group of pictures.
    fn hold(&mut self) {
        self.mode = Mode::Holding;
        self.limit_ms = LIMIT_MS;
        let newest = self.entries.iter().rposition(Entry::is_keyframe);
        self.begin_at(newest);
    }

    /// Brings a keyframe to the front; `None` when there is none yet.
    fn begin(&mut self) -> Option<Beginning> {
        let first = self.entries.iter().position(Entry::is_keyframe);
        self.begin_at(first);
        let origin_ms = self.entries.front()?.packet.dts_ms()?;
        self.told = self.headers.clone();
        self.limit_ms = LIMIT_MS + self.span_ms();
        Some(Beginning {
            headers: self.headers.clone(),
            origin_ms,
        })
    }

    fn begin_at(&mut self, keyframe: Option<usize>) {
        self.drop_front(keyframe.unwrap_or(self.entries.len()));
        self.gap = match keyframe {
            Some(_) => Gap::Closed,
            None => Gap::Beginning,
        };
    }

    fn drop_front(&mut self, count: usize) {
        for entry in self.entries.drain(..count) {
            self.bytes -= entry.size();
            self.headers.follow(&entry.packet);
        }
    }

    fn take_while(&mut self, mut wanted: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
        let mut taken = Vec::new();
        while let Some(entry) = self.entries.pop_front_if(|entry| wanted(entry)) {
            if self.told != self.headers {
                taken.extend(self.headers.packets().map(|packet| Entry {
                    packet,
                    joins: false,
                }));
            }
            self.bytes -= entry.size();
            self.headers.follow(&entry.packet);
            self.told = self.headers.clone();
            taken.push(entry);
        }
        taken
    }
}

#[cfg(test)]
mod tests;
