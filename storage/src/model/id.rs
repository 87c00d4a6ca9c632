//! Stream ids.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `^[a-z0-9][a-z0-9_-]{0,62}$`: safe as a file name, a label and a path segment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$"))]
pub struct StreamId(String);

/// Why a text is not a stream id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stream id {0:?} must be 1–63 of a–z, 0–9, '-' and '_', and start with a letter or digit")]
pub struct InvalidStreamId(String);

impl StreamId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StreamId {
    type Err = InvalidStreamId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = text.as_bytes();
        let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ok = (1..=63).contains(&bytes.len())
            && plain(&bytes[0])
            && bytes.iter().all(|b| plain(b) || *b == b'-' || *b == b'_');
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidStreamId(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for StreamId {
    type Error = InvalidStreamId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<StreamId> for String {
    fn from(id: StreamId) -> Self {
        id.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_leave_a_directory_are_refused() {
        for bad in [
            "",
            "..",
            "a/b",
            "../x",
            "A",
            "-a",
            "_a",
            ".a",
            "a.b",
            "é",
            "a\n",
            &"a".repeat(64),
        ] {
            assert!(bad.parse::<StreamId>().is_err(), "{bad:?}");
        }
        for good in ["main", "a", "0", "shop-2", "a_b", &"a".repeat(63)] {
            assert!(good.parse::<StreamId>().is_ok(), "{good:?}");
        }
    }
}
