//! Where the worker's log lines go: standard output, and a ring for `GET /v1/logs`.
//!
//! Every event is formatted once and handed to both. FFmpeg's lines come as events too (see
//! `ffmpeg`), already redacted, so the ring needs no redaction of its own. Standard output is written by a
//! thread of its own (`writer`); whoever ends this process's program says [`flush`] before.

mod ring;
mod rotate;
mod writer;

use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

pub use ring::LogRing;
use rotate::Rotating;
use writer::Writer;

/// This process's log: there is one, as there is one subscriber.
static WRITER: OnceLock<Writer> = OnceLock::new();

/// How lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// One object per line.
    Json,
}

/// What could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("logging cannot be set up: {0}")]
pub struct LoggingError(String);

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(Self::Json),
            "pretty" => Ok(Self::Pretty),
            other => Err(format!(
                "LOG_FORMAT is {other:?}; it must be json or pretty"
            )),
        }
    }
}

/// Makes this process's log: lines of `format`, filtered by `filter` (the text of `RUST_LOG`), to
/// standard output and the ring that is returned. When standard output is the file `log_file`,
/// that file is kept below its limit.
///
/// # Errors
/// When `filter` is not a filter, or the process already has a log.
pub fn init(
    format: LogFormat,
    filter: Option<&str>,
    log_file: &Path,
) -> Result<LogRing, LoggingError> {
    let limits = storage::media::LOG_LIMITS.join(",");
    let filter = EnvFilter::try_new(format!("{},{limits}", filter.unwrap_or("info")))
        .map_err(|error| LoggingError(format!("RUST_LOG: {error}")))?;
    let ring = LogRing::default();
    let sink = Sink {
        ring: ring.clone(),
        out: WRITER
            .get_or_init(|| Writer::start(Rotating::stdout(log_file)))
            .clone(),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(false)
        .with_writer(sink);
    match format {
        LogFormat::Pretty => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| LoggingError(error.to_string()))?;
    Ok(ring)
}

/// Returns when everything that was logged is written, or after `limit`: threads do not outlive the program.
pub fn flush(limit: Duration) {
    if let Some(writer) = WRITER.get() {
        writer.flush(limit);
    }
}

/// Hands each formatted line to the ring and to standard output.
#[derive(Debug, Clone)]
struct Sink {
    ring: LogRing,
    out: Writer,
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Sink {
    /// Called once per event with the whole line.
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.ring.push(line);
        self.out.write(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
