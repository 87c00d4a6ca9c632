//! What was found when everything a stream needs was looked at.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One look at everything a stream needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PreflightReport {
    /// When it was made.
    pub at: Timestamp,
    /// The worst of its checks.
    pub outcome: CheckOutcome,
    /// Each thing that was looked at; those that need the network come in a few seconds later.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Check {
    /// What: `ffmpeg`, `RUNTIME_DIR`, `bucket`, `destination youtube`.
    pub name: String,
    /// How it stands.
    pub outcome: CheckOutcome,
    /// What was found; unless all is well also what to do.
    pub message: String,
}

/// How one thing stands; the worst comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// As it should be.
    Ok,
    /// The stream goes on air, though perhaps not as it was meant.
    Warning,
    /// No worker could do anything with it.
    Failed,
}

// === impl PreflightReport ===

impl PreflightReport {
    /// Of `checks` made at `at`.
    pub fn new(at: Timestamp, checks: Vec<Check>) -> Self {
        let outcome = checks.iter().map(|check| check.outcome).max();
        Self {
            at,
            outcome: outcome.unwrap_or(CheckOutcome::Ok),
            checks,
        }
    }

    /// The checks that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        let failed = |check: &&Check| check.outcome == CheckOutcome::Failed;
        self.checks.iter().filter(failed)
    }
}
