//! Reading an object through the SDK: for the cache, and to see whether it can be read at all.

use std::time::Duration;

use aws_sdk_s3::primitives::{ByteStream, ByteStreamError};
use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::timeout;

use super::{S3Store, bytes, plain_etag, timestamp};
use crate::media::{MediaError, MediaErrorKind, MediaOperation};

/// A body of which nothing comes for so long has broken off.
const BODY_LIMIT: Duration = Duration::from_secs(10);

/// What a store has to deliver to be one that can be played from. Little, for lines that are full already.
const TASTE_BYTES: usize = 16 * 1024;

/// An object that is being read.
pub(in crate::media) struct Reading {
    store: S3Store,
    key: String,
    /// Of the whole object.
    pub(in crate::media) size_bytes: u64,
    pub(in crate::media) etag: Option<String>,
    pub(in crate::media) modified: Option<Timestamp>,
    body: ByteStream,
}

// === impl S3Store ===

impl S3Store {
    /// Reads the beginning.
    pub(in crate::media) async fn taste(&self, key: &str) -> Result<(), MediaError> {
        self.valid(MediaOperation::Read, key)?;
        let request = self.shared.impatient.get_object().bucket(self.bucket());
        let range = format!("bytes=0-{}", TASTE_BYTES - 1);
        match request.key(self.full(key)).range(range).send().await {
            // It may send more, but no more is read.
            Ok(mut answer) => match drain(&mut answer.body, TASTE_BYTES).await {
                Ok(()) => Ok(()),
                Err(_) => {
                    let context = self.context(MediaOperation::Read, Some(key));
                    Err(MediaError::new(MediaErrorKind::Unreachable, context))
                }
            },
            Err(error) => match self.failed(MediaOperation::Read, Some(key), &error) {
                // There is an object, and it has no byte.
                empty if empty.kind == MediaErrorKind::Changed => Ok(()),
                error => Err(error),
            },
        }
    }

    /// Reads from `offset` to the end; with `etag`, only if that is still the object.
    pub(in crate::media) async fn read_from(
        &self,
        key: &str,
        offset: u64,
        etag: Option<&str>,
    ) -> Result<Reading, MediaError> {
        self.valid(MediaOperation::Read, key)?;
        let request = self.shared.impatient.get_object().bucket(self.bucket());
        let request = request
            .key(self.full(key))
            .set_range((offset > 0).then(|| format!("bytes={offset}-")))
            .set_if_match(etag.map(|etag| format!("\"{etag}\"")));
        match request.send().await {
            Ok(answer) => Ok(Reading {
                store: self.clone(),
                key: key.to_owned(),
                size_bytes: offset + bytes(answer.content_length),
                etag: answer.e_tag.as_deref().map(plain_etag),
                modified: answer.last_modified.as_ref().and_then(timestamp),
                body: answer.body,
            }),
            Err(error) => Err(self.failed(MediaOperation::Read, Some(key), &error)),
        }
    }
}

/// Reads so much, or to the end.
async fn drain(body: &mut ByteStream, mut bytes: usize) -> Result<(), ByteStreamError> {
    while bytes > 0
        && let Some(chunk) = body.try_next().await?
    {
        bytes = bytes.saturating_sub(chunk.len());
    }
    Ok(())
}

// === impl Reading ===

impl Reading {
    /// The next bytes; `None` at the end.
    pub(in crate::media) async fn next(&mut self) -> Result<Option<Bytes>, MediaError> {
        let failed = |kind| {
            let context = self.store.context(MediaOperation::Read, Some(&self.key));
            MediaError::new(kind, context)
        };
        match timeout(BODY_LIMIT, self.body.next()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(bytes))) => Ok(Some(bytes)),
            Ok(Some(Err(_))) => Err(failed(MediaErrorKind::Unreachable)),
            Err(_) => Err(failed(MediaErrorKind::Timeout)),
        }
    }
}
