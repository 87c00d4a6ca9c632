//! The task that owns the set of streams and `stream_config.json`.
//!
//! A change of configuration is on disk before it is in force, one change at a time; what a worker makes
//! of it is its driver's affair, and nobody else waits for that. Reads do not come here: the set is
//! published as a whole after each change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use storage::atomic::{DiskFault, Operation};
use storage::document::{Document, DocumentError, Opened};
use storage::model::config::CONFIG_VERSION;
use storage::model::problems::{ConfigError, Problem, parse_stream};
use storage::model::{StreamConfig, StreamConfigFile, StreamId, StreamRecord};
use supervise::watch::Watched;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::chain;
use crate::stream::{
    Applied, Beginning, Driver, Machine, RequestError, StreamHandle, end_orphans, lasting_problems,
};

/// Letting go of workers takes no longer than a write to a slow disk.
const DETACH_PATIENCE: Duration = Duration::from_secs(3);
/// A worker that ignores every signal but the last is gone after 10 s.
const DRAIN_PATIENCE: Duration = Duration::from_secs(13);

/// All streams, as published.
pub(super) type Streams = Arc<BTreeMap<StreamId, StreamHandle>>;

type Reply<T> = oneshot::Sender<Result<T, RequestError>>;
type Answer<T> = oneshot::Receiver<Result<T, RequestError>>;

/// What is asked of the keeper.
#[derive(Debug)]
pub(super) enum Change {
    Put {
        id: StreamId,
        text: Vec<u8>,
        /// It is done only while this is in force.
        before: Option<Box<StreamConfig>>,
        reply: Reply<Applied>,
    },
    Delete(StreamId, Reply<()>),
    Reload(oneshot::Sender<()>),
    End(End, oneshot::Sender<()>),
}

/// What becomes of the workers when the controller ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// They stay on air; the next controller adopts them.
    Detach,
    /// They are ended; the next controller starts those that were wanted.
    Drain,
}

/// The owner of the set of streams.
pub(super) struct Keeper {
    pub(super) machine: Machine,
    /// Why the file is not what is in force.
    pub(super) fault: watch::Sender<Option<String>>,
    /// `None` while a write has it.
    pub(super) document: Option<Document<StreamConfigFile>>,
    pub(super) configs: BTreeMap<StreamId, StreamConfig>,
    pub(super) streams: watch::Sender<Streams>,
    pub(super) drivers: JoinSet<()>,
    pub(super) changes: mpsc::Receiver<Change>,
    pub(super) recovered: watch::Sender<bool>,
    /// What ran by a job of each stream at the start.
    pub(super) started: BTreeMap<StreamId, Vec<Watched>>,
}

// === impl Keeper ===

impl Keeper {
    /// Starts the driver of every stream, ends what belongs to none, then serves changes until the
    /// end.
    pub(super) async fn run(mut self, mut records: BTreeMap<StreamId, StreamRecord>) {
        let known: BTreeSet<StreamId> = self.configs.keys().cloned().collect();
        self.machine.history.streams(known.clone());
        let mut started = std::mem::take(&mut self.started);
        let mut recoveries = Vec::new();
        for (id, config) in self.configs.clone() {
            let record = records.remove(&id);
            let started = started.remove(&id).unwrap_or_default();
            recoveries.push(self.start_driver(Beginning {
                id,
                config,
                record,
                boot: true,
                started,
            }));
        }
        for id in records.keys() {
            self.machine.ledger.forget(id);
        }
        let settings = Arc::clone(&self.machine.settings);
        let recovered = self.recovered.clone();
        self.drivers.spawn(async move {
            tokio::join!(
                join_all(recoveries),
                end_orphans(&settings, &known, started)
            );
            recovered.send_replace(true);
        });
        while let Some(change) = self.changes.recv().await {
            match change {
                Change::Put {
                    id,
                    text,
                    before,
                    reply,
                } => {
                    if before.is_some_and(|before| self.configs.get(&id) != Some(&*before)) {
                        let _ = reply.send(Err(RequestError::Superseded(id)));
                    } else {
                        self.put(id, &text, reply).await;
                    }
                }
                Change::Delete(id, reply) => {
                    let _ = reply.send(self.delete(&id).await);
                }
                Change::Reload(reply) => {
                    let applied = self.reload().await;
                    self.drivers.spawn(async move {
                        log_applied(applied).await;
                        let _ = reply.send(());
                    });
                }
                Change::End(end, reply) => {
                    self.end(end).await;
                    let _ = reply.send(());
                    return;
                }
            }
            // Drivers of deleted streams have ended; nothing waits for them.
            while self.drivers.try_join_next().is_some() {}
        }
    }

    /// The receiver tells when the stream's earlier worker has been dealt with.
    fn start_driver(&mut self, beginning: Beginning) -> oneshot::Receiver<()> {
        let (recovered, recovery) = oneshot::channel();
        let id = beginning.id.clone();
        let (handle, driver) = Driver::start(beginning, self.machine.clone(), recovered);
        self.drivers.spawn(driver);
        self.publish(|streams| {
            streams.insert(id, handle);
        });
        recovery
    }

    fn publish(&self, change: impl FnOnce(&mut BTreeMap<StreamId, StreamHandle>)) {
        self.streams
            .send_modify(|streams| change(Arc::make_mut(streams)));
    }

    /// Saves a configuration; what becomes of it after that is told by the stream's driver.
    async fn put(&mut self, id: StreamId, text: &[u8], reply: Reply<Applied>) {
        match self.put_on_disk(&id, text).await {
            Ok(config) => self.apply(id, config, reply).await,
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        }
    }

    async fn put_on_disk(
        &mut self,
        id: &StreamId,
        text: &[u8],
    ) -> Result<StreamConfig, RequestError> {
        let config = parse_stream(text).map_err(|error| match error {
            ConfigError::Problems(problems) => RequestError::Invalid(problems),
            ConfigError::Syntax(error) => RequestError::Invalid(vec![Problem {
                path: String::new(),
                message: error.to_string(),
            }]),
        })?;
        let problems = lasting_problems(id, &self.machine.settings);
        if !problems.is_empty() {
            return Err(RequestError::Invalid(problems));
        }
        let mut configs = self.configs.clone();
        configs.insert(id.clone(), config.clone());
        self.save(configs).await?;
        Ok(config)
    }

    async fn delete(&mut self, id: &StreamId) -> Result<(), RequestError> {
        let handle = self.handle(id)?;
        let record = Some(handle.retire().await?);
        let mut configs = self.configs.clone();
        let config = configs.remove(id);
        if let Err(error) = self.save(configs).await {
            // What is still configured goes on as it was: at rest.
            if let Some(config) = config {
                let id = id.clone();
                let _recovery = self.start_driver(Beginning {
                    id,
                    config,
                    record,
                    boot: false,
                    started: Vec::new(),
                });
            }
            return Err(error);
        }
        self.machine.ledger.forget(id);
        self.publish(|streams| {
            streams.remove(id);
        });
        Ok(())
    }

    fn handle(&self, id: &StreamId) -> Result<StreamHandle, RequestError> {
        let streams = self.streams.borrow();
        let handle = streams.get(id).cloned();
        handle.ok_or_else(|| RequestError::UnknownStream(id.clone()))
    }

    /// Hands a saved configuration to the stream's driver, without waiting for its worker: one that hangs
    /// must not hold up who saves another stream's.
    async fn apply(&mut self, id: StreamId, config: StreamConfig, reply: Reply<Applied>) {
        if let Ok(handle) = self.handle(&id) {
            return handle.configure(config, reply).await;
        }
        let _recovery = self.start_driver(Beginning {
            id,
            config,
            record: None,
            boot: false,
            started: Vec::new(),
        });
        let _ = reply.send(Ok(Applied::Created));
    }

    /// Writes `configs` and makes them the ones in force.
    async fn save(
        &mut self,
        configs: BTreeMap<StreamId, StreamConfig>,
    ) -> Result<(), RequestError> {
        let file = StreamConfigFile {
            version: CONFIG_VERSION,
            streams: configs,
        };
        let (file, saved) = self
            .with_document(|document| {
                let saved = document.save(&file);
                (file, saved)
            })
            .await;
        match saved {
            Ok(_generation) => {}
            // The new file is in place, though a power cut could still undo it.
            Err(DocumentError::Disk(error)) if error.operation == Operation::SyncDirectory => {
                tracing::error!("{}", chain(&error));
            }
            Err(error) => return Err(not_saved(&error)),
        }
        self.configs = file.streams;
        Ok(())
    }

    async fn with_document<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Document<StreamConfigFile>) -> T + Send + 'static,
    ) -> T {
        let mut document = self
            .document
            .take()
            .expect("only this function takes the document, and puts it back");
        let (document, outcome) = tokio::task::spawn_blocking(move || {
            let outcome = work(&mut document);
            (document, outcome)
        })
        .await
        .expect("reading and writing a document does not panic");
        self.document = Some(document);
        outcome
    }

    /// Takes over what an operator wrote into the file; whose configuration changed, and what becomes of
    /// it. With a mistake in it, nothing changes.
    async fn reload(&mut self) -> Vec<(StreamId, Answer<Applied>)> {
        let opened = self.with_document(Document::reload).await;
        let file = match opened {
            Ok(Opened::Loaded { value, .. }) => value,
            Ok(Opened::Absent) => {
                tracing::info!("there is no configuration file; nothing to reload");
                return Vec::new();
            }
            Ok(Opened::Corrupt(corrupt)) => {
                self.fault.send_replace(Some(format!(
                    "{} cannot be used, what was read before stays in force: {}; {}",
                    corrupt.path.display(),
                    corrupt.flaw,
                    corrupt.hint()
                )));
                tracing::error!(
                    error_type = "config_unusable",
                    path = %corrupt.path.display(),
                    hint = corrupt.hint(),
                    "the configuration was not reloaded and the old one stays in force: {}",
                    corrupt.flaw
                );
                return Vec::new();
            }
            Err(error) => {
                tracing::error!(error_type = "config_unreadable", "{}", chain(&error));
                return Vec::new();
            }
        };
        self.fault.send_replace(None);
        let old = std::mem::replace(&mut self.configs, file.streams.clone());
        for id in old.keys().filter(|id| !file.streams.contains_key(*id)) {
            self.remove(id).await;
        }
        let mut applied = Vec::new();
        for (id, config) in file.streams {
            if old.get(&id) == Some(&config) {
                continue;
            }
            let (reply, answer) = oneshot::channel();
            self.apply(id.clone(), config, reply).await;
            applied.push((id, answer));
        }
        applied
    }

    /// Stops and forgets a stream that the operator took out of the file.
    async fn remove(&mut self, id: &StreamId) {
        let Ok(handle) = self.handle(id) else {
            return;
        };
        // Refused when it does not run, which is as good.
        let _ = handle.stop().await;
        if let Err(error) = handle.retire().await {
            tracing::error!(stream_id = %id, "cannot be removed: {}", chain(&error));
            return;
        }
        self.machine.ledger.forget(id);
        self.publish(|streams| {
            streams.remove(id);
        });
        tracing::info!(stream_id = %id, "stream removed");
    }

    async fn end(&mut self, end: End) {
        let handles: Vec<_> = self.streams.borrow().values().cloned().collect();
        let patience = match end {
            End::Detach => DETACH_PATIENCE,
            End::Drain => DRAIN_PATIENCE,
        };
        let ended = timeout(patience, async {
            join_all(handles.iter().map(|handle| async move {
                match end {
                    End::Detach => handle.detach().await,
                    End::Drain => handle.drain().await,
                }
            }))
            .await;
            while self.drivers.join_next().await.is_some() {}
        })
        .await;
        if ended.is_err() {
            tracing::warn!(
                ?end,
                "streams did not settle within {} s",
                patience.as_secs()
            );
        }
        // What is still running is let go of; a worker outlives its driver.
        self.drivers.shutdown().await;
        self.machine.ledger.settle().done().await;
    }
}

/// Tells what became of configurations that were reloaded.
async fn log_applied(applied: Vec<(StreamId, Answer<Applied>)>) {
    for (id, answer) in applied {
        match answer.await.unwrap_or(Err(RequestError::ShuttingDown)) {
            Ok(applied) => tracing::info!(stream_id = %id, ?applied, "configuration reloaded"),
            Err(error) => tracing::error!(stream_id = %id, "{}", chain(&error)),
        }
    }
}

fn not_saved(error: &DocumentError) -> RequestError {
    let full = matches!(error, DocumentError::Disk(error) if error.fault == DiskFault::Full);
    RequestError::NotSaved {
        message: chain(error),
        disk_full: full,
    }
}
