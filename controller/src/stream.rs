//! One stream: its worker's life, from the operator's wish to what is on air.
//!
//! ```text
//!  handle ──requests──► driver ◄──events── attendant (process), follower (worker_link)
//!     ▲                   │ state · admission · restart · health (pure)
//!     └─────status────────┘ spawn · adopt · lease · group (the machine), governor (whose turn it is)
//! ```
//! The driver is one task and alone changes the stream's state; `docs/design/stream-lifecycle.md`.

pub mod admission;
mod adopt;
mod by_job;
mod driver;
mod follow;
mod governor;
mod group;
mod handle;
mod health;
mod lease;
mod log;
mod orphan;
mod process;
pub mod request;
mod restart;
mod skips;
mod spawn;
mod state;
pub mod status;
mod survivor;
mod upgrade;
mod worker_link;

pub(crate) use by_job::{strangers, workers as workers_by_job};
pub(crate) use driver::{Beginning, Driver, Machine};
pub(crate) use handle::StreamHandle;
pub(crate) use orphan::end_orphans;
pub use request::{Applied, Asker, RequestError, Take};
pub(crate) use spawn::lasting_problems;
pub use status::{ProgrammeStatus, StreamStatus};
pub(crate) use survivor::Survivor;
