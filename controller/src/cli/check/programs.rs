//! FFmpeg, `ffprobe` and the worker: there, and able to do what is asked of them.

use std::path::Path;
use std::time::Duration;

use supervise::{CaptureLimits, ExitReason, Spec, capture};

use super::Findings;
use crate::config::Config;

const LIMITS: CaptureLimits = CaptureLimits {
    timeout: Duration::from_secs(10),
    max_bytes: 1024 * 1024,
};
const INSTALL_FFMPEG: &str =
    "install it (apt-get install ffmpeg) or set FFMPEG_BIN and FFPROBE_BIN";

pub(super) async fn check(config: &Config, findings: &mut Findings) {
    match first_line(&config.ffmpeg_bin, "-version").await {
        Ok(version) => {
            findings.ok("ffmpeg", short(&version));
            encoders(&config.ffmpeg_bin, findings).await;
        }
        Err(error) => findings.fail("ffmpeg", format_args!("{error}: {INSTALL_FFMPEG}")),
    }
    match first_line(&config.ffprobe_bin, "-version").await {
        Ok(version) => findings.ok("ffprobe", short(&version)),
        Err(error) => findings.fail("ffprobe", format_args!("{error}: {INSTALL_FFMPEG}")),
    }
    match first_line(&config.worker_bin, "--version").await {
        Ok(version) => findings.ok("stream-worker", version),
        Err(error) => findings.fail(
            "stream-worker",
            format_args!("{error}: install it beside stream-controller or set WORKER_BIN"),
        ),
    }
}

/// Slates and files of other formats are encoded with these two.
async fn encoders(ffmpeg: &Path, findings: &mut Findings) {
    let listed = match run(ffmpeg, &["-v", "error", "-encoders"]).await {
        Ok(listed) => listed,
        Err(error) => return findings.fail("encoders", error),
    };
    let missing: Vec<_> = ["libx264", "aac"]
        .into_iter()
        .filter(|wanted| {
            !listed
                .lines()
                .any(|line| line.split_whitespace().nth(1) == Some(wanted))
        })
        .collect();
    if missing.is_empty() {
        findings.ok("encoders", "libx264 and aac");
    } else {
        findings.fail(
            "encoders",
            format_args!(
                "this FFmpeg lacks {}: use the distribution's build",
                missing.join(" and ")
            ),
        );
    }
}

async fn first_line(program: &Path, argument: &str) -> Result<String, String> {
    let said = run(program, &[argument]).await?;
    Ok(said.lines().next().unwrap_or_default().to_owned())
}

async fn run(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let captured = capture(Spec::new(program).args(arguments), LIMITS)
        .await
        .map_err(|error| crate::chain(&error))?;
    match captured.exit {
        ExitReason::Code(0) => Ok(String::from_utf8_lossy(&captured.stdout).into_owned()),
        exit => Err(format!("{} ended with {exit:?}", program.display())),
    }
}

/// Without the copyright.
fn short(version: &str) -> &str {
    version.split(" Copyright").next().unwrap_or(version)
}
