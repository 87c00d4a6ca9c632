//! Subcommands besides `serve`.
//!
//! - [`check`]: would it work here, and what is missing.
//! - [`media`]: list, upload and address what is played.
//! - [`demo`]: a channel on air from nothing.
//! - [`drill`]: faults, and what a viewer sees of them.
//! - [`workers`]: what is on air without a controller.

pub mod check;
pub mod demo;
pub mod drill;
pub mod media;
pub mod workers;

/// A line for whoever called.
#[expect(
    clippy::print_stdout,
    reason = "what a subcommand was asked for goes to standard output, not into the log"
)]
pub(crate) fn say(line: impl std::fmt::Display) {
    println!("{line}");
}

/// `1536` → `1.5 KiB`.
fn bytes(count: u64) -> indicatif::BinaryBytes {
    indicatif::BinaryBytes(count)
}
