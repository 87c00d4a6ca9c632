//! States of the live inputs as they were told: to the status each, to the journal those the record
//! needs.

use jiff::Timestamp;
use storage::model::{LiveInputConfig, LiveInputState};

use crate::journal::Stamp;
use crate::playout::on_air_log::OnAirLog;

/// What was told of each input last.
#[derive(Debug, Default)]
pub(super) struct Told(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    config: LiveInputConfig,
    state: LiveInputState,
    since: Timestamp,
}

// === impl Told ===

impl Told {
    /// The input is in this state, since `at` if that is news.
    pub(super) fn tell(
        &mut self,
        config: &LiveInputConfig,
        state: LiveInputState,
        at: Stamp,
        log: &OnAirLog,
    ) {
        let before = self
            .0
            .iter_mut()
            .find(|entry| entry.config.name == config.name);
        let was = before.as_ref().map(|entry| entry.state);
        if was == Some(state) {
            return;
        }
        // A server that is down is tried every few seconds for ever: that is no news of the air.
        if was.is_none_or(|was| is_usable(was) || is_usable(state)) {
            log.live_input(at, config, state);
        }
        let entry = Entry {
            config: config.clone(),
            state,
            since: Timestamp::now(),
        };
        match before {
            Some(before) => *before = entry,
            None => self.0.push(entry),
        }
    }

    /// Only these inputs are configured; nothing more comes of the others.
    pub(super) fn forget_others(&mut self, is_configured: impl Fn(&str) -> bool, log: &OnAirLog) {
        self.0.retain(|entry| {
            let stays = is_configured(&entry.config.name);
            if !stays && is_usable(entry.state) {
                log.live_input(Stamp::now(), &entry.config, LiveInputState::Waiting);
            }
            stays
        });
    }

    /// The state of this input, and since when.
    pub(super) fn of(&self, name: &str) -> (LiveInputState, Timestamp) {
        let entry = self.0.iter().find(|entry| entry.config.name == name);
        entry.map_or((LiveInputState::Waiting, Timestamp::now()), |entry| {
            (entry.state, entry.since)
        })
    }
}

fn is_usable(state: LiveInputState) -> bool {
    state == LiveInputState::Ready
}
