//! The media store against a server that checks signatures, and against a folder.
//!
//! What both must do is in [`contract`] and runs over both; the rest is each one's own.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod bench;
mod cache;
mod contract;
mod failures;
mod http;
mod local_router;
mod media_server;
mod reach;
