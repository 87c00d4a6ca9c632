//! JSON documents that survive a crash, and that nobody overwrites unread.
//!
//! [`Document`] is held by the one writer of a file, [`read`] is for everyone else. What is found at
//! the name is one of [`Opened`]'s three answers; a file that cannot be read at all is an error.
//!
//! ```text
//!              save                    save
//!   Absent ──────────► Loaded (n) ──────────► Loaded (n+1)      read, found flawed
//!                          ▲                                ┌─► Corrupt ── save: refused
//!                          └────────── save_over ───────────┘      (of a newer version: always)
//! ```
//!
//! Invariants and the numbered steps of writing and reading: `docs/design/documents.md`.

mod envelope;
mod file;
mod flaw;

use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

pub use self::flaw::{Corrupt, Flaw, LastGood};
use crate::atomic::{self, AtomicError, Old, Operation, Staged};

/// What can be kept in a [`Document`].
pub trait Contents: Serialize + Sized {
    /// The format version this build writes.
    const VERSION: u32;
    /// Who writes it; decides where generation, checksum and last good copy are.
    const WRITTEN_BY: WrittenBy;

    /// Reads the contents, of a version that is known, from the whole text of the file.
    ///
    /// # Errors
    /// What is wrong with the text.
    fn decode(text: &[u8]) -> Result<Self, Flaw>;
}

/// Who writes a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenBy {
    /// Only this software.
    Programs,
    /// The operator's editor too.
    Hand,
}

/// What is at a document's name.
#[derive(Debug, Clone, PartialEq)]
pub enum Opened<T> {
    /// Nothing, and nothing ever was.
    Absent,
    /// A whole document.
    Loaded {
        /// Its contents.
        value: T,
        /// One more at each write; counted from this opening where a hand may write.
        generation: u64,
    },
    /// Something that must not be overwritten unasked.
    Corrupt(Corrupt<T>),
}

/// A document that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is there and cannot be read: permissions, a directory in its place, a dying disk.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The disk did not take it; what was there is there still.
    #[error(transparent)]
    Disk(#[from] AtomicError),
    /// What is there was not understood and is therefore not overwritten.
    #[error("{} is not overwritten, because it could not be read: {flaw}", path.display())]
    WouldOverwrite {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// Someone edited the file since it was read.
    #[error(
        "{} was changed by hand since it was read and is not overwritten; reload it first \
         (SIGHUP)", path.display()
    )]
    ChangedOnDisk {
        /// Which file.
        path: PathBuf,
    },
    /// The contents cannot be written as JSON.
    #[error("cannot write {} as JSON", path.display())]
    Encode {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// A document, in the hands of its one writer.
#[derive(Debug)]
pub struct Document<T> {
    path: PathBuf,
    generation: u64,
    on_disk: OnDisk,
    contents: PhantomData<fn() -> T>,
}

/// What the writer knows of the file.
#[derive(Debug)]
enum OnDisk {
    Absent,
    Good(Fingerprint),
    Flawed(Flaw),
}

/// SHA-256 of a file's bytes.
type Fingerprint = [u8; 32];

// === reading ===

/// Reads a document someone else writes. Changes nothing on disk.
///
/// # Errors
/// [`DocumentError::Unreadable`].
pub fn read<T: Contents>(path: &Path) -> Result<Opened<T>, DocumentError> {
    look(path).map(|(opened, _)| opened)
}

fn look<T: Contents>(path: &Path) -> Result<(Opened<T>, Vec<u8>), DocumentError> {
    let corrupt = |flaw| {
        Opened::Corrupt(Corrupt {
            path: path.to_owned(),
            flaw,
            last_good: last_good(path),
        })
    };
    let text = match file::read(path) {
        Ok(Some(Ok(text))) => text,
        Ok(Some(Err(flaw))) => return Ok((corrupt(flaw), Vec::new())),
        Ok(None) if !backup_path(path).exists() => return Ok((Opened::Absent, Vec::new())),
        Ok(None) => return Ok((corrupt(Flaw::Missing), Vec::new())),
        Err(source) => return Err(unreadable(path, source)),
    };
    let opened = match envelope::decode(&text) {
        Ok((value, generation)) => Opened::Loaded { value, generation },
        Err(flaw) => corrupt(flaw),
    };
    Ok((opened, text))
}

/// The last good copy of the document at `path`, if there is one.
pub fn last_good<T: Contents>(path: &Path) -> Option<LastGood<T>> {
    let path = backup_path(path);
    // A copy that cannot be read is as good as none: the document's own flaw is what is reported.
    let text = file::read(&path).ok()??.ok()?;
    let (value, generation) = envelope::decode(&text).ok()?;
    Some(LastGood {
        path,
        value,
        generation,
    })
}

fn unreadable(path: &Path, source: io::Error) -> DocumentError {
    DocumentError::Unreadable {
        path: path.to_owned(),
        source,
    }
}

// === impl Document ===

impl<T: Contents> Document<T> {
    /// Reads the document and clears away what a crash may have left beside it.
    ///
    /// # Errors
    /// When the file cannot be read; a corrupt file is not an error here.
    pub fn open(path: impl Into<PathBuf>) -> Result<(Self, Opened<T>), DocumentError> {
        let mut document = Self::unread(path);
        for path in [document.path.clone(), backup_path(&document.path)] {
            // They are never read; a disk that does not let them go may still be read.
            let _ = atomic::remove_leftovers(&path);
        }
        let opened = document.reload()?;
        Ok((document, opened))
    }

    /// The document at `path` before it is read: for a writer that goes on although reading fails.
    /// What it saves is put beside nothing unseen: the file that is there is kept as `<name>.corrupt`.
    pub fn unread(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            generation: 0,
            on_disk: OnDisk::Absent,
            contents: PhantomData,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the document again, after an operator edited it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn reload(&mut self) -> Result<Opened<T>, DocumentError> {
        let (mut opened, text) = look(&self.path)?;
        match &mut opened {
            Opened::Absent => self.on_disk = OnDisk::Absent,
            Opened::Corrupt(corrupt) => {
                self.on_disk = OnDisk::Flawed(corrupt.flaw.clone());
                // What is saved over it counts on from its last good copy.
                let good = corrupt.last_good.as_ref().map(|good| good.generation);
                self.generation = self.generation.max(good.unwrap_or(0));
            }
            Opened::Loaded { generation, .. } => {
                let fingerprint = fingerprint(&text);
                if T::WRITTEN_BY == WrittenBy::Hand {
                    let changed = !self.is_on_disk(&fingerprint);
                    *generation = self.generation + u64::from(changed);
                }
                self.generation = *generation;
                self.on_disk = OnDisk::Good(fingerprint);
                self.copy_in_force(&text);
            }
        }
        Ok(opened)
    }

    /// Replaces the document and returns its new generation.
    ///
    /// # Errors
    /// Nothing was replaced, unless the error is of [`Operation::SyncDirectory`].
    pub fn save(&mut self, value: &T) -> Result<u64, DocumentError> {
        if let OnDisk::Flawed(flaw) = &self.on_disk {
            return Err(DocumentError::WouldOverwrite {
                path: self.path.clone(),
                flaw: flaw.clone(),
            });
        }
        let present = file::read(&self.path).map_err(|e| unreadable(&self.path, e))?;
        let as_known = match (&present, &self.on_disk) {
            (Some(Ok(text)), OnDisk::Good(known)) => fingerprint(text) == *known,
            (None, OnDisk::Absent) => true,
            _ => false,
        };
        match (as_known, T::WRITTEN_BY) {
            (true, WrittenBy::Programs) => self.put(value, Some(backup_path(&self.path))),
            (true, WrittenBy::Hand) => self.put(value, None),
            (false, WrittenBy::Hand) => Err(DocumentError::ChangedOnDisk {
                path: self.path.clone(),
            }),
            // Memory is the truth of a document only programs write; what got there instead is
            // kept, and must not become the last *good* copy.
            (false, WrittenBy::Programs) => self.put(value, Some(corrupt_path(&self.path))),
        }
    }

    /// Replaces the document whatever is there, which is kept as `<name>.corrupt`: for an operator
    /// who has decided so, and for documents that are worth less than being on air.
    ///
    /// # Errors
    /// As [`Self::save`]; and [`DocumentError::WouldOverwrite`] for a file of a newer version.
    pub fn save_over(&mut self, value: &T) -> Result<u64, DocumentError> {
        match &self.on_disk {
            OnDisk::Flawed(flaw @ Flaw::FutureVersion { .. }) if self.path.exists() => {
                Err(DocumentError::WouldOverwrite {
                    path: self.path.clone(),
                    flaw: flaw.clone(),
                })
            }
            OnDisk::Flawed(_) => self.put(value, Some(corrupt_path(&self.path))),
            OnDisk::Absent | OnDisk::Good(_) => self.save(value),
        }
    }

    fn put(&mut self, value: &T, keep: Option<PathBuf>) -> Result<u64, DocumentError> {
        let generation = self.generation + 1;
        let text = envelope::encode(value, generation).map_err(|source| DocumentError::Encode {
            path: self.path.clone(),
            source,
        })?;
        let mut staged = Staged::create(&self.path, atomic::PRIVATE)?;
        if T::WRITTEN_BY == WrittenBy::Hand {
            staged.keep_permissions()?;
        }
        staged.write_all(&text)?;
        let done = staged.commit(keep.as_deref().map_or(Old::Discard, Old::KeepAs));
        let in_place = match &done {
            Ok(()) => true,
            Err(e) => e.operation == Operation::SyncDirectory,
        };
        if in_place {
            self.generation = generation;
            self.on_disk = OnDisk::Good(fingerprint(&text));
        }
        done?;
        self.copy_in_force(&text);
        Ok(generation)
    }

    /// Renews the last good copy of a document an editor may write to in place. The document itself is
    /// whole and in force, so a disk without room for the copy is no reason to refuse it.
    fn copy_in_force(&self, text: &[u8]) {
        let backup = backup_path(&self.path);
        let is_copied = || matches!(file::read(&backup), Ok(Some(Ok(copy))) if copy == text);
        if T::WRITTEN_BY == WrittenBy::Programs || is_copied() {
            return;
        }
        if let Err(error) = atomic::write(&backup, text) {
            tracing::warn!(
                error_type = error.fault.error_type(),
                cause = %error.source,
                "no last good copy: {error}"
            );
        }
    }

    fn is_on_disk(&self, fingerprint: &Fingerprint) -> bool {
        matches!(&self.on_disk, OnDisk::Good(known) if known == fingerprint)
    }
}

/// `<name>.bak`.
pub fn backup_path(path: &Path) -> PathBuf {
    with_suffix(path, ".bak")
}

/// `<name>.corrupt`.
pub fn corrupt_path(path: &Path) -> PathBuf {
    with_suffix(path, ".corrupt")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn fingerprint(text: &[u8]) -> Fingerprint {
    Sha256::digest(text).into()
}
