//! FFmpeg's lines: into the log with their level, and the last of them kept.
//!
//! Owner: the task that runs the FFmpeg; [`follow`] is one future that ends with the stream. Every
//! line is redacted before anybody sees it.

use std::time::{Duration, Instant};

use supervise::lines::{LineReader, Tail};
use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;

use super::redact::Redactor;

/// Lines an FFmpeg may log within [`RATE_WINDOW`]; a broken file can cause one for each packet.
pub const LINES_PER_WINDOW: u32 = 20;
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// Lines kept for the report of an end.
const TAIL_LINES: usize = 20;

/// How serious FFmpeg says a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// `debug`, `trace`, `verbose`.
    Debug,
    /// `info`, and lines that state no level.
    Info,
    /// `warning`.
    Warning,
    /// `error`.
    Error,
    /// `fatal`, `panic`: FFmpeg gives up.
    Fatal,
}

/// One line of FFmpeg's, redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// As FFmpeg marked it (`-loglevel level+…`).
    pub level: Level,
    /// Without the mark and without the address of FFmpeg's object.
    pub text: String,
}

/// Which FFmpeg is speaking: the fields of its log lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speaker {
    /// `source`, `probe`, `slate`, `output`.
    pub role: &'static str,
    /// Object key or destination name.
    pub subject: String,
}

/// Holds back what would flood the log.
#[derive(Debug)]
struct RateLimit {
    since: Instant,
    logged: u32,
    held_back: u32,
}

// === impl Line ===

impl Line {
    /// Reads `[mov @ 0x55…] [error] text`: the level may stand behind the speaker.
    pub fn parse(line: &str) -> Self {
        let mut level = Level::Info;
        let mut speaker = None;
        let mut rest = line.trim();
        while let Some((mark, after)) = bracketed(rest) {
            if let Some(found) = level_of(mark) {
                level = found;
                rest = after;
                break;
            }
            let Some((name, _)) = mark.split_once(" @ ") else {
                break;
            };
            speaker = speaker.or(Some(name));
            rest = after;
        }
        let text = match speaker {
            Some(name) => format!("{name}: {rest}"),
            None => rest.to_owned(),
        };
        Self { level, text }
    }
}

/// Splits `[mark] rest`.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let (mark, rest) = text.strip_prefix('[')?.split_once(']')?;
    Some((mark, rest.trim_start()))
}

fn level_of(mark: &str) -> Option<Level> {
    Some(match mark {
        "panic" | "fatal" => Level::Fatal,
        "error" => Level::Error,
        "warning" => Level::Warning,
        "info" => Level::Info,
        "verbose" | "debug" | "trace" => Level::Debug,
        _ => return None,
    })
}

/// What is left of an FFmpeg's words when following them ends.
#[derive(Debug)]
pub struct Heard<R> {
    /// The last lines.
    pub tail: Tail,
    /// Where more would come from, when following was to end before the stream did.
    pub more: Option<LineReader<R>>,
}

/// The newest lines, beginning with these.
pub fn tail(lines: impl IntoIterator<Item = String>) -> Tail {
    Tail::resumed(TAIL_LINES, lines)
}

/// Shows every line to `each`, until their stream ends or `hand_over` is cancelled, and logs those of
/// which it says so. A stream that cannot be read any more counts as ended.
pub async fn follow<R: AsyncRead + Unpin>(
    mut lines: LineReader<R>,
    mut tail: Tail,
    speaker: Speaker,
    redactor: Redactor,
    hand_over: CancellationToken,
    mut each: impl FnMut(&Line) -> bool,
) -> Heard<R> {
    let mut limit = RateLimit::new(Instant::now());
    let more = loop {
        let read = tokio::select! {
            biased;
            () = hand_over.cancelled() => break Some(lines),
            read = lines.next_line() => read,
        };
        let Ok(Some(raw)) = read else { break None };
        let line = Line::parse(&redactor.line(&raw));
        let is_news = each(&line);
        if line.level >= Level::Warning {
            tail.push(line.text.clone());
        }
        if !is_news {
            continue;
        }
        let (held_back, wanted) = limit.ask(Instant::now());
        report_held_back(held_back, &speaker);
        if wanted {
            log(&line, &speaker);
        }
    };
    report_held_back(limit.held_back, &speaker);
    Heard { tail, more }
}

/// Writes one line to the log.
pub fn log(line: &Line, speaker: &Speaker) {
    let Speaker { role, subject } = speaker;
    let text = &line.text;
    match line.level {
        Level::Fatal | Level::Error => tracing::error!(role, subject, "[FFMPEG] {text}"),
        Level::Warning => tracing::warn!(role, subject, "[FFMPEG] {text}"),
        Level::Info => tracing::info!(role, subject, "[FFMPEG] {text}"),
        Level::Debug => tracing::debug!(role, subject, "[FFMPEG] {text}"),
    }
}

fn report_held_back(count: u32, Speaker { role, subject }: &Speaker) {
    if count > 0 {
        tracing::warn!(role, subject, "[FFMPEG] … {count} more lines not logged");
    }
}

// === impl RateLimit ===

impl RateLimit {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            logged: 0,
            held_back: 0,
        }
    }

    /// How many lines were held back in a window that is over, and whether this one is logged.
    fn ask(&mut self, now: Instant) -> (u32, bool) {
        let mut over = 0;
        if now.duration_since(self.since) >= RATE_WINDOW {
            over = self.held_back;
            *self = Self::new(now);
        }
        if self.logged < LINES_PER_WINDOW {
            self.logged += 1;
            return (over, true);
        }
        self.held_back += 1;
        (over, false)
    }
}

#[cfg(test)]
mod tests {
    use storage::secret::Secret;

    use super::*;

    #[test]
    fn levels_are_read_before_and_behind_the_speaker() {
        for (raw, level, text) in [
            ("[error] no such file", Level::Error, "no such file"),
            (
                "[mov,mp4,m4a,3gp,3g2,mj2 @ 0x55f] [warning] stream 0, timescale not set",
                Level::Warning,
                "mov,mp4,m4a,3gp,3g2,mj2: stream 0, timescale not set",
            ),
            (
                "[vost#0:0/libx264 @ 0x1] [libx264 @ 0x2] [fatal] broken",
                Level::Fatal,
                "vost#0:0/libx264: broken",
            ),
            ("[not a level] text", Level::Info, "[not a level] text"),
            ("plain", Level::Info, "plain"),
            ("[", Level::Info, "["),
        ] {
            assert_eq!(
                Line::parse(raw),
                Line {
                    level,
                    text: text.to_owned()
                }
            );
        }
    }

    #[test]
    fn a_flood_is_held_back_and_counted() {
        let start = Instant::now();
        let mut limit = RateLimit::new(start);
        let logged = (0..1_000).filter(|_| limit.ask(start).1).count();
        assert_eq!(logged, LINES_PER_WINDOW as usize);
        let (held_back, wanted) = limit.ask(start + RATE_WINDOW);
        assert_eq!(held_back, 1_000 - LINES_PER_WINDOW);
        assert!(wanted);
    }

    #[tokio::test]
    async fn the_tail_and_the_caller_see_redacted_lines_only() {
        let raw: &[u8] = b"[info] hello\n[rtmp @ 0x1] [error] rtmp://h/live/CANARY-KEY failed\n";
        let speaker = Speaker {
            role: "output",
            subject: "main".to_owned(),
        };
        let redactor = Redactor::new([&Secret::new("CANARY-KEY")]);
        let mut seen = Vec::new();
        let lines = LineReader::new(raw);
        let hand_over = CancellationToken::new();
        let each = |line: &Line| {
            seen.push(line.clone());
            true
        };
        let Heard { tail, more } =
            follow(lines, super::tail([]), speaker, redactor, hand_over, each).await;
        assert!(more.is_none());
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[1].level, Level::Error);
        assert_eq!(
            tail.iter().collect::<Vec<_>>(),
            ["rtmp: rtmp://h/live/*** failed"]
        );
    }
}
