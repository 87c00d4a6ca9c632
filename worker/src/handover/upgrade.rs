//! Checking a program that this process is to become, and becoming it.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use storage::model::JobSecrets;
use supervise::reexec::{self, Image};
use supervise::{CaptureLimits, Spec};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::document::{Document, DocumentError};
use crate::control::Command;
use crate::logging::LogRing;

/// What the checked program says when it can go on from a document.
pub const CHECKED: &str = "ok";
/// Where it finds the document.
const CHECK_FD: i32 = 3;
const CHECK_LIMITS: CaptureLimits = CaptureLimits {
    timeout: Duration::from_secs(5),
    max_bytes: 64 << 10,
};
/// A playout that plays answers within a turn.
const REHEARSAL_LIMIT: Duration = Duration::from_secs(2);

/// Upgrades this process on request, one request at a time.
#[derive(Debug)]
pub struct Upgrader {
    commands: mpsc::Sender<Command>,
    secrets: JobSecrets,
    logs: LogRing,
    busy: Mutex<()>,
}

/// Why this process does not become another program.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// Nothing is on air yet, or nothing any more.
    #[error("the stream is not on air: an upgrade hands over what is; restart the stream instead")]
    NotOnAir,
    /// Another request is being served.
    #[error("an upgrade is under way")]
    Busy,
    /// The program does not take over.
    #[error("{} cannot go on with this stream, the running worker does: {reason}", program.display())]
    Refused {
        /// Which.
        program: PathBuf,
        /// What happened when it was asked.
        reason: String,
    },
    /// There is no document.
    #[error("nothing can be handed over")]
    Document(#[from] DocumentError),
}

// === impl Upgrader ===

impl Upgrader {
    /// One that sends its orders to playout by `commands`.
    pub fn new(commands: mpsc::Sender<Command>, secrets: JobSecrets, logs: LogRing) -> Self {
        Self {
            commands,
            secrets,
            logs,
            busy: Mutex::default(),
        }
    }

    /// Checks that `program` can go on with this stream, and has playout hand over to it. Returns
    /// before that is done; how it went stands in the report.
    ///
    /// # Errors
    /// See [`UpgradeError`]; nothing has changed then.
    pub async fn upgrade(&self, program: &Path) -> Result<(), UpgradeError> {
        let _one_at_a_time = self.busy.try_lock().map_err(|_| UpgradeError::Busy)?;
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.try_send(Command::Rehearse(reply));
        sent.map_err(|_| UpgradeError::NotOnAir)?;
        let rehearsal = tokio::time::timeout(REHEARSAL_LIMIT, answer).await;
        let Ok(Ok(rehearsal)) = rehearsal else {
            return Err(UpgradeError::NotOnAir);
        };
        let logs = self.logs.last(usize::MAX);
        let document = Document::rehearsal(rehearsal, &self.secrets, logs)?;
        let memfd = document.write().map_err(DocumentError::from)?;
        let job = job_file(&document);
        drop(document);
        check(program, memfd, &job).await.map_err(|reason| {
            tracing::error!(program = %program.display(), "the worker is not upgraded: {reason}");
            UpgradeError::Refused {
                program: program.to_owned(),
                reason,
            }
        })?;
        let order = Command::HandOver(program.to_owned());
        let sent = self.commands.send(order).await;
        sent.map_err(|_| UpgradeError::NotOnAir)
    }
}

/// Asks `program` whether it can go on from the document in `memfd`.
async fn check(program: &Path, memfd: OwnedFd, job: &str) -> Result<(), String> {
    let spec = Spec::new(program)
        .args(["--check-resume", &CHECK_FD.to_string(), "--job", job])
        .fd(memfd, CHECK_FD);
    let captured = supervise::capture(spec, CHECK_LIMITS).await;
    let captured = captured.map_err(|error| match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    })?;
    let said = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty());
        line.map(|line| line.chars().take(300).collect::<String>())
    };
    match said(&captured.stdout).as_deref() {
        Some(CHECKED) => Ok(()),
        answer => {
            let words = said(&captured.stderr).or(answer.map(str::to_owned));
            let words = words.unwrap_or_else(|| "it said nothing".to_owned());
            Err(format!(
                "asked whether it can, it ended ({}): {words}",
                captured.exit
            ))
        }
    }
}

/// Becomes `program`, which goes on from `document`. Returns only when that failed; everything is
/// as it was then. Blocks.
///
/// Signals are held back from here on and wait for the other program. What this one was told before that, the
/// other would never hear of: so it does not become it once `shutdown` is cancelled.
pub fn become_program(program: &Path, document: &Document, shutdown: &CancellationToken) -> String {
    let attempt = || -> std::io::Result<std::convert::Infallible> {
        let running = OwnedFd::from(File::open("/proc/self/exe")?);
        let memfd = document.write()?;
        if shutdown.is_cancelled() {
            return Err(std::io::Error::other("it was told to stop"));
        }
        let mut keep = document.descriptors();
        keep.extend([running.as_raw_fd(), memfd.as_raw_fd()]);
        Err(reexec::become_image(Image {
            program: program.to_owned(),
            args: vec![
                "stream-worker".to_owned(),
                "--resume".to_owned(),
                memfd.as_raw_fd().to_string(),
                "--previous".to_owned(),
                running.as_raw_fd().to_string(),
                "--job".to_owned(),
                job_file(document),
            ],
            keep,
        }))
    };
    match attempt() {
        Err(error) => format!("this process cannot become {}: {error}", program.display()),
        Ok(never) => match never {},
    }
}

/// Becomes the program again that this process was before, with the same document: this one cannot
/// go on from it. `job` is what that one named as its job, so that it knows the argument. Returns only
/// when that failed. Blocks.
pub fn fall_back(previous: i32, document: i32, job: Option<&Path>, reason: &str) -> std::io::Error {
    let mut args = vec![
        "stream-worker".to_owned(),
        "--resume".to_owned(),
        document.to_string(),
        "--previous".to_owned(),
        previous.to_string(),
        "--fell-back".to_owned(),
        reason.chars().take(300).collect(),
    ];
    if let Some(job) = job {
        args.extend(["--job".to_owned(), job.display().to_string()]);
    }
    reexec::become_image(Image {
        program: format!("/proc/self/fd/{previous}").into(),
        args,
        // Nothing else was touched yet.
        keep: vec![document, previous],
    })
}

/// By which a worker is known among the processes of a machine, as when its controller started it.
fn job_file(document: &Document) -> String {
    let job = &document.job;
    job.layout().job(&job.stream_id).display().to_string()
}
