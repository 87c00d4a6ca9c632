//! Run a program to its end, with bounded time and output.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::child::{ExitReason, spawn};
use crate::command::{Output, SpawnError, Spec};

/// What a captured program may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaptureLimits {
    /// Killed after this.
    pub timeout: Duration,
    /// Of each output. Too much on standard output is an error; of standard error the beginning is
    /// kept.
    pub max_bytes: usize,
}

/// What a program said and how it ended. Its exit code decides nothing here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// How it ended.
    pub exit: ExitReason,
    /// Standard output, whole.
    pub stdout: Vec<u8>,
    /// The beginning of standard error.
    pub stderr: Vec<u8>,
}

/// Why there is no result. The program is gone in each case.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// It did not start.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// It was killed for taking too long.
    #[error("{} had not finished after {:.1} s and was killed", program.display(), after.as_secs_f64())]
    TimedOut {
        /// As asked for.
        program: PathBuf,
        /// The limit.
        after: Duration,
    },
    /// It was killed for writing too much.
    #[error("{} wrote more than {max_bytes} bytes and was killed", program.display())]
    TooMuchOutput {
        /// As asked for.
        program: PathBuf,
        /// The limit.
        max_bytes: usize,
    },
    /// Its output could not be read.
    #[error("cannot read what {} writes", program.display())]
    Read {
        /// As asked for.
        program: PathBuf,
        /// From the pipe.
        source: io::Error,
    },
}

/// Runs `spec` with both outputs captured. Dropping the future kills it.
///
/// # Errors
/// When it cannot start, takes too long or writes too much.
pub async fn capture(spec: Spec, limits: CaptureLimits) -> Result<Captured, CaptureError> {
    let program = spec.program.clone();
    let mut spec = spec.stdout(Output::Piped).stderr(Output::Piped);
    // Whoever stops waiting must not leave it running.
    spec.dies_with_parent = true;
    let mut child = spawn(spec)?;
    let stdout = child.take_stdout().expect("standard output is piped above");
    let stderr = child.take_stderr().expect("standard error is piped above");
    // The end is awaited meanwhile, not after: it kills what is left of the group, which may be all
    // that holds the pipes open.
    let run = async {
        tokio::try_join!(
            read_all(stdout, limits.max_bytes),
            read_start(stderr, limits.max_bytes),
            async { io::Result::Ok(child.wait().await) },
        )
    };
    match tokio::time::timeout(limits.timeout, run).await {
        Ok(Ok((stdout, stderr, exit))) => Ok(Captured {
            exit,
            stdout,
            stderr,
        }),
        Ok(Err(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
            Err(CaptureError::TooMuchOutput {
                program,
                max_bytes: limits.max_bytes,
            })
        }
        Ok(Err(source)) => Err(CaptureError::Read { program, source }),
        Err(_) => Err(CaptureError::TimedOut {
            program,
            after: limits.timeout,
        }),
    }
}

async fn read_all(from: impl AsyncRead + Unpin, max_bytes: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let over = max_bytes as u64 + 1;
    from.take(over).read_to_end(&mut bytes).await?;
    if bytes.len() > max_bytes {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

async fn read_start(mut from: impl AsyncRead + Unpin, max_bytes: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    (&mut from)
        .take(max_bytes as u64)
        .read_to_end(&mut bytes)
        .await?;
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok(bytes)
}
