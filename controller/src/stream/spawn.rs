//! Starting a worker: lease, job, log, control group, process, secrets, in that order.
//!
//! The job is written before the process exists, so a controller that finds a worker always finds
//! what it was given. Secrets go through its standard input and nowhere else.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use storage::atomic::{self, AtomicError, DiskFault};
use storage::layout::{Layout, LayoutError};
use storage::model::job::{JOB_VERSION, Provider};
use storage::model::problems::Problem;
use storage::model::report::ErrorReport;
use storage::model::{Job, JobSecrets, StreamConfig, StreamId};
use supervise::cgroup::Cgroup;
use supervise::{Child, Group, Input, Output, SpawnError, Spec};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep, timeout};

use super::group;
use super::lease::Lease;
use crate::chain;
use crate::config::{Config, MAX_SOCKET_PATH_BYTES};

/// How long the lease of a worker that was seen to end may still be held.
const LEASE_PATIENCE: Duration = Duration::from_secs(2);
const LEASE_POLL: Duration = Duration::from_millis(20);
/// A worker reads its secrets first of all.
const SECRETS_PATIENCE: Duration = Duration::from_secs(5);
/// Descriptor the worker finds its lease at; it only has to keep it.
const LEASE_FD: i32 = 3;
/// One heap for all threads, of which what is free goes back: about a megabyte less of a worker's six (mallopt(3),
/// "Environment variables").
const HEAP: [(&str, &str); 2] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_TRIM_THRESHOLD_", "131072"),
];
/// Variables of ambient AWS credentials (a role of the machine, a profile).
const AWS_VARIABLES: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_EC2_METADATA_DISABLED",
];

/// Which worker is to be started.
#[derive(Debug)]
pub(super) struct Order {
    /// The stream.
    pub(super) id: StreamId,
    /// How it is configured.
    pub(super) config: StreamConfig,
    /// One more than that of any worker before it.
    pub(super) generation: u64,
}

/// A worker that was started.
#[derive(Debug)]
pub(super) struct Started {
    /// Its process, which outlives this one.
    pub(super) child: Child,
    /// Its control group, where there are any.
    pub(super) group: Option<Cgroup>,
    /// What it answers on its socket.
    pub(super) nonce: String,
    /// The variables of the stream keys and passwords it was given.
    pub(super) keys: BTreeSet<String>,
}

/// Why there is no new worker.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// The configuration cannot be used here.
    #[error("{}", list(.0))]
    Unusable(Vec<Problem>),
    /// A stream key is not set or damaged.
    #[error("{}", list(.0))]
    Keys(Vec<Problem>),
    /// An earlier worker is not gone.
    #[error("an earlier worker of this stream still holds {}", .0.display())]
    Held(PathBuf),
    /// The lease could not be made.
    #[error("cannot lock {}", path.display())]
    Lease {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory is missing and cannot be made.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The job could not be written.
    #[error(transparent)]
    Job(#[from] AtomicError),
    /// The log could not be opened.
    #[error("cannot open the log {}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The program did not start.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// It did not take its secrets.
    #[error("the worker did not read its secrets")]
    Secrets(#[source] io::Error),
}

/// Starts a worker. When this returns an error, there is none.
///
/// # Errors
/// See [`StartError`].
pub(super) async fn start(order: Order, settings: &Arc<Config>) -> Result<Started, StartError> {
    let lasting = lasting_problems(&order.id, settings);
    if !lasting.is_empty() {
        return Err(StartError::Unusable(lasting));
    }
    let (secrets, unset) = secrets(&order.config, settings);
    if !has_somewhere_to_go(&order.config, &secrets) {
        return Err(StartError::Keys(unset));
    }
    if !unset.is_empty() {
        // The others are not kept waiting for it; the worker shows it as down.
        tracing::warn!(stream_id = %order.id, "starting without: {}", list(&unset));
    }
    let lease = lease(&order.id, settings).await?;
    let keys: BTreeSet<_> = secrets.stream_keys.keys().cloned().collect();
    let job = job(order, keys.clone(), settings);
    let nonce = job.nonce.clone();
    let settings = Arc::clone(settings);
    // Disk and kernel may take their time over it.
    let made = tokio::task::spawn_blocking(move || make(&job, lease, &settings));
    let (mut child, group) = made.await.expect("making a process does not panic")?;
    hand_over(&mut child, &secrets).await?;
    Ok(Started {
        child,
        group,
        nonce,
        keys,
    })
}

/// The process, without its secrets yet, and its control group.
fn make(job: &Job, lease: Lease, settings: &Config) -> Result<(Child, Option<Cgroup>), StartError> {
    let id = &job.stream_id;
    let log = prepare(&settings.layout, job)?;
    let group = group::create(settings.cgroup.as_ref(), id, job.generation);
    let mut spec = spec(id, settings, lease, log)?;
    if let Some(entrance) = group.as_ref().and_then(|group| group.entrance().ok()) {
        spec = spec.cgroup(entrance);
    }
    Ok((supervise::spawn(spec)?, group))
}

/// What stands against starting a worker for `config` with the secrets there are now.
pub(super) fn problems(id: &StreamId, config: &StreamConfig, settings: &Config) -> Vec<Problem> {
    let mut problems = lasting_problems(id, settings);
    problems.extend(secrets(config, settings).1);
    problems
}

/// What stands against ever starting a stream of this id here.
pub(crate) fn lasting_problems(id: &StreamId, settings: &Config) -> Vec<Problem> {
    let socket = settings.layout.socket(id);
    if socket.as_os_str().len() <= MAX_SOCKET_PATH_BYTES {
        return Vec::new();
    }
    vec![Problem {
        path: String::new(),
        message: format!(
            "{} is longer than the {MAX_SOCKET_PATH_BYTES} bytes a socket's path may have: choose a \
             shorter stream id or RUNTIME_DIR",
            socket.display()
        ),
    }]
}

/// The variables of destinations' keys and inputs' passwords, each with its place in `config`.
pub(super) fn named_keys(config: &StreamConfig) -> impl Iterator<Item = (String, &str)> {
    let of_destinations = config.destinations.iter().enumerate();
    let of_destinations = of_destinations.filter_map(|(index, destination)| {
        let name = destination.key_env.as_deref()?;
        Some((format!("destinations[{index}].key_env"), name))
    });
    let of_inputs = config.live_inputs.iter().enumerate();
    let of_inputs = of_inputs.filter_map(|(index, input)| {
        let name = input.password_env.as_deref()?;
        Some((format!("live_inputs[{index}].password_env"), name))
    });
    of_destinations.chain(of_inputs)
}

/// Without destinations there is the preview.
fn has_somewhere_to_go(config: &StreamConfig, secrets: &JobSecrets) -> bool {
    let keys = &secrets.stream_keys;
    let mut needed = config.destinations.iter().map(|to| to.key_env.as_ref());
    config.destinations.is_empty() || needed.any(|key| key.is_none_or(|key| keys.contains_key(key)))
}

/// The secrets there are, and what is wrong with those there are not.
fn secrets(config: &StreamConfig, settings: &Config) -> (JobSecrets, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut secrets = JobSecrets {
        storage_keys: settings.storage_keys.clone(),
        ..JobSecrets::default()
    };
    for (path, name) in named_keys(config) {
        match settings.keyring.secret(name) {
            // A line break would end the line FFmpeg reads the key from and begin another option.
            Some(key) if key.expose().chars().any(char::is_control) => problems.push(Problem {
                path,
                message: format!("{name} holds a control character; copy the key again"),
            }),
            Some(key) => {
                secrets.stream_keys.insert(name.to_owned(), key);
            }
            None => problems.push(Problem {
                path,
                message: format!(
                    "{name} is not set; put it into the controller's environment file or credentials \
                     and restart it"
                ),
            }),
        }
    }
    (secrets, problems)
}

/// Takes the lease once no earlier worker has it, and none has left a process in its control group.
async fn lease(id: &StreamId, settings: &Config) -> Result<Lease, StartError> {
    if let Err(error) = settings.layout.create() {
        // They were made at the start of the controller. Those that were removed since and matter are told below.
        tracing::error!(stream_id = %id, error_type = "disk", "{}", chain(&error));
    }
    let path = &settings.layout.lease(id);
    let deadline = Instant::now() + LEASE_PATIENCE;
    loop {
        let lease = Lease::acquire(path).map_err(|source| StartError::Lease {
            path: path.to_owned(),
            source,
        })?;
        let groups = group::of(settings.cgroup.as_ref(), id);
        let left = groups.iter().any(Cgroup::is_populated);
        match lease {
            Some(lease) if !left => {
                groups.iter().for_each(group::remove);
                return Ok(lease);
            }
            _ if Instant::now() >= deadline => return Err(StartError::Held(path.to_owned())),
            _ => sleep(LEASE_POLL).await,
        }
    }
}

fn job(order: Order, keys: BTreeSet<String>, settings: &Config) -> Job {
    Job {
        version: JOB_VERSION,
        stream_id: order.id,
        generation: order.generation,
        nonce: nonce(),
        config: order.config,
        storage: settings.storage.clone(),
        ffmpeg_bin: settings.ffmpeg_bin.clone(),
        ffprobe_bin: settings.ffprobe_bin.clone(),
        state_dir: settings.layout.state_dir.clone(),
        runtime_dir: settings.layout.runtime_dir.clone(),
        cache_dir: settings.layout.cache_dir.clone(),
        cache_max_bytes: settings.cache_max_bytes,
        ingest: settings.ingest_bind.is_some(),
        allow_argv_secrets: settings.allow_argv_secrets,
        keys: Some(keys),
    }
}

fn nonce() -> String {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).expect("the kernel's random numbers do not run out");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes what the worker reads, clears what the last one left, and opens the log.
fn prepare(layout: &Layout, job: &Job) -> Result<File, StartError> {
    let id = &job.stream_id;
    if let Err(error) = layout.create_stream(id) {
        // What lies there is worth less than being on air: position and record, not the job.
        tracing::error!(stream_id = %id, error_type = "disk", "{}", chain(&error));
    }
    atomic::remove_volatile(&layout.exit(id))?;
    atomic::remove_volatile(&layout.socket(id))?;
    let text = serde_json::to_vec_pretty(job).expect("a job holds nothing JSON cannot");
    // Read only while its worker lives, so by nobody after a power cut.
    atomic::write_volatile(&layout.job(id), &text)?;
    let path = layout.log(id);
    let mut append = OpenOptions::new();
    append.append(true).create(true).mode(0o640);
    append.open(&path).or_else(|source| {
        // A disk that takes no log, because it is full or read-only, takes no stream off air.
        tracing::error!(
            stream_id = %id,
            error_type = DiskFault::of(&source).error_type(),
            path = %path.display(),
            "the worker runs without its log: {source}"
        );
        append
            .open("/dev/null")
            .map_err(|source| StartError::Log { path, source })
    })
}

fn spec(id: &StreamId, settings: &Config, lease: Lease, log: File) -> Result<Spec, StartError> {
    let again = log.try_clone().map_err(|source| StartError::Log {
        path: settings.layout.log(id),
        source,
    })?;
    let mut spec = Spec::new(&settings.worker_bin)
        .arg("--job")
        .arg(settings.layout.job(id))
        .env("RUST_LOG", &settings.logging.filter)
        .env("LOG_FORMAT", settings.logging.format.as_str())
        .stdin(Input::Piped)
        .stdout(Output::File(again))
        .stderr(Output::File(log))
        .fd(lease, LEASE_FD)
        .group(Group::OwnSession)
        .cwd(&settings.layout.state_dir)
        .outlives_parent();
    for (name, value) in HEAP {
        spec = spec.env(name, value);
    }
    // A private /tmp goes away with the service that a worker outlives.
    spec = spec.env("TMPDIR", &settings.layout.cache_dir);
    if settings.storage.provider == Provider::S3 && settings.storage_keys.is_none() {
        for name in AWS_VARIABLES {
            if let Some(value) = std::env::var_os(name) {
                spec = spec.env(name, value);
            }
        }
    }
    Ok(spec)
}

async fn hand_over(child: &mut Child, secrets: &JobSecrets) -> Result<(), StartError> {
    let text = secrets.to_pipe().expect("a map of texts is JSON");
    let mut stdin = child.take_stdin().expect("standard input is piped above");
    let written = timeout(SECRETS_PATIENCE, async {
        stdin.write_all(&text).await?;
        stdin.shutdown().await
    })
    .await
    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    match written {
        // A worker that ends before it reads has its own reason, which its exit tells.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            child.kill_now();
            child.wait().await;
            Err(StartError::Secrets(error))
        }
        _ => Ok(()),
    }
}

// === impl StartError ===

impl StartError {
    /// Whether only a change of settings can help.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Unusable(_) | Self::Keys(_))
    }

    /// For the operator.
    pub(super) fn report(&self) -> ErrorReport {
        let (error_type, hint) = match self {
            Self::Unusable(_) => (
                "config_unusable",
                "correct the stream's configuration, then start it",
            ),
            Self::Keys(_) => (
                "missing_stream_key",
                "set the variable, restart the controller, start the stream",
            ),
            Self::Held(_) => (
                "earlier_worker_alive",
                "it is being ended; nothing is started next to it",
            ),
            Self::Job(error) => (error.fault.error_type(), error.fault.hint()),
            Self::Lease { .. } | Self::Layout(_) | Self::Log { .. } => (
                "disk",
                "look at space and permissions of STATE_DIR and RUNTIME_DIR",
            ),
            Self::Spawn(SpawnError::Missing { .. }) => (
                "worker_missing",
                "install stream-worker next to stream-controller, or set WORKER_BIN",
            ),
            Self::Spawn(SpawnError::Refused { .. }) => (
                "machine_exhausted",
                "the machine is out of memory, processes or descriptors",
            ),
            Self::Secrets(_) => (
                "worker_failed",
                "the stream's log may say what the worker did instead",
            ),
        };
        ErrorReport {
            error_type: error_type.into(),
            message: chain(self),
            hint: hint.into(),
        }
    }
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
    lines.join("; ")
}
