//! A sink is a process that reads FLV and publishes it.

use storage::model::{Job, JobSecrets};

/// What every sink of a stream is made with.
#[derive(Debug)]
pub struct Publisher {}

impl Publisher {
    /// For the destinations of `job`.
    pub async fn new(_job: &Job, _secrets: &JobSecrets) -> Self {
        Self {}
    }
}
