//! Failures of a media store: what was tried, on what, why it failed and what to do.
//!
//! The SDK's own errors stop here. They hold requests, responses and signed addresses; only the error
//! code, the message and a clock difference are taken out of them.

mod text;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use jiff::Timestamp;

use super::key::InvalidKey;
use crate::atomic::DiskFault;
use crate::model::ErrorReport;

/// A failed operation on a media store.
#[derive(Debug, Clone)]
pub struct MediaError {
    /// Why, as far as it decides what to do.
    pub kind: MediaErrorKind,
    context: Context,
    detail: Option<Box<str>>,
}

/// What was tried, and on what.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) operation: MediaOperation,
    pub(super) store: Arc<StoreName>,
    pub(super) key: Option<Box<str>>,
}

/// A store as an operator knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreName {
    /// A bucket, and the endpoint unless it is AWS's own.
    Bucket {
        /// `STORAGE_BUCKET`.
        bucket: String,
        /// `STORAGE_ENDPOINT`.
        endpoint: Option<String>,
    },
    /// A folder of this machine.
    Folder(PathBuf),
}

/// Operations of a media store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaOperation {
    /// Opening it.
    Open,
    /// Listing.
    List,
    /// Reading an object's size and version.
    Stat,
    /// Making a signed address.
    Sign,
    /// Reading an object.
    Read,
    /// Writing an object.
    Upload,
    /// Deleting an object.
    Delete,
}

/// Reasons of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaErrorKind {
    /// The bucket or folder does not exist.
    NoSuchBucket,
    /// The object does not exist.
    NoSuchKey,
    /// The store refused.
    AccessDenied(Denial),
    /// The clocks of this machine and the store are too far apart for signatures to hold.
    ClockSkew {
        /// How far the store's clock is ahead of this machine's, when it told its time.
        server_ahead_s: Option<i64>,
    },
    /// The bucket is in another region than the one signed for.
    WrongRegion,
    /// No connection: address, DNS, firewall, TLS.
    Unreachable,
    /// A connection, and no answer in time.
    Timeout,
    /// Too many requests.
    Throttled,
    /// Larger than the store takes.
    TooLarge,
    /// The object is another version than the one asked for.
    Changed,
    /// The key cannot name an object.
    InvalidKey(InvalidKey),
    /// A folder stands where an object should be, or the other way round.
    InTheWay,
    /// The settings do not fit together.
    Settings(&'static str),
    /// The file to be uploaded, or the folder's disk.
    Disk(DiskFault),
    /// The store failed by its own account.
    StoreFailed,
    /// See the detail.
    Unexpected,
}

/// Ways to be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// The credentials are right and may not do this.
    NotAllowed,
    /// The store does not know the access key id.
    UnknownKeyId,
    /// The secret does not fit the access key id.
    WrongSecret,
    /// There are no credentials at all.
    NoCredentials,
    /// Temporary credentials have run out.
    Expired,
}

// === impl MediaError ===

impl MediaError {
    pub(super) fn new(kind: MediaErrorKind, context: Context) -> Self {
        Self {
            kind,
            context,
            detail: None,
        }
    }

    pub(super) fn disk(context: Context, error: &std::io::Error) -> Self {
        let kind = MediaErrorKind::Disk(DiskFault::of(error));
        Self::new(kind, context).with_detail(&error.to_string())
    }

    /// Adds the store's or the system's own words.
    pub(super) fn with_detail(self, detail: &str) -> Self {
        // One line of bounded length: this goes into logs.
        let detail: String = detail
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(300)
            .collect();
        Self {
            detail: Some(detail.into()),
            ..self
        }
    }

    /// Removes what must not be shown, should a store have repeated it.
    pub(super) fn without(mut self, secrets: &[&str]) -> Self {
        if let Some(detail) = &self.detail {
            let mut clean = detail.to_string();
            for secret in secrets.iter().filter(|s| !s.is_empty()) {
                clean = clean.replace(secret, "***");
            }
            self.detail = Some(clean.into());
        }
        self
    }

    /// The same failure, found by one operation in the service of another.
    pub(super) fn about(mut self, operation: MediaOperation, key: &str) -> Self {
        self.context.operation = operation;
        self.context.key = Some(key.into());
        self
    }

    /// What was tried.
    pub fn operation(&self) -> MediaOperation {
        self.context.operation
    }

    /// The object it was about, if it was about one.
    pub fn key(&self) -> Option<&str> {
        self.context.key.as_deref()
    }

    /// Stable, snake case.
    pub fn error_type(&self) -> &'static str {
        match self.kind {
            MediaErrorKind::NoSuchBucket => "no_such_bucket",
            MediaErrorKind::NoSuchKey => "no_such_key",
            MediaErrorKind::AccessDenied(_) => "access_denied",
            MediaErrorKind::ClockSkew { .. } => "clock_skew",
            MediaErrorKind::WrongRegion => "wrong_region",
            MediaErrorKind::Unreachable => "storage_unreachable",
            MediaErrorKind::Timeout => "storage_timeout",
            MediaErrorKind::Throttled => "storage_throttled",
            MediaErrorKind::TooLarge => "too_large",
            MediaErrorKind::Changed => "object_changed",
            MediaErrorKind::InvalidKey(_) => "invalid_key",
            MediaErrorKind::InTheWay => "in_the_way",
            MediaErrorKind::Settings(_) => "storage_settings",
            MediaErrorKind::Disk(fault) => fault.error_type(),
            MediaErrorKind::StoreFailed => "storage_failed",
            MediaErrorKind::Unexpected => "storage_error",
        }
    }

    /// Whether the same call may succeed later without anyone changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            MediaErrorKind::Unreachable
                | MediaErrorKind::Timeout
                | MediaErrorKind::Throttled
                | MediaErrorKind::StoreFailed
                | MediaErrorKind::Unexpected
        )
    }

    /// Whether the store is well, and it is the one object that is wrong.
    pub fn blames_object(&self) -> bool {
        matches!(
            self.kind,
            MediaErrorKind::NoSuchKey
                | MediaErrorKind::InvalidKey(_)
                | MediaErrorKind::InTheWay
                | MediaErrorKind::TooLarge
                | MediaErrorKind::Changed
        )
    }

    /// The failure as it stands in status and answers.
    pub fn report(&self) -> ErrorReport {
        ErrorReport {
            error_type: self.error_type().to_owned(),
            message: self.to_string(),
            hint: self.hint(),
        }
    }

    /// Translates an SDK error.
    pub(super) fn from_sdk<E>(context: Context, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            SdkError::TimeoutError(_) => Self::new(MediaErrorKind::Timeout, context),
            SdkError::DispatchFailure(e) if e.is_timeout() => {
                Self::new(MediaErrorKind::Timeout, context).with_detail(&innermost(error))
            }
            SdkError::ServiceError(_) | SdkError::ResponseError(_) => {
                Self::from_response(context, error)
            }
            _ if chain(error).contains("credentials") => {
                let kind = MediaErrorKind::AccessDenied(Denial::NoCredentials);
                Self::new(kind, context)
            }
            SdkError::DispatchFailure(_) => {
                Self::new(MediaErrorKind::Unreachable, context).with_detail(&innermost(error))
            }
            _ => Self::new(MediaErrorKind::Unexpected, context).with_detail(&innermost(error)),
        }
    }

    fn from_response<E>(context: Context, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let response = error.raw_response();
        let status = response.map_or(0, |r| r.status().as_u16());
        let date = response.and_then(|r| r.headers().get("date"));
        let code = error.code().unwrap_or_default();
        let kind = match MediaErrorKind::of_code(code) {
            Some(MediaErrorKind::ClockSkew { .. }) => MediaErrorKind::ClockSkew {
                server_ahead_s: date.and_then(|date| seconds_ahead(date, Timestamp::now())),
            },
            Some(kind) => kind,
            None => MediaErrorKind::of_status(status),
        };
        let detail = match (code, error.message()) {
            ("", _) => format!("HTTP status {status}"),
            (code, Some(message)) => format!("{code}: {message}"),
            (code, None) => format!("{code}, HTTP status {status}"),
        };
        Self::new(kind, context).with_detail(&detail)
    }
}

impl MediaErrorKind {
    fn of_code(code: &str) -> Option<Self> {
        Some(match code {
            "NoSuchBucket" => Self::NoSuchBucket,
            "NoSuchKey" | "NotFound" => Self::NoSuchKey,
            "AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "Forbidden" => {
                Self::AccessDenied(Denial::NotAllowed)
            }
            "InvalidAccessKeyId" | "Unauthorized" => Self::AccessDenied(Denial::UnknownKeyId),
            "SignatureDoesNotMatch" => Self::AccessDenied(Denial::WrongSecret),
            "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
                Self::AccessDenied(Denial::Expired)
            }
            "RequestTimeTooSkewed" | "RequestExpired" => Self::ClockSkew {
                server_ahead_s: None,
            },
            "AuthorizationHeaderMalformed"
            | "PermanentRedirect"
            | "TemporaryRedirect"
            | "IllegalLocationConstraintException" => Self::WrongRegion,
            "SlowDown"
            | "Throttling"
            | "ThrottlingException"
            | "TooManyRequests"
            | "RequestLimitExceeded" => Self::Throttled,
            "EntityTooLarge" | "MaxMessageLengthExceeded" => Self::TooLarge,
            "PreconditionFailed" | "InvalidRange" => Self::Changed,
            "RequestTimeout" => Self::Timeout,
            "InternalError" | "ServiceUnavailable" => Self::StoreFailed,
            _ => return None,
        })
    }

    /// For answers without a code: those to HEAD, and those of proxies.
    fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::AccessDenied(Denial::NotAllowed),
            404 => Self::NoSuchKey,
            301 | 307 => Self::WrongRegion,
            412 | 416 => Self::Changed,
            413 => Self::TooLarge,
            429 => Self::Throttled,
            500..=599 => Self::StoreFailed,
            _ => Self::Unexpected,
        }
    }
}

/// How far a `Date` header is ahead of `now`.
fn seconds_ahead(date: &str, now: Timestamp) -> Option<i64> {
    let server = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(date)
        .ok()?;
    Some(server.as_second() - now.as_second())
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// The system's words: "Connection refused", "failed to lookup address information".
fn innermost(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}
