//! FLV as far as the harness needs it.

pub use ingest::tag::tags;
pub use ingest::{Part, Tag, Track};
