//! `workers list|stop`: the workers that are on air, without asking a controller.

use std::os::unix::fs::MetadataExt;

use anyhow::{Context, bail};
use clap::Subcommand;
use futures_util::future::join_all;
use jiff::Timestamp;
use storage::document::{Document, Opened};
use storage::layout::Layout;
use storage::lock::DirLock;
use storage::model::{DesiredState, ObservedState, StreamId, StreamStateFile};

use super::say;
use crate::stream::Survivor;

/// What to do with workers.
#[derive(Debug, Clone, Subcommand)]
pub enum WorkersCommand {
    /// List the workers there are: stream, process, what is on air.
    List,
    /// Take streams off air while no controller runs, and note that they are not wanted; the next
    /// controller does not start them, unless they have `autostart`.
    Stop {
        /// Only this one.
        #[arg(long, value_name = "ID")]
        stream: Option<StreamId>,
    },
}

/// Does it.
///
/// # Errors
/// In words for the operator, with what to do.
pub async fn run(layout: &Layout, command: WorkersCommand) -> anyhow::Result<()> {
    check_owner(layout)?;
    match command {
        WorkersCommand::List => {
            list(layout).await;
            Ok(())
        }
        WorkersCommand::Stop { stream } => stop(layout, stream.as_ref()).await,
    }
}

/// Other users' processes are not seen, and files written here would not be theirs.
fn check_owner(layout: &Layout) -> anyhow::Result<()> {
    let dir = &layout.state_dir;
    let owner = std::fs::metadata(dir)
        .with_context(|| format!("cannot look at {} (STATE_DIR)", dir.display()))?
        .uid();
    if owner != nix::unistd::geteuid().as_raw() {
        bail!(
            "{} belongs to another user: run this as user {owner} (runuser -u …)",
            dir.display()
        );
    }
    Ok(())
}

async fn list(layout: &Layout) {
    let found = Survivor::find(layout).await;
    if found.is_empty() {
        say("no worker runs");
    }
    for worker in found {
        let pids: Vec<_> = worker.pids().iter().map(i32::to_string).collect();
        let shows = match worker.report.as_ref().map(|report| &report.on_air) {
            Some(Some(on_air)) => on_air.item.clone().unwrap_or_else(|| "the slate".into()),
            Some(None) => "starting".into(),
            None => "does not answer".into(),
        };
        say(format_args!("{}\t{}\t{shows}", worker.id, pids.join(" ")));
    }
}

async fn stop(layout: &Layout, only: Option<&StreamId>) -> anyhow::Result<()> {
    let _alone = DirLock::acquire(&layout.lock_file())
        .context("streams are stopped through the controller that runs here, or after its end")?;
    let meant = |id: &StreamId| only.is_none_or(|only| only == id);
    if let Err(error) = unwish(layout, meant) {
        // Ending them is what was asked for; only a later controller would start them again.
        say(format_args!(
            "the next controller will start them again: {error:#}"
        ));
    }
    let mut found = Survivor::find(layout).await;
    found.retain(|worker| meant(&worker.id));
    if found.is_empty() {
        say("no worker runs");
    }
    let ends = found.into_iter().map(|worker| async move {
        let id = worker.id.clone();
        worker.end().await;
        say(format_args!("{id}: stopped"));
    });
    join_all(ends).await;
    Ok(())
}

fn unwish(layout: &Layout, meant: impl Fn(&StreamId) -> bool) -> anyhow::Result<()> {
    let (mut document, opened) = Document::<StreamStateFile>::open(layout.state_file())?;
    let mut file = match opened {
        Opened::Loaded { value, .. } => value,
        Opened::Absent => return Ok(()),
        Opened::Corrupt(corrupt) => bail!("{}; {}", corrupt.flaw, corrupt.hint()),
    };
    let mut changed = false;
    for (_, record) in file.streams.iter_mut().filter(|(id, _)| meant(id)) {
        if record.desired == DesiredState::Running {
            record.desired = DesiredState::Stopped;
            record.observed = ObservedState::Stopped;
            record.since = Timestamp::now();
            changed = true;
        }
    }
    if changed {
        document.save(&file)?;
    }
    Ok(())
}
