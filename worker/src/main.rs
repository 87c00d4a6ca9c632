//! `stream-worker --job FILE`: plays one stream until it is asked to stop.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use nix::sys::stat::{Mode, umask};
use storage::layout::Layout;
use storage::model::report::exit_code;
use storage::model::{ErrorReport, Job, JobSecrets, WorkerExit};
use supervise::shutdown::Shutdown;
use worker::logging::{self, LogRing};
use worker::{job, startup};

/// Threads of the runtime: one for the stream, one for whatever would hold it up.
const THREADS: usize = 2;

/// Plays one stream: from a media store to its destinations, until it is asked to stop.
#[derive(Debug, Parser)]
#[command(name = "stream-worker", version)]
struct Args {
    /// The job, as the controller writes it. Secrets are read from standard input, or from the
    /// environment when that is empty or a terminal.
    #[arg(long, value_name = "FILE")]
    job: PathBuf,
}

fn main() -> ExitCode {
    // Sockets and segments are this user's alone, from their first instant.
    umask(Mode::from_bits_truncate(0o077));
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Nowhere to tell when even that cannot be printed.
            let _ = error.print();
            return code(if error.use_stderr() {
                exit_code::USAGE
            } else {
                0
            });
        }
    };
    let (job, secrets, logs) = match prepare(&args) {
        Ok(prepared) => prepared,
        Err(error) => return unusable(&error),
    };
    let layout = Layout {
        state_dir: job.state_dir.clone(),
        runtime_dir: job.runtime_dir.clone(),
        cache_dir: job.cache_dir.clone(),
    };
    let (stream_id, generation) = (job.stream_id.clone(), job.generation);
    tracing::info!(stream = %stream_id, generation, version = env!("CARGO_PKG_VERSION"), "starting");
    let exit = play(job, secrets, logs);
    leave_record(&layout, &stream_id, &exit);
    code(exit.code)
}

fn prepare(args: &Args) -> anyhow::Result<(Job, JobSecrets, LogRing)> {
    let job = job::read_job(&args.job)?;
    let secrets = job::read_secrets(&job)?;
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let format = match variable("LOG_FORMAT") {
        Some(text) => text.parse().map_err(anyhow::Error::msg)?,
        None => logging::LogFormat::default(),
    };
    let log_file = Layout {
        state_dir: job.state_dir.clone(),
        runtime_dir: job.runtime_dir.clone(),
        cache_dir: job.cache_dir.clone(),
    }
    .log(&job.stream_id);
    let logs = logging::init(format, variable("RUST_LOG").as_deref(), &log_file)?;
    Ok((job, secrets, logs))
}

fn play(job: Job, secrets: JobSecrets, logs: LogRing) -> WorkerExit {
    let generation = job.generation;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(THREADS)
        .enable_all()
        .build();
    let played = runtime
        .context("the runtime cannot be started")
        .and_then(|runtime| {
            let exit = runtime.block_on(play_until_asked(job, secrets, logs));
            // What still runs has had its time; children die with this process.
            runtime.shutdown_background();
            exit
        });
    played.unwrap_or_else(|error| {
        tracing::error!(error = format!("{error:#}"), "the worker failed");
        WorkerExit {
            generation,
            code: exit_code::INTERNAL,
            error: Some(ErrorReport {
                error_type: "worker_failed".to_owned(),
                message: format!("{error:#}"),
                hint: "see the worker's log; the stream is started again by itself".to_owned(),
            }),
        }
    })
}

async fn play_until_asked(
    job: Job,
    secrets: JobSecrets,
    logs: LogRing,
) -> anyhow::Result<WorkerExit> {
    let shutdown = Shutdown::install().context("signals cannot be received")?;
    let generation = job.generation;
    // In a task of its own, so that a panic in it is an error here, with a record of the exit.
    let playing = tokio::spawn(startup::run(job, secrets, logs, shutdown.token()));
    tokio::select! {
        exit = playing => exit.context("playout ended by a fault of its own"),
        () = shutdown.immediate() => {
            tracing::warn!("asked to stop a second time: leaving at once");
            Ok(WorkerExit { generation, code: exit_code::STOPPED, error: None })
        }
    }
}

/// For whoever cannot wait for this process.
fn leave_record(layout: &Layout, stream_id: &storage::model::StreamId, exit: &WorkerExit) {
    let path = layout.exit(stream_id);
    let written = serde_json::to_vec(exit)
        .map_err(anyhow::Error::from)
        .and_then(|bytes| Ok(storage::atomic::write(&path, &bytes)?));
    if let Err(error) = written {
        let error = format!("{error:#}");
        tracing::warn!(path = %path.display(), error, "the record of this exit was not written");
    }
    if exit.code == exit_code::STOPPED {
        // A job that is gone is not mistaken for one whose worker crashed.
        drop(std::fs::remove_file(layout.job(stream_id)));
    }
    tracing::info!(stream = %stream_id, code = exit.code, "ended");
}

#[expect(clippy::print_stderr, reason = "there is no log yet")]
fn unusable(error: &anyhow::Error) -> ExitCode {
    eprintln!("stream-worker: {error:#}");
    code(exit_code::USAGE)
}

fn code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
