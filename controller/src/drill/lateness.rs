//! How late the machine is: a timer that should fire every 20 ms, a program that should be started in a
//! tenth of a second, and when they did.
//!
//! A drill may run beside other work. Without this a busy processor would look like a hole in the
//! picture; with it the limits give way by as much as the drill itself was held up.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use supervise::{CaptureLimits, Spec, capture};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

const TICK: Duration = Duration::from_millis(20);
/// Less is what every machine does now and then.
const WORTH_NOTING: Duration = Duration::from_millis(50);
/// How often a program is started.
const START_EVERY: Duration = Duration::from_secs(2);
/// An FFmpeg that only says what it is takes this long where nothing else is to be done.
const START_TAKES: Duration = Duration::from_millis(100);
const START_LIMITS: CaptureLimits = CaptureLimits {
    timeout: Duration::from_secs(10),
    max_bytes: 1 << 20,
};

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Lateness {
    noted: Arc<Notes>,
    _timer: AbortOnDropHandle<()>,
    _starts: AbortOnDropHandle<()>,
}

/// When something was due, and how late it was.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<(Instant, Duration)>>);

// === impl Lateness ===

impl Lateness {
    /// From now on.
    pub fn watch(ffmpeg: &Path) -> Self {
        let noted = Arc::new(Notes::default());
        Self {
            _timer: AbortOnDropHandle::new(tokio::spawn(timer(Arc::clone(&noted)))),
            _starts: AbortOnDropHandle::new(tokio::spawn(starts(
                ffmpeg.to_owned(),
                Arc::clone(&noted),
            ))),
            noted,
        }
    }

    /// The latest it was since then.
    pub fn since(&self, begin: Instant) -> Duration {
        self.between(begin, Instant::now())
    }

    /// The latest it was of what was due or came in that time.
    pub fn between(&self, begin: Instant, end: Instant) -> Duration {
        let notes = self.noted.0.lock().unwrap_or_else(PoisonError::into_inner);
        let within = notes
            .iter()
            .filter(|(due, late)| *due + *late >= begin && *due <= end);
        within.map(|(_, late)| *late).max().unwrap_or_default()
    }
}

// === impl Notes ===

impl Notes {
    fn note(&self, due: Instant) {
        let late = due.elapsed();
        if late > WORTH_NOTING {
            let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            notes.push((due, late));
        }
    }
}

async fn timer(notes: Arc<Notes>) {
    loop {
        let due = Instant::now() + TICK;
        sleep(TICK).await;
        notes.note(due);
    }
}

async fn starts(ffmpeg: PathBuf, notes: Arc<Notes>) {
    loop {
        let due = Instant::now() + START_TAKES;
        let spec = Spec::new(&ffmpeg).arg("-version");
        // One that cannot be started is none that is late; the drill fails without this saying so.
        if capture(spec, START_LIMITS).await.is_ok() {
            notes.note(due);
        }
        sleep(START_EVERY).await;
    }
}
