//! FFmpeg, `ffprobe` and the worker: there, and able to do what is asked of them.

use std::collections::BTreeSet;
use std::path::Path;

use storage::model::StreamConfig;
use supervise::{CaptureLimits, ExitReason, Priority, Spec, capture};

use super::{Finding, GROUND_LIMIT, Verdict, slate};
use crate::config::Config;

const LIMITS: CaptureLimits = CaptureLimits {
    timeout: GROUND_LIMIT,
    max_bytes: 1024 * 1024,
};
const INSTALL: &str = "install it (apt-get install ffmpeg) or set FFMPEG_BIN and FFPROBE_BIN";
const OTHER_BUILD: &str = "use the distribution's build";

/// What the programs of this machine are.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    pub(super) findings: Vec<Finding>,
    /// Protocols FFmpeg can write to; empty where it cannot be asked.
    pub(super) protocols: BTreeSet<String>,
}

/// Asks all programs at once.
pub(super) async fn look(config: &Config) -> Programs {
    let ffmpeg = config.ffmpeg_bin.as_path();
    let (version, encoders, muxers, card, protocols, ffprobe, worker) = tokio::join!(
        said(ffmpeg, "-version"),
        listed(ffmpeg, "-encoders"),
        listed(ffmpeg, "-muxers"),
        slate::card(ffmpeg),
        said(ffmpeg, "-protocols"),
        said(&config.ffprobe_bin, "-version"),
        said(&config.worker_bin, "--version"),
    );
    let mut findings = Vec::new();
    let works = version.is_ok();
    findings.push(match version {
        Ok(said) => Finding::fine("ffmpeg", first_line(&said)),
        Err(error) => error.finding("ffmpeg", Finding::fatal, INSTALL),
    });
    let protocols = protocols.map(|said| outputs(&said)).unwrap_or_default();
    // One that does not run has been told; what it could do is no news.
    if works {
        // Slates and files of other formats are encoded with the two; everything is handed on as FLV.
        let able = [
            all_of("encoders", &encoders, &["libx264", "aac"]),
            all_of("muxers", &muxers, &["flv"]),
        ];
        // What it lacks has been told; that it fails without it is no news either.
        let lacks_nothing = able.iter().all(|found| found.verdict == Verdict::Fine);
        findings.extend(able);
        findings.extend(lacks_nothing.then_some(card));
    }
    findings.push(match ffprobe {
        Ok(said) => Finding::fine("ffprobe", first_line(&said)),
        Err(error) => {
            let advice = format!("nothing but the slate can air. {INSTALL}");
            error.finding("ffprobe", Finding::missing, &advice)
        }
    });
    findings.push(match worker {
        Ok(said) => Finding::fine("stream-worker", first_line(&said)),
        Err(error @ Refusal::NotStarted(_)) => {
            let advice = "install it beside stream-controller or set WORKER_BIN";
            error.finding("stream-worker", Finding::fatal, advice)
        }
        Err(error) => {
            let advice = "it was to tell its version. Install both from one release";
            error.finding("stream-worker", Finding::doubtful, advice)
        }
    });
    Programs {
        findings,
        protocols,
    }
}

/// Whether FFmpeg speaks what the destinations of a stream are addressed by.
pub(super) fn protocols(known: &BTreeSet<String>, config: &StreamConfig) -> Option<Finding> {
    let schemes: BTreeSet<&str> = config
        .destinations
        .iter()
        .filter_map(|to| Some(to.url.split_once("://")?.0))
        .collect();
    let lacking: Vec<&str> = schemes
        .iter()
        .copied()
        .filter(|scheme| !known.contains(*scheme))
        .collect();
    if known.is_empty() || schemes.is_empty() {
        return None;
    }
    if lacking.is_empty() {
        let spoken: Vec<&str> = schemes.into_iter().collect();
        return Some(Finding::fine("protocols", spoken.join(", ")));
    }
    let message = format!("this FFmpeg lacks {}: {OTHER_BUILD}", lacking.join(" and "));
    Some(if lacking.len() == schemes.len() {
        Finding::fatal("protocols", message)
    } else {
        Finding::missing("protocols", message)
    })
}

fn all_of(name: &str, listed: &Result<BTreeSet<String>, Refusal>, wanted: &[&str]) -> Finding {
    let listed = match listed {
        Ok(listed) => listed,
        Err(error) => return error.finding(name, Finding::fatal, OTHER_BUILD),
    };
    let lacking: Vec<_> = wanted
        .iter()
        .copied()
        .filter(|name| !listed.contains(*name))
        .collect();
    if lacking.is_empty() {
        Finding::fine(name, wanted.join(" and "))
    } else {
        let lacking = lacking.join(" and ");
        Finding::fatal(
            name,
            format_args!("this FFmpeg lacks {lacking}: {OTHER_BUILD}"),
        )
    }
}

/// Why a program did not say what it was asked.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    /// It cannot be run at all.
    #[error("{0}")]
    NotStarted(String),
    /// It ran, and failed.
    #[error("{0}")]
    Failed(String),
    /// It ran for too long. So it is there; a machine that is slow just now must keep no stream off air.
    #[error("{0}")]
    Late(String),
}

impl Refusal {
    /// Of something that is there and was late, no more than a doubt.
    fn finding(&self, name: &str, verdict: fn(String, String) -> Finding, advice: &str) -> Finding {
        match self {
            Self::Late(error) => Finding::doubtful(
                name,
                format_args!(
                    "{error}: this machine is short of processor time, or a disk hangs; streams are started all the same"
                ),
            ),
            Self::NotStarted(error) | Self::Failed(error) => {
                verdict(name.to_owned(), format!("{error}: {advice}"))
            }
        }
    }
}

async fn said(program: &Path, argument: &str) -> Result<String, Refusal> {
    let spec = Spec::new(program)
        .arg(argument)
        .priority(Priority::Background);
    let captured = capture(spec, LIMITS).await.map_err(|error| {
        let text = crate::chain(&error);
        match error {
            supervise::CaptureError::Spawn(_) => Refusal::NotStarted(text),
            supervise::CaptureError::TimedOut { .. } => Refusal::Late(text),
            _ => Refusal::Failed(text),
        }
    })?;
    match captured.exit {
        ExitReason::Code(0) => Ok(String::from_utf8_lossy(&captured.stdout).into_owned()),
        exit => Err(Refusal::Failed(format!(
            "{} ended with {exit}",
            program.display()
        ))),
    }
}

/// Names from a list of the form ` FLAGS name description`.
async fn listed(program: &Path, argument: &str) -> Result<BTreeSet<String>, Refusal> {
    let said = said(program, argument).await?;
    let names = said
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1));
    Ok(names
        .flat_map(|name| name.split(','))
        .map(str::to_owned)
        .collect())
}

/// The names below `Output:`.
fn outputs(said: &str) -> BTreeSet<String> {
    let below = said.lines().skip_while(|line| line.trim() != "Output:");
    below.skip(1).map(|line| line.trim().to_owned()).collect()
}

/// Without the copyright.
fn first_line(said: &str) -> &str {
    let line = said.lines().next().unwrap_or_default();
    line.split(" Copyright").next().unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::Verdict;

    #[test]
    fn what_is_there_and_late_keeps_no_stream_off_air() {
        let of = |refusal: Refusal| refusal.finding("ffmpeg", Finding::fatal, INSTALL).verdict;
        assert_eq!(of(Refusal::Late("late".into())), Verdict::Doubtful);
        assert_eq!(of(Refusal::Failed("crashed".into())), Verdict::Fatal);
        assert_eq!(of(Refusal::NotStarted("no such".into())), Verdict::Fatal);
    }
}
