//! What an operator reads: what happened, to what, and what to do.

use std::error::Error;
use std::fmt;

use super::{Context, Denial, MediaError, MediaErrorKind, MediaOperation, StoreName};

impl MediaError {
    /// What to do.
    pub fn hint(&self) -> String {
        let local = matches!(*self.context.store, StoreName::Folder(_));
        let hint = match self.kind {
            MediaErrorKind::NoSuchBucket if local => {
                "create the folder, mount its disk, or correct STORAGE_LOCAL_DIR"
            }
            MediaErrorKind::NoSuchBucket => {
                "correct STORAGE_BUCKET, or create the bucket; check that STORAGE_ENDPOINT and \
                 STORAGE_ACCOUNT_ID belong to its account"
            }
            MediaErrorKind::NoSuchKey => {
                "list what is there with `stream-controller media list`; keys are below \
                 STORAGE_PREFIX and case counts"
            }
            MediaErrorKind::AccessDenied(denial) => denial.hint(),
            MediaErrorKind::ClockSkew { .. } => {
                "set this machine's clock (`timedatectl set-ntp true`)"
            }
            MediaErrorKind::WrongRegion => "set STORAGE_REGION to the bucket's region",
            MediaErrorKind::Unreachable => {
                "check STORAGE_ENDPOINT, DNS and the firewall; for https also that \
                 ca-certificates is installed"
            }
            MediaErrorKind::Timeout => {
                "check the network to the store; it is tried again by itself"
            }
            MediaErrorKind::Throttled => "wait; if it stays, raise the limits at the provider",
            MediaErrorKind::TooLarge => "make the file smaller",
            MediaErrorKind::Changed => "nothing: the new version is taken with the next listing",
            MediaErrorKind::InvalidKey(_) => "rename the object",
            MediaErrorKind::InTheWay => "choose another key, or move away what has that name",
            MediaErrorKind::Settings(what) => what,
            MediaErrorKind::Disk(fault) => fault.hint(),
            MediaErrorKind::StoreFailed => "see the provider's status page; it is tried again",
            MediaErrorKind::Unexpected => {
                "check that STORAGE_ENDPOINT is an S3 endpoint and see the message"
            }
        };
        hint.to_owned()
    }
}

impl Error for MediaError {}

impl fmt::Display for MediaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Context {
            operation,
            store,
            key,
        } = &self.context;
        write!(f, "cannot {operation}")?;
        if let Some(key) = key {
            write!(f, " {key:?} in")?;
        }
        write!(f, " {store}: {}", self.kind)?;
        match &self.detail {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket {
                bucket,
                endpoint: Some(endpoint),
            } => write!(f, "bucket {bucket:?} at {endpoint}"),
            Self::Bucket { bucket, .. } => write!(f, "bucket {bucket:?}"),
            Self::Folder(path) => write!(f, "folder {}", path.display()),
        }
    }
}

impl fmt::Display for MediaOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::List => "list",
            Self::Stat => "look at",
            Self::Sign => "sign an address of",
            Self::Read => "read",
            Self::Upload => "upload",
            Self::Delete => "delete",
        })
    }
}

impl fmt::Display for MediaErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchBucket => f.write_str("it does not exist"),
            Self::NoSuchKey => f.write_str("there is no such object"),
            Self::AccessDenied(denial) => write!(f, "access denied: {denial}"),
            Self::ClockSkew {
                server_ahead_s: None,
            } => f.write_str("the clocks here and there differ too much"),
            Self::ClockSkew {
                server_ahead_s: Some(ahead),
            } => {
                let direction = if *ahead > 0 { "behind" } else { "ahead of" };
                let seconds = ahead.unsigned_abs();
                write!(
                    f,
                    "this machine's clock is {seconds} s {direction} the store's"
                )
            }
            Self::WrongRegion => f.write_str("it is in another region"),
            Self::Unreachable => f.write_str("no connection"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Throttled => f.write_str("the store asks to slow down"),
            Self::TooLarge => f.write_str("larger than the store takes"),
            Self::Changed => f.write_str("it was replaced meanwhile"),
            Self::InvalidKey(why) => write!(f, "the key {why}"),
            Self::InTheWay => f.write_str("a folder or file is in the way"),
            Self::Settings(what) => f.write_str(what),
            Self::Disk(fault) => fault.fmt(f),
            Self::StoreFailed => f.write_str("the store failed"),
            Self::Unexpected => f.write_str("unexpected answer"),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAllowed => "these credentials may not do that",
            Self::UnknownKeyId => "the access key id is not known there",
            Self::WrongSecret => "the secret does not fit the access key id",
            Self::NoCredentials => "no credentials",
            Self::Expired => "the temporary credentials have expired",
        })
    }
}

impl Denial {
    fn hint(self) -> &'static str {
        match self {
            Self::NotAllowed => {
                "give the access key read and list rights on the bucket (write too, for uploads)"
            }
            Self::UnknownKeyId => {
                "correct STORAGE_ACCESS_KEY_ID, and check that STORAGE_ENDPOINT is of the same \
                 account"
            }
            Self::WrongSecret => "correct STORAGE_SECRET_ACCESS_KEY",
            Self::NoCredentials => "set STORAGE_ACCESS_KEY_ID and STORAGE_SECRET_ACCESS_KEY",
            Self::Expired => "renew the temporary credentials",
        }
    }
}
