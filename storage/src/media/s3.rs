//! A bucket of S3, R2 or another server of that protocol.

mod client;
mod date;
mod read;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use aws_sdk_s3::primitives::DateTime;
use jiff::Timestamp;

pub(super) use self::read::Reading;
use super::error::{Context, StoreName};
use super::{MAX_URL_TTL, MediaError, MediaErrorKind, MediaObject, MediaOperation, Playable, key};
use crate::model::StorageSettings;
use crate::secret::Secret;

/// A bucket. Cloning shares it.
#[derive(Clone)]
pub struct S3Store {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    /// Tries once: for whoever has a patience of its own.
    impatient: Client,
    bucket: String,
    prefix: String,
    playable: Playable,
    url_ttl: Duration,
    name: Arc<StoreName>,
    /// Kept to take them out of what a server may repeat in its messages.
    keys: Option<(Secret, Secret)>,
}

/// What a signed address may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Get,
    Head,
}

impl S3Store {
    pub(super) async fn open(
        settings: &StorageSettings,
        keys: Option<(Secret, Secret)>,
    ) -> Result<Self, MediaError> {
        let bucket = settings.bucket.clone().unwrap_or_default();
        let client = client::build(settings, keys.as_ref())
            .await
            .map_err(|wrong| {
                let context = Context {
                    operation: MediaOperation::Open,
                    // What is wrong with an endpoint may be that it holds a password.
                    store: Arc::new(StoreName::Bucket {
                        bucket: bucket.clone(),
                        endpoint: None,
                    }),
                    key: None,
                };
                MediaError::new(MediaErrorKind::Settings(wrong), context)
            })?;
        Ok(Self {
            shared: Arc::new(Shared {
                impatient: client::impatient(&client),
                client,
                name: Arc::new(StoreName::Bucket {
                    bucket: bucket.clone(),
                    endpoint: settings.endpoint.clone(),
                }),
                bucket,
                prefix: settings.prefix.clone(),
                playable: Playable::of(settings),
                url_ttl: Duration::from_secs(settings.url_ttl_secs),
                keys,
            }),
        })
    }

    pub(super) async fn check(&self) -> Result<(), MediaError> {
        // HEAD on the bucket would do, but its answer has no body to say what is wrong.
        let request = self.client().list_objects_v2().bucket(self.bucket());
        let result = request.prefix(&self.shared.prefix).max_keys(1).send().await;
        result.map_err(|e| self.failed(MediaOperation::List, None, &e))?;
        Ok(())
    }

    /// See [`super::MediaStore::server_ahead_s`].
    pub(super) async fn server_ahead_s(&self) -> Option<i64> {
        let date = date::DateHeader::default();
        let request = self.client().list_objects_v2().bucket(self.bucket());
        let request = request.prefix(&self.shared.prefix).max_keys(1);
        // An answer that refuses tells the time as well.
        let _ = request.customize().interceptor(date.clone()).send().await;
        Some(date.seen_s()? - Timestamp::now().as_second())
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<MediaObject>, MediaError> {
        key::check_prefix(prefix).map_err(|why| self.invalid(MediaOperation::List, prefix, why))?;
        let mut pages = self
            .client()
            .list_objects_v2()
            .bucket(self.bucket())
            .prefix(self.full(prefix))
            .into_paginator()
            .send();
        let mut objects = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| self.failed(MediaOperation::List, None, &e))?;
            objects.extend(page.contents().iter().filter_map(|o| self.listed(o)));
        }
        Ok(objects)
    }

    fn listed(&self, object: &aws_sdk_s3::types::Object) -> Option<MediaObject> {
        let key = object.key()?.strip_prefix(&self.shared.prefix)?;
        self.shared.playable.has(key).then(|| MediaObject {
            key: key.to_owned(),
            size_bytes: bytes(object.size()),
            modified: object.last_modified().and_then(timestamp),
            etag: object.e_tag().map(plain_etag),
        })
    }

    pub(super) async fn stat(&self, key: &str) -> Result<MediaObject, MediaError> {
        self.valid(MediaOperation::Stat, key)?;
        let request = self.client().head_object().bucket(self.bucket());
        match request.key(self.full(key)).send().await {
            Ok(object) => Ok(MediaObject {
                key: key.to_owned(),
                size_bytes: bytes(object.content_length()),
                modified: object.last_modified().and_then(timestamp),
                etag: object.e_tag().map(plain_etag),
            }),
            Err(e) => {
                let error = self.failed(MediaOperation::Stat, Some(key), &e);
                Err(self.explained(error, key).await)
            }
        }
    }

    /// Answers to HEAD have no body: 404 may mean the bucket, 403 a wrong secret. A listing tells.
    async fn explained(&self, error: MediaError, key: &str) -> MediaError {
        match error.kind {
            MediaErrorKind::NoSuchKey | MediaErrorKind::AccessDenied(_) => {
                match self.check().await {
                    Ok(()) => error,
                    Err(reason) => reason.about(MediaOperation::Stat, key),
                }
            }
            _ => error,
        }
    }

    pub(super) async fn signed_get(&self, key: &str, ttl: Duration) -> Result<Secret, MediaError> {
        self.signed(Access::Get, key, ttl).await
    }

    /// An address for someone who is about to read the whole object, however long that takes:
    /// FFmpeg comes back to it at each seek.
    pub(super) async fn signed_for_reader(
        &self,
        access: Access,
        key: &str,
    ) -> Result<Secret, MediaError> {
        self.signed(access, key, self.shared.url_ttl).await
    }

    /// A GET address answers 403 to HEAD and the other way round.
    async fn signed(&self, access: Access, key: &str, ttl: Duration) -> Result<Secret, MediaError> {
        self.valid(MediaOperation::Sign, key)?;
        let signing = self.signing(key, ttl)?;
        let full = self.full(key);
        let (client, bucket) = (self.client(), self.bucket());
        match access {
            Access::Get => {
                let request = client.get_object().bucket(bucket).key(full);
                self.address(key, request.presigned(signing).await)
            }
            Access::Head => {
                let request = client.head_object().bucket(bucket).key(full);
                self.address(key, request.presigned(signing).await)
            }
        }
    }

    pub(super) async fn presigned_put(
        &self,
        key: &str,
        content_type: &str,
        ttl: Duration,
    ) -> Result<Secret, MediaError> {
        self.valid(MediaOperation::Sign, key)?;
        let signing = self.signing(key, ttl)?;
        let request = self.client().put_object().bucket(self.bucket());
        let request = request.key(self.full(key)).content_type(content_type);
        self.address(key, request.presigned(signing).await)
    }

    fn signing(&self, key: &str, ttl: Duration) -> Result<PresigningConfig, MediaError> {
        PresigningConfig::builder()
            .start_time(SystemTime::now())
            .expires_in(ttl.clamp(Duration::from_secs(1), MAX_URL_TTL))
            .build()
            .map_err(|e| {
                let context = self.context(MediaOperation::Sign, Some(key));
                MediaError::new(MediaErrorKind::Unexpected, context).with_detail(&e.to_string())
            })
    }

    fn address<E>(
        &self,
        key: &str,
        signed: Result<PresignedRequest, SdkError<E, HttpResponse>>,
    ) -> Result<Secret, MediaError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        match signed {
            Ok(request) => Ok(Secret::new(request.uri())),
            Err(e) => Err(self.failed(MediaOperation::Sign, Some(key), &e)),
        }
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), MediaError> {
        self.valid(MediaOperation::Delete, key)?;
        let request = self.client().delete_object().bucket(self.bucket());
        match request.key(self.full(key)).send().await {
            Ok(_) => Ok(()),
            Err(e) => match self.failed(MediaOperation::Delete, Some(key), &e) {
                // AWS and R2 call this a success; not every server does.
                gone if gone.kind == MediaErrorKind::NoSuchKey => Ok(()),
                error => Err(error),
            },
        }
    }

    // === for upload.rs ===

    pub(super) fn client(&self) -> &Client {
        &self.shared.client
    }

    pub(super) fn bucket(&self) -> &str {
        &self.shared.bucket
    }

    /// The key as the server knows it.
    pub(super) fn full(&self, key: &str) -> String {
        format!("{}{key}", self.shared.prefix)
    }

    pub(super) fn valid(&self, operation: MediaOperation, key: &str) -> Result<(), MediaError> {
        key::check(key).map_err(|why| self.invalid(operation, key, why))
    }

    fn invalid(&self, operation: MediaOperation, key: &str, why: key::InvalidKey) -> MediaError {
        let context = self.context(operation, Some(key));
        MediaError::new(MediaErrorKind::InvalidKey(why), context)
    }

    pub(super) fn context(&self, operation: MediaOperation, key: Option<&str>) -> Context {
        Context {
            operation,
            store: self.shared.name.clone(),
            key: key.map(Into::into),
        }
    }

    pub(super) fn failed<E>(
        &self,
        operation: MediaOperation,
        key: Option<&str>,
        error: &SdkError<E, HttpResponse>,
    ) -> MediaError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let error = MediaError::from_sdk(self.context(operation, key), error);
        match &self.shared.keys {
            Some((id, secret)) => error.without(&[secret.expose(), id.expose()]),
            None => error,
        }
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's own `Debug` is not known to be free of secrets.
        f.debug_tuple("S3Store").field(&self.shared.name).finish()
    }
}

/// Without the quotes HTTP puts around it.
fn plain_etag(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

fn bytes(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok())
        .unwrap_or_default()
}

fn timestamp(time: &DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}
