//! `stream-controller`: REST API, supervision of workers, programme and state.
//!
//! ```text
//! main ─► app ─► api ─► registry ─► stream (one driver task each) ─► worker (its own process)
//! ```
//! Each module uses only what stands to its right, and all of them [`config`]. Handlers of the API
//! translate; the registry finds the stream; the stream's driver alone changes its state.

pub mod config;
pub mod registry;
pub mod stream;
