//! OBS over obs-websocket: sees when the owner wants the air, and has OBS stream to us then.
//!
//! One task owns the connection, the takeover's state and the count of restarts. It asks every second, at
//! once when OBS says that something happened, and when a debounce is over; events are hints, answers are
//! the truth.
//!
//! | file | |
//! | --- | --- |
//! | `protocol` | messages as text, pure |
//! | `connection` | one greeted connection |
//! | `scenes` | scenes to be there, sources to be watched |
//! | `takeover` | when to take and when to give back, pure |
//! | `restart` | starting OBS again, and when to stop trying |

mod connection;
#[cfg(test)]
mod fake;
mod protocol;
mod restart;
mod scenes;
mod takeover;

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use storage::model::live::LiveInputState;
use storage::model::report::OnAirKind;
use storage::model::{ErrorReport, ObsRecord, StreamId};
use storage::secret::Secret;
use supervise::backoff::{Backoff, Next, Policy};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use utoipa::ToSchema;

use self::connection::{Connection, ObsError};
use self::protocol::{Event, Refusal};
use self::restart::Restarts;
use self::scenes::OwnerSources;
pub use self::scenes::{OwnerSource, SCENES};
pub use self::takeover::Phase;
use self::takeover::{Act, Seen, Takeover};
use crate::config::ObsConfig;
use crate::registry::Registry;
use crate::stream::{Asker, Take};

/// How often everything is asked anew.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A connection that held this long was well: the next failure is a first one.
const WELL_AFTER: Duration = Duration::from_secs(30);
/// Tries to connect: 1, 2, 4, 5, 5 … seconds. A crash is told, and OBS found again, within ten.
const TRIES: Policy = Policy {
    initial: Duration::from_secs(1),
    factor: 2.0,
    max: Duration::from_secs(5),
    jitter: 0.1,
    healthy_after: WELL_AFTER,
    max_attempts: None,
};

/// OBS as an operator sees it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ObsStatus {
    /// Whether it answers.
    pub state: ObsState,
    /// Since when.
    pub since: Timestamp,
    /// Version of OBS, once it answered.
    pub version: Option<String>,
    /// Version of obs-websocket, once it answered.
    pub websocket_version: Option<String>,
    /// It pushes, or tries to.
    pub streaming: bool,
    /// The owner's sources.
    pub sources: Vec<OwnerSource>,
    /// How far a takeover is.
    pub takeover: Phase,
    /// Times it was started again since it was last well.
    pub restarts: u32,
    /// Why it does not answer, or did not do what it was asked.
    pub error: Option<ErrorReport>,
}

/// Whether OBS answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ObsState {
    /// It was not reached yet.
    Connecting,
    /// It answers.
    Connected,
    /// It is gone or silent.
    Unreachable,
}

/// The task of one OBS.
struct Obs {
    config: ObsConfig,
    registry: Registry,
    takeover: Takeover,
    /// Of it, on disk.
    remembered: ObsRecord,
    restarts: Restarts,
    /// OBS was switched to the owner's scene.
    led: bool,
    /// It said that somebody closes it.
    closed: bool,
    status: watch::Sender<ObsStatus>,
}

/// Starts to watch OBS; its status can be read until the controller ends.
pub fn start(
    config: ObsConfig,
    registry: Registry,
    tasks: &mut JoinSet<()>,
) -> watch::Receiver<ObsStatus> {
    let (status, seen) = watch::channel(ObsStatus {
        state: ObsState::Connecting,
        since: Timestamp::now(),
        version: None,
        websocket_version: None,
        streaming: false,
        sources: Vec::new(),
        takeover: Phase::Quiet,
        restarts: 0,
        error: None,
    });
    let before = registry.obs_before();
    let obs = Obs {
        takeover: Takeover::resume(config.debounce, before),
        remembered: before,
        restarts: Restarts::default(),
        led: config.switch_scenes && before.wanted,
        closed: false,
        config,
        registry,
        status,
    };
    tasks.spawn(obs.run());
    seen
}

// === impl Obs ===

impl Obs {
    /// Connects, watches, connects again, until the controller drops it.
    async fn run(mut self) {
        // Who is on air is not known before.
        self.registry.recovered().await;
        let mut tries = Backoff::new(TRIES);
        loop {
            let opened = Connection::open(&self.config.url, self.config.password.as_ref()).await;
            let was_open = opened.is_ok();
            let error = match opened {
                Err(error) => error,
                Ok(connection) => {
                    tries.healthy_since(Instant::now());
                    self.connected(&connection);
                    self.closed = false;
                    let (error, closed) = self.watch(connection).await;
                    self.closed = closed;
                    error
                }
            };
            self.lost(&error);
            let Next::Retry { after, .. } = tries.failed(Instant::now(), 0.5) else {
                // There is no last try in this policy.
                return;
            };
            // Who closes OBS while nothing of it is wanted has no use for it.
            let is_closed = self.closed && self.takeover.phase() == Phase::Quiet;
            if error.is_process_trouble(was_open) && !is_closed {
                self.start_again().await;
            }
            tokio::time::sleep(after).await;
        }
    }

    /// Watches one connection until it fails; whether OBS said before that it is being closed.
    async fn watch(&mut self, mut obs: Connection) -> (ObsError, bool) {
        let error = self.watch_until_it_fails(&mut obs).await;
        let closed = obs.was_closed();
        if closed {
            tracing::info!("OBS was closed");
        }
        (error, closed)
    }

    async fn watch_until_it_fails(&mut self, obs: &mut Connection) -> ObsError {
        let mut sources = OwnerSources::new(self.config.owner_sources.clone());
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ensured = false;
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = until(self.takeover.due()) => {}
                event = obs.event() => match event {
                    Ok(Event::SourcesChanged | Event::Streaming { .. }) => {}
                    Ok(Event::OtherScenes) => ensured = false,
                    Ok(Event::Exiting) => {}
                    Err(error) => return error,
                },
            }
            match self.round(obs, &mut sources, &mut ensured).await {
                Ok(()) => self.restarts.well(Instant::now()),
                // Other scenes are being opened, or it ends. Nothing is known meanwhile.
                Err(ObsError::Refused(refusal)) if refusal.code == Refusal::NOT_READY => {
                    looks.tick().await;
                }
                Err(error) => return error,
            }
        }
    }

    async fn round(
        &mut self,
        obs: &mut Connection,
        sources: &mut OwnerSources,
        ensured: &mut bool,
    ) -> Result<(), ObsError> {
        if !*ensured {
            let made = scenes::ensure(obs).await?;
            if !made.is_empty() {
                tracing::info!(scenes = made.join(", "), "scenes made in OBS");
            }
            *ensured = true;
        }
        self.look(obs, sources).await
    }

    /// Asks everything, and does what follows from the answers.
    async fn look(
        &mut self,
        obs: &mut Connection,
        sources: &mut OwnerSources,
    ) -> Result<(), ObsError> {
        let now = Instant::now();
        let sources = sources.look(obs, now).await?;
        let streaming = obs.ask("GetStreamStatus", Value::Null).await?;
        let streaming = streaming["outputActive"].as_bool().unwrap_or(false);
        let (media, passed_over) = self.input();
        let seen = Seen {
            owner_on: sources.iter().any(|source| source.on),
            streaming,
            media,
            passed_over,
        };
        let acts = self.takeover.step(now, seen);
        let takeover = self.takeover.phase();
        let record = self.takeover.record();
        if std::mem::replace(&mut self.remembered, record) != record {
            self.registry.remember_obs(record);
        }
        self.status.send_modify(|status| {
            status.streaming = streaming;
            status.sources = sources;
            status.takeover = takeover;
        });
        for act in acts {
            tracing::info!(?act, ?seen, "OBS");
            self.act(obs, act).await?;
        }
        // Not before: what OBS still streams is the owner's.
        if self.led && takeover == Phase::Quiet && !streaming {
            self.led = false;
            let left = scenes::leave_owner(obs).await;
            return self.note(left, Refusal::NOT_FOUND);
        }
        Ok(())
    }

    async fn act(&mut self, obs: &mut Connection, act: Act) -> Result<(), ObsError> {
        match act {
            Act::TakeLive => {
                let asked = self.takeover.wanted_since().unwrap_or_else(Instant::now);
                let what = Take::Live(Some(self.config.input.clone()));
                self.take(what, asked).await;
                return self.lead(obs).await;
            }
            Act::TakeProgramme => self.take(Take::Programme, Instant::now()).await,
            Act::ShowCard => self.take(Take::Card, Instant::now()).await,
            Act::StartStream => {
                let asked = self.start_streaming(obs).await;
                return self.note(asked, Refusal::OUTPUT_RUNNING);
            }
            Act::StopStream => {
                let asked = obs.ask("StopStream", Value::Null).await.map(drop);
                return self.note(asked, Refusal::OUTPUT_NOT_RUNNING);
            }
        }
        Ok(())
    }

    /// What OBS streams is to be what the owner switched on.
    async fn lead(&mut self, obs: &mut Connection) -> Result<(), ObsError> {
        if self.config.switch_scenes {
            self.led = true;
            let shown = scenes::show_owner(obs).await;
            return self.note(shown, 0);
        }
        let status = self.status.borrow();
        if !status.sources.iter().any(|source| source.shown) {
            tracing::warn!("the owner's source is on, but not in the scene that OBS streams");
        }
        Ok(())
    }

    async fn start_streaming(&self, obs: &mut Connection) -> Result<(), ObsError> {
        if let Some((server, key)) = &self.config.ingest {
            let key = key.as_ref().map_or("", Secret::expose);
            let set = obs.ask("GetStreamServiceSettings", Value::Null).await?;
            let is_set = set["streamServiceType"] == "rtmp_custom"
                && set["streamServiceSettings"]["server"] == server.as_str()
                && set["streamServiceSettings"]["key"] == key;
            if !is_set {
                let wanted = json!({
                    "streamServiceType": "rtmp_custom",
                    "streamServiceSettings": {"server": server, "key": key, "use_auth": false},
                });
                obs.ask("SetStreamServiceSettings", wanted).await?;
            }
        }
        obs.ask("StartStream", Value::Null).await.map(drop)
    }

    /// A refusal is told and tried again later; a connection that is over is not.
    fn note(&self, asked: Result<(), ObsError>, expected: u64) -> Result<(), ObsError> {
        let report = match asked {
            Err(ObsError::Refused(refusal)) if refusal.code != expected => {
                let error = ObsError::Refused(refusal);
                tracing::warn!("{error}");
                Some(report(&error))
            }
            Ok(()) | Err(ObsError::Refused(_)) => None,
            Err(error) => return Err(error),
        };
        self.status.send_modify(|status| status.error = report);
        Ok(())
    }

    async fn take(&self, what: Take, since: Instant) {
        let asker = Asker::obs(since);
        let taken = match self.stream() {
            Some(id) => self.registry.take(&id, what.clone(), asker).await,
            None => return tracing::warn!(?what, "OBS_STREAM names no stream"),
        };
        if let Err(error) = taken {
            tracing::warn!(?what, %error, "what OBS's owner wants could not be done");
        }
    }

    fn stream(&self) -> Option<StreamId> {
        self.config
            .stream
            .clone()
            .or_else(|| self.registry.only().ok())
    }

    /// Whether OBS's media arrives, and whether the programme has the air although it could.
    fn input(&self) -> (bool, bool) {
        let status = self.stream().and_then(|id| self.registry.status(&id).ok());
        let Some(status) = status else {
            return (false, false);
        };
        let mut inputs = status.live_inputs.iter();
        let Some(input) = inputs.find(|input| input.name == self.config.input) else {
            return (false, false);
        };
        let airs = status.on_air.as_ref().map(|on_air| on_air.kind);
        let passed_over = !input.wanted && airs == Some(OnAirKind::Programme);
        (input.state == LiveInputState::Ready, passed_over)
    }

    fn connected(&self, connection: &Connection) {
        let version = &connection.version;
        tracing::info!(
            obs = version.obs,
            websocket = version.websocket,
            "OBS answers"
        );
        self.status.send_modify(|status| {
            status.state = ObsState::Connected;
            status.since = Timestamp::now();
            status.version = Some(version.obs.clone());
            status.websocket_version = Some(version.websocket.clone());
            status.error = None;
        });
    }

    fn lost(&self, error: &ObsError) {
        let was = self.status.borrow().clone();
        let report = report(error);
        // Once for each trouble, not for each try.
        if was.state == ObsState::Connected || was.error.as_ref() != Some(&report) {
            let (error_type, hint) = (&report.error_type, &report.hint);
            tracing::warn!(error_type, hint, "{}", report.message);
        }
        self.status.send_modify(|status| {
            if status.state != ObsState::Unreachable {
                status.since = Timestamp::now();
            }
            status.state = ObsState::Unreachable;
            status.streaming = false;
            status.error = Some(report);
        });
    }

    async fn start_again(&mut self) {
        let Some((program, arguments)) = &self.config.restart else {
            return;
        };
        // One that never answered may simply not be wanted yet.
        if self.status.borrow().version.is_none() || !self.restarts.may(Instant::now()) {
            return;
        }
        restart::run(program, arguments).await;
        let restarts = self.restarts.count();
        self.status.send_modify(|status| status.restarts = restarts);
    }
}

/// Never, if there is nothing to wait for.
async fn until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn report(error: &ObsError) -> ErrorReport {
    ErrorReport {
        error_type: error.error_type().to_owned(),
        message: crate::chain(error),
        hint: error.hint().to_owned(),
    }
}
