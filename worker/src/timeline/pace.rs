//! When what is due goes out: air time pinned to the monotonic clock. Pure; reads no clock.

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::Instant;

/// More than this behind, air time is pinned anew instead of hurried after.
const HELD_UP: Duration = Duration::from_secs(1);

/// Releases air time in steps: everything due within one step goes out on one wake-up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pacer {
    step: Duration,
    pin: Option<Pin>,
}

/// At this instant it is this air time.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Pin {
    #[serde(with = "crate::handover::instant")]
    at: Instant,
    air_ms: i64,
    /// The wake-up last asked for.
    #[serde(with = "crate::handover::instant::option")]
    awaited: Option<Instant>,
}

// === impl Pacer ===

impl Pacer {
    /// A pacer that is not running yet.
    pub fn new(step: Duration) -> Self {
        Self { step, pin: None }
    }

    /// From now on air time runs, and is `air_ms` now.
    pub fn start(&mut self, now: Instant, air_ms: i64) {
        self.pin = Some(Pin {
            at: now,
            air_ms,
            awaited: None,
        });
    }

    /// What has an air time up to this may go out now; `None` before [`start`](Self::start). It
    /// moves in whole steps.
    pub fn due_until(&self, now: Instant) -> Option<i64> {
        let pin = self.pin?;
        let step_ms = ms(self.step).max(1);
        let elapsed_ms = ms(now.saturating_duration_since(pin.at));
        Some(pin.air_ms + elapsed_ms / step_ms * step_ms)
    }

    /// When what has this air time may go out, and everything else of its step; `None` before
    /// [`start`](Self::start).
    pub fn next_wakeup(&mut self, air_ms: i64) -> Option<Instant> {
        let step_ms = ms(self.step).max(1);
        let pin = self.pin.as_mut()?;
        let ahead_ms = u64::try_from(air_ms - pin.air_ms).unwrap_or(0);
        let steps = ahead_ms.div_ceil(step_ms as u64);
        let wakeup = pin.at + Duration::from_millis(steps * step_ms as u64);
        pin.awaited = Some(wakeup);
        Some(wakeup)
    }

    /// Everything is due so much later from now on: a live feed whose clock is slower than ours has
    /// used up what was in hand.
    pub fn slip(&mut self, by: Duration) {
        if let Some(pin) = &mut self.pin {
            pin.at += by;
            pin.awaited = None;
        }
    }

    /// If the wake-up last asked for is more than a second ago (a stopped process, a starved
    /// machine), moves the pin so that it is due just now, and says how late it was: nothing is
    /// sent faster than real time to catch up.
    pub fn held_up(&mut self, now: Instant) -> Option<Duration> {
        let pin = self.pin.as_mut()?;
        let late = now.saturating_duration_since(pin.awaited?);
        if late <= HELD_UP {
            return None;
        }
        pin.at += late;
        pin.awaited = Some(now);
        Some(late)
    }
}

fn ms(duration: Duration) -> i64 {
    // 292 million years fit.
    duration.as_millis() as i64
}
