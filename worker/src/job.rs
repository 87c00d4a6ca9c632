//! What a worker is started with: the job file, and the secrets on standard input.

use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use storage::model::job::JOB_VERSION;
use storage::model::{Job, JobSecrets};
use storage::secret::Secret;

/// How long whoever starts a worker may take to hand over its secrets.
const HANDOVER: Duration = Duration::from_secs(2);
/// More than a thousand keys.
const MAX_SECRETS_BYTES: usize = 1024 * 1024;

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The file cannot be read.
    #[error("cannot read the job {}", path.display())]
    Unreadable {
        /// The job's.
        path: PathBuf,
        /// From the system.
        source: io::Error,
    },
    /// The file is not a job.
    #[error("{} is not a job", path.display())]
    Invalid {
        /// The job's.
        path: PathBuf,
        /// Names a line and a column.
        source: serde_json::Error,
    },
    /// The file was written by another version of the controller.
    #[error("the job {} has version {version}; this worker reads {JOB_VERSION}: install controller and worker of one release", path.display())]
    Version {
        /// The job's.
        path: PathBuf,
        /// It states.
        version: u32,
    },
    /// Standard input did not end.
    #[error("the secrets on standard input did not end within {} s; for none, start it with </dev/null", HANDOVER.as_secs())]
    SecretsNotEnded,
    /// Standard input is not what a controller writes.
    #[error("standard input does not hold the secrets as one JSON object")]
    SecretsInvalid(#[source] serde_json::Error),
    /// Standard input cannot be read, or does not stop coming.
    #[error("cannot read the secrets from standard input")]
    SecretsUnreadable(#[source] io::Error),
}

/// Reads the job at `path`.
///
/// # Errors
/// When it is not there, not a job, or another release's.
pub fn read_job(path: &Path) -> Result<Job, JobError> {
    let path = path.to_owned();
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(source) => return Err(JobError::Unreadable { path, source }),
    };
    let job: Job = match serde_json::from_slice(&bytes) {
        Ok(job) => job,
        Err(source) => return Err(JobError::Invalid { path, source }),
    };
    match job.version {
        JOB_VERSION => Ok(job),
        version => Err(JobError::Version { path, version }),
    }
}

/// Reads the secrets from standard input. A worker started by hand has a terminal there, or
/// nothing: it takes them from its environment, as the controller would.
///
/// # Errors
/// When standard input holds something else, or does not end in time.
pub fn read_secrets(job: &Job) -> Result<JobSecrets, JobError> {
    let stdin = io::stdin();
    let by_hand = || from_variables(job, |name| std::env::var(name).ok());
    if stdin.is_terminal() {
        return Ok(by_hand());
    }
    // Not through `Stdin`: its buffer would keep a copy of the secrets for as long as it lives.
    let descriptor = stdin.as_fd().try_clone_to_owned();
    let mut pipe = std::fs::File::from(descriptor.map_err(JobError::SecretsUnreadable)?);
    let bytes = read_to_end_within(&mut pipe, Instant::now() + HANDOVER)?;
    if bytes.is_empty() {
        return Ok(by_hand());
    }
    JobSecrets::from_pipe(&bytes).map_err(JobError::SecretsInvalid)
}

fn read_to_end_within(
    pipe: &mut (impl Read + AsFd),
    deadline: Instant,
) -> Result<Vec<u8>, JobError> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        let mut descriptors = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut descriptors, left);
        if ready.map_err(|errno| JobError::SecretsUnreadable(errno.into()))? == 0 {
            return Err(JobError::SecretsNotEnded);
        }
        match pipe.read(&mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(JobError::SecretsUnreadable(error)),
        }
        if bytes.len() > MAX_SECRETS_BYTES {
            let error = io::Error::new(io::ErrorKind::FileTooLarge, "more than 1 MiB");
            return Err(JobError::SecretsUnreadable(error));
        }
    }
}

fn from_variables(job: &Job, variable: impl Fn(&str) -> Option<String>) -> JobSecrets {
    let secret = |name: &str| variable(name).map(Secret::new);
    let named = job.config.destinations.iter();
    let named = named.filter_map(|destination| destination.key_env.as_deref());
    let passwords = job.config.live_inputs.iter();
    let named = named.chain(passwords.filter_map(|input| input.password_env.as_deref()));
    JobSecrets {
        storage_keys: secret("STORAGE_ACCESS_KEY_ID").zip(secret("STORAGE_SECRET_ACCESS_KEY")),
        stream_keys: named
            .filter_map(|name| Some((name.to_owned(), secret(name)?)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn secrets_come_in_pieces_and_end_with_the_pipe() {
        let (mut reader, mut writer) = io::pipe().expect("a pipe");
        let giver = std::thread::spawn(move || {
            for piece in ["{\"stream_", "keys\":{", "\"KEY\":\"CANARY\"}}"] {
                writer.write_all(piece.as_bytes()).expect("read");
            }
        });
        let deadline = Instant::now() + Duration::from_secs(10);
        let bytes = read_to_end_within(&mut reader, deadline).expect("ends");
        giver.join().expect("written");
        let secrets = JobSecrets::from_pipe(&bytes).expect("secrets");
        assert_eq!(secrets.stream_keys["KEY"].expose(), "CANARY");
    }

    #[test]
    fn a_pipe_that_does_not_end_is_given_up() {
        let (mut reader, _writer) = io::pipe().expect("a pipe");
        let deadline = Instant::now() + Duration::from_millis(50);
        let error = read_to_end_within(&mut reader, deadline).expect_err("given up");
        assert!(matches!(error, JobError::SecretsNotEnded));
    }

    #[test]
    fn a_job_of_another_release_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let path = dir.path().join("main.job.json");
        let missing = read_job(&path).expect_err("not there");
        assert!(matches!(missing, JobError::Unreadable { .. }));
        storage::atomic::write(&path, b"{\"version\": 1,").expect("written");
        let invalid = read_job(&path).expect_err("cut short");
        assert!(matches!(invalid, JobError::Invalid { .. }));
    }
}
