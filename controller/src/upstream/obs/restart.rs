//! Starting OBS again: at most three times until it was well for ten minutes.

use std::path::Path;
use std::time::Duration;

use supervise::{ExitReason, Group, Output, Spec};
use tokio::time::{Instant, timeout};

const MOST: u32 = 3;
const WELL_AFTER: Duration = Duration::from_mins(10);
/// Between two tries: an OBS that was just started needs a moment until it answers.
const APART: Duration = Duration::from_secs(15);
/// A command that still runs after this is OBS itself, and is left running.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);

/// How often OBS was started again.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    count: u32,
    last: Option<Instant>,
    well_since: Option<Instant>,
}

// === impl Restarts ===

impl Restarts {
    /// Whether it may be started again at `now`, which then counts as done.
    pub(super) fn may(&mut self, now: Instant) -> bool {
        self.well_since = None;
        let too_soon = self.last.is_some_and(|last| now < last + APART);
        if too_soon || self.count >= MOST {
            return false;
        }
        self.count += 1;
        self.last = Some(now);
        if self.count == MOST {
            tracing::error!(
                "OBS is started again for the last time; if that does not help, somebody has to look"
            );
        }
        true
    }

    /// Tells that it works at `now`.
    pub(super) fn well(&mut self, now: Instant) {
        let since = *self.well_since.get_or_insert(now);
        if now >= since + WELL_AFTER {
            self.count = 0;
        }
    }

    /// Since it was last well.
    pub(super) fn count(&self) -> u32 {
        self.count
    }
}

/// Runs the operator's command. It is not given any secret, and outlives the controller.
pub(super) async fn run(program: &Path, arguments: &[String]) {
    tracing::warn!(program = %program.display(), "starting OBS again");
    let mut spec = Spec::new(program)
        .args(arguments)
        .stderr(Output::Null)
        .outlives_parent();
    spec.group = Group::OwnSession;
    // A desktop program finds its screen and its session's bus by these.
    for name in [
        "DISPLAY",
        "WAYLAND_DISPLAY",
        "XDG_RUNTIME_DIR",
        "DBUS_SESSION_BUS_ADDRESS",
    ] {
        if let Some(value) = std::env::var_os(name) {
            spec = spec.env(name, value);
        }
    }
    match supervise::spawn(spec) {
        Err(error) => tracing::error!(%error, "OBS_RESTART_COMMAND cannot be run"),
        Ok(mut child) => {
            let ended = timeout(COMMAND_LIMIT, child.wait()).await;
            if let Ok(exit) = ended
                && exit != ExitReason::Code(0)
            {
                tracing::error!(?exit, "OBS_RESTART_COMMAND failed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_times_until_it_was_well_for_ten_minutes() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut restarts = Restarts::default();
        assert!(restarts.may(at(0)));
        assert!(!restarts.may(at(5)), "it needs a moment");
        assert!(restarts.may(at(20)));
        assert!(restarts.may(at(40)));
        assert!(!restarts.may(at(60)), "three are enough");
        for second in 60..60 + 599 {
            restarts.well(at(second));
        }
        assert!(!restarts.may(at(700)));
        for second in 700..=1300 {
            restarts.well(at(second));
        }
        assert!(restarts.may(at(1301)), "it was well");
    }
}
