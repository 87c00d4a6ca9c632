//! `stream-controller`: REST API, supervision of workers, programme and state.
//!
//! ```text
//! main ─► app ─► api ─► registry ─► stream (one driver task each) ─► worker (its own process)
//!                                      ├─► preflight (is everything there?)
//!                                      └─► ledger (the state file)
//! ```
//! Each module uses only what stands to its right, and all of them [`config`]. Handlers of the API
//! translate; the registry finds the stream; the stream's driver alone changes its state.

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod drill;
pub mod history;
pub mod ingest;
mod ledger;
pub mod media;
pub mod preflight;
pub mod registry;
pub mod stream;
pub mod upstream;

/// An error and its causes in one line: no `Display` here repeats its source.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
