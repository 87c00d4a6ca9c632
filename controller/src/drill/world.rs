//! Everything a drill is made with, and nothing of the machine's own: directories, a controller, and
//! channels whose destinations lie behind a way that can go wrong.
//!
//! ```text
//! controller (this program) ─ worker ─┬─ FFmpeg ─ proxy a ─ platform a
//!                                     └─ FFmpeg ─ proxy b ─ platform b
//! ```

mod channel;
mod controller;
mod footprint;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::Signal;
use serde_json::{Value, json};
use storage::layout::Layout;
use supervise::Grace;
use supervise::watch::Watched;
use tempfile::TempDir;
use tokio::time::sleep;

pub use self::channel::{Channel, Destination};
use self::controller::{Controller, Recipe};
pub use self::footprint::Footprint;
use super::clips;
use super::family::{self, Member};
use super::lateness::Lateness;
use super::programme::Programme;
use super::refusal::Means;
use super::rest;
use super::warden::Warden;
use crate::config::Config;

/// How often a state is looked at.
const POLL: Duration = Duration::from_millis(50);
/// From nothing to pictures everywhere, on a machine with other things to do.
const ON_AIR_WITHIN: Duration = Duration::from_secs(60);
/// Pictures this young are pictures that flow.
const FLOWING: Duration = Duration::from_millis(600);
/// Of what is to end: a worker ends its own processes within ten.
pub(super) const GRACE: Grace = Grace {
    again_after: Duration::from_secs(12),
    kill_after: Duration::from_secs(15),
};

/// See the module.
#[derive(Debug)]
pub struct World {
    /// `None` between the end of one and the start of the next.
    controller: Option<Controller>,
    /// The channels, all alike.
    pub channels: Vec<Channel>,
    /// Where its files are.
    pub layout: Layout,
    /// What is played.
    pub programme: Programme,
    /// How late the machine is.
    pub lateness: Lateness,
    /// How a directory can be made to refuse writes.
    pub refusing: Means,
    recipe: Recipe,
    warden: Warden,
    directory: TempDir,
}

// === impl World ===

impl World {
    /// Makes everything but the controller.
    ///
    /// # Errors
    /// In words for the operator.
    pub async fn make(config: &Config, channels: usize, refusing: Means) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("drill-")
            .tempdir()
            .context("cannot make a temporary directory")?;
        let root = directory.path();
        let warden = Warden::start(root).await?;
        let layout = Layout {
            state_dir: state_dir(root),
            runtime_dir: runtime_dir(root),
            cache_dir: root.join("cache"),
        };
        layout.create()?;
        let media = root.join("media");
        tokio::fs::create_dir(&media).await?;
        let programme = clips::make(&config.ffmpeg_bin, &media).await?;
        let mut world = Self {
            controller: None,
            channels: Vec::new(),
            programme,
            lateness: Lateness::watch(&config.ffmpeg_bin),
            refusing,
            recipe: Recipe::of(config, &layout, &media, root)?,
            layout,
            warden,
            directory,
        };
        for number in 1..=channels {
            world.channels.push(Channel::make(number).await?);
        }
        world.configure()?;
        Ok(world)
    }

    /// Puts every channel on air. However this goes, [`Self::end`] is to follow.
    ///
    /// # Errors
    /// In words for the operator.
    pub async fn go_on_air(&mut self) -> anyhow::Result<()> {
        self.start_controller().await?;
        for number in 0..self.channels.len() {
            let body = json!({ "stream_id": self.channels[number].id });
            rest::post(self.address()?, "/streams/start", Some(&body)).await?;
        }
        for number in 0..self.channels.len() {
            self.settled(number, ON_AIR_WITHIN).await?;
        }
        Ok(())
    }

    /// Where media lies.
    pub fn media(&self) -> PathBuf {
        self.directory.path().join("media")
    }

    /// Where the controller listens.
    ///
    /// # Errors
    /// When there is none at the moment.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        let controller = self.controller.as_ref();
        let address = controller.and_then(Controller::address);
        address.context("the controller does not run")
    }

    /// Starts a controller on the drill's directories; returns when it serves.
    ///
    /// # Errors
    /// When it ends instead.
    pub async fn start_controller(&mut self) -> anyhow::Result<()> {
        let controller = self.recipe.start()?;
        // Held from its first moment, so that an interrupted drill ends it as any other.
        self.controller.insert(controller).serving().await
    }

    /// Ends the controller without warning.
    ///
    /// # Errors
    /// When there is none.
    pub async fn kill_controller(&mut self) -> anyhow::Result<()> {
        let controller = self.controller.take().context("there is no controller")?;
        controller.kill().await;
        Ok(())
    }

    /// Tells the controller to leave, as `systemctl restart` does, and waits for it.
    ///
    /// # Errors
    /// When it does not leave by itself.
    pub async fn leave_controller(&mut self) -> anyhow::Result<()> {
        let controller = self.controller.take().context("there is no controller")?;
        controller.leave().await
    }

    /// The status of a channel; what it says is wrong is remembered.
    ///
    /// # Errors
    /// When the controller does not answer.
    pub async fn status(&mut self, channel: usize) -> anyhow::Result<Value> {
        let path = format!("/streams/status?stream_id={}", self.channels[channel].id);
        let status = rest::get(self.address()?, &path).await?;
        self.channels[channel].hear(&status);
        Ok(status)
    }

    /// Waits until the channel's status is as `wanted`.
    ///
    /// # Errors
    /// With the last status, after `limit`.
    pub async fn until(
        &mut self,
        channel: usize,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let begun = Instant::now();
        loop {
            let status = self.status(channel).await?;
            if wanted(&status) {
                return Ok(status);
            }
            if begun.elapsed() > limit {
                bail!(
                    "{what}: not within {} s; the status is {status}",
                    limit.as_secs()
                );
            }
            sleep(POLL).await;
        }
    }

    /// Waits until the channel is on air as wanted: told so, and seen by every viewer.
    ///
    /// # Errors
    /// With the last status, after `limit`.
    pub async fn settled(&mut self, channel: usize, limit: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let status = self.status(channel).await?;
            let seen = |destination: &Destination| destination.shows(&self.programme);
            if well(&status) && self.channels[channel].destinations.iter().all(seen) {
                return Ok(());
            }
            if begun.elapsed() > limit {
                bail!(
                    "not on air again within {} s; the status is {status}",
                    limit.as_secs()
                );
            }
            sleep(POLL).await;
        }
    }

    /// Keeps looking at the status while time passes.
    pub async fn watch(&mut self, channel: usize, span: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < span {
            // Without a controller there is nothing to hear.
            let _ = self.status(channel).await;
            sleep(POLL.min(span)).await;
        }
    }

    /// Forgets what the viewers saw so far, but for the last moments.
    pub fn forget(&self) {
        if let Some(before) = Instant::now().checked_sub(FLOWING) {
            let destinations = self.channels.iter().flat_map(|c| &c.destinations);
            destinations.for_each(|destination| destination.platform.log().forget(before));
        }
    }

    /// The channel's worker.
    ///
    /// # Errors
    /// When there is none.
    pub async fn worker(&mut self, channel: usize) -> anyhow::Result<Watched> {
        let status = self.status(channel).await?;
        let pid = status["pid"].as_i64().context("there is no worker")?;
        family::worker(i32::try_from(pid)?, self.mark())
    }

    /// The controller.
    ///
    /// # Errors
    /// When there is none.
    pub fn controller_process(&self) -> anyhow::Result<Watched> {
        let controller = self.controller.as_ref();
        let controller = controller.context("the controller does not run")?;
        Ok(Watched::open(controller.pid())?)
    }

    /// The FFmpeg that publishes to the channel's first destination.
    ///
    /// # Errors
    /// When there is none.
    pub async fn publisher(&mut self, channel: usize) -> anyhow::Result<Watched> {
        let worker = self.worker(channel).await?;
        let to = self.channels[channel].destinations[0].proxy.address();
        one(family::children(&worker, &to.to_string())?, "publisher")
    }

    /// The FFmpeg that reads the item on air.
    ///
    /// # Errors
    /// When there is none: a short rest of an item has been read already.
    pub async fn reader(&mut self, channel: usize) -> anyhow::Result<Watched> {
        let worker = self.worker(channel).await?;
        let status = self.status(channel).await?;
        let item = status["on_air"]["item"]
            .as_str()
            .context("no item is on air")?;
        let part = format!("/{item} ");
        one(family::children(&worker, &part)?, "reader")
    }

    /// Arguments of everything the drill has started hold this.
    pub fn mark(&self) -> &Path {
        &self.layout.runtime_dir
    }

    /// What the controller and its workers have logged last, for a failed drill.
    pub async fn last_words(&self) -> String {
        let mut words = tail(self.recipe.log()).await;
        for channel in &self.channels {
            words.push_str(&tail(&self.layout.log(&channel.id)).await);
        }
        words
    }

    /// Ends everything; returns when it is gone.
    ///
    /// # Errors
    /// When something cannot be ended.
    pub async fn end(mut self) -> anyhow::Result<()> {
        for member in family::marked(self.mark())? {
            // One that stands still would be waited for.
            member.process.signal(Signal::CONT)?;
        }
        if let Some(controller) = self.controller.take() {
            controller.interrupt().await?;
        }
        self.end_workers().await?;
        let Self {
            warden, directory, ..
        } = self;
        directory.close()?;
        warden.dismiss().await;
        Ok(())
    }

    /// Ends what has outlived its controller.
    async fn end_workers(&self) -> anyhow::Result<()> {
        for member in family::marked(self.mark())? {
            tracing::info!(
                pid = member.process.pid(),
                "the drill ends what is left of it"
            );
            let _end = member.process.terminate(GRACE).await;
        }
        Ok(())
    }

    fn configure(&self) -> anyhow::Result<()> {
        let streams: serde_json::Map<String, Value> = self
            .channels
            .iter()
            .map(|channel| (channel.id.to_string(), channel.config()))
            .collect();
        let text = json!({ "version": 1, "streams": streams }).to_string();
        storage::atomic::write(&self.layout.config_file(), text.as_bytes())?;
        Ok(())
    }
}

/// Of a drill in `directory`.
pub(super) fn state_dir(directory: &Path) -> PathBuf {
    directory.join("state")
}

/// Of a drill in `directory`: arguments of everything it has started hold this.
pub(super) fn runtime_dir(directory: &Path) -> PathBuf {
    directory.join("run")
}

fn one(mut found: Vec<Member>, what: &str) -> anyhow::Result<Watched> {
    anyhow::ensure!(
        found.len() == 1,
        "{} FFmpegs look like the {what}",
        found.len()
    );
    Ok(found.remove(0).process)
}

/// Programme on air, more to come, and every destination live; *degraded* may be the memory of a
/// minute ago.
fn well(status: &Value) -> bool {
    let live = |d: &Value| d["state"] == "live";
    let destinations = status["destinations"].as_array();
    status["on_air"]["kind"] == "programme"
        && status["programme"]["error"].is_null()
        && destinations.is_some_and(|all| !all.is_empty() && all.iter().all(live))
}

async fn tail(log: &Path) -> String {
    let text = tokio::fs::read(log).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(20)..];
    format!("{}:\n{}\n", log.display(), last.join("\n"))
}
