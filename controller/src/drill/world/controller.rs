//! The controller of a drill: this program, on directories and a port of the drill's own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::Signal;
use serde_json::Value;
use storage::layout::Layout;
use supervise::watch::Watched;
use supervise::{Child, Output, Priority, Spec};
use tokio::time::sleep;

use super::{GRACE, POLL, tail};
use crate::config::Config;

/// Its log, in the drill's directory.
const LOG: &str = "controller.log";
/// A controller that does not serve by then does not.
const UP_WITHIN: Duration = Duration::from_secs(20);

/// How it is started, each time.
#[derive(Debug)]
pub(super) struct Recipe {
    program: PathBuf,
    settings: Vec<(&'static str, String)>,
    directory: PathBuf,
    log: PathBuf,
}

/// A running one.
#[derive(Debug)]
pub(super) struct Controller {
    child: Child,
    log: PathBuf,
    /// `None` until it serves.
    address: Option<SocketAddr>,
}

// === impl Recipe ===

impl Recipe {
    pub(super) fn of(
        config: &Config,
        layout: &Layout,
        media: &Path,
        directory: &Path,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            program: std::env::current_exe().context("cannot find this program")?,
            settings: settings(config, layout, media),
            directory: directory.to_owned(),
            log: directory.join(LOG),
        })
    }

    /// Where all of them log, one behind the other.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    pub(super) fn start(&self) -> anyhow::Result<Controller> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let mut spec = Spec::new(&self.program)
            .stdout(Output::File(log.try_clone()?))
            .stderr(Output::File(log))
            .priority(Priority::Ours)
            .cwd(&self.directory);
        for (name, value) in &self.settings {
            spec = spec.env(name, value);
        }
        Ok(Controller {
            child: supervise::spawn(spec)?,
            log: self.log.clone(),
            address: None,
        })
    }
}

// === impl Controller ===

impl Controller {
    /// Where it serves; `None` until it does.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    pub(super) fn pid(&self) -> i32 {
        self.child.pid().as_raw()
    }

    /// Waits until it serves.
    pub(super) async fn serving(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.address.is_none() {
            self.address = last_address(&self.log, self.pid()).await;
            if let Some(exit) = self.child.try_wait() {
                let said = tail(&self.log).await;
                bail!("the drill's controller ended with {exit}:\n{said}");
            }
            if begun.elapsed() > UP_WITHIN {
                let said = tail(&self.log).await;
                bail!("the drill's controller does not serve:\n{said}");
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Without warning.
    pub(super) async fn kill(mut self) {
        self.child.kill_now();
        self.child.wait().await;
    }

    /// As `systemctl restart` does: workers stay.
    pub(super) async fn leave(mut self) -> anyhow::Result<()> {
        match self.child.terminate(GRACE).await {
            supervise::Terminated::Exited(_) => Ok(()),
            supervise::Terminated::Killed(_) => bail!("the controller had to be killed"),
        }
    }

    /// As Ctrl-C does: workers are ended with it.
    pub(super) async fn interrupt(mut self) -> anyhow::Result<()> {
        // One that is gone has nothing to end.
        if let Ok(process) = Watched::open(self.pid()) {
            process.signal(Signal::CONT)?;
            process.signal(Signal::INT)?;
        }
        let ended = tokio::time::timeout(GRACE.kill_after, self.child.wait()).await;
        if ended.is_err() {
            self.kill().await;
        }
        Ok(())
    }
}

fn settings(config: &Config, layout: &Layout, media: &Path) -> Vec<(&'static str, String)> {
    let text = |path: &Path| path.display().to_string();
    vec![
        ("STORAGE_PROVIDER", "local".into()),
        ("STORAGE_LOCAL_DIR", text(media)),
        ("STATE_DIR", text(&layout.state_dir)),
        ("RUNTIME_DIR", text(&layout.runtime_dir)),
        ("CACHE_DIR", text(&layout.cache_dir)),
        ("CONTROLLER_BIND", "127.0.0.1:0".into()),
        ("WORKER_BIN", text(&config.worker_bin)),
        ("FFMPEG_BIN", text(&config.ffmpeg_bin)),
        ("FFPROBE_BIN", text(&config.ffprobe_bin)),
        ("LOG_FORMAT", "json".into()),
        ("RUST_LOG", "info".into()),
    ]
}

/// Where the process `pid` serves, from its log.
async fn last_address(log: &Path, pid: i32) -> Option<SocketAddr> {
    let text = tokio::fs::read_to_string(log).await.ok()?;
    let said = text.lines().rev().find_map(|line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["message"] == "serving").then(|| event["address"].as_str()?.parse().ok())?
    });
    // A line of an earlier controller names an address at which nobody listens any more.
    said.filter(|address: &SocketAddr| listens(pid, address.port()))
}

/// Whether `pid` has a socket that listens at `port` of the loopback.
fn listens(pid: i32, port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let wanted = format!("0100007F:{port:04X}");
    let inode = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listening = fields.get(1) == Some(&wanted.as_str()) && fields.get(3) == Some(&"0A");
        listening.then(|| fields.get(9).map(|inode| format!("socket:[{inode}]")))?
    });
    let Some(inode) = inode else { return false };
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"));
    let links = open.into_iter().flatten().flatten();
    links
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .any(|link| link.to_string_lossy() == inode)
}
