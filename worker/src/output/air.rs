//! What one destination has the air journal told: each change, once.

use storage::model::{AirEvent, DarkCause};
use tokio::time::Instant;

use crate::journal::{Journal, Stamp};

/// Tells the journal of one destination.
#[derive(Debug)]
pub(super) struct DeliveryLog {
    journal: Journal,
    destination: String,
    told: Told,
}

/// What the journal knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Delivering,
    Dark(DarkCause, Option<&'static str>),
}

impl DeliveryLog {
    pub(super) fn new(journal: Journal, destination: String) -> Self {
        Self {
            journal,
            destination,
            told: Told::Nothing,
        }
    }

    /// Media is acknowledged since `at`, in the connection of this number.
    pub(super) fn delivering(&mut self, connection: u64, at: Instant) {
        if self.told != Told::Delivering {
            self.told = Told::Delivering;
            let destination = self.destination.clone();
            let event = AirEvent::Delivering {
                destination,
                connection,
            };
            self.journal.note(Stamp::of(at), event);
        }
    }

    /// Nothing was delivered since `at`, or it is dark for another reason from then on.
    pub(super) fn dark(&mut self, cause: DarkCause, error_type: Option<&'static str>, at: Instant) {
        let told = Told::Dark(cause, error_type);
        if self.told != told {
            self.told = told;
            let event = AirEvent::Dark {
                destination: self.destination.clone(),
                cause,
                error_type: error_type.map(str::to_owned),
            };
            self.journal.note(Stamp::of(at), event);
        }
    }
}
