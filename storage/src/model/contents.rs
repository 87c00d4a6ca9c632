//! Which of the model's types are documents of their own, and how they are read.

use serde::de::DeserializeOwned;

use super::config::CONFIG_VERSION;
use super::ingest::INGEST_KEYS_VERSION;
use super::position::POSITION_VERSION;
use super::problems::{self, ConfigError};
use super::state::STATE_VERSION;
use super::{IngestKeysFile, PositionFile, StreamConfigFile, StreamStateFile};
use crate::document::{Contents, Flaw, WrittenBy};
use crate::json::SyntaxError;

impl Contents for StreamConfigFile {
    const VERSION: u32 = CONFIG_VERSION;
    const WRITTEN_BY: WrittenBy = WrittenBy::Hand;

    fn decode(text: &[u8]) -> Result<Self, Flaw> {
        problems::parse_config_file(text).map_err(|e| match e {
            ConfigError::Syntax(e) => Flaw::Syntax(e),
            ConfigError::Problems(problems) => Flaw::Problems(problems),
        })
    }
}

impl Contents for StreamStateFile {
    const VERSION: u32 = STATE_VERSION;
    const WRITTEN_BY: WrittenBy = WrittenBy::Programs;

    fn decode(text: &[u8]) -> Result<Self, Flaw> {
        from_json(text)
    }
}

impl Contents for IngestKeysFile {
    const VERSION: u32 = INGEST_KEYS_VERSION;
    const WRITTEN_BY: WrittenBy = WrittenBy::Programs;

    fn decode(text: &[u8]) -> Result<Self, Flaw> {
        from_json(text)
    }
}

impl Contents for PositionFile {
    const VERSION: u32 = POSITION_VERSION;
    const WRITTEN_BY: WrittenBy = WrittenBy::Programs;

    fn decode(text: &[u8]) -> Result<Self, Flaw> {
        from_json(text)
    }
}

/// Unknown fields are ignored: generation and checksum are among them.
fn from_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, Flaw> {
    serde_json::from_slice(text).map_err(|e| Flaw::Syntax(SyntaxError::from_serde(&e)))
}
