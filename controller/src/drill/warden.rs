//! A process beside the drill that ends what the drill could not: one that is killed, or whose terminal is
//! closed, would leave a worker on air for ever, as a worker should be left.
//!
//! It is this program again, in a session of its own, with the drill's directory on its standard input.
//! The end of that input is the end of the drill, however that came.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rustix::process::Signal;
use supervise::{Child, Group, Input, Output, Spec};
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::time::sleep;

use super::world::{GRACE, runtime_dir, state_dir};
use super::{family, refusal};

/// The argument of `drill` by which it is started.
pub const ARGUMENT: &str = "--warden";
/// What a dying controller was about to start has its own arguments by then.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// The drill's hold on it: dropped with the drill, it does its work.
#[derive(Debug)]
pub(super) struct Warden {
    child: Child,
    /// Open for as long as the drill lives.
    input: ChildStdin,
}

// === impl Warden ===

impl Warden {
    /// Has one look after `directory`.
    pub(super) async fn start(directory: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let spec = Spec::new(program)
            .args(["drill", ARGUMENT])
            .stdin(Input::Piped)
            .stderr(Output::Null)
            .group(Group::OwnSession)
            .outlives_parent();
        let mut child = supervise::spawn(spec)?;
        let mut input = child.take_stdin().context("its input is a pipe")?;
        let path = directory.to_str().context("TMPDIR is not UTF-8")?;
        input.write_all(path.as_bytes()).await?;
        Ok(Self { child, input })
    }

    /// Returns when it has seen that nothing is left, and is gone.
    pub(super) async fn dismiss(mut self) {
        drop(self.input);
        self.child.wait().await;
    }
}

/// What it does: waits for the end of the drill, then ends what is left of it.
///
/// # Errors
/// When something cannot be ended.
pub async fn watch() -> anyhow::Result<()> {
    let directory = tokio::task::spawn_blocking(|| {
        let mut path = String::new();
        io::stdin().read_to_string(&mut path).map(|_| path)
    });
    let directory = PathBuf::from(directory.await.expect("reading does not panic")?);
    anyhow::ensure!(directory.is_absolute(), "started by a drill only");
    end_all(&runtime_dir(&directory)).await?;
    // It may have been killed while nothing could be written, and then nothing could be removed. What cannot be
    // lifted shows in that.
    let _lifted = refusal::lift(&state_dir(&directory));
    match std::fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Ends everything whose arguments name `mark`; returns when two looks have found nothing.
async fn end_all(mark: &Path) -> anyhow::Result<()> {
    let mut empty = 0;
    while empty < 2 {
        let members = family::marked(mark)?;
        empty = if members.is_empty() { empty + 1 } else { 0 };
        for member in members {
            // One that stands still would be waited for.
            member.process.signal(Signal::CONT)?;
            let _end = member.process.terminate(GRACE).await;
        }
        if empty == 1 {
            sleep(LOOK_AGAIN).await;
        }
    }
    Ok(())
}
