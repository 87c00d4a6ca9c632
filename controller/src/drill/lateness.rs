//! How late the machine is: a timer that should fire every 20 ms, and when it did.
//!
//! A drill may run beside other work. Without this a busy processor would look like a hole in the
//! picture; with it the limits give way by as much as the drill itself was held up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

const TICK: Duration = Duration::from_millis(20);
/// Less is what every machine does now and then.
const WORTH_NOTING: Duration = Duration::from_millis(50);

/// Watches the timer until it is dropped.
#[derive(Debug)]
pub struct Lateness {
    noted: Arc<Mutex<Vec<(Instant, Duration)>>>,
    _task: AbortOnDropHandle<()>,
}

// === impl Lateness ===

impl Lateness {
    /// From now on.
    pub fn watch() -> Self {
        let noted = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&noted);
        let task = tokio::spawn(async move {
            loop {
                let due = Instant::now() + TICK;
                sleep(TICK).await;
                let late = due.elapsed();
                if late > WORTH_NOTING {
                    let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
                    notes.push((due, late));
                }
            }
        });
        Self {
            noted,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// The latest it was since then.
    pub fn since(&self, begin: Instant) -> Duration {
        let notes = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let within = notes.iter().filter(|(due, _)| *due >= begin);
        within.map(|(_, late)| *late).max().unwrap_or_default()
    }
}
