//! The task that owns one stream: only it changes the stream's state.
//!
//! It takes requests from handles, events from the worker's attendant and follower, and its own
//! deadlines; each turn of the loop handles one and publishes what came of it. See
//! [`super::state`] for the states, [`super::admission`] for what is refused in which, and
//! `docs/design/stream-lifecycle.md` for why.

mod check;
mod configure;
mod launch;
mod publish;
mod recover;
mod worker;

use std::sync::Arc;

use storage::model::{
    Check, DesiredState, ErrorReport, StreamConfig, StreamId, StreamRecord, WorkerReport,
};
use supervise::ExitReason;
use supervise::watch::Watched;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::admission::{Asked, Denied, Phase, Verdict, admit};
use super::governor::Governor;
use super::handle::{Reply, StreamHandle};
use super::health::DropMeter;
use super::request::{Applied, RequestError};
use super::restart::Restarts;
use super::spawn::{self, StartError, Started};
use super::state::Life;
use super::status::StreamStatus;
use super::worker_link::{LinkError, WorkerLink};
use crate::config::Config;
use crate::history::{History, Moment, What};
use crate::ledger::Ledger;
use crate::preflight::Preflight;
use check::Looked;

/// More requests than this at once wait in their callers.
const REQUESTS: usize = 32;
/// A worker's tasks wait when the driver is behind.
const EVENTS: usize = 32;

/// What is asked of a driver.
#[derive(Debug)]
pub(super) enum Request {
    /// Want the stream on air.
    Start(Reply<StreamStatus>),
    /// Want it off air; answered when the worker is gone.
    Stop(Reply<StreamStatus>),
    /// The way to a worker that serves.
    Link(Reply<WorkerLink>),
    /// A saved configuration.
    Configure(Box<StreamConfig>, Reply<Applied>),
    /// End the driver of a stream that rests.
    Retire(Reply<StreamRecord>),
    /// End the worker, keep the wish, then end the driver.
    Drain,
    /// End the driver at once and leave the worker running.
    Detach,
}

/// What all drivers share.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) settings: Arc<Config>,
    pub(crate) ledger: Ledger,
    pub(crate) history: History,
    preflight: Preflight,
    governor: Governor,
}

/// What a worker's tasks tell. Those of an earlier generation are late and mean nothing.
#[derive(Debug)]
pub(super) enum Event {
    /// Its making is over: there is a worker, or for certain none.
    Launched(Box<Result<Started, StartError>>),
    /// The process is gone.
    Ended {
        /// Whose.
        generation: u64,
        /// How.
        exit: ExitReason,
        /// When.
        moment: Moment,
    },
    /// It said something about itself.
    Report {
        /// Which worker.
        generation: u64,
        /// What.
        report: Box<WorkerReport>,
    },
    /// It was told a configuration, or could not be.
    Told {
        /// Which worker.
        generation: u64,
        /// What came of it.
        outcome: Result<(), LinkError>,
    },
    /// It did not answer a health check.
    Silent {
        /// Which worker.
        generation: u64,
        /// In what way.
        reason: String,
    },
}

/// What a driver starts from.
#[derive(Debug)]
pub(crate) struct Beginning {
    /// The stream.
    pub id: StreamId,
    /// Its configuration.
    pub config: StreamConfig,
    /// What is remembered of it; `None` for a stream nothing is known of.
    pub record: Option<StreamRecord>,
    /// Whether `autostart` counts: at the start of the controller, not for a stream made later.
    pub boot: bool,
    /// What runs by a job of the stream.
    pub started: Vec<Watched>,
}

/// The owner of one stream.
#[derive(Debug)]
pub(crate) struct Driver {
    id: StreamId,
    machine: Machine,
    stream_config: watch::Sender<Arc<StreamConfig>>,
    life: Life,
    record: StreamRecord,
    restarts: Restarts,
    drops: DropMeter,
    /// The newest look at what the stream needs, and what it found so far.
    look: (u64, Vec<Check>),
    /// When a start that was asked for was last looked at.
    looked_at: Option<Instant>,
    /// The part of it that goes on beside the worker.
    surroundings: Option<AbortOnDropHandle<()>>,
    /// Why the last worker ended, until the stream is on air again.
    last_error: Option<ErrorReport>,
    /// Those who wait for the worker to be gone.
    stopping: Vec<Reply<StreamStatus>>,
    /// The controller is going down and takes the worker with it.
    draining: bool,
    /// The controller is going down and leaves the worker alone.
    detaching: bool,
    requests: mpsc::Receiver<Request>,
    events: mpsc::Receiver<Event>,
    tell: mpsc::Sender<Event>,
    looked: mpsc::Receiver<Looked>,
    tell_looked: mpsc::Sender<Looked>,
    status: watch::Sender<StreamStatus>,
    /// What the state file was last told, and when.
    remembered: (StreamRecord, Instant),
}

enum Turn {
    GoOn,
    End,
}

// === impl Machine ===

impl Machine {
    pub(crate) fn new(settings: Arc<Config>, ledger: Ledger, history: History) -> Self {
        Self {
            preflight: Preflight::new(Arc::clone(&settings)),
            settings,
            ledger,
            history,
            governor: Governor::default(),
        }
    }
}

// === impl Driver ===

impl Driver {
    /// Starts the driver of a stream: it first looks for a worker left behind, tells `recovered`, and
    /// then serves its handle. The task ends when it is retired, drained or detached.
    pub(crate) fn start(
        beginning: Beginning,
        machine: Machine,
        recovered: oneshot::Sender<()>,
    ) -> (StreamHandle, impl Future<Output = ()> + Send + use<>) {
        let (requests_tx, requests) = mpsc::channel(REQUESTS);
        let (tell, events) = mpsc::channel(EVENTS);
        let (tell_looked, looked) = mpsc::channel(EVENTS);
        let known = beginning.record.is_some();
        let record = beginning.record.unwrap_or_else(recover::unknown);
        let (status, status_rx) =
            watch::channel(StreamStatus::remembered(beginning.id.clone(), &record));
        let (config, config_rx) = watch::channel(Arc::new(beginning.config));
        let handle = StreamHandle::new(
            beginning.id.clone(),
            machine.settings.layout.clone(),
            machine.settings.worker_bin.clone(),
            requests_tx,
            status_rx,
            config_rx,
            machine.history.clone(),
        );
        let driver = Self {
            id: beginning.id,
            machine,
            stream_config: config,
            life: Life::Stopped,
            last_error: record.error.clone(),
            remembered: (record.clone(), Instant::now()),
            restarts: Restarts::after_failures(record.failures),
            record,
            look: (0, Vec::new()),
            looked_at: None,
            surroundings: None,
            drops: DropMeter::default(),
            stopping: Vec::new(),
            draining: false,
            detaching: false,
            requests,
            events,
            tell,
            looked,
            tell_looked,
            status,
        };
        let Beginning { boot, started, .. } = beginning;
        (handle, driver.run(known, boot, started, recovered))
    }

    async fn run(
        mut self,
        known: bool,
        boot: bool,
        started: Vec<Watched>,
        recovered: oneshot::Sender<()>,
    ) {
        self.recover(known, boot, started).await;
        self.publish();
        // Whoever waited for it may have given up.
        let _ = recovered.send(());
        loop {
            let deadline = self.deadline();
            let turn = tokio::select! {
                request = self.requests.recv() => match request {
                    Some(request) => self.handle_all(request),
                    None => Turn::End,
                },
                Some(event) = self.events.recv() => {
                    self.event(event).await;
                    Turn::GoOn
                }
                Some(looked) = self.looked.recv() => {
                    self.looked(looked);
                    Turn::GoOn
                }
                () = until(deadline) => {
                    self.wait_is_over();
                    Turn::GoOn
                }
            };
            self.publish();
            let drained = self.draining && !self.life.may_have_worker();
            // Half a launch would be a worker without its secrets.
            let detached = self.detaching && !matches!(self.life, Life::Launching(_));
            if drained || detached || matches!(turn, Turn::End) {
                return;
            }
        }
    }

    /// Handles what has piled up, too: that a hundred were refused is not published a hundred times.
    fn handle_all(&mut self, first: Request) -> Turn {
        let mut turn = self.handle(first);
        for _ in 0..REQUESTS {
            if matches!(turn, Turn::End) {
                break;
            }
            let Ok(request) = self.requests.try_recv() else {
                break;
            };
            turn = self.handle(request);
        }
        turn
    }

    fn handle(&mut self, request: Request) -> Turn {
        match request {
            Request::Start(reply) => self.start_asked(reply),
            Request::Stop(reply) => self.stop_asked(reply),
            Request::Link(reply) => {
                let link = self
                    .admitted(Asked::Command)
                    .map(|_| WorkerLink::new(self.machine.settings.layout.socket(&self.id)));
                answer(reply, link);
            }
            Request::Configure(config, reply) => self.configure(*config, reply),
            Request::Retire(reply) => {
                let outcome = self.admitted(Asked::Delete).map(|_| self.record.clone());
                let retired = outcome.is_ok();
                answer(reply, outcome);
                if retired {
                    return Turn::End;
                }
            }
            Request::Drain => {
                self.draining = true;
                self.end_worker();
            }
            Request::Detach => self.detaching = true,
        }
        Turn::GoOn
    }

    /// Wants the stream on air; answered when that is on disk, and only then acted on.
    fn start_asked(&mut self, reply: Reply<StreamStatus>) {
        if let Err(refused) = self.may_start() {
            return answer(reply, Err(refused));
        }
        self.restarts.reset();
        self.record.restarts = 0;
        self.last_error = None;
        // Given up or waiting, it was wanted all along, and somebody had to come.
        self.machine.history.saw(&self.id, What::Act);
        self.want(DesiredState::Running);
        let wish = self.machine.ledger.settle();
        let order = self.launching();
        self.publish();
        self.look_beside();
        let status = self.status.borrow().clone();
        self.launch(order, async move {
            wish.done().await;
            answer(reply, Ok(status));
        });
    }

    fn may_start(&self) -> Result<(), RequestError> {
        if self.draining || self.detaching {
            return Err(RequestError::ShuttingDown);
        }
        let _accepted = self.admitted(Asked::Start)?;
        let config = self.stream_config.borrow().clone();
        let problems = spawn::problems(&self.id, &config, &self.machine.settings);
        if !problems.is_empty() {
            return Err(RequestError::Invalid(problems));
        }
        Ok(())
    }

    /// Wants the stream off air; the worker is ended when that is on disk, and it is answered when there
    /// is none any more.
    fn stop_asked(&mut self, reply: Reply<StreamStatus>) {
        let verdict = match self.admitted(Asked::Stop) {
            Ok(verdict) => verdict,
            Err(denied) => return answer(reply, Err(denied)),
        };
        self.last_error = None;
        if verdict == Verdict::Accept || self.life.phase() == Phase::Replacing {
            self.want(DesiredState::Stopped);
        }
        self.end_worker();
        if self.life.may_have_worker() {
            return self.stopping.push(reply);
        }
        let wish = self.machine.ledger.settle();
        self.publish();
        let status = self.status.borrow().clone();
        tokio::spawn(async move {
            wish.done().await;
            answer(reply, Ok(status));
        });
    }

    /// The verdict on what may be done; an error for what may not.
    fn admitted(&self, asked: Asked) -> Result<Verdict, RequestError> {
        let id = || self.id.clone();
        match admit(self.life.phase(), asked) {
            Verdict::Deny(denied) => Err(match denied {
                Denied::AlreadyRunning => RequestError::AlreadyRunning(id()),
                Denied::Stopping => RequestError::Stopping(id()),
                Denied::Launching => RequestError::Starting(id()),
                Denied::NotRunning => RequestError::NotRunning(id()),
                Denied::StillRunning => RequestError::StillRunning(id()),
            }),
            verdict => Ok(verdict),
        }
    }

    /// Notes what the operator wants; whoever acts on it lets the ledger settle first. A disk that refuses
    /// does not keep anything off air: the wish holds while this controller lives, and health tells.
    fn want(&mut self, desired: DesiredState) {
        self.record.desired = desired;
        self.machine
            .governor
            .wants(&self.id, desired == DesiredState::Running);
        self.remembered = (self.record.clone(), Instant::now());
        self.machine.history.saw(&self.id, self.wish());
        self.machine.ledger.remember(&self.id, self.record.clone());
    }

    /// The operator's wish, for the history.
    fn wish(&self) -> What {
        match self.wanted() {
            Some(destinations) => What::Wanted { destinations },
            None => What::Unwanted,
        }
    }

    /// Names of the destinations that are to get media; `None` when the stream is to be off air.
    fn wanted(&self) -> Option<Vec<String>> {
        let wanted = self.record.desired == DesiredState::Running;
        wanted.then(|| destination_names(&self.stream_config.borrow()))
    }

    /// When something is due without anyone asking.
    fn deadline(&self) -> Option<Instant> {
        match &self.life {
            Life::Backoff(wait) => Some(wait.until),
            _ => None,
        }
    }
}

fn destination_names(config: &StreamConfig) -> Vec<String> {
    let destinations = config.destinations.iter();
    destinations.map(|to| to.name.clone()).collect()
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn answer<T>(reply: Reply<T>, outcome: Result<T, RequestError>) {
    // Whoever asked may have gone away; what they asked for is done all the same.
    let _ = reply.send(outcome);
}
