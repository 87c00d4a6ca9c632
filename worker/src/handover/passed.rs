//! Descriptors in the document: by number. To be named in `#[serde(with = …)]`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use supervise::reexec::PassedFd;

/// Writes the number.
///
/// # Errors
/// The serializer's.
pub fn serialize<S: Serializer>(fd: &PassedFd, to: S) -> Result<S::Ok, S::Error> {
    fd.number().serialize(to)
}

/// Reads a number. It means something only in the image the document was written for.
///
/// # Errors
/// The deserializer's.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PassedFd, D::Error> {
    i32::deserialize(from).map(PassedFd::from_number)
}
