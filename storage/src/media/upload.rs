//! Bringing a file into a bucket.
//!
//! Small files go in one request. Larger ones go in parts of equal size (R2 insists on that), each
//! streamed from the file and tried again on its own; the object appears when all have arrived. An
//! upload that fails is aborted, because a bucket bills parts that nobody sees.

use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

use super::{
    MediaError, MediaErrorKind, MediaOperation, OnProgress, S3Store, UploadProgress, content_type,
};

const MIB: u64 = 1024 * 1024;
/// Up to this size, one request.
const SINGLE_MAX: u64 = 16 * MIB;
/// Part size of all but enormous files.
const PART_MIN: u64 = 8 * MIB;
/// Limits of the protocol.
const PARTS_MAX: u64 = 10_000;
const OBJECT_MAX: u64 = 5 * 1024 * 1024 * MIB;
/// A part must arrive within this even on a slow line: 16 MiB in five minutes is 450 kbit/s.
const PART_TIMEOUT: Duration = Duration::from_mins(5);

impl S3Store {
    pub(super) async fn upload(
        &self,
        path: &Path,
        key: &str,
        progress: OnProgress<'_>,
    ) -> Result<(), MediaError> {
        self.valid(MediaOperation::Upload, key)?;
        let size = self.file_size(path, key).await?;
        let at = |sent_bytes| {
            progress(UploadProgress {
                sent_bytes,
                total_bytes: size,
            });
        };
        at(0);
        if size <= SINGLE_MAX {
            self.put_whole(path, key, size).await?;
            at(size);
            return Ok(());
        }
        let upload_id = self.begin(key).await?;
        let sent = match self.send_parts(path, key, size, &upload_id, &at).await {
            Ok(parts) => self.complete(key, &upload_id, parts).await,
            Err(error) => Err(error),
        };
        if sent.is_err() {
            self.abort(key, &upload_id).await;
        }
        sent
    }

    async fn file_size(&self, path: &Path, key: &str) -> Result<u64, MediaError> {
        let context = || self.context(MediaOperation::Upload, Some(key));
        let file = tokio::fs::metadata(path)
            .await
            .map_err(|e| MediaError::disk(context(), &e))?;
        if file.is_dir() {
            return Err(MediaError::new(MediaErrorKind::InTheWay, context()));
        }
        if file.len() > OBJECT_MAX {
            return Err(MediaError::new(MediaErrorKind::TooLarge, context()));
        }
        Ok(file.len())
    }

    async fn put_whole(&self, path: &Path, key: &str, size: u64) -> Result<(), MediaError> {
        let body = self.slice(path, key, 0, size).await?;
        let request = self.client().put_object().bucket(self.bucket());
        request
            .key(self.full(key))
            .content_type(content_type(key))
            .body(body)
            .customize()
            .config_override(patient())
            .send()
            .await
            .map_err(|e| self.failed(MediaOperation::Upload, Some(key), &e))?;
        Ok(())
    }

    async fn begin(&self, key: &str) -> Result<String, MediaError> {
        let request = self.client().create_multipart_upload();
        let begun = request
            .bucket(self.bucket())
            .key(self.full(key))
            .content_type(content_type(key))
            .send()
            .await
            .map_err(|e| self.failed(MediaOperation::Upload, Some(key), &e))?;
        begun.upload_id.ok_or_else(|| {
            let context = self.context(MediaOperation::Upload, Some(key));
            MediaError::new(MediaErrorKind::Unexpected, context).with_detail("no upload id")
        })
    }

    async fn send_parts(
        &self,
        path: &Path,
        key: &str,
        size: u64,
        upload_id: &str,
        at: &(impl Fn(u64) + Sync),
    ) -> Result<Vec<CompletedPart>, MediaError> {
        let mut parts = Vec::new();
        for (number, offset, length) in parts_of(size) {
            let body = self.slice(path, key, offset, length).await?;
            let request = self.client().upload_part().bucket(self.bucket());
            let sent = request
                .key(self.full(key))
                .upload_id(upload_id)
                .part_number(number)
                .body(body)
                .customize()
                .config_override(patient())
                .send()
                .await
                .map_err(|e| self.failed(MediaOperation::Upload, Some(key), &e))?;
            let part = CompletedPart::builder().part_number(number);
            parts.push(part.set_e_tag(sent.e_tag).build());
            at(offset + length);
        }
        Ok(parts)
    }

    async fn complete(
        &self,
        key: &str,
        upload_id: &str,
        parts: Vec<CompletedPart>,
    ) -> Result<(), MediaError> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts));
        let request = self.client().complete_multipart_upload();
        request
            .bucket(self.bucket())
            .key(self.full(key))
            .upload_id(upload_id)
            .multipart_upload(parts.build())
            .customize()
            // The server may put terabytes together before it answers.
            .config_override(patient())
            .send()
            .await
            .map_err(|e| self.failed(MediaOperation::Upload, Some(key), &e))?;
        Ok(())
    }

    async fn abort(&self, key: &str, upload_id: &str) {
        let request = self.client().abort_multipart_upload();
        let aborted = request
            .bucket(self.bucket())
            .key(self.full(key))
            .upload_id(upload_id)
            .send()
            .await;
        if let Err(e) = aborted {
            let error = self.failed(MediaOperation::Upload, Some(key), &e);
            tracing::warn!(
                error_type = error.error_type(),
                key,
                "an unfinished upload could not be aborted and may be billed until the bucket's \
                 lifecycle rule removes it: {error}"
            );
        }
    }

    async fn slice(
        &self,
        path: &Path,
        key: &str,
        offset: u64,
        length: u64,
    ) -> Result<ByteStream, MediaError> {
        ByteStream::read_from()
            .path(path)
            .offset(offset)
            .length(Length::Exact(length))
            .build()
            .await
            .map_err(|e| {
                let context = self.context(MediaOperation::Upload, Some(key));
                MediaError::new(MediaErrorKind::Unexpected, context).with_detail(&e.to_string())
            })
    }
}

/// Part numbers from 1, with offset and length.
fn parts_of(size: u64) -> impl Iterator<Item = (i32, u64, u64)> {
    let part = part_size(size);
    (1..)
        .zip((0..size).step_by(usize::try_from(part).unwrap_or(usize::MAX)))
        .map(move |(number, offset)| (number, offset, part.min(size - offset)))
}

/// The smallest whole number of MiB, at least 8, that needs no more parts than allowed.
fn part_size(size: u64) -> u64 {
    let needed = size.div_ceil(PARTS_MAX).div_ceil(MIB) * MIB;
    needed.max(PART_MIN)
}

fn patient() -> Builder {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(PART_TIMEOUT);
    Builder::new().timeout_config(timeouts.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_equal_but_the_last_and_cover_the_file() {
        for size in [
            SINGLE_MAX + 1,
            17 * MIB,
            24 * MIB,
            100 * 1024 * MIB,
            OBJECT_MAX,
        ] {
            let parts: Vec<_> = parts_of(size).collect();
            assert!(parts.len() <= 10_000, "{} parts of {size}", parts.len());
            let mut end = 0;
            for (i, (number, offset, length)) in parts.iter().enumerate() {
                assert_eq!(usize::try_from(*number).unwrap(), i + 1);
                assert_eq!(*offset, end);
                let last = i + 1 == parts.len();
                assert!(last || *length == part_size(size));
                end += length;
            }
            assert_eq!(end, size);
        }
    }
}
