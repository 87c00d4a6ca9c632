//! Media in the document: as byte strings. To be named in `#[serde(with = …)]`: this module for one
//! piece, [`option`] for one that may not be, [`list`] for several.

use std::fmt;

use bytes::Bytes;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One piece.
struct Blob(Bytes);

struct BlobVisitor;

/// Writes one piece.
///
/// # Errors
/// The serializer's.
pub fn serialize<S: Serializer>(bytes: &impl AsRef<[u8]>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes.as_ref())
}

/// Reads one piece.
///
/// # Errors
/// The deserializer's.
pub fn deserialize<'de, T: From<Bytes>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Blob::deserialize(from)?.0.into())
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_byte_buf(BlobVisitor)
    }
}

impl Visitor<'_> for BlobVisitor {
    type Value = Blob;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a byte string")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Blob, E> {
        Ok(Blob(Bytes::copy_from_slice(bytes)))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
        Ok(Blob(bytes.into()))
    }
}

/// One piece that may not be.
pub mod option {
    use super::{Blob, Bytes, Deserialize, Deserializer, Serialize, Serializer};

    /// Writes the piece or nothing.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(bytes: &Option<Bytes>, to: S) -> Result<S::Ok, S::Error> {
        bytes.clone().map(Blob).serialize(to)
    }

    /// Reads a piece or nothing.
    ///
    /// # Errors
    /// The deserializer's.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Bytes>, D::Error> {
        Ok(Option::<Blob>::deserialize(from)?.map(|blob| blob.0))
    }
}

/// Several pieces.
pub mod list {
    use super::{Blob, Bytes, Deserialize, Deserializer, Serializer};

    /// Writes them in order.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<'a, S, T>(pieces: &'a T, to: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
        &'a T: IntoIterator<Item = &'a Bytes>,
    {
        to.collect_seq(pieces.into_iter().cloned().map(Blob))
    }

    /// Reads them in order.
    ///
    /// # Errors
    /// The deserializer's.
    pub fn deserialize<'de, D, T>(from: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: FromIterator<Bytes>,
    {
        let blobs = Vec::<Blob>::deserialize(from)?;
        Ok(blobs.into_iter().map(|blob| blob.0).collect())
    }
}
