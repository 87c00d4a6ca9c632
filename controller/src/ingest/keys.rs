//! Stream keys of the built-in ingest.
//!
//! One task owns the file; everyone else reads what is in force from memory, so asking costs
//! microseconds and waits for no disk. A key is shown once, when it is made; kept is its SHA-256.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use storage::document::{Document, DocumentError, Opened};
use storage::model::{IngestKey, IngestKeysFile, StreamId};
use storage::secret::Secret;
use subtle::ConstantTimeEq;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::chain;

/// Random bytes of a key.
const KEY_BYTES: usize = 20;
/// Random bytes of its id.
const ID_BYTES: usize = 4;
/// More keys than any operator can tell apart.
const MOST_KEYS: usize = 1000;

/// Reads and changes the keys; clones are the same.
#[derive(Debug, Clone)]
pub struct Keys {
    in_force: watch::Receiver<Arc<Vec<IngestKey>>>,
    changes: mpsc::Sender<Change>,
}

/// A key that was just made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What is kept of it.
    pub kept: IngestKey,
    /// The key itself, for this one answer.
    pub key: Secret,
}

/// Why keys were not changed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// No key has this id.
    #[error("there is no key {0}")]
    Unknown(String),
    /// There are too many.
    #[error("there are {MOST_KEYS} keys already: revoke some")]
    TooMany,
    /// They could not be saved, so nothing was changed.
    #[error("cannot save the keys: {0}")]
    NotSaved(String),
    /// The machine has no randomness, or the controller is going down.
    #[error("keys cannot be changed now")]
    Unavailable,
}

enum Change {
    Make {
        stream_id: StreamId,
        input: String,
        note: Option<String>,
        reply: oneshot::Sender<Result<NewKey, KeysError>>,
    },
    Revoke(String, oneshot::Sender<Result<IngestKey, KeysError>>),
}

struct Keeper {
    document: Document<IngestKeysFile>,
    file: IngestKeysFile,
    in_force: watch::Sender<Arc<Vec<IngestKey>>>,
    changes: mpsc::Receiver<Change>,
}

// === impl Keys ===

impl Keys {
    /// Reads `path` and starts the task that writes it. A file that cannot be used lets nobody in, and
    /// its last good copy those who were in it.
    pub fn open(path: &Path, tasks: &mut JoinSet<()>) -> Self {
        let (document, file) = read(path);
        let (in_force, in_force_seen) = watch::channel(Arc::new(file.keys.clone()));
        let (changes_to, changes) = mpsc::channel(16);
        let keeper = Keeper {
            document,
            file,
            in_force,
            changes,
        };
        tasks.spawn(keeper.run());
        Self {
            in_force: in_force_seen,
            changes: changes_to,
        }
    }

    /// All keys, oldest first.
    pub fn list(&self) -> Arc<Vec<IngestKey>> {
        Arc::clone(&self.in_force.borrow())
    }

    /// Whose key this is. Every key is compared in the same time.
    pub fn owner(&self, key: &str) -> Option<IngestKey> {
        let digest = digest(key);
        let list = self.list();
        let mut found = None;
        for kept in list.iter() {
            if bool::from(kept.sha256.as_bytes().ct_eq(digest.as_bytes())) {
                found = Some(kept.clone());
            }
        }
        found
    }

    /// Makes a key for one live input of a stream.
    ///
    /// # Errors
    /// `TooMany`, `NotSaved`, `Unavailable`.
    pub async fn make(
        &self,
        stream_id: StreamId,
        input: String,
        note: Option<String>,
    ) -> Result<NewKey, KeysError> {
        self.change(|reply| Change::Make {
            stream_id,
            input,
            note,
            reply,
        })
        .await
    }

    /// Revokes the key of this id.
    ///
    /// # Errors
    /// `Unknown`, `NotSaved`, `Unavailable`.
    pub async fn revoke(&self, id: &str) -> Result<IngestKey, KeysError> {
        self.change(|reply| Change::Revoke(id.to_owned(), reply))
            .await
    }

    async fn change<T>(
        &self,
        change: impl FnOnce(oneshot::Sender<Result<T, KeysError>>) -> Change,
    ) -> Result<T, KeysError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.changes.send(change(reply)).await;
        sent.map_err(|_| KeysError::Unavailable)?;
        answer.await.map_err(|_| KeysError::Unavailable)?
    }
}

// === impl Keeper ===

impl Keeper {
    /// Ends when every [`Keys`] is gone.
    async fn run(mut self) {
        while let Some(change) = self.changes.recv().await {
            // Whoever asked may have gone; what was done holds all the same.
            match change {
                Change::Make {
                    stream_id,
                    input,
                    note,
                    reply,
                } => {
                    let made = self.make(stream_id, input, note).await;
                    let _ = reply.send(made);
                }
                Change::Revoke(id, reply) => {
                    let revoked = self.revoke(&id).await;
                    let _ = reply.send(revoked);
                }
            }
        }
    }

    async fn make(
        &mut self,
        stream_id: StreamId,
        input: String,
        note: Option<String>,
    ) -> Result<NewKey, KeysError> {
        if self.file.keys.len() >= MOST_KEYS {
            return Err(KeysError::TooMany);
        }
        let (id, key) = (random::<ID_BYTES>()?, random::<KEY_BYTES>()?);
        let kept = IngestKey {
            id,
            stream_id,
            input,
            note,
            sha256: digest(&key),
            created_at: Timestamp::now(),
        };
        let mut file = self.file.clone();
        file.keys.push(kept.clone());
        self.save(file).await?;
        tracing::info!(id = kept.id, stream_id = %kept.stream_id, input = kept.input, "ingest key made");
        Ok(NewKey {
            kept,
            key: Secret::new(key),
        })
    }

    async fn revoke(&mut self, id: &str) -> Result<IngestKey, KeysError> {
        let at = self.file.keys.iter().position(|kept| kept.id == id);
        let at = at.ok_or_else(|| KeysError::Unknown(id.to_owned()))?;
        let mut file = self.file.clone();
        let revoked = file.keys.remove(at);
        self.save(file).await?;
        tracing::info!(id, stream_id = %revoked.stream_id, "ingest key revoked");
        Ok(revoked)
    }

    /// Memory follows the disk.
    async fn save(&mut self, file: IngestKeysFile) -> Result<(), KeysError> {
        let path = self.document.path().to_owned();
        let document = std::mem::replace(&mut self.document, Document::unread(path));
        let (document, file, saved) = tokio::task::spawn_blocking(move || {
            let mut document = document;
            let saved = document.save_over(&file);
            (document, file, saved)
        })
        .await
        .expect("writing a document does not panic");
        self.document = document;
        saved.map_err(|error| KeysError::NotSaved(chain(&error)))?;
        self.in_force.send_replace(Arc::new(file.keys.clone()));
        self.file = file;
        Ok(())
    }
}

fn read(path: &Path) -> (Document<IngestKeysFile>, IngestKeysFile) {
    let unusable = |path: PathBuf, error: &DocumentError| {
        tracing::error!(
            error_type = "ingest_keys_unusable",
            "nobody may publish to the ingest: {}",
            chain(error)
        );
        (Document::unread(path), IngestKeysFile::default())
    };
    match Document::open(path) {
        Ok((document, Opened::Absent)) => (document, IngestKeysFile::default()),
        Ok((document, Opened::Loaded { value, .. })) => (document, value),
        Ok((document, Opened::Corrupt(corrupt))) => {
            let hint = corrupt.hint();
            tracing::error!(
                error_type = "ingest_keys_unusable",
                hint,
                last_good = corrupt.last_good.is_some(),
                "{} cannot be used: {}",
                corrupt.path.display(),
                corrupt.flaw
            );
            let copy = corrupt.last_good.map(|copy| copy.value);
            (document, copy.unwrap_or_default())
        }
        Err(error) => unusable(path.to_owned(), &error),
    }
}

fn digest(key: &str) -> String {
    hex(&Sha256::digest(key.as_bytes()))
}

fn random<const N: usize>() -> Result<String, KeysError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| KeysError::Unavailable)?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_is_shown_once_survives_a_restart_and_ends_with_its_revocation() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ingest_keys.json");
        let mut tasks = JoinSet::new();
        let keys = Keys::open(&path, &mut tasks);
        let main: StreamId = "main".parse().unwrap();
        let made = keys
            .make(main.clone(), "ingest".to_owned(), Some("studio".to_owned()))
            .await
            .unwrap();
        let key = made.key.expose().to_owned();
        assert_eq!(key.len(), 40);
        assert_eq!(keys.owner(&key), Some(made.kept.clone()));
        assert_eq!(keys.owner("guess"), None);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&key), "the key itself is nowhere");
        drop(keys);
        tasks.join_all().await;

        let mut tasks = JoinSet::new();
        let keys = Keys::open(&path, &mut tasks);
        assert_eq!(keys.owner(&key).unwrap().stream_id, main);
        keys.revoke(&made.kept.id).await.unwrap();
        assert_eq!(keys.owner(&key), None);
        let again = keys.revoke(&made.kept.id).await;
        assert!(matches!(again, Err(KeysError::Unknown(_))));
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "a document that was spoilt")]
    async fn a_spoilt_file_lets_in_whom_its_last_good_copy_names() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ingest_keys.json");
        let mut tasks = JoinSet::new();
        let keys = Keys::open(&path, &mut tasks);
        let main: StreamId = "main".parse().unwrap();
        let first = keys
            .make(main.clone(), "ingest".to_owned(), None)
            .await
            .unwrap();
        keys.make(main, "ingest".to_owned(), None).await.unwrap();
        std::fs::write(&path, "{").unwrap();
        let keys = Keys::open(&path, &mut tasks);
        assert!(keys.owner(first.key.expose()).is_some());
        assert_eq!(keys.list().len(), 1);
    }
}
