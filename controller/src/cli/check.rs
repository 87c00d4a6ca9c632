//! `check`: would it work here, and if not, what to do; one line each, or all of it as JSON.

use serde_json::json;
use storage::document::{self, Opened};
use storage::model::{Check, PreflightReport, StreamConfig, StreamConfigFile, StreamId};

use super::say;
use crate::config::Config;
use crate::preflight::{Finding, Preflight, Verdict};
use crate::registry::default_config;

/// How it is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
pub struct CheckArgs {
    /// Tell it as JSON: outcome and message of each check.
    #[arg(long)]
    json: bool,
}

/// Stands for streams that cannot be read, or are none.
const STREAMLESS: &str = "none";

/// Looks at everything the configured streams need; whether nothing of it is missing.
pub async fn run(config: &Config, args: CheckArgs) -> bool {
    let mut findings = vec![Finding {
        name: "settings".to_owned(),
        verdict: Verdict::Fine,
        message: "no mistakes".to_owned(),
    }];
    let (streams, found) = configuration(config);
    findings.push(found);
    let preflight = Preflight::new(config.clone().into());
    // Whatever is wrong with the streams, the machine can be looked at.
    let nowhere = (
        STREAMLESS.parse().expect("a valid id"),
        StreamConfig::default(),
    );
    let is_known = !streams.is_empty();
    let streams = if is_known { streams } else { vec![nowhere] };
    let looks = streams.iter().map(async |(id, stream)| {
        let (mut found, surroundings) =
            tokio::join!(preflight.ground(stream), preflight.surroundings(stream));
        found.extend(surroundings);
        (id, found)
    });
    for (id, found) in futures_util::future::join_all(looks).await {
        for mut finding in found {
            if is_of_stream(&finding.name) {
                if !is_known {
                    continue;
                }
                finding.name = format!("{id}/{}", finding.name);
            } else if findings.iter().any(|known| known.name == finding.name) {
                // Programs, directories and the store are the same for all streams.
                continue;
            }
            findings.push(finding);
        }
    }
    let missing = count(&findings, |verdict| verdict >= Verdict::Missing);
    if args.json {
        tell_json(findings, missing == 0);
    } else {
        tell(&findings, missing);
    }
    missing == 0
}

fn is_of_stream(name: &str) -> bool {
    let (kind, rest) = name.split_once('/').unwrap_or((name, ""));
    !rest.is_empty() || ["item", "slate", "protocols"].contains(&kind)
}

/// The configured streams; those of a fresh installation where nothing is configured yet.
fn configuration(config: &Config) -> (Vec<(StreamId, StreamConfig)>, Finding) {
    let path = config.layout.config_file();
    let shown = path.display();
    let found = |verdict, message| Finding {
        name: "streams".to_owned(),
        verdict,
        message,
    };
    match document::read::<StreamConfigFile>(&path) {
        Ok(Opened::Loaded { value, .. }) => {
            let found = match value.streams.len() {
                0 => found(
                    Verdict::Doubtful,
                    format!("none in {shown}: PUT /streams/main makes one"),
                ),
                count => found(Verdict::Fine, format!("{count} in {shown}")),
            };
            (value.streams.into_iter().collect(), found)
        }
        Ok(Opened::Absent) => {
            let found = found(
                Verdict::Doubtful,
                format!("{shown} is not there yet: a stream \"main\" is made at the first start"),
            );
            let streams = default_config(&config.keyring).streams;
            (streams.into_iter().collect(), found)
        }
        Ok(Opened::Corrupt(corrupt)) => {
            let found = found(
                Verdict::Missing,
                format!("{shown}: {}; {}", corrupt.flaw, corrupt.hint()),
            );
            let streams = corrupt.last_good.map(|copy| copy.value.streams);
            (streams.into_iter().flatten().collect(), found)
        }
        Err(error) => (Vec::new(), found(Verdict::Missing, crate::chain(&error))),
    }
}

fn count(findings: &[Finding], which: impl Fn(Verdict) -> bool) -> usize {
    let of = |finding: &&Finding| which(finding.verdict);
    findings.iter().filter(of).count()
}

fn tell(findings: &[Finding], missing: usize) {
    let widest = findings.iter().map(|found| found.name.len()).max();
    let width = widest.unwrap_or(0);
    for Finding {
        name,
        verdict,
        message,
    } in findings
    {
        let mark = match verdict {
            Verdict::Fine => "ok",
            Verdict::Doubtful => "warn",
            Verdict::Missing | Verdict::Fatal => "FAIL",
        };
        say(format_args!("{mark:<5} {name:<width$} {message}"));
    }
    let doubtful = count(findings, |verdict| verdict == Verdict::Doubtful);
    match (missing, doubtful) {
        (0, 0) => say("all is well"),
        (0, doubtful) => say(format_args!("it will work; {doubtful} to look at")),
        (missing, _) => say(format_args!("{missing} to repair first")),
    }
}

fn tell_json(findings: Vec<Finding>, ok: bool) {
    let checks = findings.into_iter().map(Check::from).collect();
    let report = PreflightReport::new(jiff::Timestamp::now(), checks);
    say(json!({ "ok": ok, "preflight": report }));
}
