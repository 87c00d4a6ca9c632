//! What yields packets: files through FFmpeg, and the slate from memory.
//!
//! ```text
//!  open ─► probe (kept) ─► fit ─► FFmpeg ─► reader ─► SourceQueue ─► playout
//!            │ not media    │ unplayable     │ end          │
//!            └──────────────┴────────────────┴─► SourceEnd ─┘
//! ```
//!
//! - [`mod@file`]: one item of the programme; one task each.
//! - [`live`]: feeds that are pulled or pushed.
//! - [`slate`]: the loop that cannot fail.
//! - [`queue`]: what a reader has in hand.
//! - [`cache`]: results kept over a restart.
//! - `fault`: why a file could not be played.

pub mod cache;
mod fault;
pub mod file;
pub mod live;
pub mod queue;
pub mod slate;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use programme::fit::{ProbeError, parse_ffprobe};
use programme::{ListedObject, MediaInfo};
use storage::layout::Layout;
use storage::media::MediaStore;
use storage::media::cache::fetch::Fetcher;
use storage::media::reach::Reach;
use storage::media::server::{MediaServer, Ticket};
use storage::model::ErrorReport;
use tokio::time::timeout;

use self::cache::Cache;
use crate::ffmpeg::probe;
use crate::ffmpeg::redact::Redactor;
use crate::ffmpeg::run::{self, Line, Speaker};

pub use fault::Unread;
pub use file::FileSource;
pub use queue::{Head, HeadKind, QueueBounds, SourceEnd, SourceQueue, Tracks};
pub use slate::{Slate, SlateSource};

/// A worker that starts waits no longer for what it can do without.
const STAT_LIMIT: Duration = Duration::from_millis(1_500);
/// Probes kept; each is under a kilobyte.
const MAX_PROBES: usize = 5_000;
/// Slates kept: one per picture and format, and the silence of each.
const MAX_SLATES: usize = 16;

/// What every source needs to be opened.
#[derive(Debug)]
pub struct SourceContext {
    ffmpeg: PathBuf,
    ffprobe: PathBuf,
    store: MediaStore,
    server: MediaServer,
    probes: Cache,
    slates: Cache,
    redactor: Redactor,
    /// Files whose probe's lines stand in the log.
    told: Mutex<BTreeSet<String>>,
}

// === impl SourceContext ===

impl SourceContext {
    /// `server` serves `store`; `redactor` knows the secrets of this worker.
    pub fn new(
        programs: Programs,
        store: MediaStore,
        server: MediaServer,
        layout: &Layout,
        redactor: Redactor,
    ) -> Arc<Self> {
        Arc::new(Self {
            ffmpeg: programs.ffmpeg,
            ffprobe: programs.ffprobe,
            store,
            server,
            probes: Cache::new(layout.probes_dir(), MAX_PROBES),
            slates: Cache::new(layout.slates_dir(), MAX_SLATES),
            redactor,
            told: Mutex::default(),
        })
    }

    /// What `object` is. Asked once per version, then known.
    ///
    /// # Errors
    /// When it cannot be read or is no media.
    pub async fn probe(&self, object: &ListedObject) -> Result<MediaInfo, Unread> {
        let of = format!("probe 1 {:?} {:?}", object.version, object.key);
        if let Some(kept) = self.probes.get(&of).await
            && let Ok(info) = serde_json::from_slice(&kept)
        {
            return Ok(info);
        }
        let info = self.probe_now(object, &of).await?;
        if let Ok(json) = serde_json::to_vec(&info) {
            self.probes.put(&of, &json).await;
        }
        Ok(info)
    }

    async fn probe_now(&self, object: &ListedObject, of: &str) -> Result<MediaInfo, Unread> {
        let key = &object.key;
        let ticket = self.ticket_for(object)?;
        let spec = probe::spec(&self.ffprobe, ticket.url());
        let captured = match supervise::capture(spec, probe::LIMITS).await {
            Ok(captured) => captured,
            Err(error) => {
                let told = fault::interruption(self.reach(), key, &ticket.origin()).await;
                let bad = || Unread::Bad(fault::not_probed(key, &error));
                return Err(told.map_or_else(bad, Unread::Interrupted));
            }
        };
        match parse_ffprobe(&captured.stdout) {
            Ok(info) => Ok(info),
            Err(ProbeError::NotMedia | ProbeError::NotJson(_)) => {
                let lines = self.lines(&captured.stderr);
                if self.is_news(of) {
                    log_lines(&lines, "probe", key);
                }
                let lines = lines.iter().map(|line| line.text.as_str());
                Err(fault::unreadable(self.reach(), key, &ticket.origin(), lines).await)
            }
        }
    }

    /// Where media comes from.
    pub fn store(&self) -> &MediaStore {
        &self.store
    }

    /// Another handle of the socket that programs read through.
    ///
    /// # Errors
    /// When the process has too many descriptors.
    pub fn media_socket(&self) -> std::io::Result<std::net::TcpListener> {
        self.server.socket()
    }

    /// Permission to read `key`, for a program of this machine.
    fn ticket(&self, key: &str) -> Result<Ticket, ErrorReport> {
        self.server
            .ticket(key)
            .map_err(|error| fault::no_ticket(key, &error))
    }

    /// The same for the version that was listed, which may come from the cache.
    fn ticket_for(&self, object: &ListedObject) -> Result<Ticket, ErrorReport> {
        self.server
            .ticket_for(object)
            .map_err(|error| fault::no_ticket(&object.key, &error))
    }

    /// The program.
    pub fn ffmpeg(&self) -> &Path {
        &self.ffmpeg
    }

    /// What its lines may not show.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Whether the media store can be read from.
    pub fn reach(&self) -> &Reach {
        self.server.reach()
    }

    /// Keeps objects for when it cannot; `None` when nothing is kept.
    pub fn fetcher(&self) -> Option<&Fetcher> {
        self.server.fetcher()
    }

    /// Whether the object lies whole in the cache.
    pub fn is_kept(&self, object: &ListedObject) -> bool {
        self.fetcher()
            .is_some_and(|fetcher| fetcher.cache().has(object))
    }

    /// Whether the object can be read now, as far as is known.
    pub fn can_be_had(&self, object: &ListedObject) -> bool {
        !self.reach().is_away() || self.is_kept(object)
    }

    /// The lines of a program that has ended, redacted.
    fn lines(&self, stderr: &[u8]) -> Vec<Line> {
        let text = String::from_utf8_lossy(stderr);
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines
            .map(|line| Line::parse(&self.redactor.line(line)))
            .collect()
    }

    /// What `key` is; where the store does not say, what it was when it last did.
    async fn stat(&self, key: &str) -> Result<ListedObject, ErrorReport> {
        let of = format!("object 1 {key:?}");
        let error = match timeout(STAT_LIMIT, Box::pin(self.store.stat(key))).await {
            Ok(Ok(object)) => {
                let listed = object.to_listed();
                if let Ok(json) = serde_json::to_vec(&listed) {
                    self.probes.put(&of, &json).await;
                }
                return Ok(listed);
            }
            Ok(Err(error)) if error.blames_object() => return Err(error.report()),
            Ok(Err(error)) => error.report(),
            Err(_) => fault::no_answer(key),
        };
        self.reach().doubt(Some(key));
        let kept = self.probes.get(&of).await;
        let kept = kept.and_then(|json| serde_json::from_slice(&json).ok());
        kept.ok_or(error)
    }

    /// Whether nothing was said of this version before: what is wrong with a file is wrong in every
    /// round.
    fn is_news(&self, of: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MAX_PROBES {
            told.clear();
        }
        told.insert(of.to_owned())
    }
}

/// Logs the last lines of a program that has ended.
fn log_lines(lines: &[Line], role: &'static str, subject: &str) {
    let speaker = Speaker {
        role,
        subject: subject.to_owned(),
    };
    let first = lines.len().saturating_sub(run::LINES_PER_WINDOW as usize);
    for line in &lines[first..] {
        run::log(line, &speaker);
    }
}

/// The programs that are run.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `FFMPEG_BIN`.
    pub ffmpeg: PathBuf,
    /// `FFPROBE_BIN`.
    pub ffprobe: PathBuf,
}
