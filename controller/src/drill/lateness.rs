//! How late the machine is: a timer that should fire every 20 ms, a program that should be started in a
//! tenth of a second, and when they did; and how long each thread of the drill waited for a processor. The timer
//! may be punctual while the thread that has just been told what has arrived is not.
//!
//! A drill may run beside other work. Without this a busy processor would look like a hole in the
//! picture; with it the limits give way by as much as the drill itself was held up.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use supervise::{CaptureLimits, Spec, capture};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

const TICK: Duration = Duration::from_millis(20);
/// Less is what every machine does now and then.
const WORTH_NOTING: Duration = Duration::from_millis(50);
/// How often the threads are asked.
const ASK_EVERY: Duration = Duration::from_millis(100);
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
    _threads: AbortOnDropHandle<()>,
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
            _threads: AbortOnDropHandle::new(tokio::spawn(threads(Arc::clone(&noted)))),
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
        self.note_late(due, due.elapsed());
    }

    fn note_late(&self, due: Instant, late: Duration) {
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

/// Each thread's own account of what it waited; nothing where the kernel keeps none.
async fn threads(notes: Arc<Notes>) {
    let mut before = waited();
    loop {
        let asked = Instant::now();
        sleep(ASK_EVERY).await;
        let now = waited();
        for (thread, total) in &now {
            let known = before.get(thread).copied().unwrap_or(*total);
            let late = total.saturating_sub(known);
            // A long wait is told when it is over, and began before it was asked last.
            notes.note_late(Instant::now().checked_sub(late).unwrap_or(asked), late);
        }
        before = now;
    }
}

/// For how long each thread of this process has waited for a processor, by its name below `/proc`.
fn waited() -> HashMap<PathBuf, Duration> {
    let threads = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let of_each = threads.filter_map(|thread| {
        let path = thread.path();
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        Some((path, wait_of(&text)?))
    });
    of_each.collect()
}

/// The second number of `schedstat`, in nanoseconds.
fn wait_of(schedstat: &str) -> Option<Duration> {
    let nanoseconds = schedstat.split_whitespace().nth(1)?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_waited_is_its_own_account() {
        assert_eq!(
            wait_of("262089 225214 2\n"),
            Some(Duration::from_nanos(225_214))
        );
        assert_eq!(wait_of(""), None);
        // Where the kernel keeps accounts, this thread has one.
        let kept = fs::read_to_string("/proc/self/schedstat").is_ok();
        assert_eq!(!waited().is_empty(), kept);
    }
}
