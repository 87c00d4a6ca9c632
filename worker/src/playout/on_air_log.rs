//! What playout has the air journal told: each change of what viewers see, once.

use storage::model::report::OnAirKind;
use storage::model::{AirEvent, DarkCause, LiveInputConfig, LiveInputState, OnAir};

use crate::journal::{Journal, Stamp};

/// Tells the journal what is on air.
#[derive(Debug)]
pub(super) struct OnAirLog {
    journal: Journal,
    told: Option<(OnAirKind, Option<String>, Option<DarkCause>)>,
}

impl OnAirLog {
    pub(super) fn new(journal: Journal) -> Self {
        Self {
            journal,
            told: None,
        }
    }

    /// This is on air; `cause` is why it is the slate, if it is.
    pub(super) fn note(&mut self, on_air: &OnAir, cause: Option<DarkCause>) {
        let now = (on_air.kind, on_air.item.clone(), cause);
        if self.told.as_ref() == Some(&now) {
            return;
        }
        self.told = Some(now.clone());
        let (source, item, cause) = now;
        let event = AirEvent::OnAir {
            source,
            item,
            cause,
        };
        self.journal.note(Stamp::now(), event);
    }

    /// See [`Journal::live_input`].
    pub(super) fn live_input(&self, at: Stamp, input: &LiveInputConfig, state: LiveInputState) {
        self.journal.live_input(at, input, state);
    }
}
