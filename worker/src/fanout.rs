//! Hands every released packet to every output.
//!
//! Owned by playout, which calls it between two wake-ups: nothing here waits. A destination that
//! is slow, dead or being changed has its own task and its own queue, so it delays nobody.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use programme::StreamFormat;
use storage::model::report::PreviewState;
use storage::model::{
    DestinationConfig, DestinationReport, ErrorReport, Job, JobSecrets, RetryConfig,
};
use tokio::sync::watch;

use crate::flv::{Headers, Packet};
use crate::journal::Journal;
use crate::output::sink::FrozenSink;
use crate::output::target::KeyPassing;
use crate::output::{FrozenOutput, Output, Publisher, Told};
use crate::preview::Preview;

/// All outputs of a stream.
#[derive(Debug)]
pub struct Fanout {
    publisher: Arc<Publisher>,
    outputs: Vec<Output>,
    /// Removed from the configuration, closing.
    leaving: Vec<Output>,
    preview: Preview,
    headers: Headers,
    journal: Journal,
    changes: watch::Sender<()>,
}

/// All outputs on their way to the next image of this process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FrozenFanout {
    outputs: Vec<FrozenOutput>,
    headers: Headers,
    passing: KeyPassing,
    /// The preview was being written: it is started again.
    preview: bool,
}

impl FrozenFanout {
    /// The FFmpegs of the destinations that are connected.
    pub fn sinks(&self) -> impl Iterator<Item = &FrozenSink> {
        self.outputs.iter().filter_map(FrozenOutput::sink)
    }
}

impl Fanout {
    /// Goes on with the outputs of an earlier image of this process.
    pub fn resume(
        frozen: FrozenFanout,
        job: &Job,
        secrets: &JobSecrets,
        format: StreamFormat,
        journal: Journal,
    ) -> Self {
        let publisher = Arc::new(Publisher::resumed(job, secrets, format, frozen.passing));
        let changes = watch::Sender::new(());
        let told = Told {
            journal: journal.clone(),
            changes: changes.clone(),
        };
        let resume = |output| Output::resume(output, &publisher, told.clone());
        let mut fanout = Self {
            outputs: frozen.outputs.into_iter().map(resume).collect(),
            preview: Preview::new(job, publisher.metadata()),
            publisher,
            leaving: Vec::new(),
            headers: frozen.headers,
            journal,
            changes,
        };
        if frozen.preview {
            fanout.touch_preview();
        }
        fanout
    }

    /// Whether all outputs can be frozen at once.
    pub fn can_freeze(&self) -> bool {
        self.leaving.iter().all(Output::has_ended) && self.outputs.iter().all(Output::can_freeze)
    }

    /// What the outputs are and hold, without their connections: for a rehearsal.
    pub fn snapshot(&self) -> FrozenFanout {
        self.frozen_with(self.outputs.iter().map(Output::snapshot).collect())
    }

    /// Lets go of every output as it is. The preview is told to end, and not waited for.
    pub async fn freeze(mut self) -> FrozenFanout {
        let outputs = std::mem::take(&mut self.outputs);
        let freezing = outputs.into_iter().map(Output::freeze);
        let outputs = futures_util::future::join_all(freezing).await;
        let frozen = self.frozen_with(outputs);
        self.preview.close();
        frozen
    }

    fn frozen_with(&self, outputs: Vec<FrozenOutput>) -> FrozenFanout {
        FrozenFanout {
            outputs,
            headers: self.headers.clone(),
            passing: self.publisher.passing(),
            preview: self.preview.state() == PreviewState::Running,
        }
    }

    /// Starts the outputs that `job` names, for a stream of `format`; `journal` is told what they
    /// deliver. Asks this FFmpeg once whether it can be given a key outside its arguments, when a
    /// destination has a key at all.
    pub async fn start(
        job: &Job,
        secrets: &JobSecrets,
        format: StreamFormat,
        journal: Journal,
    ) -> Self {
        let publisher = Arc::new(Publisher::new(job, secrets, format).await);
        let mut fanout = Self {
            preview: Preview::new(job, publisher.metadata()),
            publisher,
            outputs: Vec::new(),
            leaving: Vec::new(),
            headers: Headers::default(),
            journal,
            changes: watch::Sender::new(()),
        };
        fanout.reconfigure(&job.config.destinations, job.config.retry);
        fanout
    }

    /// Hands over packets in air time and decode order. A header is in force for the packets after
    /// it; it needs to be sent only when it differs from the one before. Never blocks.
    pub fn send(&mut self, packets: &[Packet]) {
        for output in &self.outputs {
            output.queue().push(packets);
        }
        self.preview.push(packets);
        for packet in packets {
            self.headers.follow(packet);
        }
    }

    /// Says that the next packets follow a join between items: connections that are to be renewed
    /// soon are renewed here, where a viewer loses least.
    pub fn mark_join(&self) {
        for output in &self.outputs {
            output.queue().mark_join();
        }
    }

    /// Goes on with these destinations: new ones are added, missing ones closed, the others are
    /// not touched. A changed `retry` holds from the next failure on.
    pub fn reconfigure(&mut self, destinations: &[DestinationConfig], retry: RetryConfig) {
        self.leaving.retain(|output| !output.has_ended());
        let mut before = std::mem::take(&mut self.outputs);
        let mut kept: Vec<Option<Output>> = Vec::new();
        for wanted in destinations {
            let at = before.iter().position(|output| output.config() == wanted);
            kept.push(at.map(|at| before.swap_remove(at)));
        }
        for output in &before {
            output.close();
        }
        self.leaving.append(&mut before);
        for (wanted, kept) in destinations.iter().zip(kept) {
            let output = kept.unwrap_or_else(|| {
                let predecessors = self.leaving.iter().map(Output::ended).collect();
                Output::start(
                    wanted.clone(),
                    retry,
                    &self.publisher,
                    &self.headers,
                    predecessors,
                    Told {
                        journal: self.journal.clone(),
                        changes: self.changes.clone(),
                    },
                )
            });
            output.set_retry(retry);
            self.outputs.push(output);
        }
        self.changes.send_replace(());
    }

    /// One report per destination, in the configured order.
    pub fn reports(&self) -> Vec<DestinationReport> {
        self.outputs.iter().map(Output::report).collect()
    }

    /// Wakes up when the state of a destination or of the preview changes; the counters in the
    /// reports also change without it.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// The last failure, once there are destinations and every one of them was given up.
    pub fn exhausted(&self) -> Option<ErrorReport> {
        let given_up = |output: &Output| output.given_up();
        let mut failures = Vec::with_capacity(self.outputs.len());
        for output in &self.outputs {
            failures.push(given_up(output)?);
        }
        failures.pop()
    }

    /// Starts the preview, or keeps it for another minute.
    pub fn touch_preview(&mut self) {
        self.preview.touch(&self.headers, self.changes.clone());
    }

    /// Whether the preview is being written.
    pub fn preview(&self) -> PreviewState {
        self.preview.state()
    }

    /// Closes every output: what is queued is not waited for, FFmpeg ends its session properly.
    pub async fn stop(self) {
        let all = self.outputs.into_iter().chain(self.leaving);
        let outputs: Vec<_> = all.map(Output::stop).collect();
        futures_util::future::join(futures_util::future::join_all(outputs), self.preview.stop())
            .await;
    }
}

impl Headers {
    /// As packets, the picture's first.
    pub fn packets(&self) -> impl Iterator<Item = Packet> {
        let video = self.video.iter().cloned().map(Packet::VideoHeader);
        video.chain(self.audio.iter().cloned().map(Packet::AudioHeader))
    }

    /// Takes over what `packet` changes.
    pub fn follow(&mut self, packet: &Packet) {
        match packet {
            Packet::VideoHeader(header) => self.video = Some(header.clone()),
            Packet::AudioHeader(header) => self.audio = Some(header.clone()),
            Packet::Video(_) | Packet::Audio(_) => {}
        }
    }
}
