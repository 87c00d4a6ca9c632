//! One stream: its worker's life, from the operator's wish to what is on air.

pub mod request;
pub mod status;

pub use request::{Applied, RequestError, Take};
pub use status::{ProgrammeStatus, StreamStatus};
