//! The controller's settings: a pure function of flags, variables and where it runs.
//!
//! Every mistake is found before anything is bound or started, and all are told at once
//! ([`ConfigErrors`]); the program then ends with exit code 64.

mod flags;
mod read;
mod upstream;
mod vars;

use std::net::SocketAddr;
use std::path::PathBuf;

use storage::history::Limits;
use storage::layout::Layout;
use storage::model::StorageSettings;
use storage::secret::Secret;
use supervise::cgroup::Delegated;

pub use flags::{Flags, SECRETS, SETTINGS, Setting};
pub use read::{ConfigErrors, Place};
pub use upstream::{MediaMtxConfig, ObsConfig};
pub use vars::{Keyring, MapVars, ProcessVars, Vars};

/// Longest path of a unix socket: the kernel's `sun_path` holds 108 bytes with a NUL.
pub const MAX_SOCKET_PATH_BYTES: usize = 107;

/// Everything the operator set, checked and made absolute.
#[derive(Debug, Clone)]
pub struct Config {
    /// `CONTROLLER_BIND`.
    pub bind: SocketAddr,
    /// `CONTROLLER_ALLOW_PUBLIC`.
    pub allow_public: bool,
    /// `CONTROLLER_API_TOKEN`; without it everyone who reaches the address may do everything.
    pub api_token: Option<Secret>,
    /// `CONTROLLER_CORS_ORIGINS`, each `http(s)://host[:port]`.
    pub cors_origins: Vec<String>,
    /// The media store.
    pub storage: StorageSettings,
    /// `STORAGE_ACCESS_KEY_ID` and `STORAGE_SECRET_ACCESS_KEY`.
    pub storage_keys: Option<(Secret, Secret)>,
    /// `STATE_DIR`, `RUNTIME_DIR` and `CACHE_DIR`.
    pub layout: Layout,
    /// `CACHE_MAX_BYTES`: media kept in `CACHE_DIR`; 0 is none.
    pub cache_max_bytes: u64,
    /// `HISTORY_RETENTION_DAYS` and `HISTORY_MAX_BYTES`.
    pub history: Limits,
    /// `WORKER_BIN`.
    pub worker_bin: PathBuf,
    /// `FFMPEG_BIN`.
    pub ffmpeg_bin: PathBuf,
    /// `FFPROBE_BIN`.
    pub ffprobe_bin: PathBuf,
    /// `ALLOW_ARGV_SECRETS`.
    pub allow_argv_secrets: bool,
    /// How to log, here and in the workers.
    pub logging: Logging,
    /// `INGEST_BIND`: where encoders publish to; `None`: nowhere.
    pub ingest_bind: Option<SocketAddr>,
    /// MediaMTX, where there is one.
    pub mediamtx: Option<MediaMtxConfig>,
    /// OBS, where there is one.
    pub obs: Option<ObsConfig>,
    /// Finds the stream keys that destinations name by `key_env`.
    pub keyring: Keyring,
    /// Where workers get control groups of their own, see [`Place`].
    pub cgroup: Option<Delegated>,
}

/// `LOG_FORMAT` and `RUST_LOG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// Shape of a line.
    pub format: LogFormat,
    /// A `tracing` filter.
    pub filter: String,
}

/// Shapes of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

// === impl LogFormat ===

impl LogFormat {
    /// The value of `LOG_FORMAT`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Pretty => "pretty",
        }
    }
}
