//! The media store: list, stat, sign, upload and delete, over S3/R2 or a local folder.
//!
//! ```text
//!                    ┌─ s3::S3Store ──────► S3, R2             upload: multipart
//!  MediaStore (enum) ┤
//!                    └─ local::LocalStore ► a folder           sign: HMAC-signed addresses
//!        ▲                    ▲
//!  server::MediaServer   local::router: the other end of those addresses
//!  loopback tickets for this machine's FFmpegs
//!        ▲
//!  reach: can the store be read from?   cache: whole objects kept for when it cannot
//! ```
//!
//! Keys are relative to `STORAGE_PREFIX`. What is not playable by its extension is not listed, but can
//! be named (a slate's picture).

pub mod cache;
pub mod error;
pub mod key;
pub mod local;
pub mod reach;
pub mod s3;
pub mod server;
pub mod sign;
mod upload;

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use programme::ListedObject;

pub use self::error::{Denial, MediaError, MediaErrorKind, MediaOperation};
pub use self::local::LocalStore;
pub use self::s3::S3Store;
use crate::model::StorageSettings;
use crate::model::job::Provider;
use crate::secret::Secret;

/// Log filter directives, to be added after the operator's: below `info` the SDK logs credentials'
/// ids and requests as they are signed.
pub const LOG_LIMITS: [&str; 4] = [
    "aws_config=info",
    "aws_runtime=info",
    "aws_sigv4=info",
    "aws_smithy_runtime=info",
];

/// Extensions of what FFmpeg can be expected to play; `STORAGE_EXTENSIONS` replaces them.
pub const DEFAULT_EXTENSIONS: [&str; 10] = [
    "mp4", "mov", "mkv", "webm", "m4v", "ts", "flv", "mp3", "m4a", "wav",
];

/// The longest life of a signed address; the limit of S3 and R2, kept for the folder too.
pub const MAX_URL_TTL: Duration = Duration::from_hours(7 * 24);

/// What both stores say of a `STORAGE_PREFIX` that no key can have.
const BAD_PREFIX: &str = "correct STORAGE_PREFIX: no leading '/', no '..', no control characters";

/// A place media comes from. Cloning shares it.
#[derive(Debug, Clone)]
pub enum MediaStore {
    /// A bucket.
    S3(S3Store),
    /// A folder.
    Local(LocalStore),
}

/// An object of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaObject {
    /// Below `STORAGE_PREFIX`.
    pub key: String,
    /// Bytes.
    pub size_bytes: u64,
    /// When it was last written, where the store says.
    pub modified: Option<Timestamp>,
    /// Where the store gives one; not every S3 does in listings.
    pub etag: Option<String>,
}

/// How far an upload has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadProgress {
    /// Bytes the store has taken.
    pub sent_bytes: u64,
    /// Bytes of the file.
    pub total_bytes: u64,
}

/// Told of the progress of an upload, from 0 to all of it.
pub type OnProgress<'a> = &'a (dyn Fn(UploadProgress) + Send + Sync);

/// The endpoint of a Cloudflare account, from `STORAGE_ACCOUNT_ID`.
pub fn r2_endpoint(account_id: &str) -> String {
    format!("https://{account_id}.r2.cloudflarestorage.com")
}

// === impl MediaStore ===

impl MediaStore {
    /// Opens the store. No request is made: see [`Self::check`].
    ///
    /// Without `keys`, S3 takes credentials as every AWS tool does (environment, profile).
    ///
    /// # Errors
    /// When the settings do not fit together.
    pub async fn open(
        settings: &StorageSettings,
        keys: Option<(Secret, Secret)>,
    ) -> Result<Self, MediaError> {
        match settings.provider {
            Provider::R2 | Provider::S3 => S3Store::open(settings, keys).await.map(Self::S3),
            Provider::Local => LocalStore::open(settings).map(Self::Local),
        }
    }

    /// Whether the store answers and lets itself be listed.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(&self) -> Result<(), MediaError> {
        match self {
            Self::S3(store) => store.check().await,
            Self::Local(store) => store.check().await,
        }
    }

    /// By how many seconds the store's clock is ahead of this machine's; `None` where it does not tell.
    /// One request.
    pub async fn server_ahead_s(&self) -> Option<i64> {
        match self {
            Self::S3(store) => store.server_ahead_s().await,
            Self::Local(_) => None,
        }
    }

    /// The playable objects whose key begins with `prefix`, in key order.
    ///
    /// # Errors
    /// See [`MediaErrorKind`]. An empty store is an empty list.
    pub async fn list(&self, prefix: &str) -> Result<Vec<MediaObject>, MediaError> {
        let mut objects = match self {
            Self::S3(store) => store.list(prefix).await?,
            Self::Local(store) => store.list(prefix).await?,
        };
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(objects)
    }

    /// One object.
    ///
    /// # Errors
    /// [`MediaErrorKind::NoSuchKey`] and the rest of [`MediaErrorKind`].
    pub async fn stat(&self, key: &str) -> Result<MediaObject, MediaError> {
        match self {
            Self::S3(store) => store.stat(key).await,
            Self::Local(store) => store.stat(key).await,
        }
    }

    /// Whether the object can be read now: its beginning is. One try.
    ///
    /// # Errors
    /// As [`Self::stat`].
    pub async fn taste(&self, key: &str) -> Result<(), MediaError> {
        match self {
            Self::S3(store) => store.taste(key).await,
            Self::Local(store) => store.stat(key).await.map(drop),
        }
    }

    /// The failure of a caller that would wait no longer.
    fn no_answer(&self, key: Option<&str>) -> MediaError {
        let context = match self {
            Self::S3(store) => store.context(MediaOperation::Read, key),
            Self::Local(store) => store.context(MediaOperation::Read, key),
        };
        MediaError::new(MediaErrorKind::Timeout, context)
    }

    /// An address that reads one object for `ttl`, at most [`MAX_URL_TTL`]. The object need not exist.
    ///
    /// # Errors
    /// An invalid key; no credentials; a folder that is not served in this process.
    pub async fn signed_get(&self, key: &str, ttl: Duration) -> Result<Secret, MediaError> {
        match self {
            Self::S3(store) => store.signed_get(key, ttl).await,
            Self::Local(store) => store.signed_get(key, ttl),
        }
    }

    /// An address that takes one `PUT` of an object for `ttl`. With S3 the `Content-Type` sent must
    /// be `content_type`.
    ///
    /// # Errors
    /// As [`Self::signed_get`].
    pub async fn presigned_put(
        &self,
        key: &str,
        content_type: &str,
        ttl: Duration,
    ) -> Result<Secret, MediaError> {
        match self {
            Self::S3(store) => store.presigned_put(key, content_type, ttl).await,
            Self::Local(store) => store.presigned_put(key, ttl),
        }
    }

    /// Stores the file at `path` as `key`, replacing what was there once all of it has arrived.
    ///
    /// # Errors
    /// See [`MediaErrorKind`]; the parts already sent are given back.
    pub async fn upload(
        &self,
        path: &Path,
        key: &str,
        progress: OnProgress<'_>,
    ) -> Result<MediaObject, MediaError> {
        match self {
            Self::S3(store) => store.upload(path, key, progress).await?,
            Self::Local(store) => store.upload(path, key, progress).await?,
        }
        self.stat(key).await
    }

    /// Deletes one object; one that is not there is no error.
    ///
    /// # Errors
    /// See [`MediaErrorKind`].
    pub async fn delete(&self, key: &str) -> Result<(), MediaError> {
        match self {
            Self::S3(store) => store.delete(key).await,
            Self::Local(store) => store.delete(key).await,
        }
    }
}

// === impl MediaObject ===

impl MediaObject {
    /// Changes whenever the content does: the ETag where there is one, else size and time.
    pub fn version(&self) -> String {
        match (&self.etag, self.modified) {
            (Some(etag), _) => etag.clone(),
            (None, Some(modified)) => {
                format!("{}-{}", self.size_bytes, modified.as_nanosecond())
            }
            (None, None) => self.size_bytes.to_string(),
        }
    }

    /// As a programme knows it.
    pub fn to_listed(&self) -> ListedObject {
        ListedObject {
            key: self.key.clone(),
            size_bytes: self.size_bytes,
            version: self.version(),
        }
    }
}

/// Which keys are listed.
#[derive(Debug, Clone)]
struct Playable(Vec<String>);

impl Playable {
    fn of(settings: &StorageSettings) -> Self {
        if settings.extensions.is_empty() {
            Self(DEFAULT_EXTENSIONS.map(str::to_owned).to_vec())
        } else {
            let plain = |e: &String| e.trim_start_matches('.').to_ascii_lowercase();
            Self(settings.extensions.iter().map(plain).collect())
        }
    }

    /// Hidden files, folders and other extensions are not, nor are keys that nothing could fetch.
    fn has(&self, key: &str) -> bool {
        let name = key.rsplit('/').next().unwrap_or_default();
        let hidden = key.split('/').any(|part| part.starts_with('.'));
        let extension = name.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase());
        !hidden && extension.is_some_and(|e| self.0.contains(&e)) && key::check(key).is_ok()
    }
}

/// `Content-Type` of what is uploaded, by its extension.
pub fn content_type(key: &str) -> &'static str {
    let extension = key.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase());
    match extension.as_deref() {
        Some("mp4" | "m4v") => "video/mp4",
        Some("mov") => "video/quicktime",
        Some("mkv") => "video/x-matroska",
        Some("webm") => "video/webm",
        Some("ts") => "video/mp2t",
        Some("flv") => "video/x-flv",
        Some("mp3") => "audio/mpeg",
        Some("m4a") => "audio/mp4",
        Some("wav") => "audio/wav",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        _ => "application/octet-stream",
    }
}
