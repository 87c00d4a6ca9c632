//! FFmpeg, `ffprobe` and the worker: there, and able to do what is asked of them.

use std::collections::BTreeSet;
use std::path::Path;

use storage::model::StreamConfig;
use supervise::{CaptureLimits, ExitReason, Priority, Spec, capture};

use super::{Finding, GROUND_LIMIT};
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
    let (version, encoders, muxers, protocols, ffprobe, worker) = tokio::join!(
        said(ffmpeg, "-version"),
        listed(ffmpeg, "-encoders"),
        listed(ffmpeg, "-muxers"),
        said(ffmpeg, "-protocols"),
        said(&config.ffprobe_bin, "-version"),
        said(&config.worker_bin, "--version"),
    );
    let mut findings = Vec::new();
    let works = version.is_ok();
    findings.push(match version {
        Ok(said) => Finding::fine("ffmpeg", first_line(&said)),
        Err(error) => Finding::fatal("ffmpeg", format_args!("{error}: {INSTALL}")),
    });
    let protocols = protocols.map(|said| outputs(&said)).unwrap_or_default();
    // One that does not run has been told; what it could do is no news.
    if works {
        // Slates and files of other formats are encoded with the two; everything is handed on as FLV.
        findings.push(all_of("encoders", &encoders, &["libx264", "aac"]));
        findings.push(all_of("muxers", &muxers, &["flv"]));
    }
    findings.push(match ffprobe {
        Ok(said) => Finding::fine("ffprobe", first_line(&said)),
        Err(error) => Finding::missing(
            "ffprobe",
            format_args!("{error}: nothing but the slate can air. {INSTALL}"),
        ),
    });
    findings.push(match worker {
        Ok(said) => Finding::fine("stream-worker", first_line(&said)),
        Err(Refusal::NotStarted(error)) => Finding::fatal(
            "stream-worker",
            format_args!("{error}: install it beside stream-controller or set WORKER_BIN"),
        ),
        Err(Refusal::Failed(error)) => Finding::doubtful(
            "stream-worker",
            format_args!("{error} instead of telling its version: install both from one release"),
        ),
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
        Err(error) => return Finding::fatal(name, format_args!("{error}: {OTHER_BUILD}")),
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
}

async fn said(program: &Path, argument: &str) -> Result<String, Refusal> {
    let spec = Spec::new(program)
        .arg(argument)
        .priority(Priority::Background);
    let captured = capture(spec, LIMITS).await.map_err(|error| {
        let text = crate::chain(&error);
        match error {
            supervise::CaptureError::Spawn(_) => Refusal::NotStarted(text),
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
