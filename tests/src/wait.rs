//! Waiting for a state instead of sleeping.

use std::time::{Duration, Instant};

/// How often a state is looked at.
const POLL: Duration = Duration::from_millis(10);

/// Polls `probe` until it gives something; panics with `what` after `limit`.
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    within(limit, &mut probe).unwrap_or_else(|| panic!("{what}: not within {limit:?}"))
}

/// Polls `probe` until it gives something; `None` after `limit`.
pub fn within<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(POLL);
    }
}

/// Lets real time pass because the test is about what happens, or does not, during it.
pub fn observe(span: Duration) {
    std::thread::sleep(span);
}
