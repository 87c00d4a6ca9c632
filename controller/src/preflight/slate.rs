//! The slate: can its picture be made? One small picture is rendered as the worker would render many.

use std::path::Path;
use std::time::Duration;

use programme::fit::{FORMAT_WHITELIST, IMAGE_FORMATS, is_image};
use programme::format::AUDIO_RATE_HZ;
use storage::media::server::MediaServer;
use storage::media::{MediaError, MediaStore};
use storage::model::SlateConfig;
use supervise::{CaptureError, CaptureLimits, ExitReason, Priority, Spec, capture};
use tokio::time::{Instant, timeout_at};

use super::{Finding, GROUND_LIMIT};
use crate::config::Config;

/// One picture out of a clip of hundreds of megabytes.
const READ_LIMIT: Duration = Duration::from_secs(15);
const MAX_BYTES: usize = 1 << 20;
const STAND_IN: &str = "a generated card stands in for it";

/// The generated card and its silence: what is on air when nothing else can be. An FFmpeg may list an
/// encoder, and not be able to open it.
pub(super) async fn card(ffmpeg: &Path) -> Finding {
    let spec = Spec::new(ffmpeg).priority(Priority::Background);
    let sound = format!("anullsrc=r={AUDIO_RATE_HZ}:cl=stereo");
    let spec = spec
        .args(["-nostdin", "-v", "error", "-f", "lavfi"])
        .args(["-i", "color=s=320x180:r=25,drawbox=t=fill"])
        .args(["-f", "lavfi", "-i", sound.as_str(), "-t", "0.2"])
        .args(["-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac"])
        .args(["-f", "flv", "pipe:1"]);
    match rendered(spec, GROUND_LIMIT).await {
        Ok(()) => Finding::fine("card", "can be rendered"),
        Err(Fault::Late) => Finding::doubtful(
            "card",
            format_args!(
                "was not rendered within {} s: a busy machine",
                GROUND_LIMIT.as_secs()
            ),
        ),
        Err(Fault::NotStarted(why) | Fault::Said(why)) => Finding::fatal(
            "card",
            format_args!("FFmpeg cannot render it ({why}): use the distribution's build"),
        ),
    }
}

/// The picture the operator chose; a card stands in for one that cannot be used.
pub(super) async fn look(
    config: &Config,
    store: &MediaStore,
    server: &MediaServer,
    slate: Option<&SlateConfig>,
    until: Instant,
) -> Finding {
    let Some(SlateConfig { key }) = slate else {
        return Finding::fine("slate", "a generated card");
    };
    match timeout_at(until, store.stat(key)).await {
        Ok(Ok(object)) if object.size_bytes > 0 => {}
        Ok(Ok(_)) => {
            let message = format!("{key} is empty: upload it again; {STAND_IN}");
            return Finding::missing("slate", message);
        }
        Ok(Err(error)) => {
            return Finding::missing("slate", format_args!("{}; {STAND_IN}", told(&error)));
        }
        Err(_) => {
            return Finding::doubtful("slate", format_args!("{key} was not looked up in time"));
        }
    }
    let rendered = timeout_at(until, picture(&config.ffmpeg_bin, server, key));
    match rendered.await.unwrap_or(Err(Fault::Late)) {
        Ok(()) => Finding::fine("slate", format_args!("{key} can be rendered")),
        Err(Fault::Late) => Finding::doubtful(
            "slate",
            format_args!("{key} was not rendered in time: a slow store, or a busy machine"),
        ),
        // That is told where the programs are looked at; of the picture nothing is known.
        Err(Fault::NotStarted(_)) => Finding::doubtful(
            "slate",
            format_args!("{key} cannot be rendered without FFmpeg: see what is told of that"),
        ),
        Err(Fault::Said(why)) => Finding::missing(
            "slate",
            format_args!(
                "{key} cannot be rendered ({why}): upload a PNG, JPEG or WebP image or a clip, \
                 whole; {STAND_IN}"
            ),
        ),
    }
}

pub(super) fn told(error: &MediaError) -> String {
    format!("{error}: {}", error.hint())
}

/// The first picture of `key`, decoded.
async fn picture(ffmpeg: &Path, server: &MediaServer, key: &str) -> Result<(), Fault> {
    let ticket = server
        .ticket(key)
        .map_err(|error| Fault::Said(format!("no address for it: {error}")))?;
    // By a plain name FFmpeg would take `.jpg` for a numbered series of files.
    let (formats, url) = match is_image(key) {
        true => (IMAGE_FORMATS, format!("{}?image", ticket.url())),
        false => (FORMAT_WHITELIST, ticket.url().to_owned()),
    };
    let spec = Spec::new(ffmpeg)
        .priority(Priority::Background)
        .args(["-nostdin", "-v", "error"])
        .args(["-format_whitelist", formats])
        .args(["-protocol_whitelist", "http,tcp"])
        .args(["-rw_timeout", "5000000", "-i", url.as_str()])
        .args(["-frames:v", "1", "-vf", "scale=16:16"])
        .args(["-f", "rawvideo", "-pix_fmt", "gray", "pipe:1"]);
    match rendered(spec, READ_LIMIT).await {
        Err(Fault::Said(why)) => Err(Fault::Said(
            why.replace(&url, key).replace(ticket.url(), key),
        )),
        other => other,
    }
}

/// Why nothing was rendered.
#[derive(Debug)]
enum Fault {
    /// It took too long.
    Late,
    /// FFmpeg cannot be run at all.
    NotStarted(String),
    /// In FFmpeg's words.
    Said(String),
}

async fn rendered(spec: Spec, limit: Duration) -> Result<(), Fault> {
    let limits = CaptureLimits {
        timeout: limit,
        max_bytes: MAX_BYTES,
    };
    let captured = capture(spec, limits).await.map_err(|error| match error {
        CaptureError::TimedOut { .. } => Fault::Late,
        CaptureError::Spawn(_) => Fault::NotStarted(crate::chain(&error)),
        _ => Fault::Said(crate::chain(&error)),
    })?;
    if captured.exit == ExitReason::Code(0) && !captured.stdout.is_empty() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&captured.stderr);
    let said = words.lines().map(str::trim).rfind(|line| !line.is_empty());
    Err(Fault::Said(match said {
        Some(line) => line.to_owned(),
        None => format!("it ended with {} and rendered nothing", captured.exit),
    }))
}
