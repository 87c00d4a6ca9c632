//! The drill: faults made to a channel of its own, and what its viewer saw of each.
//!
//! ```text
//! fault ─ spec (pure) ──────────────────────────────────────────┐
//! world ─ settled ─► play: make, hold, heal ─► settled again ─► measure (pure) ─► verdict (pure)
//! ```
//! Safe on a machine that has something on air: it starts a controller of its own on directories and
//! loopback ports of its own, and signals only processes that it holds by pidfd and knows to descend
//! from that controller. Ctrl-C undoes all of it, and what a drill leaves that is killed its [`warden`] ends.

pub mod clips;
pub mod family;
pub mod fault;
pub mod lateness;
pub mod measure;
pub mod platform;
pub mod play;
pub mod programme;
pub mod proxy;
pub mod refusal;
pub mod rest;
pub mod soak;
pub mod verdict;
pub mod warden;
pub mod world;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Serialize;

use self::fault::Fault;
use self::measure::{Window, sight};
use self::play::{Unavailable, play};
use self::verdict::{Complaint, JITTER, Sight, judge};
use self::world::World;

/// Before and after a fault, for the viewer to have something to compare with.
const MARGIN: Duration = Duration::from_millis(700);
/// Beyond its limit a fault's recovery is waited for this long, so that it can be told how long it took.
const PATIENCE: Duration = Duration::from_secs(75);

/// How one fault went.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Name of the fault.
    pub fault: &'static str,
    /// What was done.
    pub what: &'static str,
    /// See [`Verdict`].
    pub verdict: Verdict,
    /// What each viewer saw; the destination the fault was made at comes first.
    pub seen: Vec<Sight>,
    /// What the status called it meanwhile.
    pub told: BTreeSet<String>,
}

/// Whether a fault stayed within its limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It did.
    Pass,
    /// What was beyond them.
    Fail(Vec<Complaint>),
    /// It was not to be made, or to be undone.
    Broken(String),
    /// It cannot be made here, and why.
    Skipped(&'static str),
}

/// Makes one fault and judges it.
pub async fn run(fault: Fault, world: &mut World, channel: usize, hold: Duration) -> Outcome {
    let spec = fault.spec(hold);
    world.channels[channel].told.clear();
    let mut outcome = Outcome {
        fault: spec.name,
        what: spec.what,
        verdict: Verdict::Pass,
        seen: Vec::new(),
        told: BTreeSet::new(),
    };
    let window = match observe(fault, world, channel, hold).await {
        Ok(Ok(window)) => window,
        Ok(Err(Unavailable(why))) => {
            outcome.verdict = Verdict::Skipped(why);
            return outcome;
        }
        Err(error) => {
            outcome.verdict = Verdict::Broken(format!("{error:#}"));
            return outcome;
        }
    };
    let late = world.lateness.since(window.begins);
    let window = window.seen_at(late);
    let channel = &mut world.channels[channel];
    outcome.told = std::mem::take(&mut channel.told);
    for destination in &channel.destinations {
        let log = destination.platform.log();
        let saw = log.look(|all| sight(&destination.name, all, &world.programme, window));
        outcome.seen.push(saw);
    }
    let complaints = judge(&spec.limits, &outcome.seen, late);
    if !complaints.is_empty() {
        outcome.verdict = Verdict::Fail(complaints);
    }
    outcome
}

async fn observe(
    fault: Fault,
    world: &mut World,
    channel: usize,
    hold: Duration,
) -> anyhow::Result<Result<Window, Unavailable>> {
    world.settled(channel, PATIENCE).await?;
    world.channels[channel].told.clear();
    let begins = Instant::now();
    world.watch(channel, MARGIN).await;
    let played = match play(fault, world, channel, hold).await? {
        Ok(played) => played,
        Err(unavailable) => return Ok(Err(unavailable)),
    };
    // What does not come back is seen in what the viewer saw; the status is for the words.
    if let Err(error) = world.settled(channel, PATIENCE).await {
        tracing::warn!(error = %format!("{error:#}"), "the drill's channel is not as it was");
    }
    world.watch(channel, MARGIN).await;
    Ok(Ok(Window {
        begins,
        healed: played.healed,
        ends: Instant::now(),
        away_after: JITTER,
    }))
}

// === impl Verdict ===

impl Verdict {
    /// Whether a drill with it is a good one.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Pass | Self::Skipped(_))
    }
}
