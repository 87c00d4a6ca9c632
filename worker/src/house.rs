//! What stands around playout for as long as the process lives: the control socket, the secrets, and
//! the way into another program.
//!
//! [`House::keep`] runs playout to its end. When playout stops to be handed over, the process becomes
//! the other program and nothing after that line happens here; if it cannot, playout goes on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use storage::media::MediaStore;
use storage::media::cache::MediaCache;
use storage::media::server::MediaServer;
use storage::model::report::exit_code;
use storage::model::{AirEvent, ErrorReport, Job, JobSecrets, WorkerExit, WorkerReport};
use supervise::reexec::PassedFd;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::control::{self, ControlPort, ControlSocket};
use crate::ffmpeg::redact::Redactor;
use crate::handover::document::{DocumentError, Held};
use crate::handover::{Document, Upgrader, upgrade};
use crate::journal::{Begin, Journal, Stamp};
use crate::logging::{self, LogRing};
use crate::playout::{Channels, Ended, HandedOver, Playout, Surroundings, TakeOver};
use crate::source::{Programs, SourceContext};
use crate::wish::{Contact, Wish};

/// Commands waiting for playout.
const COMMANDS: usize = 16;
/// What is being answered may take this long while nothing goes out.
const LAST_ANSWERS: Duration = Duration::from_millis(200);
/// The disk under the log gets this long, while nothing goes out either.
const LAST_LINES: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Debug)]
pub(crate) struct House {
    socket: Arc<ControlSocket>,
    port: ControlPort,
    pub(crate) secrets: JobSecrets,
    logs: LogRing,
    pub(crate) journal: Journal,
    /// When something was last asked at the socket.
    contact: Contact,
}

/// What ends the stream: the signal, or nobody's wish for it.
#[derive(Debug)]
pub(crate) struct Shutdown {
    pub(crate) token: CancellationToken,
    _watch: AbortOnDropHandle<()>,
}

/// What a house is opened with.
#[derive(Debug)]
pub(crate) struct Furniture {
    pub(crate) socket: ControlSocket,
    pub(crate) secrets: JobSecrets,
    pub(crate) logs: LogRing,
    pub(crate) journal: Journal,
}

/// The task that answers on the control socket.
#[derive(Debug)]
pub(crate) struct Answering {
    closed: CancellationToken,
    task: JoinHandle<()>,
}

/// A document this process can go on from.
#[derive(Debug)]
pub struct Taken {
    document: Document,
    secrets: JobSecrets,
    store: MediaStore,
    /// Why the program this process was to become did not go on from it.
    fell_back: Option<String>,
}

// === impl Taken ===

impl Taken {
    /// Makes sure that this process can go on from `document`. Nothing of it is touched, so another
    /// program still can, should this fail.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn new(document: Document, fell_back: Option<String>) -> anyhow::Result<Self> {
        document.verify()?;
        let secrets = document.secrets()?;
        let store = MediaStore::open(&document.job.storage, secrets.storage_keys.clone());
        let store = store.await.map_err(|error| {
            let report = error.report();
            anyhow::anyhow!("{}", report.message)
        })?;
        Ok(Self {
            document,
            secrets,
            store,
            fell_back,
        })
    }

    /// Goes on; returns when the stream has ended.
    ///
    /// # Errors
    /// When a socket that was handed over cannot be used.
    pub async fn go_on(self, logs: LogRing, shutdown: CancellationToken) -> io::Result<WorkerExit> {
        let document = self.document;
        document.end_strays();
        for line in &document.logs {
            logs.push(line.as_bytes());
        }
        let path = document.job.layout().socket(&document.job.stream_id);
        let socket = ControlSocket::resume(document.control.take()?, &path);
        let media = std::net::TcpListener::from(document.media.take()?);
        let server = MediaServer::resume(self.store.clone(), media_cache(&document.job), media)?;
        let report = WorkerReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..document.report
        };
        let take_over = TakeOver {
            frozen_at: document.frozen_at,
            number: document.number,
            from: document.version,
            fell_back: self.fell_back,
        };
        let sources = sources_of(&document.job, &self.secrets, self.store.clone(), server);
        let next_seq = document.next_seq;
        let journal = Journal::start(&document.job, Begin::TakesOver { next_seq });
        let furniture = Furniture {
            socket,
            secrets: self.secrets.clone(),
            logs,
            journal: journal.clone(),
        };
        let (house, channels) = House::new(furniture, report);
        let shutdown = house.shutdown(&document.job, shutdown);
        let around = Surroundings {
            job: document.job,
            secrets: self.secrets,
            sources,
            store: self.store,
            journal,
            channels,
        };
        let playout = Playout::resume(document.playout, take_over, around);
        let answering = house.open();
        Ok(house.keep(playout, answering, &shutdown).await)
    }
}

// === impl House ===

impl House {
    /// With the control socket not answered yet; also answers playout's ends of its channels.
    pub(crate) fn new(furniture: Furniture, first: WorkerReport) -> (Self, Channels) {
        let Furniture {
            socket,
            secrets,
            logs,
            journal,
        } = furniture;
        let (report, report_read) = watch::channel(first);
        let (command_to, commands) = mpsc::channel(COMMANDS);
        let upgrader = Upgrader::new(command_to.clone(), secrets.clone(), logs.clone());
        let port = ControlPort {
            report: report_read,
            commands: command_to,
            upgrader: Arc::new(upgrader),
        };
        let house = Self {
            socket: Arc::new(socket),
            port,
            secrets,
            logs,
            journal,
            contact: Contact::new(),
        };
        (house, Channels { commands, report })
    }

    /// From `signal` on, or once the stream of `job` is wanted no more, it is to end.
    pub(crate) fn shutdown(&self, job: &Job, signal: CancellationToken) -> Shutdown {
        let token = signal.child_token();
        let gone = Wish::of(job).gone(self.contact.clone());
        let ending = token.clone();
        Shutdown {
            token,
            _watch: AbortOnDropHandle::new(tokio::spawn(async move {
                gone.await;
                ending.cancel();
            })),
        }
    }

    /// Answers on the control socket from now on.
    pub(crate) fn open(&self) -> Answering {
        let closed = CancellationToken::new();
        let (socket, port, logs) = (self.socket.clone(), self.port.clone(), self.logs.clone());
        let contact = self.contact.clone();
        let serving = control::serve(socket, port, logs, contact, closed.clone());
        Answering {
            task: tokio::spawn(serving),
            closed,
        }
    }

    /// Runs playout to its end.
    pub(crate) async fn keep(
        mut self,
        mut playout: Playout,
        mut answering: Answering,
        shutdown: &Shutdown,
    ) -> WorkerExit {
        let _leads = AbortOnDropHandle::new(tokio::spawn(lead(self.port.report.clone())));
        loop {
            match Box::pin(playout.run(&shutdown.token)).await {
                Ended::Stopped => return self.close(answering, exit_code::STOPPED, None).await,
                Ended::Exhausted(error) => {
                    let code = exit_code::DESTINATIONS_EXHAUSTED;
                    return self.close(answering, code, Some(error)).await;
                }
                Ended::HandedOver(stopped) => {
                    answering.close_within(LAST_ANSWERS).await;
                    let next_seq = self.journal.close().await;
                    let why_not = self.become_program(&stopped, next_seq, &shutdown.token);
                    self.journal = Journal::start(&stopped.job, Begin::TakesOver { next_seq });
                    answering = self.open();
                    match self.go_on_here(*stopped, why_not).await {
                        Ok(same) => playout = same,
                        Err(error) => {
                            let code = exit_code::INTERNAL;
                            return self.close(answering, code, Some(lost(&error))).await;
                        }
                    }
                }
            }
        }
    }

    /// The end: what was asked is answered, and the record says how it ended.
    pub(crate) async fn close(
        self,
        answering: Answering,
        code: i32,
        error: Option<ErrorReport>,
    ) -> WorkerExit {
        answering.close().await;
        self.journal.note(Stamp::now(), AirEvent::Ended { code });
        self.journal.close().await;
        WorkerExit {
            generation: self.port.report.borrow().generation,
            code,
            error,
        }
    }

    /// Returns only if it failed: why. Holds up its thread, which has nothing else to do.
    fn become_program(
        &self,
        stopped: &HandedOver,
        next_seq: u64,
        shutdown: &CancellationToken,
    ) -> String {
        let document = || -> Result<Document, DocumentError> {
            let held = Held {
                secrets: &self.secrets,
                logs: self.logs.last(usize::MAX),
                next_seq,
                control: self.socket.hand_over()?,
            };
            Document::new(stopped, held)
        };
        match document() {
            Ok(document) => {
                logging::flush(LAST_LINES);
                let why_not = upgrade::become_program(&stopped.program, &document, shutdown);
                // They are copies for the other program.
                for copy in [document.control, document.media] {
                    drop(PassedFd::take(copy));
                }
                why_not
            }
            Err(error) => error.to_string(),
        }
    }

    async fn go_on_here(&self, stopped: HandedOver, why_not: String) -> io::Result<Playout> {
        let cache = media_cache(&stopped.job);
        let server = match stopped.media_socket {
            Ok(socket) => MediaServer::resume(stopped.store.clone(), cache, socket)?,
            Err(_) => MediaServer::start_with(stopped.store.clone(), cache).await?,
        };
        let store = stopped.store;
        let sources = sources_of(&stopped.job, &self.secrets, store.clone(), server);
        let number = stopped
            .report
            .upgrade
            .as_ref()
            .map_or(0, |last| last.number);
        let take_over = TakeOver {
            frozen_at: stopped.frozen_at,
            number: number + 1,
            from: env!("CARGO_PKG_VERSION").to_owned(),
            fell_back: Some(why_not),
        };
        let around = Surroundings {
            job: stopped.job,
            secrets: self.secrets.clone(),
            sources,
            store,
            journal: self.journal.clone(),
            channels: stopped.channels,
        };
        Ok(Playout::resume(stopped.playout, take_over, around))
    }
}

/// Goes before FFmpeg once it is on air: who is only starting holds up nobody who is.
async fn lead(mut reports: watch::Receiver<WorkerReport>) {
    let on_air = reports.wait_for(|report| report.on_air.is_some()).await;
    if on_air.is_ok() {
        supervise::priority::lead();
    }
}

fn lost(error: &io::Error) -> ErrorReport {
    ErrorReport {
        error_type: "worker_failed".to_owned(),
        message: format!("the stream could not go on after an upgrade that failed: {error}"),
        hint: "see the worker's log; the stream is started again by itself".to_owned(),
    }
}

// === impl Answering ===

impl Answering {
    /// Ends it when everything asked has been answered.
    pub(crate) async fn close(self) {
        self.closed.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the control socket's task failed");
        }
    }

    /// The same; what is not answered in time is not answered.
    async fn close_within(mut self, limit: Duration) {
        self.closed.cancel();
        if tokio::time::timeout(limit, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

/// The cache of media that a job allows.
pub(crate) fn media_cache(job: &Job) -> Option<MediaCache> {
    let dir = job.layout().objects_dir();
    MediaCache::open(dir, &job.storage, job.cache_max_bytes)
}

/// What a job's sources read with.
pub(crate) fn sources_of(
    job: &Job,
    secrets: &JobSecrets,
    store: MediaStore,
    server: MediaServer,
) -> Arc<SourceContext> {
    let programs = Programs {
        ffmpeg: job.ffmpeg_bin.clone(),
        ffprobe: job.ffprobe_bin.clone(),
    };
    let redactor = Redactor::new(secrets.all());
    SourceContext::new(programs, store, server, &job.layout(), redactor)
}
