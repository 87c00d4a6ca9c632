//! The HLS preview: an output that exists while someone watches.

use storage::model::Job;
use storage::model::report::PreviewState;
use tokio::sync::watch;

use crate::fanout::Headers;
use crate::flv::{Metadata, Packet};

/// The preview of one stream.
#[derive(Debug)]
pub struct Preview {}

impl Preview {
    /// An idle one.
    pub fn new(_job: &Job, _metadata: Metadata) -> Self {
        Self {}
    }

    /// Hands over packets; does nothing while idle.
    pub fn push(&mut self, _packets: &[Packet]) {}

    /// Starts it, or keeps it for another minute.
    pub fn touch(&mut self, _headers: &Headers, _changes: watch::Sender<()>) {}

    /// Whether it is being written.
    pub fn state(&self) -> PreviewState {
        PreviewState::Idle
    }

    /// Ends it.
    pub async fn stop(self) {}
}
