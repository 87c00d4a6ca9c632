//! `stream-worker --job FILE`: plays one stream until it is asked to stop.
//!
//! The main thread forks every FFmpeg and nothing else (`supervise::spawner_here`): only then can this
//! process become another program and keep them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use nix::sys::stat::{Mode, umask};
use storage::layout::Layout;
use storage::model::report::exit_code;
use storage::model::{ErrorReport, Job, JobSecrets, StreamId, WorkerExit};
use supervise::reexec::{self, PassedFd};
use supervise::shutdown::Shutdown;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use worker::handover::{Document, upgrade};
use worker::house::Taken;
use worker::logging::{self, LogRing};
use worker::{job, startup};

/// Threads of the runtime: one for the stream, one for whatever would hold it up.
const THREADS: usize = 2;
/// Files are read and names are looked up by these, made when they are needed. Each that waits for a dead
/// name server or a mount that hangs is one less for the files that can be read meanwhile.
const BLOCKING_THREADS: usize = 32;

/// How long the end waits for the disk under the log.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Plays one stream: from a media store to its destinations, until it is asked to stop.
#[derive(Debug, Parser)]
#[command(name = "stream-worker", version)]
struct Args {
    /// The job, as the controller writes it. Secrets are read from standard input, or from the
    /// environment when that is empty or a terminal. With the others it tells only whose worker this
    /// is, to those who look at processes.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["check_resume", "resume"])]
    job: Option<PathBuf>,
    /// Says whether this program could go on from the hand-over at this descriptor.
    #[arg(long, value_name = "FD", conflicts_with = "resume", hide = true)]
    check_resume: Option<i32>,
    /// Goes on from the hand-over at this descriptor, as the process that wrote it.
    #[arg(long, value_name = "FD", hide = true)]
    resume: Option<i32>,
    /// With --resume: the descriptor of the program this process was before.
    #[arg(long, value_name = "FD", requires = "resume", hide = true)]
    previous: Option<i32>,
    /// With --resume: why another program did not go on.
    #[arg(long, value_name = "WHY", requires = "resume", hide = true)]
    fell_back: Option<String>,
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
    match (args.check_resume, args.resume) {
        (Some(document), _) => check(document),
        (None, Some(document)) => supervise::spawner_here(|| take_over(document, args)),
        (None, None) => begin(&args.job.unwrap_or_default()),
    }
}

/// Starts the stream of the job at this path.
fn begin(job: &Path) -> ExitCode {
    let (job, secrets, logs) = match prepare(job) {
        Ok(prepared) => prepared,
        Err(error) => return unusable(&error),
    };
    let layout = job.layout();
    let (stream_id, generation) = (job.stream_id.clone(), job.generation);
    tracing::info!(stream_id = %stream_id, generation, version = env!("CARGO_PKG_VERSION"), "starting");
    let exit = supervise::spawner_here(|| {
        let played = runtime().and_then(|runtime| {
            let exit = runtime.block_on(play_until_asked(generation, |shutdown| async {
                // Boxed: a chain of futures this deep has a size the compiler would not work out.
                Ok(Box::pin(startup::run(job, secrets, logs, shutdown)).await)
            }));
            // What still runs has had its time; children die with this process.
            runtime.shutdown_background();
            exit
        });
        played.unwrap_or_else(|error| failed(generation, &error))
    });
    leave_record(&layout, &stream_id, &exit);
    code(exit.code)
}

/// Goes on as the program this process has just become. Until [`Taken`] is there nothing of the
/// hand-over was touched, and the program before can have it back.
fn take_over(document: i32, args: Args) -> ExitCode {
    let Args {
        job,
        previous,
        fell_back,
        ..
    } = args;
    let is_last = fell_back.is_some();
    let prepared = std::panic::catch_unwind(|| prepare_to_take_over(document, fell_back));
    let why_not = match prepared {
        Ok(Ok(prepared)) => {
            for used in previous.into_iter().chain([document]) {
                drop(PassedFd::from_number(used).take());
            }
            return go_on(prepared);
        }
        Ok(Err(error)) => format!("{error:#}"),
        Err(_) => "it panicked; its log says where".to_owned(),
    };
    let mut error = anyhow::anyhow!(why_not.clone());
    logging::flush(LAST_LINES);
    if let (Some(previous), false) = (previous, is_last) {
        let failed = upgrade::fall_back(previous, document, job.as_deref(), &why_not);
        error = error.context(format!("the program before cannot be had back: {failed}"));
    }
    unusable(&error);
    code(exit_code::INTERNAL)
}

/// What it takes to go on.
struct Prepared {
    runtime: Runtime,
    taken: Taken,
    layout: Layout,
    stream_id: StreamId,
    generation: u64,
    logs: LogRing,
}

fn prepare_to_take_over(document: i32, fell_back: Option<String>) -> anyhow::Result<Prepared> {
    let document = read_document(document)?;
    let logs = start_logging(&document.job)?;
    let (layout, stream_id) = (document.job.layout(), document.job.stream_id.clone());
    let generation = document.job.generation;
    let runtime = runtime()?;
    let taken = runtime.block_on(Taken::new(document, fell_back))?;
    Ok(Prepared {
        runtime,
        taken,
        layout,
        stream_id,
        generation,
        logs,
    })
}

fn go_on(prepared: Prepared) -> ExitCode {
    let Prepared {
        runtime,
        taken,
        layout,
        stream_id,
        generation,
        logs,
    } = prepared;
    let played = runtime.block_on(play_until_asked(generation, |shutdown| async {
        Ok(Box::pin(taken.go_on(logs, shutdown)).await?)
    }));
    runtime.shutdown_background();
    let exit = played.unwrap_or_else(|error| failed(generation, &error));
    leave_record(&layout, &stream_id, &exit);
    code(exit.code)
}

/// Through another descriptor: the one that was handed over stays as it is.
fn read_document(number: i32) -> anyhow::Result<Document> {
    let document = std::fs::File::open(format!("/proc/self/fd/{number}"))
        .context("the hand-over cannot be opened")?;
    Ok(Document::read(document.into())?)
}

#[expect(
    clippy::print_stdout,
    reason = "the answer to whoever asked by starting it"
)]
fn check(document: i32) -> ExitCode {
    match read_document(document).and_then(|document| Ok(document.secrets().map(drop)?)) {
        Ok(()) => {
            println!("{}", upgrade::CHECKED);
            ExitCode::SUCCESS
        }
        Err(error) => unusable(&error),
    }
}

fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .context("the runtime cannot be started")
}

fn prepare(job: &Path) -> anyhow::Result<(Job, JobSecrets, LogRing)> {
    let job = job::read_job(job)?;
    let secrets = job::read_secrets(&job)?;
    let logs = start_logging(&job)?;
    Ok((job, secrets, logs))
}

fn start_logging(job: &Job) -> anyhow::Result<LogRing> {
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let format = match variable("LOG_FORMAT") {
        Some(text) => text.parse().map_err(anyhow::Error::msg)?,
        None => logging::LogFormat::default(),
    };
    let log_file = job.layout().log(&job.stream_id);
    let filter = variable("RUST_LOG");
    Ok(logging::init(format, filter.as_deref(), &log_file)?)
}

fn failed(generation: u64, error: &anyhow::Error) -> WorkerExit {
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
}

async fn play_until_asked<F>(
    generation: u64,
    play: impl FnOnce(CancellationToken) -> F,
) -> anyhow::Result<WorkerExit>
where
    F: Future<Output = anyhow::Result<WorkerExit>> + Send + 'static,
{
    let shutdown = Shutdown::install().context("signals cannot be received")?;
    // Those that came between two programs of this process have waited.
    reexec::welcome_signals();
    // In a task of its own, so that a panic in it is an error here, with a record of the exit.
    let playing = tokio::spawn(play(shutdown.token()));
    tokio::select! {
        exit = playing => exit.context("playout ended by a fault of its own")?,
        () = shutdown.immediate() => {
            tracing::warn!("asked to stop a second time: leaving at once");
            Ok(WorkerExit { generation, code: exit_code::STOPPED, error: None })
        }
    }
}

/// For whoever cannot wait for this process.
fn leave_record(layout: &Layout, stream_id: &StreamId, exit: &WorkerExit) {
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
    tracing::info!(stream_id = %stream_id, code = exit.code, "ended");
    logging::flush(LAST_LINES);
}

#[expect(clippy::print_stderr, reason = "there is no log yet")]
fn unusable(error: &anyhow::Error) -> ExitCode {
    eprintln!("stream-worker: {error:#}");
    code(exit_code::USAGE)
}

fn code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
