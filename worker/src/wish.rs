//! The worker's own end when it is wanted no more and nobody is there to end it.
//!
//! A worker outlives its controller and goes on for as long as the state file wants it to. When
//! nobody has asked anything at its control socket for [`LONELY`], it looks there itself, every
//! [`LOOK_EVERY`]: a stream that is stopped or removed, or that a later worker was started for, and
//! still is at the next look, ends it. So it is gone within 75 s, stopping included. A file that is
//! not there, damaged or unreadable wishes nothing, and the stream goes on.

use std::path::PathBuf;
use std::time::Duration;

use storage::document::{self, DocumentError, Opened};
use storage::model::{DesiredState, Job, StreamId, StreamStateFile};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// A controller asks every 5 s.
const LONELY: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_secs(25);
/// One look may have met a controller in the middle of a change.
const LOOKS: u32 = 2;

/// When someone last asked at the control socket; clones are the same.
#[derive(Debug, Clone)]
pub struct Contact(watch::Sender<Instant>);

/// Where the wish for this worker is written.
#[derive(Debug, Clone)]
pub struct Wish {
    state_file: PathBuf,
    stream_id: StreamId,
    generation: u64,
}

/// Why a worker is not wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unwanted {
    Stopped,
    Removed,
    Replaced,
}

// === impl Contact ===

impl Contact {
    /// A contact now.
    pub fn new() -> Self {
        Self(watch::Sender::new(Instant::now()))
    }

    /// Notes another one.
    pub fn note(&self) {
        self.0.send_replace(Instant::now());
    }

    fn last(&self) -> Instant {
        *self.0.borrow()
    }
}

impl Default for Contact {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Wish ===

impl Wish {
    /// The wish for the worker of `job`.
    pub fn of(job: &Job) -> Self {
        Self {
            state_file: job.layout().state_file(),
            stream_id: job.stream_id.clone(),
            generation: job.generation,
        }
    }

    /// Returns when the worker is to end although nobody says so to it.
    pub async fn gone(self, contact: Contact) {
        let mut looks = 0;
        while looks < LOOKS {
            let lonely_at = contact.last() + LONELY;
            if Instant::now() < lonely_at {
                looks = 0;
                sleep_until(lonely_at).await;
                continue;
            }
            let why = self.look().await;
            looks = if why.is_some() { looks + 1 } else { 0 };
            match why {
                Some(why) if looks == LOOKS => {
                    tracing::warn!(
                        ?why,
                        "nobody looks after this worker and it is not wanted any more: stopping"
                    );
                }
                _ => sleep(LOOK_EVERY).await,
            }
        }
    }

    async fn look(&self) -> Option<Unwanted> {
        let path = self.state_file.clone();
        let opened = tokio::task::spawn_blocking(move || document::read(&path))
            .await
            .expect("reading a document does not panic");
        self.verdict(opened)
    }

    fn verdict(&self, opened: Result<Opened<StreamStateFile>, DocumentError>) -> Option<Unwanted> {
        let Ok(Opened::Loaded { value, .. }) = opened else {
            return None;
        };
        match value.streams.get(&self.stream_id) {
            None => Some(Unwanted::Removed),
            Some(record) if record.desired == DesiredState::Stopped => Some(Unwanted::Stopped),
            Some(record) if record.generation > self.generation => Some(Unwanted::Replaced),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use storage::document::Document;
    use tokio::time::timeout;

    use super::*;

    const MINUTES: Duration = Duration::from_mins(10);

    fn wish(dir: &Path) -> Wish {
        Wish {
            state_file: dir.join("stream_state.json"),
            stream_id: "main".parse().unwrap(),
            generation: 4,
        }
    }

    fn write(dir: &Path, streams: &str) {
        let text = format!(r#"{{"version": 1, "streams": {{{streams}}}}}"#);
        let state: StreamStateFile = serde_json::from_str(&text).unwrap();
        let (mut document, _) = Document::open(dir.join("stream_state.json")).unwrap();
        document.save(&state).unwrap();
    }

    fn record(id: &str, desired: &str, generation: u64) -> String {
        format!(
            r#""{id}": {{"desired": "{desired}", "observed": "running", "generation": {generation},
                "since": "2026-01-01T00:00:00Z", "restarts": 0}}"#
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_that_is_gone_twice_ends_the_worker_within_a_minute() {
        let dir = tempfile::tempdir().unwrap();
        let others = record("other", "running", 1);
        for unwanted in [
            record("main", "stopped", 4),
            record("main", "running", 5),
            others,
        ] {
            write(dir.path(), &unwanted);
            let begun = Instant::now();
            wish(dir.path()).gone(Contact::new()).await;
            let took = begun.elapsed();
            assert!(took > LONELY && took < Duration::from_secs(60), "{took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wanted_worker_and_one_nothing_is_known_of_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let goes_on = async || {
            let gone = wish(dir.path()).gone(Contact::new());
            timeout(MINUTES, gone).await.is_err()
        };
        assert!(goes_on().await, "no file");
        write(dir.path(), &record("main", "running", 4));
        assert!(goes_on().await, "wanted");
        write(dir.path(), &record("main", "stopped", 4));
        storage::atomic::write(&dir.path().join("stream_state.json"), b"{\"torn").unwrap();
        assert!(goes_on().await, "damaged");
    }

    #[tokio::test(start_paused = true)]
    async fn as_long_as_somebody_asks_the_file_does_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &record("main", "stopped", 4));
        let contact = Contact::new();
        let asked = contact.clone();
        let asking = async move {
            for _ in 0..24 {
                sleep(Duration::from_secs(25)).await;
                asked.note();
            }
            Instant::now()
        };
        let (last, ()) = tokio::join!(asking, wish(dir.path()).gone(contact));
        assert!(Instant::now() - last > LONELY);
    }
}
