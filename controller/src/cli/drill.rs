//! `drill`: makes faults to a stream of its own and tells what its viewer saw of each.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::json;
use supervise::shutdown::Shutdown;

use super::say;
use crate::config::Config;
use crate::drill::fault::{ALL, Fault};
use crate::drill::refusal::{self, Means};
use crate::drill::verdict::Sight;
use crate::drill::world::World;
use crate::drill::{Outcome, Verdict, run, soak};

/// What the drill is to do.
#[derive(Debug, Clone, Args)]
pub struct DrillArgs {
    /// Only these faults, comma-separated
    #[arg(long, value_delimiter = ',', value_name = "NAME", value_parser = fault)]
    only: Vec<Fault>,
    /// Name the faults and their limits, and make none
    #[arg(long)]
    list: bool,
    /// Tell the outcome as one JSON object
    #[arg(long)]
    json: bool,
    /// How long a fault lasts that has a length
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u64).range(6..=600))]
    seconds: u64,
    /// Instead of each fault once: random faults to several streams for so many minutes
    #[arg(long, value_name = "MINUTES", value_parser = minutes)]
    soak: Option<f64>,
    /// Streams of a soak
    #[arg(long, default_value_t = 5, requires = "soak", value_parser = clap::value_parser!(u8).range(1..=50))]
    streams: u8,
    /// Repeats a soak's faults [default: another one each time]
    #[arg(long, requires = "soak")]
    seed: Option<u64>,
    /// Ends what is left of the drill that started this
    #[arg(long, hide = true, exclusive = true)]
    pub warden: bool,
    /// See [`Self::prepare`].
    #[arg(skip)]
    refusing: Means,
}

// === impl DrillArgs ===

impl DrillArgs {
    /// Does what can be done only while the program has one thread.
    pub fn prepare(&mut self) {
        if !self.list && !self.warden {
            self.refusing = refusal::prepare();
        }
    }
}

/// Runs it; whether everything stayed within its limits.
///
/// # Errors
/// When the drill itself cannot be held.
pub async fn drill(config: &Config, args: DrillArgs) -> anyhow::Result<bool> {
    let hold = Duration::from_secs(args.seconds);
    let faults = match args.only.is_empty() {
        true => ALL.to_vec(),
        false => args.only.clone(),
    };
    if args.list {
        list(&faults, hold);
        return Ok(true);
    }
    let shutdown = Shutdown::install().context("cannot handle signals")?;
    let channels = match args.soak {
        Some(_) => usize::from(args.streams),
        None => 1,
    };
    let mut world = tokio::select! {
        world = World::make(config, channels, args.refusing) => world?,
        // Nothing runs yet but FFmpeg, which dies with this process.
        _ = shutdown.requested() => anyhow::bail!("interrupted"),
    };
    // From here on there are workers, and those outlive whoever does not end them.
    let all = async {
        world.go_on_air().await?;
        match args.soak {
            Some(minutes) => {
                soak::report(&mut world, minutes, &args.only, args.seed, args.json).await
            }
            None => Ok(each(&mut world, &faults, hold, args.json).await),
        }
    };
    let outcome = tokio::select! {
        outcome = all => outcome,
        _ = shutdown.requested() => Err(anyhow::anyhow!("interrupted")),
    };
    tokio::select! {
        ended = world.end() => ended.context("cannot end all of the drill")?,
        () = shutdown.immediate() => {}
    }
    outcome
}

fn fault(name: &str) -> Result<Fault, String> {
    Fault::named(name).ok_or_else(|| "no such fault; see `drill --list`".to_owned())
}

/// More than none, and less than a machine is kept for one purpose.
fn minutes(text: &str) -> Result<f64, String> {
    const YEAR: f64 = 366.0 * 24.0 * 60.0;
    let minutes: f64 = text.parse().map_err(|_| "a number of minutes")?;
    match minutes > 0.0 && minutes <= YEAR {
        true => Ok(minutes),
        false => Err(format!("more than 0 minutes, {YEAR} at most")),
    }
}

fn list(faults: &[Fault], hold: Duration) {
    say("FAULT                      HOLE ≤    SLATE ≤   RECONNECTS  RECOVERY ≤  WHAT");
    for fault in faults {
        let spec = fault.spec(hold);
        let limits = spec.limits;
        say(format_args!(
            "{:<26} {:>5.1} s   {:>5.1} s   {:>3} to {:<3}  {:>6.1} s    {}",
            spec.name,
            limits.hole.as_secs_f64(),
            limits.slate.end().as_secs_f64(),
            limits.reconnects.start(),
            limits.reconnects.end(),
            limits.recovery.as_secs_f64(),
            spec.what,
        ));
    }
}

async fn each(world: &mut World, faults: &[Fault], hold: Duration, as_json: bool) -> bool {
    if !as_json {
        say(HEADING);
    }
    let mut outcomes = Vec::new();
    for fault in faults {
        let outcome = run(*fault, world, 0, hold).await;
        world.forget();
        if !as_json {
            say(line(&outcome));
            explain(&outcome.verdict);
        }
        if matches!(outcome.verdict, Verdict::Broken(_)) {
            tracing::info!("{}", world.last_words().await);
        }
        outcomes.push(outcome);
    }
    let passed = outcomes.iter().all(|outcome| outcome.verdict.is_good());
    if as_json {
        say(json!({ "passed": passed, "hold_s": hold.as_secs(), "outcomes": outcomes }));
    } else {
        say(match passed {
            true => "every fault stayed within its limits",
            false => "NOT every fault stayed within its limits",
        });
    }
    passed
}

const HEADING: &str = "FAULT                      HOLE      SLATE    RECON.  RECOVERY  THE OTHER  TOLD AS                  VERDICT";

/// One row: the destination the fault was made at, then the worst of the others.
fn line(outcome: &Outcome) -> String {
    let nothing = Sight::default();
    let (first, others) = match outcome.seen.split_first() {
        Some((first, others)) => (first, others),
        None => (&nothing, &[][..]),
    };
    let others_hole = others.iter().map(|sight| sight.hole).max();
    let verdict = match &outcome.verdict {
        Verdict::Pass => "pass",
        Verdict::Fail(_) => "FAIL",
        Verdict::Broken(_) => "BROKEN",
        Verdict::Skipped(_) => "skipped",
    };
    format!(
        "{:<26} {:>6.2} s  {:>5.1} s  {:>6}  {:>6.2} s  {:>6.2} s   {:<24} {verdict}",
        outcome.fault,
        first.hole.as_secs_f64(),
        first.slate.as_secs_f64(),
        first.reconnects,
        first.recovery.as_secs_f64(),
        others_hole.unwrap_or_default().as_secs_f64(),
        words(&outcome.told),
    )
}

fn words(told: &BTreeSet<String>) -> String {
    match told
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" ")
    {
        nothing if nothing.is_empty() => "–".to_owned(),
        words => words,
    }
}

fn explain(verdict: &Verdict) {
    match verdict {
        Verdict::Pass => {}
        Verdict::Fail(complaints) => {
            for complaint in complaints {
                say(format_args!("  {complaint}"));
            }
        }
        Verdict::Broken(why) => say(format_args!("  {why}")),
        Verdict::Skipped(why) => say(format_args!("  {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::minutes;

    #[test]
    fn a_soak_has_a_length_that_a_clock_can_measure() {
        for wrong in ["", "x", "nan", "inf", "-1", "0", "1e300"] {
            assert!(minutes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(minutes("1.25"), Ok(1.25));
    }
}
