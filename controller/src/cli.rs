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

use std::io::Write;

/// A line for whoever called, on standard output. Who has stopped to read, as `head` does, breaks nothing off.
pub(crate) fn say(line: impl std::fmt::Display) {
    let _nobody_reads = writeln!(std::io::stdout().lock(), "{line}");
}

/// `1536` → `1.5 KiB`.
fn bytes(count: u64) -> indicatif::BinaryBytes {
    indicatif::BinaryBytes(count)
}
