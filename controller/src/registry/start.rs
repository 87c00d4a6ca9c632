//! Opening the two documents and setting the registry to work.
//!
//! Being on air comes first. A document that cannot be used is replaced by its last good copy, a state
//! that is lost by what is configured; `/health` tells. Only without any usable configuration there is
//! nothing to run, and the operator is told why.
//!
//! Linear: [`Opening::read`] changes nothing but clearing away unfinished writes; [`Opening::start`]
//! begins to adopt, end and start workers. What lies between can still fail without harm.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use programme::FormatChoice;
use storage::document::{Document, DocumentError, Flaw, Opened};
use storage::model::state::STATE_VERSION;
use storage::model::{
    DestinationConfig, ObsRecord, StreamConfig, StreamConfigFile, StreamId, StreamStateFile,
};
use supervise::watch::Watched;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::Registry;
use super::keeper::{Keeper, Streams};
use crate::chain;
use crate::config::{Config, Keyring};
use crate::history::History;
use crate::ledger::Ledger;
use crate::stream::{Machine, workers_by_job};

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
    config: Read<StreamConfigFile>,
    state: Read<StreamStateFile>,
    /// Looked for once for all streams: every process of the machine is looked at.
    started: BTreeMap<StreamId, Vec<Watched>>,
}

/// A document with the contents that are in force, and what is wrong with that.
#[derive(Debug)]
struct Read<T> {
    document: Document<T>,
    contents: T,
    /// The document holds them, or there is none to hold any yet.
    is_on_disk: bool,
    fault: Option<String>,
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
    /// With a configuration that is there, cannot be used, and has no good copy.
    pub fn read(settings: Arc<Config>) -> Result<Self, OpenError> {
        let config = open_config(&settings)?;
        let state = open_state(&settings.layout.state_file());
        let started = workers_by_job(&settings.layout);
        Ok(Self {
            settings,
            config,
            state,
            started,
        })
    }

    /// Starts a driver for every stream; what they see goes to `history`. The tasks run until
    /// [`Registry::end`].
    pub fn start(self, history: History, tasks: &mut JoinSet<()>) -> Registry {
        let Read {
            document,
            contents,
            is_on_disk,
            fault: lost,
        } = self.state;
        let records = contents.streams.clone();
        let (ledger, writer) = Ledger::new(document, contents, is_on_disk);
        tasks.spawn(writer);

        let (streams, streams_rx) = watch::channel(Streams::default());
        let (recovered, recovered_rx) = watch::channel(false);
        let (changes_tx, changes) = mpsc::channel(CHANGES);
        let (fault, config_fault) = watch::channel(self.config.fault);
        let keeper = Keeper {
            machine: Machine::new(self.settings, ledger.clone(), history),
            fault,
            document: Some(self.config.document),
            configs: self.config.contents.streams,
            streams,
            drivers: JoinSet::new(),
            changes,
            recovered,
            started: self.started,
        };
        tasks.spawn(keeper.run(records));
        Registry {
            streams: streams_rx,
            changes: changes_tx,
            ledger,
            config_fault,
            lost: lost.map(Into::into),
            recovered: recovered_rx,
        }
    }
}

/// The file as it is, else the contents that were in force before it was spoilt.
fn open_config(settings: &Config) -> Result<Read<StreamConfigFile>, OpenError> {
    let path = settings.layout.config_file();
    let (document, fault, copy, error) = match Document::open(&path) {
        Ok((document, Opened::Loaded { value, .. })) => return Ok(Read::whole(document, value)),
        Ok((document, Opened::Absent)) => {
            return Ok(Read::whole(document, default_config(&settings.keyring)));
        }
        Ok((document, Opened::Corrupt(corrupt))) => {
            let hint = corrupt.hint();
            let fault = format!(
                "{} cannot be used: {}; {hint}",
                path.display(),
                corrupt.flaw
            );
            let error = OpenError::Corrupt {
                path: path.display().to_string(),
                hint,
                flaw: corrupt.flaw,
            };
            (document, fault, corrupt.last_good, error)
        }
        Err(error) => {
            let document = Document::unread(&path);
            let copy = storage::document::last_good(&path);
            (document, chain(&error), copy, error.into())
        }
    };
    let Some(copy) = copy else {
        return Err(error);
    };
    let copied = copy.path.display();
    tracing::error!(error_type = "config_unusable", %copied, "its last good copy is in force: {fault}");
    Ok(Read {
        document,
        contents: copy.value,
        is_on_disk: false,
        fault: Some(format!("{fault}; {copied} is in force meanwhile")),
    })
}

/// The file as it is, else its last good copy, else nothing: then what is configured to start by itself
/// starts, and what is found running stays.
fn open_state(path: &Path) -> Read<StreamStateFile> {
    let (document, flaw, copy) = match Document::open(path) {
        Ok((document, Opened::Loaded { value, .. })) => return Read::whole(document, value),
        Ok((document, Opened::Absent)) => return Read::whole(document, no_state()),
        Ok((document, Opened::Corrupt(corrupt))) => {
            (document, corrupt.flaw.to_string(), corrupt.last_good)
        }
        Err(error) => {
            let copy = storage::document::last_good(path);
            (Document::unread(path), chain(&error), copy)
        }
    };
    let shown = path.display();
    if let Some(copy) = copy {
        tracing::error!(
            error_type = "state_recovered",
            copied = %copy.path.display(),
            "{shown} cannot be used, its last good copy is: {flaw}"
        );
        return Read {
            document,
            contents: copy.value,
            is_on_disk: false,
            fault: None,
        };
    }
    let fault = format!(
        "{shown} could not be used ({flaw}), and there is no good copy: streams were started by their \
         autostart alone. Start those that are missing; the next start of the controller clears this"
    );
    tracing::error!(error_type = "state_lost", "{fault}");
    Read {
        document,
        contents: no_state(),
        is_on_disk: false,
        fault: Some(fault),
    }
}

fn no_state() -> StreamStateFile {
    StreamStateFile {
        version: STATE_VERSION,
        streams: BTreeMap::new(),
        obs: ObsRecord::default(),
    }
}

impl<T> Read<T> {
    fn whole(document: Document<T>, contents: T) -> Self {
        Self {
            document,
            contents,
            is_on_disk: true,
            fault: None,
        }
    }
}

/// What runs until someone configures a stream: `main`, the whole bucket, to each platform there is a
/// key for, or as a preview only. It is not written down before something else is.
pub(crate) fn default_config(keyring: &Keyring) -> StreamConfigFile {
    let destinations = PLATFORMS
        .iter()
        .filter(|(_, _, key)| keyring.secret(key).is_some())
        .map(|(name, url, key)| DestinationConfig {
            name: (*name).to_owned(),
            url: (*url).to_owned(),
            key_env: Some((*key).to_owned()),
            renew_after_s: None,
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
