//! What a controller hands to a worker.
//!
//! The job is a file without secrets, so a worker can be started again from it by anyone who has
//! the secrets. The secrets go through the worker's standard input as one JSON object and are
//! never written anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{LiveInputConfig, StreamConfig, StreamId};
use crate::layout::Layout;
use crate::secret::Secret;

/// Version of [`Job`] this build writes.
pub const JOB_VERSION: u32 = 1;
/// The live input every stream has when `INGEST_BIND` is set and none is configured for it.
pub const INGEST_INPUT: &str = "ingest";

/// `RUNTIME_DIR/<id>.job.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// See [`JOB_VERSION`].
    pub version: u32,
    /// The stream.
    pub stream_id: StreamId,
    /// Counts the workers of this stream; two of one generation never exist.
    pub generation: u64,
    /// 128 random bits as hex: the worker answers it on its socket, which proves who it is.
    pub nonce: String,
    /// The whole configuration, programme included.
    pub config: StreamConfig,
    /// Where media comes from.
    pub storage: StorageSettings,
    /// `FFMPEG_BIN`.
    pub ffmpeg_bin: PathBuf,
    /// `FFPROBE_BIN`.
    pub ffprobe_bin: PathBuf,
    /// `STATE_DIR`.
    pub state_dir: PathBuf,
    /// `RUNTIME_DIR`.
    pub runtime_dir: PathBuf,
    /// `CACHE_DIR`: rendered slates, probe results, media.
    pub cache_dir: PathBuf,
    /// `CACHE_MAX_BYTES`: how much media is kept there; 0 is none.
    #[serde(default)]
    pub cache_max_bytes: u64,
    /// `INGEST_BIND` is set: a stream without an input of its own for it has one named
    /// [`INGEST_INPUT`].
    #[serde(default)]
    pub ingest: bool,
    /// Publish keyed destinations even where FFmpeg cannot be given the key outside argv.
    #[serde(default)]
    pub allow_argv_secrets: bool,
    /// Names of the variables whose secrets this worker is given; `None` in a job of an earlier release.
    #[serde(default)]
    pub keys: Option<BTreeSet<String>>,
}

/// The media store, without credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageSettings {
    /// `STORAGE_PROVIDER`.
    pub provider: Provider,
    /// `STORAGE_BUCKET`; `None` for `local`.
    pub bucket: Option<String>,
    /// `STORAGE_PREFIX`: every key is below it; empty or ending in `/`.
    pub prefix: String,
    /// `STORAGE_ENDPOINT`, or R2's made from `STORAGE_ACCOUNT_ID`.
    pub endpoint: Option<String>,
    /// `STORAGE_REGION`; `auto` for R2.
    pub region: Option<String>,
    /// `STORAGE_LOCAL_DIR`, absolute.
    pub local_dir: Option<PathBuf>,
    /// `STORAGE_URL_TTL_SECS`.
    pub url_ttl_secs: u64,
    /// `STORAGE_EXTENSIONS`: which objects are playable, lower case, without the dot.
    pub extensions: Vec<String>,
}

/// Kinds of media store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Cloudflare R2.
    R2,
    /// Any S3.
    S3,
    /// A folder of this machine.
    Local,
}

/// What goes through the worker's standard input.
#[derive(Debug, Clone, Default)]
pub struct JobSecrets {
    /// S3 access key id and secret; `None` for `local` or ambient credentials.
    pub storage_keys: Option<(Secret, Secret)>,
    /// Stream keys by the variable a destination's `key_env` names.
    pub stream_keys: BTreeMap<String, Secret>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(default)]
    storage_access_key_id: Option<String>,
    #[serde(default)]
    storage_secret_access_key: Option<String>,
    #[serde(default)]
    stream_keys: BTreeMap<String, String>,
}

impl Job {
    /// The live inputs that are configured, and the one every stream has where the ingest is open.
    pub fn live_inputs(&self) -> Vec<LiveInputConfig> {
        let mut inputs = self.config.live_inputs.clone();
        if self.ingest && !inputs.iter().any(|input| input.ingest) {
            inputs.push(LiveInputConfig::ingest(INGEST_INPUT));
        }
        inputs
    }

    /// Where this stream's files are.
    pub fn layout(&self) -> Layout {
        Layout {
            state_dir: self.state_dir.clone(),
            runtime_dir: self.runtime_dir.clone(),
            cache_dir: self.cache_dir.clone(),
        }
    }
}

impl JobSecrets {
    /// Every one of them, for whoever has to keep them out of texts.
    pub fn all(&self) -> impl Iterator<Item = &Secret> {
        let storage = self
            .storage_keys
            .iter()
            .flat_map(|(id, secret)| [id, secret]);
        storage.chain(self.stream_keys.values())
    }

    /// The one JSON line for the worker's standard input.
    ///
    /// # Errors
    /// Never in practice: the map holds only texts.
    pub fn to_pipe(&self) -> Result<Vec<u8>, serde_json::Error> {
        let (id, secret) = self
            .storage_keys
            .as_ref()
            .map(|(id, secret)| (id.expose().to_owned(), secret.expose().to_owned()))
            .unzip();
        serde_json::to_vec(&Wire {
            storage_access_key_id: id,
            storage_secret_access_key: secret,
            stream_keys: self
                .stream_keys
                .iter()
                .map(|(name, key)| (name.clone(), key.expose().to_owned()))
                .collect(),
        })
    }

    /// Reads what [`Self::to_pipe`] wrote; empty input means no secrets.
    ///
    /// # Errors
    /// When the input is not that JSON. The error names a position, never the text.
    pub fn from_pipe(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let wire: Wire = serde_json::from_slice(bytes)?;
        Ok(Self {
            storage_keys: wire
                .storage_access_key_id
                .zip(wire.storage_secret_access_key)
                .map(|(id, secret)| (Secret::new(id), Secret::new(secret))),
            stream_keys: wire
                .stream_keys
                .into_iter()
                .map(|(name, key)| (name, Secret::new(key)))
                .collect(),
        })
    }
}
