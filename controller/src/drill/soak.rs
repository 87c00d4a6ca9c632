//! Many random faults to several channels, one after the other, and what must not come of them:
//! a viewer who sees more than a fault may cost, another channel that notices, a state file that cannot
//! be read, anything that grows.

mod growth;
mod record;

use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;
use serde_json::json;
use storage::document::{self, Opened};
use storage::model::{StreamConfigFile, StreamStateFile};

use self::growth::Growth;
use self::record::Ears;
use super::fault::{ALL, Fault};
use super::measure::{Window, sight};
use super::verdict::{Complaint, JITTER, Limits, judge};
use super::world::World;
use super::{Outcome, Verdict, run};
use crate::cli::say;

/// Shortest and longest fault that has a length, in seconds.
const HOLD_S: (u64, u64) = (6, 10);

/// What came of a soak.
#[derive(Debug, Default, Serialize)]
struct Account {
    seed: u64,
    seconds: u64,
    streams: usize,
    faults: usize,
    /// Everything that was not as it should be, in words.
    complaints: Vec<String>,
    growth: Option<growth::Verdict>,
    /// Gaps that the viewers had, and how exactly the air record tells them.
    record: Option<record::Agreement>,
}

/// Makes faults for `minutes` and tells; whether all was well.
///
/// # Errors
/// When the channels cannot be looked at any more.
pub async fn report(
    world: &mut World,
    minutes: f64,
    only: &[Fault],
    seed: Option<u64>,
    as_json: bool,
) -> anyhow::Result<bool> {
    let seed = match seed {
        Some(seed) => seed,
        None => u64::from(getrandom::u32().context("no random numbers")?),
    };
    if !as_json {
        say(format_args!(
            "seed {seed}: the same faults again with --seed {seed}"
        ));
    }
    let faults = if only.is_empty() { &ALL[..] } else { only };
    let length = Duration::from_secs_f64(minutes * 60.0);
    let account = soak(world, length, faults, seed, as_json).await?;
    let well = account.complaints.is_empty();
    if as_json {
        say(json!({ "passed": well, "soak": account }));
    } else {
        for complaint in &account.complaints {
            say(format_args!("  {complaint}"));
        }
        say(format_args!(
            "{} faults to {} streams in {} s: {}",
            account.faults,
            account.streams,
            account.seconds,
            if well {
                "all is well"
            } else {
                "NOT all is well"
            },
        ));
    }
    Ok(well)
}

async fn soak(
    world: &mut World,
    length: Duration,
    faults: &[Fault],
    seed: u64,
    quiet: bool,
) -> anyhow::Result<Account> {
    let mut dice = Dice(seed);
    let begun = Instant::now();
    let mut account = Account {
        seed,
        streams: world.channels.len(),
        ..Account::default()
    };
    let mut growth = Growth::begin();
    let mut ears = Ears::open(world);
    while begun.elapsed() < length {
        let fault = faults[dice.below(faults.len())];
        let channel = dice.below(world.channels.len());
        let (least, most) = HOLD_S;
        let span = usize::try_from(most - least + 1).context("a few seconds")?;
        let hold = Duration::from_secs(least + dice.below(span) as u64);
        let before = Instant::now();
        let outcome = run(fault, world, channel, hold).await;
        if !quiet {
            tell(begun.elapsed(), world, channel, &outcome);
        }
        account.faults += 1;
        account.note(world, channel, &outcome);
        account.others(world, fault, channel, before);
        account.documents(world);
        ears.listen(world);
        if fault == Fault::DestinationSlow {
            // Thinned out, it is neither on air nor off it: no boundary to agree on.
            ears.ignore(channel, before);
        }
        growth.sample(world).await?;
        world.forget();
    }
    account.seconds = begun.elapsed().as_secs();
    let verdict = growth.verdict();
    account.complaints.extend(verdict.complaints());
    account.growth = Some(verdict);
    account.record = ears.compare(world).await?;
    let told = account
        .record
        .iter()
        .flat_map(record::Agreement::complaints);
    account.complaints.extend(told);
    Ok(account)
}

fn tell(at: Duration, world: &World, channel: usize, outcome: &Outcome) {
    let hole = outcome.seen.first().map(|sight| sight.hole);
    let verdict = match &outcome.verdict {
        Verdict::Pass => "pass",
        Verdict::Skipped(_) => "skipped",
        Verdict::Fail(_) | Verdict::Broken(_) => "FAIL",
    };
    say(format_args!(
        "{:>5} s  {:<8} {:<26} {:>6.2} s  {verdict}",
        at.as_secs(),
        world.channels[channel].id,
        outcome.fault,
        hole.unwrap_or_default().as_secs_f64(),
    ));
}

// === impl Account ===

impl Account {
    /// What the fault cost where it was made.
    fn note(&mut self, world: &World, channel: usize, outcome: &Outcome) {
        let complaints = match &outcome.verdict {
            Verdict::Pass | Verdict::Skipped(_) => return,
            Verdict::Fail(complaints) => {
                let all: Vec<_> = complaints.iter().map(Complaint::to_string).collect();
                all.join("; ")
            }
            Verdict::Broken(why) => why.clone(),
        };
        let id = &world.channels[channel].id;
        self.complaints
            .push(format!("{} on {id}: {complaints}", outcome.fault));
    }

    /// What the other channels saw of it: nothing.
    fn others(&mut self, world: &World, fault: Fault, hit: usize, since: Instant) {
        let window = Window {
            begins: since,
            healed: since,
            ends: Instant::now(),
            away_after: JITTER,
        };
        let late = world.lateness.since(since);
        // Nothing happened to them that could be over: a hole is all there could be.
        let mut limits = Limits {
            recovery: Duration::MAX,
            ..Limits::unnoticed()
        };
        if fault.is_of_the_folder() {
            // They play from it, too.
            limits.slate = Duration::ZERO..=Duration::MAX;
        }
        for (number, channel) in world.channels.iter().enumerate() {
            if number == hit {
                continue;
            }
            let sights: Vec<_> = channel
                .destinations
                .iter()
                .map(|destination| {
                    let log = destination.platform.log();
                    log.look(|all| sight(&destination.name, all, &world.programme, window))
                })
                .collect();
            for complaint in judge(&limits, &sights, late) {
                let name = fault.spec(Duration::ZERO).name;
                let (id, hit) = (&channel.id, &world.channels[hit].id);
                self.complaints
                    .push(format!("{name} on {hit} was seen on {id}: {complaint}"));
            }
        }
    }

    /// Both documents can be read.
    fn documents(&mut self, world: &World) {
        let config = world.layout.config_file();
        let state = world.layout.state_file();
        let wrong = [
            unreadable(&document::read::<StreamConfigFile>(&config)),
            unreadable(&document::read::<StreamStateFile>(&state)),
        ];
        self.complaints.extend(wrong.into_iter().flatten());
    }
}

fn unreadable<T: std::fmt::Debug, E: std::error::Error>(
    opened: &Result<Opened<T>, E>,
) -> Option<String> {
    match opened {
        Ok(Opened::Loaded { .. }) => None,
        Ok(other) => Some(format!("a document is not as it should be: {other:?}")),
        Err(error) => Some(crate::chain(error)),
    }
}

/// SplitMix64: the same faults from the same seed, on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // The remainder's bias is far below what a soak could notice.
        usize::try_from(z % bound as u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_faults_and_reaches_all_of_them() {
        let draw = |seed: u64| {
            let mut dice = Dice(seed);
            (0..500).map(|_| dice.below(ALL.len())).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let all = draw(7);
        assert!((0..ALL.len()).all(|fault| all.contains(&fault)));
    }
}
