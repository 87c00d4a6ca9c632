//! What goes to a destination, what is on air, and when one such thing still is the same.

use serde::{Deserialize, Serialize};
use storage::model::DarkCause;
use storage::model::report::OnAirKind;

/// What goes to a destination, wanted or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Link {
    Up { connection: u64 },
    Down(Why),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Why {
    pub(super) cause: DarkCause,
    pub(super) error_type: Option<String>,
}

/// What is on air.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Source {
    pub(super) kind: OnAirKind,
    pub(super) item: Option<String>,
    pub(super) cause: Option<DarkCause>,
}

// === impl Link, Why, Source ===

impl Link {
    /// Whether an open interval lasts; it learns a better cause then.
    pub(super) fn goes_on_with(&mut self, next: &Self) -> bool {
        match (self, next) {
            (Self::Up { connection }, Self::Up { connection: other }) => connection == other,
            (Self::Down(why), Self::Down(next)) => {
                if why.cause.is_vague() && !next.cause.is_vague() && !next.cause.is_planned() {
                    *why = next.clone();
                    return true;
                }
                next.cause.is_vague() || why.cause.is_planned() == next.cause.is_planned()
            }
            _ => false,
        }
    }
}

impl Why {
    pub(super) fn of(cause: DarkCause, error_type: Option<&str>) -> Self {
        Self {
            cause,
            error_type: error_type.map(str::to_owned),
        }
    }
}

impl Source {
    pub(super) fn goes_on_with(&mut self, next: &Self) -> bool {
        if self.kind != next.kind || self.item != next.item {
            return false;
        }
        let (Some(cause), Some(other)) = (self.cause, next.cause) else {
            return self.cause == next.cause;
        };
        if cause.is_vague() && !other.is_vague() && !other.is_planned() {
            self.cause = next.cause;
            return true;
        }
        other.is_vague() || cause.is_planned() == other.is_planned()
    }
}
