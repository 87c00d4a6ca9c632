//! What a look at the bucket brought, in the log.

use storage::model::ErrorReport;

use super::not_there;

/// What a look brought that the operator should read, once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Note {
    /// Nothing that was not known.
    Nothing,
    /// The number of playable items is new.
    Items {
        /// How many there are.
        count: usize,
        /// Keys that are named but not there, when those are new.
        missing: Vec<String>,
    },
    /// Nothing can be played, for a reason that is new.
    Trouble(ErrorReport),
}

// === impl Note ===

impl Note {
    /// Writes it to the log.
    pub fn log(&self) {
        match self {
            Self::Nothing => {}
            Self::Items { count, missing } => {
                tracing::info!(items = count, "programme listed");
                for key in missing {
                    let error = not_there(key);
                    let error_type = &error.error_type;
                    tracing::warn!(key, error_type, hint = error.hint, "{}", error.message);
                }
            }
            Self::Trouble(error) => tracing::error!(
                error_type = error.error_type,
                // Told when it is new; the tries that follow are silent.
                retry_count = 0,
                will_retry = true,
                hint = error.hint,
                "nothing to play: {}",
                error.message
            ),
        }
    }
}
