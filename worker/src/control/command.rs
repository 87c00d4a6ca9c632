//! What the control socket asks of playout, and what it may read.

use std::path::PathBuf;
use std::sync::Arc;

use storage::model::{StreamConfig, WorkerReport};
use tokio::sync::{mpsc, oneshot, watch};

use crate::handover::Upgrader;
use crate::playout::Rehearsal;

/// The control socket's two ends into playout: the report it shows, the commands it passes on.
#[derive(Debug, Clone)]
pub struct ControlPort {
    /// Published by playout on every change and every second.
    pub report: watch::Receiver<WorkerReport>,
    /// Read by playout.
    pub commands: mpsc::Sender<Command>,
    /// Replaces this process's program.
    pub upgrader: Arc<Upgrader>,
}

/// What an operator can ask of a running stream.
#[derive(Debug)]
pub enum Command {
    /// Cut to the next item.
    Skip(oneshot::Sender<Result<(), NothingToSkip>>),
    /// Change what is wanted on air.
    Take(Take, oneshot::Sender<Result<(), NoLiveInput>>),
    /// Have a live input tried now.
    Look(String, oneshot::Sender<Result<(), NoLiveInput>>),
    /// End whoever publishes with the ingest key of this id.
    EndPublisher(String),
    /// Keep the preview alive.
    Preview,
    /// Go on with another configuration, touching only what changed.
    Reconfigure(
        Box<StreamConfig>,
        oneshot::Sender<Result<(), FormatChanged>>,
    ),
    /// Show what would be handed over to another program now.
    Rehearse(oneshot::Sender<Rehearsal>),
    /// Become this program, as soon as every output can be handed over.
    HandOver(PathBuf),
    /// End the stream.
    Stop,
}

/// What can be wanted on air.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(tag = "take", rename_all = "snake_case")]
pub enum Take {
    /// The programme.
    Programme,
    /// The slate, until something else is taken.
    Slate,
    /// The *going live soon* card, until something else is taken.
    Card,
    /// A live input.
    Live {
        /// Which; the first that is ready when absent.
        #[serde(default)]
        input: Option<String>,
    },
}

/// Answer to the take of a live input that is not configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such live input")]
pub struct NoLiveInput;

/// Answer to a skip while no programme item is on air or coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nothing to skip: no item of the programme is on air")]
pub struct NothingToSkip;

/// Answer to a configuration whose format or slate differs from the one on air.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the format or the slate changed: platforms tie them to a connection, restart the stream")]
pub struct FormatChanged;
