//! Opening the two documents and setting the registry to work.
//!
//! Linear: [`Opening::read`] changes nothing but clearing away unfinished writes; [`Opening::start`]
//! begins to adopt, end and start workers. What lies between can still fail without harm.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use programme::FormatChoice;
use storage::document::{Contents, Document, DocumentError, Flaw, Opened};
use storage::model::state::STATE_VERSION;
use storage::model::{
    DestinationConfig, StreamConfig, StreamConfigFile, StreamId, StreamStateFile,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::Registry;
use super::keeper::{Keeper, Streams};
use crate::config::{Config, Keyring};
use crate::ledger::Ledger;

/// More changes than this at once wait in their callers.
const CHANGES: usize = 16;
/// Streams of an installation that has no configuration yet go where there is a key for.
const PLATFORMS: &[(&str, &str, &str)] = &[
    (
        "youtube",
        "rtmps://a.rtmps.youtube.com:443/live2",
        "YOUTUBE_STREAM_KEY",
    ),
    ("twitch", "rtmp://live.twitch.tv/app", "TWITCH_STREAM_KEY"),
];

/// Both documents, read and whole.
#[derive(Debug)]
pub struct Opening {
    settings: Arc<Config>,
    config: (Document<StreamConfigFile>, StreamConfigFile),
    state: (Document<StreamStateFile>, StreamStateFile),
}

/// Why the documents cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A document is there and cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A document is damaged or has mistakes; it is left as it is.
    #[error("{path} cannot be used: {flaw}\n{hint}")]
    Corrupt {
        /// Which.
        path: String,
        /// Line and column, or each mistake.
        flaw: Flaw,
        /// What to do, with the last good copy if there is one.
        hint: String,
    },
}

// === impl Opening ===

impl Opening {
    /// Reads both documents. Blocks on the disk.
    ///
    /// # Errors
    /// With a document that is there and cannot be used.
    pub fn read(settings: Arc<Config>) -> Result<Self, OpenError> {
        let config = open(&settings.layout.config_file(), || {
            default_config(&settings.keyring)
        })?;
        let state = open(&settings.layout.state_file(), || StreamStateFile {
            version: STATE_VERSION,
            streams: BTreeMap::new(),
        })?;
        Ok(Self {
            settings,
            config,
            state,
        })
    }

    /// Starts a driver for every stream. The tasks run until [`Registry::end`].
    pub fn start(self, tasks: &mut JoinSet<()>) -> Registry {
        let (document, file) = self.state;
        let records = file.streams.clone();
        let (ledger, writer) = Ledger::new(document, file);
        tasks.spawn(writer);

        let (streams, streams_rx) = watch::channel(Streams::default());
        let (recovered, recovered_rx) = watch::channel(false);
        let (changes_tx, changes) = mpsc::channel(CHANGES);
        let (document, file) = self.config;
        let keeper = Keeper {
            settings: self.settings,
            ledger: ledger.clone(),
            document: Some(document),
            configs: file.streams,
            streams,
            drivers: JoinSet::new(),
            changes,
            recovered,
        };
        tasks.spawn(keeper.run(records));
        Registry {
            streams: streams_rx,
            changes: changes_tx,
            ledger,
            recovered: recovered_rx,
        }
    }
}

fn open<T: Contents>(
    path: &Path,
    absent: impl FnOnce() -> T,
) -> Result<(Document<T>, T), OpenError> {
    let (document, opened) = Document::open(path)?;
    match opened {
        Opened::Loaded { value, .. } => Ok((document, value)),
        Opened::Absent => Ok((document, absent())),
        Opened::Corrupt(corrupt) => Err(OpenError::Corrupt {
            path: corrupt.path.display().to_string(),
            hint: corrupt.hint(),
            flaw: corrupt.flaw,
        }),
    }
}

/// What runs until someone configures a stream: `main`, the whole bucket, to each platform there is a
/// key for, or as a preview only. It is not written down before something else is.
fn default_config(keyring: &Keyring) -> StreamConfigFile {
    let destinations = PLATFORMS
        .iter()
        .filter(|(_, _, key)| keyring.secret(key).is_some())
        .map(|(name, url, key)| DestinationConfig {
            name: (*name).to_owned(),
            url: (*url).to_owned(),
            key_env: Some((*key).to_owned()),
        })
        .collect();
    let main = StreamConfig {
        format: FormatChoice::Auto,
        destinations,
        ..StreamConfig::default()
    };
    let id: StreamId = "main".parse().expect("a valid id");
    StreamConfigFile {
        version: storage::model::config::CONFIG_VERSION,
        streams: BTreeMap::from([(id, main)]),
    }
}
