//! `stream-controller`: arguments, settings, and the runtime; everything else is in the library.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use controller::config::Flags;

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
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => ExitCode::SUCCESS,
    }
}
