//! The controller's own life: prepare → bind → recover → serve → end.
//!
//! Until *recover* nothing has been done to any stream, so whatever fails before it leaves workers of
//! an earlier controller as they are. How it ends decides what becomes of them:
//!
//! | signal | | workers |
//! | --- | --- | --- |
//! | SIGTERM | the service manager stops the unit | ended |
//! | SIGTERM | restart, upgrade, or it cannot be told | stay on air, are adopted by the next |
//! | SIGINT | a person at a terminal | ended |
//! | a second one | | the controller leaves at once |
//!
//! Where systemd holds the API's sockets, a controller that is restarted first stops accepting (what
//! comes from then on waits for the next one), answers what it has, and only then lets go.

mod listen;
mod manager;
mod notify;
mod sampler;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use storage::layout::LayoutError;
use storage::lock::{DirLock, LockError};
use storage::media::MediaStore;
use storage::media::server::MediaServer;
use supervise::shutdown::{Cause, Shutdown};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use self::listen::{Api, ListenError, Listening};
use self::manager::Intent;
use self::notify::Notify;
use crate::api::{self, Parts};
use crate::config::Config;
use crate::history::History;
use crate::ingest::{Keys, door};
use crate::media::{self, OpenMediaError};
use crate::registry::{End, OpenError, Opening, Registry};
use crate::stream;
use crate::upstream::{mediamtx, obs};

/// Requests under way get this long when the controller ends.
const API_GRACE: Duration = Duration::from_secs(2);
/// The same when nobody is turned away meanwhile; a stop of a stream usually takes less.
const HELD_API_GRACE: Duration = Duration::from_secs(5);

/// Why the controller does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A directory cannot be made.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Another controller has the directories.
    #[error("another controller is at work here")]
    Locked(#[source] LockError),
    /// Workers of another installation run in the runtime directory.
    #[error(
        "{} belongs to workers of another STATE_DIR that run ({}): give each installation a RUNTIME_DIR of its \
         own, or stop them with `stream-controller workers stop` and their STATE_DIR",
        runtime_dir.display(),
        numbers(workers)
    )]
    Occupied {
        /// `RUNTIME_DIR`.
        runtime_dir: PathBuf,
        /// Their process ids.
        workers: Vec<i32>,
    },
    /// The lock cannot be made.
    #[error("cannot make sure that this is the only controller")]
    Lock(#[source] LockError),
    /// A document cannot be used.
    #[error(transparent)]
    Documents(#[from] OpenError),
    /// The media store's settings do not fit together.
    #[error(transparent)]
    Media(#[from] OpenMediaError),
    /// The API has no address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The ingest's address cannot be listened at.
    #[error("cannot listen at {address} (INGEST_BIND)")]
    Ingest {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The operating system refuses something every process may do.
    #[error("cannot {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: std::io::Error,
    },
}

/// The directories are this controller's alone, and both documents are whole.
struct Prepared {
    _locks: Vec<DirLock>,
    opening: Opening,
}

/// Serves until a signal ends it.
///
/// # Errors
/// See [`ServeError`]; only before anything was done to any stream.
pub async fn serve(mut config: Config) -> Result<(), ServeError> {
    let system = |what| move |source| ServeError::System { what, source };
    let shutdown = Shutdown::install().map_err(system("handle signals"))?;
    let mut reloads = signal(SignalKind::hangup()).map_err(system("handle SIGHUP"))?;
    let notify = Notify::from_environment();

    let inherited = Listening::inherited(&mut config)?;
    let config = Arc::new(config);
    let prepared = prepare(Arc::clone(&config)).await?;
    let listening = match inherited {
        Some(listening) => listening,
        None => Listening::bind(config.bind)?,
    };
    let address = listening.address().unwrap_or(config.bind);

    let ingest = bind_ingest(&config).await?;
    let (store, media_server) = open_media(&config, address).await?;

    let mut tasks = JoinSet::new();
    let history =
        History::start(config.layout.clone(), config.history).map_err(system("make a thread"))?;
    let registry = prepared.opening.start(history.clone(), &mut tasks);
    tasks.spawn(sampler::run(registry.clone(), history.clone()));
    let keys = Keys::open(&config.layout.ingest_keys_file(), &mut tasks);
    if let Some(listener) = ingest {
        let (keys, registry, layout) = (keys.clone(), registry.clone(), config.layout.clone());
        tasks.spawn(door::stand_open(listener, keys, registry, layout));
    }
    let obs = config.obs.clone();
    let parts = Parts {
        keys,
        mediamtx: mediamtx::start(config.mediamtx.clone(), registry.clone(), &mut tasks),
        obs: obs.map(|obs| obs::start(obs, registry.clone(), &mut tasks)),
        registry: registry.clone(),
        history: history.clone(),
        store,
        media_server,
        closing: listening.closing(),
    };
    let router = api::router(&config, parts);
    tracing::info!(%address, state_dir = %config.layout.state_dir.display(), version = env!("CARGO_PKG_VERSION"), "serving");
    let api = listening.serve(&router);

    let mut watchdog = notify.watchdog();
    let mut ready = false;
    let cause = loop {
        tokio::select! {
            cause = shutdown.requested() => break cause,
            Some(()) = reloads.recv() => registry.reload().await,
            () = registry.recovered(), if !ready => {
                ready = true;
                notify.ready();
                tracing::info!(streams = registry.list().len(), "ready");
            }
            () = watchdog.due() => notify.alive(),
        }
    };
    notify.stopping();
    tokio::select! {
        () = end(cause, &registry, api) => {}
        () = shutdown.immediate() => tracing::warn!("second signal: leaving at once"),
    }
    tasks.shutdown().await;
    history.close().await;
    tracing::info!("ended");
    Ok(())
}

async fn prepare(config: Arc<Config>) -> Result<Prepared, ServeError> {
    tokio::task::spawn_blocking(move || {
        let layout = &config.layout;
        layout.create()?;
        make_media_folder(&config);
        let locks = [layout.lock_file(), runtime_lock(&config)]
            .iter()
            .map(|path| DirLock::acquire(path))
            .collect::<Result<_, _>>()
            .map_err(|error| match error {
                LockError::Held { .. } => ServeError::Locked(error),
                LockError::Failed { .. } => ServeError::Lock(error),
            })?;
        let workers = stream::strangers(layout);
        if !workers.is_empty() {
            let runtime_dir = layout.runtime_dir.clone();
            return Err(ServeError::Occupied {
                runtime_dir,
                workers,
            });
        }
        Ok(Prepared {
            _locks: locks,
            opening: Opening::read(config)?,
        })
    })
    .await
    .expect("reading documents does not panic")
}

/// The folder a newcomer was not asked for is made for them; one that was named must be there.
fn make_media_folder(config: &Config) {
    if let Some(dir) = &config.storage.local_dir
        && dir.starts_with(&config.layout.state_dir)
        && let Err(error) = std::fs::create_dir_all(dir)
    {
        // Listing it will fail and be shown in the status.
        tracing::warn!(path = %dir.display(), %error, "cannot make the media folder");
    }
}

/// Two controllers with a state directory each must not share sockets either.
fn runtime_lock(config: &Config) -> PathBuf {
    config.layout.runtime_dir.join("controller.lock")
}

/// The media store, and the loopback server that hands its objects to this machine's FFprobes.
async fn open_media(
    config: &Config,
    address: SocketAddr,
) -> Result<(MediaStore, MediaServer), ServeError> {
    let store = media::open(config, address).await?;
    let server = MediaServer::start(store.clone())
        .await
        .map_err(|source| ServeError::System {
            what: "listen on loopback for FFprobe",
            source,
        })?;
    Ok((store, server))
}

/// The door for encoders, where `INGEST_BIND` asks for one.
async fn bind_ingest(config: &Config) -> Result<Option<TcpListener>, ServeError> {
    let Some(address) = config.ingest_bind else {
        return Ok(None);
    };
    let bound = TcpListener::bind(address).await;
    let listener = bound.map_err(|source| ServeError::Ingest { address, source })?;
    tracing::info!(%address, "encoders are let in");
    Ok(Some(listener))
}

async fn end(cause: Cause, registry: &Registry, api: Api) {
    let end = match cause {
        Cause::Interrupt | Cause::Request => End::Drain,
        Cause::Terminate => match manager::intent().await {
            Intent::Stop => End::Drain,
            Intent::Restart | Intent::Unknown => End::Detach,
        },
    };
    tracing::info!(?cause, ?end, "ending");
    if end == End::Detach && api.is_held() {
        api.close(HELD_API_GRACE).await;
        registry.end(end).await;
    } else {
        registry.end(end).await;
        api.close(API_GRACE).await;
    }
}

fn numbers(processes: &[i32]) -> String {
    let numbers: Vec<_> = processes.iter().map(i32::to_string).collect();
    format!("process {}", numbers.join(", "))
}

// === impl ServeError ===

impl ServeError {
    /// After sysexits.h.
    pub fn exit_code(&self) -> u8 {
        match self {
            // EX_CANTCREAT
            Self::Layout(_) | Self::Lock(_) | Self::Media(OpenMediaError::Signer(_)) => 73,
            // EX_TEMPFAIL
            Self::Locked(_) | Self::Occupied { .. } => 75,
            // EX_CONFIG
            Self::Documents(_) | Self::Media(OpenMediaError::Store(_)) => 78,
            // EX_USAGE
            Self::Listen(ListenError::Public(_)) => 64,
            // EX_UNAVAILABLE
            Self::Ingest { .. } | Self::Listen(_) => 69,
            // EX_OSERR
            Self::System { .. } => 71,
        }
    }
}
