//! A folder of this machine: the store of someone who has no bucket.
//!
//! Nothing outside the folder is ever reached: a key with `..` or a hidden component is refused, and
//! what a symbolic link leads to counts only if it is inside. Links to folders are not followed
//! when listing, so a circle of them ends.

mod router;
mod serve;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub use self::router::router;
use super::error::{Context, StoreName};
use super::sign::{Access, UrlSigner};
use super::{
    BAD_PREFIX, MAX_URL_TTL, MediaError, MediaErrorKind, MediaObject, MediaOperation, OnProgress,
    Playable, UploadProgress, key,
};
use crate::atomic::{self, AtomicError, Old, Staged};
use crate::model::StorageSettings;
use crate::secret::Secret;

/// An upload that received nothing for so long is nobody's any more.
const ABANDONED_AFTER: Duration = Duration::from_hours(24);

/// A folder. Cloning shares it.
#[derive(Debug, Clone)]
pub struct LocalStore {
    folder: Arc<Folder>,
    served: Option<Arc<Served>>,
}

#[derive(Debug)]
struct Folder {
    root: PathBuf,
    playable: Playable,
    name: Arc<StoreName>,
}

/// Where this process serves the folder.
#[derive(Debug)]
struct Served {
    base_url: String,
    signer: UrlSigner,
}

// === impl LocalStore ===

impl LocalStore {
    pub(super) fn open(settings: &StorageSettings) -> Result<Self, MediaError> {
        let refused = |what| {
            let context = Context {
                operation: MediaOperation::Open,
                store: Arc::new(StoreName::Folder(
                    settings.local_dir.clone().unwrap_or_default(),
                )),
                key: None,
            };
            MediaError::new(MediaErrorKind::Settings(what), context)
        };
        let Some(dir) = &settings.local_dir else {
            return Err(refused("set STORAGE_LOCAL_DIR"));
        };
        if key::check_prefix(&settings.prefix).is_err() {
            return Err(refused(BAD_PREFIX));
        }
        let root = dir.join(settings.prefix.trim_matches('/'));
        Ok(Self {
            folder: Arc::new(Folder {
                name: Arc::new(StoreName::Folder(root.clone())),
                root,
                playable: Playable::of(settings),
            }),
            served: None,
        })
    }

    /// The same folder, with [`router()`] answering at `base_url` (`http://127.0.0.1:8080`) in this
    /// process, so that addresses of it can be signed.
    #[must_use]
    pub fn served_at(self, base_url: impl Into<String>, signer: UrlSigner) -> Self {
        Self {
            served: Some(Arc::new(Served {
                base_url: base_url.into(),
                signer,
            })),
            ..self
        }
    }

    pub(super) async fn check(&self) -> Result<(), MediaError> {
        self.blocking(MediaOperation::List, None, |folder, context| {
            fs::read_dir(&folder.root)
                .map(drop)
                .map_err(|e| folder.root_failed(context, &e))
        })
        .await
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<MediaObject>, MediaError> {
        let prefix = prefix.to_owned();
        self.blocking(MediaOperation::List, None, move |folder, context| {
            key::check_prefix(&prefix)
                .map_err(|why| MediaError::new(MediaErrorKind::InvalidKey(why), context.clone()))?;
            folder.list(&prefix, context)
        })
        .await
    }

    pub(super) async fn stat(&self, key: &str) -> Result<MediaObject, MediaError> {
        let wanted = key.to_owned();
        self.blocking(MediaOperation::Stat, Some(key), move |folder, context| {
            let path = folder.resolve(&wanted, context.clone())?;
            let meta = fs::metadata(path).map_err(|e| MediaError::disk(context, &e))?;
            Ok(object(wanted, &meta))
        })
        .await
    }

    pub(super) fn signed_get(&self, key: &str, ttl: Duration) -> Result<Secret, MediaError> {
        self.sign(Access::Read, key, ttl)
    }

    pub(super) fn presigned_put(&self, key: &str, ttl: Duration) -> Result<Secret, MediaError> {
        self.sign(Access::Write, key, ttl)
    }

    fn sign(&self, access: Access, key: &str, ttl: Duration) -> Result<Secret, MediaError> {
        let context = || self.context(MediaOperation::Sign, Some(key));
        check_key(key).map_err(|kind| MediaError::new(kind, context()))?;
        let served = self.served.as_ref().ok_or_else(|| {
            let kind = MediaErrorKind::Settings("the folder is not served by this process");
            MediaError::new(kind, context())
        })?;
        let ttl = ttl.clamp(Duration::from_secs(1), MAX_URL_TTL);
        let expires = Timestamp::now() + ttl;
        Ok(served.signer.url(&served.base_url, access, key, expires))
    }

    pub(super) async fn upload(
        &self,
        path: &Path,
        key: &str,
        progress: OnProgress<'_>,
    ) -> Result<(), MediaError> {
        let failed = |e| MediaError::disk(self.context(MediaOperation::Upload, Some(key)), &e);
        let mut source = tokio::fs::File::open(path).await.map_err(failed)?;
        let total_bytes = source.metadata().await.map_err(failed)?.len();
        let mut incoming = self.receive(key).await?;
        let mut sent_bytes = 0;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            progress(UploadProgress {
                sent_bytes,
                total_bytes: total_bytes.max(sent_bytes),
            });
            match source.read(&mut buffer).await.map_err(failed)? {
                0 => break,
                n => {
                    incoming.write(&buffer[..n]).await?;
                    sent_bytes += n as u64;
                }
            }
        }
        incoming.commit().await
    }

    /// Begins to take in an object.
    async fn receive(&self, key: &str) -> Result<Incoming, MediaError> {
        let wanted = key.to_owned();
        let staged = self
            .blocking(MediaOperation::Upload, Some(key), move |folder, context| {
                let path = folder.place_for(&wanted, context.clone())?;
                // What a killed process left may be many gigabytes. Failing to remove it is no
                // reason to refuse a new file.
                if let Err(e) = atomic::remove_abandoned(&path, ABANDONED_AFTER) {
                    tracing::warn!("unfinished uploads are left behind: {e}");
                }
                Staged::create(&path, atomic::SHARED).map_err(|e| disk(context, &e))
            })
            .await?;
        let context = self.context(MediaOperation::Upload, Some(key));
        let file = staged.file().map_err(|e| disk(context.clone(), &e))?;
        Ok(Incoming {
            staged,
            file: tokio::fs::File::from_std(file),
            context,
        })
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), MediaError> {
        let wanted = key.to_owned();
        self.blocking(MediaOperation::Delete, Some(key), move |folder, context| {
            match folder.resolve(&wanted, context.clone()) {
                // What a link leads to stays; the link, which is what has this key, goes.
                Ok(_) => atomic::remove(&folder.root.join(&wanted)).map_err(|e| disk(context, &e)),
                Err(e) if e.kind == MediaErrorKind::NoSuchKey => Ok(()),
                Err(e) => Err(e),
            }
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        operation: MediaOperation,
        key: Option<&str>,
        work: impl FnOnce(&Folder, Context) -> Result<T, MediaError> + Send + 'static,
    ) -> Result<T, MediaError> {
        let folder = self.folder.clone();
        let context = self.context(operation, key);
        let for_work = context.clone();
        match tokio::task::spawn_blocking(move || work(&folder, for_work)).await {
            Ok(result) => result,
            // Only when the runtime is going down, or the work panicked and said so.
            Err(e) => {
                Err(MediaError::new(MediaErrorKind::Unexpected, context)
                    .with_detail(&e.to_string()))
            }
        }
    }

    pub(super) fn context(&self, operation: MediaOperation, key: Option<&str>) -> Context {
        self.folder.context(operation, key)
    }
}

/// An object being taken in; what has come is dropped with it unless it is committed.
struct Incoming {
    staged: Staged,
    file: tokio::fs::File,
    context: Context,
}

impl Incoming {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), MediaError> {
        let written = self.file.write_all(bytes).await;
        written.map_err(|e| MediaError::disk(self.context.clone(), &e))
    }

    async fn commit(mut self) -> Result<(), MediaError> {
        let flushed = self.file.flush().await;
        flushed.map_err(|e| MediaError::disk(self.context.clone(), &e))?;
        let staged = self.staged;
        match tokio::task::spawn_blocking(move || staged.commit(Old::Discard)).await {
            Ok(committed) => committed.map_err(|e| disk(self.context, &e)),
            Err(e) => Err(MediaError::new(MediaErrorKind::Unexpected, self.context)
                .with_detail(&e.to_string())),
        }
    }
}

// === impl Folder ===

impl Folder {
    fn context(&self, operation: MediaOperation, key: Option<&str>) -> Context {
        Context {
            operation,
            store: self.name.clone(),
            key: key.map(Into::into),
        }
    }

    fn list(&self, prefix: &str, context: Context) -> Result<Vec<MediaObject>, MediaError> {
        let root = self.real_root(context.clone())?;
        let mut objects = Vec::new();
        let mut pending = vec![String::new()];
        while let Some(above) = pending.pop() {
            let entries = match fs::read_dir(root.join(&above)) {
                Ok(entries) => entries,
                Err(e) if above.is_empty() => return Err(self.root_failed(context, &e)),
                Err(e) => {
                    let folder = root.join(&above);
                    tracing::warn!(folder = %folder.display(), "not listed: {e}");
                    continue;
                }
            };
            for entry in entries.filter_map(Result::ok) {
                let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                    tracing::debug!(path = %entry.path().display(), "not listed: not UTF-8");
                    continue;
                };
                let key = format!("{above}{name}");
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => {
                        let below = format!("{key}/");
                        let wanted = below.starts_with(prefix) || prefix.starts_with(&below);
                        if wanted && !name.starts_with('.') {
                            pending.push(below);
                        }
                    }
                    Ok(_) => objects.extend(self.listed(&root, key, prefix)),
                    Err(_) => {}
                }
            }
        }
        Ok(objects)
    }

    fn listed(&self, root: &Path, key: String, prefix: &str) -> Option<MediaObject> {
        if !key.starts_with(prefix) || !self.playable.has(&key) {
            return None;
        }
        // Gone again, or a link that leads nowhere or out of the folder: not an object.
        let path = inside(root, &key).ok()?;
        let meta = fs::metadata(path).ok()?;
        meta.is_file().then(|| object(key, &meta))
    }

    /// The real path of an object that exists.
    fn resolve(&self, key: &str, context: Context) -> Result<PathBuf, MediaError> {
        check_key(key).map_err(|kind| MediaError::new(kind, context.clone()))?;
        let root = self.real_root(context.clone())?;
        match inside(&root, key) {
            Ok(path) if path.is_file() => Ok(path),
            Ok(_) => Err(MediaError::new(MediaErrorKind::NoSuchKey, context)),
            Err(e) => match e.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                    Err(MediaError::new(MediaErrorKind::NoSuchKey, context))
                }
                _ => Err(MediaError::disk(context, &e)),
            },
        }
    }

    /// The path a new object is to have; folders on the way are made.
    fn place_for(&self, key: &str, context: Context) -> Result<PathBuf, MediaError> {
        check_key(key).map_err(|kind| MediaError::new(kind, context.clone()))?;
        let root = self.real_root(context.clone())?;
        let in_the_way = || MediaError::new(MediaErrorKind::InTheWay, context.clone());
        let (folders, name) = key.rsplit_once('/').unwrap_or(("", key));
        let mut path = root.clone();
        for folder in folders.split('/').filter(|f| !f.is_empty()) {
            path.push(folder);
            match fs::create_dir(&path) {
                Ok(()) => continue,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(MediaError::disk(context, &e)),
            }
            let real = path.canonicalize();
            path = real.map_err(|e| MediaError::disk(context.clone(), &e))?;
            if !path.is_dir() || !path.starts_with(&root) {
                return Err(in_the_way());
            }
        }
        path.push(name);
        if name.is_empty() || path.is_dir() {
            return Err(in_the_way());
        }
        Ok(path)
    }

    fn real_root(&self, context: Context) -> Result<PathBuf, MediaError> {
        let root = self.root.canonicalize();
        root.map_err(|e| self.root_failed(context, &e))
    }

    fn root_failed(&self, context: Context, error: &io::Error) -> MediaError {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                MediaError::new(MediaErrorKind::NoSuchBucket, context)
            }
            _ => MediaError::disk(context, error),
        }
    }
}

/// The real path of `key`, if that is inside the real folder `root`.
fn inside(root: &Path, key: &str) -> io::Result<PathBuf> {
    let path = root.join(key).canonicalize()?;
    if path.starts_with(root) {
        Ok(path)
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Keys of a folder: no empty component, because a path has none, and nothing hidden.
fn check_key(key: &str) -> Result<(), MediaErrorKind> {
    key::check(key).map_err(MediaErrorKind::InvalidKey)?;
    if key
        .split('/')
        .any(|part| part.is_empty() || part.starts_with('.'))
    {
        return Err(MediaErrorKind::NoSuchKey);
    }
    Ok(())
}

fn object(key: String, meta: &fs::Metadata) -> MediaObject {
    MediaObject {
        key,
        size_bytes: meta.len(),
        modified: meta.modified().ok().and_then(|m| m.try_into().ok()),
        etag: None,
    }
}

fn disk(context: Context, error: &AtomicError) -> MediaError {
    MediaError::new(MediaErrorKind::Disk(error.fault), context)
        .with_detail(&error.source.to_string())
}
