//! Everything a drill is made with, and nothing of the machine's own: directories, a controller, and
//! channels whose destinations lie behind a way that can go wrong.
//!
//! ```text
//! controller (this program) ─ worker ─┬─ FFmpeg ─ proxy a ─ platform a
//!                                     └─ FFmpeg ─ proxy b ─ platform b
//! ```

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::Signal;
use serde_json::{Value, json};
use storage::layout::Layout;
use storage::model::StreamId;
use supervise::watch::Watched;
use supervise::{Child, Grace, Output, Spec};
use tempfile::TempDir;
use tokio::time::sleep;

use super::clips;
use super::family::{self, Member};
use super::lateness::Lateness;
use super::measure::Programme;
use super::platform::Platform;
use super::proxy::Proxy;
use super::rest;
use crate::config::Config;

/// The controller's log, in the drill's directory.
const LOG: &str = "controller.log";
/// How often a state is looked at.
const POLL: Duration = Duration::from_millis(50);
/// A controller that does not serve by then does not.
const UP_WITHIN: Duration = Duration::from_secs(20);
/// From nothing to pictures everywhere, on a machine with other things to do.
const ON_AIR_WITHIN: Duration = Duration::from_secs(60);
/// Pictures this young are pictures that flow.
const FLOWING: Duration = Duration::from_millis(600);
const GRACE: Grace = Grace {
    again_after: Duration::from_secs(12),
    kill_after: Duration::from_secs(15),
};
/// A drill that is killed leaves workers behind that nobody watches any more: they give up by
/// themselves after so many tries, a second apart.
const ATTEMPTS: u32 = 600;

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
    program: PathBuf,
    settings: Vec<(&'static str, String)>,
    directory: TempDir,
}

/// A running controller.
#[derive(Debug)]
struct Controller {
    child: Child,
    /// `None` until it serves.
    address: Option<SocketAddr>,
}

/// What the controller and all workers use at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Resident memory of controller and workers.
    pub resident_kib: u64,
    /// Their open descriptors.
    pub descriptors: u64,
    /// They and their children.
    pub processes: u64,
    /// In the state, runtime and cache directories.
    pub files: u64,
}

/// One stream and its destinations.
#[derive(Debug)]
pub struct Channel {
    /// Name of the stream.
    pub id: StreamId,
    /// Where it is published to, in the order of the configuration.
    pub destinations: Vec<Destination>,
    /// What its status said was wrong since [`Channel::told`] was last emptied.
    pub told: BTreeSet<String>,
}

/// A platform and the way to it.
#[derive(Debug)]
pub struct Destination {
    /// Name in the configuration.
    pub name: String,
    /// The way.
    pub proxy: Proxy,
    /// Its end.
    pub platform: Platform,
}

/// Two, so that one can be seen to be left alone.
const DESTINATIONS: [&str; 2] = ["a", "b"];

// === impl World ===

impl World {
    /// Makes everything but the controller: nothing runs yet that would outlive this process.
    ///
    /// # Errors
    /// In words for the operator.
    pub async fn make(config: &Config, channels: usize) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("drill-")
            .tempdir()
            .context("cannot make a temporary directory")?;
        let root = directory.path();
        let layout = Layout {
            state_dir: root.join("state"),
            runtime_dir: root.join("run"),
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
            lateness: Lateness::watch(),
            program: std::env::current_exe().context("cannot find this program")?,
            settings: settings(config, &layout, &media),
            layout,
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
        let address = controller.and_then(|controller| controller.address);
        address.context("the controller does not run")
    }

    /// Starts a controller on the drill's directories; returns when it serves.
    ///
    /// # Errors
    /// When it ends instead.
    pub async fn start_controller(&mut self) -> anyhow::Result<()> {
        let child = self.spawn_controller()?;
        // Held from its first moment, so that an interrupted drill ends it as any other.
        let controller = self.controller.insert(Controller {
            child,
            address: None,
        });
        let log = self.directory.path().join(LOG);
        let begun = Instant::now();
        while controller.address.is_none() {
            let pid = controller.child.pid().as_raw();
            controller.address = last_address(&log, pid).await;
            if let Some(exit) = controller.child.try_wait() {
                bail!(
                    "the drill's controller ended with {exit}:\n{}",
                    tail(&log).await
                );
            }
            if begun.elapsed() > UP_WITHIN {
                bail!(
                    "the drill's controller does not serve:\n{}",
                    tail(&log).await
                );
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    fn spawn_controller(&self) -> anyhow::Result<Child> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file())?;
        let mut spec = Spec::new(&self.program)
            .stdout(Output::File(log.try_clone()?))
            .stderr(Output::File(log))
            .cwd(self.directory.path());
        for (name, value) in &self.settings {
            spec = spec.env(name, value);
        }
        Ok(supervise::spawn(spec)?)
    }

    /// Ends the controller without warning.
    ///
    /// # Errors
    /// When there is none.
    pub async fn kill_controller(&mut self) -> anyhow::Result<()> {
        let mut controller = self.controller.take().context("there is no controller")?;
        controller.child.kill_now();
        controller.child.wait().await;
        Ok(())
    }

    /// Tells the controller to leave, as `systemctl restart` does, and waits for it.
    ///
    /// # Errors
    /// When it does not leave by itself.
    pub async fn leave_controller(&mut self) -> anyhow::Result<()> {
        let mut controller = self.controller.take().context("there is no controller")?;
        match controller.child.terminate(GRACE).await {
            supervise::Terminated::Exited(_) => Ok(()),
            supervise::Terminated::Killed(_) => bail!("the controller had to be killed"),
        }
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
        let mut words = tail(&self.log_file()).await;
        for channel in &self.channels {
            words.push_str(&tail(&self.layout.log(&channel.id)).await);
        }
        words
    }

    /// What is in use now.
    ///
    /// # Errors
    /// When a worker is missing, or `/proc` cannot be read.
    pub async fn footprint(&mut self) -> anyhow::Result<Footprint> {
        let controller = self
            .controller
            .as_ref()
            .context("the controller does not run")?;
        let mut members = vec![Watched::open(controller.child.pid().as_raw())?];
        for number in 0..self.channels.len() {
            members.push(self.worker(number).await?);
        }
        let mut found = Footprint {
            resident_kib: 0,
            descriptors: 0,
            processes: 0,
            files: 0,
        };
        for member in &members {
            found.resident_kib += family::resident_kib(member).unwrap_or_default();
            found.descriptors += family::descriptors(member).unwrap_or_default() as u64;
            found.processes += 1 + family::children(member, "")?.len() as u64;
        }
        for directory in [
            &self.layout.state_dir,
            &self.layout.runtime_dir,
            &self.layout.cache_dir,
        ] {
            found.files += files_below(directory)?;
        }
        Ok(found)
    }

    /// Ends everything; returns when it is gone.
    ///
    /// # Errors
    /// When something cannot be ended.
    pub async fn end(mut self) -> anyhow::Result<()> {
        if let Some(mut controller) = self.controller.take() {
            // As Ctrl-C does: workers are ended with it. One that is gone has nothing to end.
            if let Ok(process) = Watched::open(controller.child.pid().as_raw()) {
                process.signal(Signal::INT)?;
            }
            let ended = tokio::time::timeout(GRACE.kill_after, controller.child.wait()).await;
            if ended.is_err() {
                controller.child.kill_now();
                controller.child.wait().await;
            }
        }
        self.end_workers().await
    }

    /// Ends what has outlived its controller.
    async fn end_workers(&self) -> anyhow::Result<()> {
        for member in family::marked(self.mark())? {
            tracing::info!(
                pid = member.process.pid(),
                "the drill ends what is left of it"
            );
            member.process.signal(Signal::CONT)?;
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

    fn log_file(&self) -> PathBuf {
        self.directory.path().join(LOG)
    }
}

fn files_below(directory: &Path) -> std::io::Result<u64> {
    let mut count = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        count += match entry.file_type()?.is_dir() {
            true => files_below(&entry.path())?,
            false => 1,
        };
    }
    Ok(count)
}

fn one(mut found: Vec<Member>, what: &str) -> anyhow::Result<Watched> {
    anyhow::ensure!(
        found.len() == 1,
        "{} FFmpegs look like the {what}",
        found.len()
    );
    Ok(found.remove(0).process)
}

/// Programme on air and every destination live; *degraded* may be the memory of a minute ago.
fn well(status: &Value) -> bool {
    let live = |d: &Value| d["state"] == "live";
    let destinations = status["destinations"].as_array();
    status["on_air"]["kind"] == "programme"
        && destinations.is_some_and(|all| !all.is_empty() && all.iter().all(live))
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

async fn tail(log: &Path) -> String {
    let text = tokio::fs::read(log).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(20)..];
    format!("{}:\n{}\n", log.display(), last.join("\n"))
}

// === impl Channel ===

impl Channel {
    async fn make(number: usize) -> anyhow::Result<Self> {
        let id = format!("drill{number}").parse();
        let mut destinations = Vec::new();
        for name in DESTINATIONS {
            let platform = Platform::start()
                .await
                .context("cannot listen on loopback")?;
            destinations.push(Destination {
                name: name.to_owned(),
                proxy: Proxy::to(platform.address()).context("cannot listen on loopback")?,
                platform,
            });
        }
        Ok(Self {
            id: id.map_err(|error| anyhow::anyhow!("a stream id of the drill: {error}"))?,
            destinations,
            told: BTreeSet::new(),
        })
    }

    fn config(&self) -> Value {
        let destination = |d: &Destination| {
            let url = format!("rtmp://{}/live/{}-{}", d.proxy.address(), self.id, d.name);
            json!({ "name": d.name, "url": url })
        };
        let destinations: Vec<Value> = self.destinations.iter().map(destination).collect();
        json!({
            "format": clips::format(),
            "destinations": destinations,
            "retry": { "initial_s": 0.5, "factor": 1.5, "max_s": 2, "max_attempts": ATTEMPTS },
        })
    }

    /// Remembers what a status says is wrong.
    fn hear(&mut self, status: &Value) {
        let first = &status["destinations"][0];
        let not_live = first["state"] != "live";
        let heard = [
            &status["error"]["type"],
            &status["on_air"]["slate"],
            if not_live {
                &first["error"]["type"]
            } else {
                &Value::Null
            },
        ];
        let names = heard.iter().filter_map(|value| value.as_str());
        self.told.extend(names.map(str::to_owned));
    }
}

// === impl Destination ===

impl Destination {
    /// Whether a picture of the programme was among the last that came, a moment ago.
    fn shows(&self, programme: &Programme) -> bool {
        self.platform.log().look(|all| {
            let last = all.iter().rev().find_map(|connection| {
                connection
                    .messages
                    .iter()
                    .rev()
                    .find(|m| m.tag.is_picture())
            });
            last.is_some_and(|m| m.arrived.elapsed() < FLOWING && programme.has(&m.tag))
        })
    }
}
