//! Whole objects of the bucket, kept on this machine: what is played when the store is away.
//!
//! The files, their steps and invariants are in `docs/design/media-cache.md`. Several processes
//! share one directory. Everything here but [`MediaCache::has`] and [`MediaCache::report`] blocks on the
//! disk; nothing here can fail whoever plays.

pub mod fetch;
mod room;

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use jiff::Timestamp;
use nix::libc::O_NOFOLLOW;
use programme::ListedObject;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::room::Room;
use super::MediaObject;
use super::s3::Reading;
use crate::atomic;
use crate::model::StorageSettings;
use crate::model::job::Provider;
use crate::model::report::CacheReport;

/// Version of [`Meta`] this build writes; another is none of ours.
const FORMAT: u32 = 1;
/// So much of the disk stays free.
pub const FREE_FLOOR_BYTES: u64 = 1 << 30;

/// The kept objects of one store. Cloning shares it.
#[derive(Debug, Clone)]
pub struct MediaCache {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    /// Which store the objects are of.
    store: String,
    max_bytes: u64,
    known: Mutex<Known>,
    hits: AtomicU64,
    misses: AtomicU64,
    complained: AtomicBool,
}

/// What the directory held when it was looked at last, and what this process did since.
#[derive(Debug, Default)]
struct Known {
    whole: HashSet<String>,
    bytes: u64,
}

/// `<name>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Meta {
    format: u32,
    store: String,
    key: String,
    /// As listed.
    version: String,
    size_bytes: u64,
    /// Of that version, as the store gave it with the bytes.
    etag: Option<String>,
    modified: Option<Timestamp>,
    /// What a part was written in; after another boot it may hold anything.
    boot_id: Option<String>,
}

/// An object that lies whole in the cache.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) path: PathBuf,
    meta: Meta,
}

/// An object that is being fetched. Holds its lock.
#[derive(Debug)]
struct Part {
    file: File,
    name: String,
    meta: Meta,
    /// Bytes there are.
    bytes: u64,
}

/// What reserving a part brought.
#[derive(Debug)]
enum Reserved {
    Part(Part),
    /// It is whole, or another process fetches it.
    Elsewhere,
    /// It is larger than what is left for it.
    NoRoom,
}

// === impl MediaCache ===

impl MediaCache {
    /// The cache in `dir`; `None` where there is nothing to be kept nearer, or nothing may be.
    pub fn open(dir: PathBuf, settings: &StorageSettings, max_bytes: u64) -> Option<Self> {
        if settings.provider == Provider::Local || max_bytes == 0 {
            return None;
        }
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        let store = format!(
            "{}/{}/{}",
            part(&settings.endpoint),
            part(&settings.bucket),
            settings.prefix
        );
        let cache = Self {
            shared: Arc::new(Shared {
                dir,
                store,
                max_bytes,
                known: Mutex::default(),
                hits: AtomicU64::new(0),
                misses: AtomicU64::new(0),
                complained: AtomicBool::new(false),
            }),
        };
        cache.look();
        Some(cache)
    }

    /// Whether the object lies whole here, as far as is known without a look at the disk.
    pub fn has(&self, object: &ListedObject) -> bool {
        let name = self.name(object);
        self.known().whole.contains(&name)
    }

    /// For the status.
    pub fn report(&self) -> CacheReport {
        let known = self.known();
        CacheReport {
            objects: known.whole.len() as u64,
            bytes: known.bytes,
            max_bytes: self.shared.max_bytes,
            hits: self.shared.hits.load(Ordering::Relaxed),
            misses: self.shared.misses.load(Ordering::Relaxed),
        }
    }

    /// Looks what is there: other processes put and remove objects too.
    fn look(&self) {
        let entries = match room::entries(&self.shared.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return self.complain("look into", &error),
        };
        let mut known = self.known();
        known.bytes = entries.iter().map(|entry| entry.size_bytes).sum();
        known.whole = entries
            .into_iter()
            .filter(|entry| entry.whole)
            .map(|entry| entry.name)
            .collect();
    }

    /// The object, if it lies whole here; it counts as opened now.
    pub(super) fn open_kept(&self, object: &ListedObject) -> Option<Kept> {
        let name = self.name(object);
        let path = self.file(&name, "media");
        let meta = self.meta(&name)?;
        let is_it = meta.is_of(&self.shared.store, object)
            && fs::metadata(&path).is_ok_and(|file| file.len() == object.size_bytes);
        if !is_it {
            self.known().whole.remove(&name);
            return None;
        }
        // What was opened last is dropped last; without this it is only dropped earlier.
        let _not_younger = OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()));
        Some(Kept { path, meta })
    }

    /// A read began here, or in the store.
    pub(super) fn count(&self, from_cache: bool) {
        let counter = match from_cache {
            true => &self.shared.hits,
            false => &self.shared.misses,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Drops an object that could not be played from here.
    pub fn forget(&self, object: &ListedObject) {
        let name = self.name(object);
        self.known().whole.remove(&name);
        if let Err(error) = room::remove(&self.shared.dir, &name) {
            self.complain("remove an object from", &error);
        }
    }

    /// Makes room for `object` and opens what there is of it. `wanted` stay.
    fn reserve(&self, object: &ListedObject, wanted: &[ListedObject]) -> io::Result<Reserved> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(&self.shared.dir)?;
        let name = self.name(object);
        let lock = private().open(self.shared.dir.join(".lock"))?;
        lock.lock()?;
        if self.open_kept(object).is_some() {
            self.look();
            return Ok(Reserved::Elsewhere);
        }
        let file = private().read(true).open(self.file(&name, "part"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Reserved::Elsewhere),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let boot_id = boot_id();
        let kept = self.meta(&name).filter(|meta| {
            meta.is_of(&self.shared.store, object) && meta.boot_id == boot_id && meta.etag.is_some()
        });
        let keep: HashSet<String> = wanted.iter().map(|object| self.name(object)).collect();
        let held = file.metadata()?.len();
        let more = object.size_bytes.saturating_sub(held);
        let size = (object.size_bytes, more);
        let (dir, max_bytes) = (&self.shared.dir, self.shared.max_bytes);
        let room = room::make(dir, max_bytes, &name, size, &keep)?;
        if room != Room::Made {
            room::remove(dir, &name)?;
            if room == Room::DiskFull {
                let full = io::Error::other("less than 1 GiB of the disk would stay free");
                self.complain("keep an object in", &full);
            }
            return Ok(Reserved::NoRoom);
        }
        let meta = kept.unwrap_or_else(|| Meta {
            format: FORMAT,
            store: self.shared.store.clone(),
            key: object.key.clone(),
            version: object.version.clone(),
            size_bytes: object.size_bytes,
            etag: None,
            modified: None,
            boot_id,
        });
        let mut part = Part {
            bytes: held,
            file,
            name,
            meta,
        };
        if part.meta.etag.is_none() || held > object.size_bytes {
            part.restart()?;
        }
        self.describe(&part)?;
        Ok(Reserved::Part(part))
    }

    fn describe(&self, part: &Part) -> io::Result<()> {
        let json = serde_json::to_vec(&part.meta).map_err(io::Error::other)?;
        atomic::write(&self.file(&part.name, "json"), &json).map_err(|error| error.source)
    }

    /// All of it has come.
    fn complete(&self, part: Part) -> io::Result<()> {
        let from = self.file(&part.name, "part");
        atomic::complete(&part.file, &from, &self.file(&part.name, "media"))
            .map_err(|error| error.source)?;
        self.look();
        Ok(())
    }

    /// The object is not what was listed.
    fn discard(&self, part: Part) -> io::Result<()> {
        room::remove(&self.shared.dir, &part.name)
    }

    fn meta(&self, name: &str) -> Option<Meta> {
        let json = fs::read(self.file(name, "json")).ok()?;
        serde_json::from_slice(&json).ok()
    }

    fn file(&self, name: &str, extension: &str) -> PathBuf {
        room::file(&self.shared.dir, name, extension)
    }

    fn name(&self, object: &ListedObject) -> String {
        let mut hash = Sha256::new();
        for text in [&self.shared.store, &object.key, &object.version] {
            hash.update(text.as_bytes());
            hash.update([0]);
        }
        hash.finalize()[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A look replaces both fields, and both are only ever hints.
        self.shared
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Once: it costs the cache only.
    fn complain(&self, what: &str, error: &io::Error) {
        if !self.shared.complained.swap(true, Ordering::Relaxed) {
            let dir = self.shared.dir.display();
            tracing::warn!(%dir, "cannot {what} the media cache; the stream goes on without it: {error}");
        }
    }
}

// === impl Kept ===

impl Kept {
    /// Whether the store has this very version.
    pub(super) fn is(&self, object: &MediaObject) -> bool {
        self.meta
            .is_version(object.size_bytes, object.etag.as_deref(), object.modified)
    }
}

// === impl Meta ===

impl Meta {
    fn is_of(&self, store: &str, object: &ListedObject) -> bool {
        self.format == FORMAT
            && self.store == store
            && (&self.key, &self.version, self.size_bytes)
                == (&object.key, &object.version, object.size_bytes)
    }

    /// By the tag where there is one; times in headers are whole seconds.
    fn is_version(&self, size: u64, etag: Option<&str>, modified: Option<Timestamp>) -> bool {
        let seconds = |time: Option<Timestamp>| time.map(Timestamp::as_second);
        self.size_bytes == size
            && match (&self.etag, etag) {
                (Some(own), Some(etag)) => own == etag,
                _ => seconds(self.modified) == seconds(modified),
            }
    }
}

// === impl Part ===

impl Part {
    /// Whether these are the bytes of what was listed, and of what there is already.
    fn takes(&self, reading: &Reading) -> bool {
        let version = &self.meta.version;
        // A listing without tags names size and time.
        let listed = reading.etag.as_deref() == Some(version.as_str()) || !is_tag(version);
        let same = self.bytes == 0 || reading.etag == self.meta.etag;
        reading.size_bytes == self.meta.size_bytes && listed && same
    }

    fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.bytes = 0;
        self.meta.etag = None;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        use std::io::Seek;
        self.file.seek(io::SeekFrom::Start(self.bytes))?;
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// As [`MediaObject::version`] makes them: a tag is one word, the other is numbers.
fn is_tag(version: &str) -> bool {
    !version
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'-')
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(atomic::PRIVATE)
        .custom_flags(O_NOFOLLOW);
    options
}

fn boot_id() -> Option<String> {
    let id = fs::read_to_string(Path::new("/proc/sys/kernel/random/boot_id")).ok()?;
    Some(id.trim().to_owned())
}
