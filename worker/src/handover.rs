//! This process becomes another program and goes on with what it has on air.
//!
//! ```text
//!  check (rehearsal) ─► freeze ─► Document in a memfd ─► execve ─► take over ─► play
//!                                   ▲                      │failed    │failed
//!                                   └── old program goes on ◄─────────┘
//! ```
//!
//! - [`document`]: what goes from one image to the next, and how it is written.
//! - [`upgrade`]: the check, and becoming the other program.
//! - [`instant`], [`blob`], [`passed`]: how instants, media and descriptors stand in the document.
//!
//! The design is `docs/design/worker-upgrade.md`.

pub mod blob;
pub mod document;
pub mod instant;
pub mod passed;
pub mod upgrade;

pub use document::Document;
pub use upgrade::Upgrader;
