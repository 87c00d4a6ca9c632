//! Keys of the built-in ingest.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StreamId;

/// Version of [`IngestKeysFile`] this build writes.
pub const INGEST_KEYS_VERSION: u32 = 1;

/// `STATE_DIR/ingest_keys.json`: who may publish. The keys themselves are nowhere in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestKeysFile {
    /// See [`INGEST_KEYS_VERSION`].
    pub version: u32,
    /// In the order of their making.
    pub keys: Vec<IngestKey>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestKey {
    /// Names the key to people: not secret.
    pub id: String,
    /// The stream it publishes to.
    pub stream_id: StreamId,
    /// The live input of that stream.
    pub input: String,
    /// Whose it is, in the operator's words.
    #[serde(default)]
    pub note: Option<String>,
    /// SHA-256 of the key, 64 hex digits. A key is 160 random bits: a slow hash would guard nothing more.
    pub sha256: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Default for IngestKeysFile {
    fn default() -> Self {
        Self {
            version: INGEST_KEYS_VERSION,
            keys: Vec::new(),
        }
    }
}
