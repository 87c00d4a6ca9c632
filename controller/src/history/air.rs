//! One stream's record as it grows: facts in order of time go in, closed intervals come out. Pure.
//!
//! Each destination is, while it is wanted, in exactly one of two open intervals:
//!
//! ```text
//!            Delivering                     Delivering: another connection
//!   Gap ──────────────────► Delivery ──┐◄─┘
//!    ▲ └► Dark, planned differs: the   │
//!    │    gap is cut in two            │
//!    └──────── Dark, worker gone ──────┘
//! ```
//!
//! Hence `delivery ∪ gap = wanted` and nothing overlaps, whatever the facts are. A gap keeps its first
//! cause that says something: `starting` and `unknown` give way to what is learned later.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use storage::history::{AskedBy, Recovery, Row, SessionEnd};
use storage::model::report::OnAirKind;
use storage::model::{DarkCause, StreamId};

use self::link::{Link, Source, Why};
use super::axis::Instant;
use super::fact::{Fact, What};
use super::sessions::Sessions;
use super::totals::Totals;

mod link;
mod rows;

/// What holds at one instant, with the intervals under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Air {
    stream: StreamId,
    /// The instant.
    now: Instant,
    wanted: Option<Instant>,
    /// Every destination that was heard of while it matters.
    destinations: BTreeMap<String, Destination>,
    worker: Option<Worker>,
    on_air: Option<OnAir>,
    /// What the slate or item would be if the stream were wanted.
    source: Option<Source>,
    acted: Option<i64>,
    #[serde(default)]
    sessions: Sessions,
    /// Of the intervals that have ended.
    #[serde(default)]
    totals: Totals,
}

/// The worker that was heard of last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Worker {
    pub(super) nonce: String,
    pub(super) boot_id: String,
    /// When it was heard of last.
    pub(super) last: Instant,
    pub(super) alive: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Destination {
    configured: bool,
    link: Link,
    open: Option<Open>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Open {
    since: Instant,
    link: Link,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OnAir {
    since: Instant,
    source: Source,
}

// === impl Air ===

impl Air {
    /// Nothing is known of `stream` before `now`.
    pub(super) fn new(stream: StreamId, now: Instant) -> Self {
        Self {
            stream,
            now,
            wanted: None,
            destinations: BTreeMap::new(),
            worker: None,
            on_air: None,
            source: None,
            acted: None,
            sessions: Sessions::default(),
            totals: Totals::default(),
        }
    }

    /// The instant up to which facts were taken.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// The worker that was heard of last.
    pub(super) fn worker(&self) -> Option<&Worker> {
        self.worker.as_ref()
    }

    /// Names of the wanted destinations; `None` when the stream is not wanted.
    pub(super) fn wanted(&self) -> Option<Vec<&str>> {
        self.wanted?;
        let wanted = self.destinations.iter().filter(|(_, it)| it.configured);
        Some(wanted.map(|(name, _)| name.as_str()).collect())
    }

    /// Takes the next fact; intervals that it ends go to `rows`.
    pub(super) fn apply(&mut self, fact: &Fact, rows: &mut Vec<Row>) {
        let known = rows.len();
        self.take(fact, rows);
        for row in &rows[known..] {
            self.totals.add_ended(row);
        }
    }

    /// Everything that was counted up to `now_ms`, with what is under way.
    pub(super) fn totals(&self, now_ms: i64) -> Totals {
        let mut totals = self.totals.clone();
        for row in self.open_rows() {
            totals.add_open(&row, now_ms);
        }
        totals
    }

    fn take(&mut self, fact: &Fact, rows: &mut Vec<Row>) {
        // A fact that comes too late for its instant counts from the present one.
        self.now = Instant {
            ms: fact.ms.max(self.now.ms),
            at: fact.at,
        };
        match &fact.what {
            What::Wanted { destinations } => {
                if self.wanted.is_none() {
                    self.wanted = Some(self.now);
                    if self.worker.as_ref().is_none_or(|worker| !worker.alive) {
                        self.start_over();
                    }
                }
                self.configure(destinations);
            }
            What::Configured { destinations } => self.configure(destinations),
            What::Unwanted => {
                if let Some(since) = self.wanted.take() {
                    rows.extend(self.wanted_row(since, Some(self.now)));
                }
                self.sessions.stopped(&self.stream, self.now, rows);
            }
            What::Act => self.acted = Some(self.now.ms),
            What::AskedLive { input, by } => {
                let input = input.as_deref();
                self.sessions
                    .asked(&self.stream, self.now, input, *by, rows);
            }
            What::GaveBack { by } => {
                let why = match by {
                    AskedBy::Obs => SessionEnd::SourceOff,
                    AskedBy::Api | AskedBy::Auto => SessionEnd::GivenBack,
                };
                self.sessions.gave_back(&self.stream, self.now, why, rows);
            }
            What::NotStarted { cause, error_type } => {
                self.all_down(self.now, *cause, error_type.as_deref())
            }
            What::Gone {
                worker,
                cause,
                error_type,
            } => self.gone(worker, *cause, error_type.as_deref()),
            What::Started {
                worker,
                boot_id,
                takes_over,
            } => self.started(worker, boot_id, *takes_over, rows),
            What::Ended { worker } => {
                if self.heard_of(worker) {
                    self.all_down(self.now, DarkCause::Unknown, None);
                }
            }
            What::OnAir { .. }
            | What::Delivering { .. }
            | What::Dark { .. }
            | What::LiveInput { .. } => {
                self.told(&fact.what, rows);
            }
        }
        self.settle(self.now, rows);
    }

    /// A fresh start owes nothing to why the stream was dark before.
    fn start_over(&mut self) {
        for destination in self.destinations.values_mut() {
            if let Link::Down(why) = &mut destination.link {
                *why = Why::of(DarkCause::Starting, None);
            }
        }
    }

    fn configure(&mut self, names: &[String]) {
        for (name, destination) in &mut self.destinations {
            destination.configured = names.contains(name);
        }
        for name in names {
            self.destination(name).configured = true;
        }
    }

    fn destination(&mut self, name: &str) -> &mut Destination {
        self.destinations
            .entry(name.to_owned())
            .or_insert_with(|| Destination {
                configured: false,
                link: Link::Down(Why::of(DarkCause::Starting, None)),
                open: None,
            })
    }

    /// There is no worker any more.
    fn all_down(&mut self, at: Instant, cause: DarkCause, error_type: Option<&str>) {
        self.source = None;
        self.sessions.worker_gone(at);
        for destination in self.destinations.values_mut() {
            destination.link = Link::Down(Why::of(cause, error_type));
        }
    }

    /// Whether `worker` is the living one; then it was heard of just now.
    fn heard_of(&mut self, worker: &str) -> bool {
        let now = self.now;
        match &mut self.worker {
            Some(known) if known.nonce == worker && known.alive => {
                known.last = now;
                true
            }
            Some(known) if known.alive || known.nonce == worker => false,
            // Its beginning was lost; it is taken at its word.
            _ => {
                self.worker = Some(Worker {
                    nonce: worker.to_owned(),
                    boot_id: String::new(),
                    last: now,
                    alive: true,
                });
                true
            }
        }
    }

    fn gone(&mut self, worker: &str, cause: DarkCause, error_type: Option<&str>) {
        if !self.heard_of(worker) {
            return;
        }
        if let Some(known) = &mut self.worker {
            known.alive = false;
        }
        self.all_down(self.now, cause, error_type);
    }

    fn started(&mut self, worker: &str, boot_id: &str, takes_over: bool, rows: &mut Vec<Row>) {
        if takes_over {
            self.totals.worker_upgrades += 1;
        } else {
            self.totals.worker_starts += 1;
        }
        if !takes_over {
            let before = self.worker.as_ref();
            // The end of the one before was not seen: it counts until it was heard of last.
            let last = before.filter(|known| known.alive).map(|known| known.last);
            if let Some(last) = last {
                self.all_down(self.now, DarkCause::Unknown, None);
                self.settle(last, rows);
            }
        }
        self.worker = Some(Worker {
            nonce: worker.to_owned(),
            boot_id: boot_id.to_owned(),
            last: self.now,
            alive: true,
        });
    }

    /// What the living worker says.
    fn told(&mut self, what: &What, rows: &mut Vec<Row>) {
        match what {
            What::OnAir {
                worker,
                source,
                item,
                cause,
            } if self.heard_of(worker) => {
                self.source = Some(Source {
                    kind: *source,
                    item: item.clone(),
                    cause: *cause,
                });
                if self.wanted.is_some() {
                    let live = item.as_deref().filter(|_| *source == OnAirKind::Live);
                    self.sessions.on_air(&self.stream, self.now, live, rows);
                }
            }
            What::Delivering {
                worker,
                destination,
                connection,
            } if self.heard_of(worker) => {
                self.destination(destination).link = Link::Up {
                    connection: *connection,
                };
            }
            What::Dark {
                worker,
                destination,
                cause,
                error_type,
            } if self.heard_of(worker) => {
                self.destination(destination).link =
                    Link::Down(Why::of(*cause, error_type.as_deref()));
            }
            What::LiveInput {
                worker,
                input,
                state,
                grace_s,
            } if self.heard_of(worker) => {
                self.sessions.input(self.now, input, *state, *grace_s);
            }
            _ => {}
        }
    }

    /// Ends at `at` what does not hold any more, and begins what does. An interval that began later
    /// than `at` is left out.
    fn settle(&mut self, at: Instant, rows: &mut Vec<Row>) {
        let mut destinations = std::mem::take(&mut self.destinations);
        for (name, destination) in &mut destinations {
            let wanted = self.wanted.is_some() && destination.configured;
            let link = wanted.then(|| destination.link.clone());
            self.settle_destination(name, destination, link, at, rows);
        }
        // What is not configured matters only while a worker speaks of it.
        let alive = self.worker.as_ref().is_some_and(|worker| worker.alive);
        destinations.retain(|_, it| it.configured || alive);
        self.destinations = destinations;
        self.settle_on_air(at, rows);
    }

    fn settle_destination(
        &self,
        name: &str,
        destination: &mut Destination,
        link: Option<Link>,
        at: Instant,
        rows: &mut Vec<Row>,
    ) {
        if let (Some(open), Some(link)) = (&mut destination.open, &link)
            && open.link.goes_on_with(link)
        {
            return;
        }
        let mut since = at;
        if let Some(open) = destination.open.take() {
            let recovery = match (&open.link, &link) {
                (Link::Down(why), Some(Link::Up { .. })) => {
                    Some(self.recovery(open.since, why.cause))
                }
                (Link::Down(_), None) => Some(Recovery::Stopped),
                // One that is cut in two goes on.
                (Link::Down(_), Some(Link::Down(_))) | (Link::Up { .. }, _) => None,
            };
            rows.extend(self.destination_row(name, &open, Some(at), recovery));
            since = at.max(open.since);
        }
        destination.open = link.map(|link| Open { since, link });
    }

    fn settle_on_air(&mut self, at: Instant, rows: &mut Vec<Row>) {
        let source = self.wanted.and(self.source.clone());
        if let (Some(on_air), Some(source)) = (&mut self.on_air, &source)
            && on_air.source.goes_on_with(source)
        {
            return;
        }
        let mut since = at;
        if let Some(on_air) = self.on_air.take() {
            let recovery = self.end_of_slate(&on_air, source.as_ref());
            rows.extend(self.on_air_row(&on_air, Some(at), recovery));
            since = at.max(on_air.since);
        }
        self.on_air = source.map(|source| OnAir { since, source });
    }

    /// How the slate ended, if that was one, now that there is `next`. One that ends with its worker is followed by
    /// whatever the next worker has on air.
    fn end_of_slate(&self, on_air: &OnAir, next: Option<&Source>) -> Option<Recovery> {
        if on_air.source.kind != OnAirKind::Slate {
            return None;
        }
        match next {
            Some(next) if next.kind == OnAirKind::Slate => None,
            Some(_) => {
                let cause = on_air.source.cause.unwrap_or(DarkCause::Unknown);
                Some(self.recovery(on_air.since, cause))
            }
            None => self.wanted.is_none().then_some(Recovery::Stopped),
        }
    }

    fn recovery(&self, since: Instant, cause: DarkCause) -> Recovery {
        if cause.is_planned() {
            Recovery::Planned
        } else if self.acted.is_some_and(|acted| acted > since.ms) {
            Recovery::ByHand
        } else {
            Recovery::Automatic
        }
    }
}
