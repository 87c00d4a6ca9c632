//! `stream-controller`: arguments, settings, log and runtime; everything else is in the library.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use controller::app;
use controller::cli::drill::{DrillArgs, drill};
use controller::cli::media::MediaCommand;
use controller::cli::workers::WorkersCommand;
use controller::cli::{check, demo, media, workers};
use controller::config::{Config, Flags, LogFormat, Logging, Place, ProcessVars};
use controller::drill::warden;
use supervise::cgroup::Delegated;
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

/// `EX_USAGE`: the arguments or the settings are wrong.
const USAGE: u8 = 64;
/// `EX_OSERR`.
const OS_ERROR: u8 = 71;

/// Keeps streams on air: REST API, supervision of workers, programme and state.
#[derive(Debug, Parser)]
#[command(name = "stream-controller", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Serve the API and keep the streams on air (the default).
    Serve,
    /// Look whether everything a stream needs is there; one line each, exit 1 when something is not.
    Check {
        #[command(flatten)]
        args: check::CheckArgs,
    },
    /// List, upload and address what is played.
    Media {
        #[command(subcommand)]
        command: MediaCommand,
    },
    /// Find and stop workers while no controller runs.
    Workers {
        #[command(subcommand)]
        command: WorkersCommand,
    },
    /// Put a channel on air from nothing: makes clips when the media folder is empty, then serves.
    Demo,
    /// Make faults to a stream of its own and tell what its viewer saw; exit 1 when that was too much.
    Drill(DrillArgs),
}

fn main() -> ExitCode {
    let mut cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nowhere is left to tell that even this cannot be printed.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let place = match place() {
        Ok(place) => place,
        Err(error) => {
            let message = format!("cannot find out where this runs: {error}");
            return fail(&message, OS_ERROR);
        }
    };
    if matches!(
        cli.command,
        None | Some(Command::Serve | Command::Demo | Command::Drill(_))
    ) {
        supervise::priority::lead();
    }
    if let Some(Command::Drill(args)) = &mut cli.command {
        args.prepare();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start threads: {error}"), OS_ERROR),
    };
    let code = run(&runtime, cli, &place);
    // A write to a disk that hangs must not keep the program.
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

fn run(runtime: &Runtime, cli: Cli, place: &Place) -> ExitCode {
    let vars = ProcessVars::new();
    let command = cli.command.unwrap_or(Command::Serve);
    // Ending what runs must not depend on any other setting.
    if let Command::Workers { command } = command {
        return match Config::read_layout(&cli.flags, vars, place) {
            Ok(layout) => worded(runtime.block_on(workers::run(&layout, command))),
            Err(errors) => fail(&errors.to_string(), USAGE),
        };
    }
    if matches!(&command, Command::Drill(args) if args.warden) {
        return worded(runtime.block_on(warden::watch()));
    }
    let config = match Config::read(&cli.flags, vars, place) {
        Ok(config) => config,
        Err(errors) => return fail(&errors.to_string(), USAGE),
    };
    log_to_stderr(&config.logging);
    match command {
        Command::Serve => serve(runtime, config),
        Command::Workers { .. } => unreachable!("done above"),
        Command::Check { args } => match runtime.block_on(check::run(&config, args)) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        },
        Command::Media { command } => worded(runtime.block_on(media::run(&config, command))),
        Command::Demo => match runtime.block_on(demo::prepare(&config)) {
            Ok(()) => serve(runtime, config),
            failed => worded(failed),
        },
        Command::Drill(args) => match runtime.block_on(drill(&config, args)) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => fail(&format!("{error:#}"), 1),
        },
    }
}

fn serve(runtime: &Runtime, config: Config) -> ExitCode {
    match runtime.block_on(app::serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            fail(&format!("{:#}", anyhow::Error::new(error)), code)
        }
    }
}

fn worded(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}"), 1),
    }
}

fn place() -> std::io::Result<Place> {
    let exe = std::env::current_exe()?;
    Ok(Place {
        cwd: std::env::current_dir()?,
        exe_dir: exe.parent().unwrap_or(&exe).to_owned(),
        root: nix::unistd::geteuid().is_root(),
        terminal: std::io::stderr().is_terminal(),
        cgroup: Delegated::find(),
    })
}

fn log_to_stderr(logging: &Logging) {
    let limits = storage::media::LOG_LIMITS.join(",");
    let filter = EnvFilter::new(format!("{},{limits}", logging.filter));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr);
    match logging.format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .init(),
        LogFormat::Pretty => lines.with_ansi(std::io::stderr().is_terminal()).init(),
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the end of the program is told to whoever started it, in words, not as a log event"
)]
fn fail(message: &str, code: u8) -> ExitCode {
    eprintln!("stream-controller: {message}");
    ExitCode::from(code)
}
