//! Signed, expiring addresses of files in a local folder.
//!
//! `{base}/local-media/{key}?expires={unix seconds}&signature={64 hex digits}`. The signature is
//! HMAC-SHA-256 over the method, the expiry and the key, so an address made for reading cannot write
//! and none can be turned to another object or a later time.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;

use crate::atomic::{self, AtomicError};
use crate::secret::Secret;

/// Path under which [`super::local::router()`] answers.
pub const LOCAL_MEDIA_PATH: &str = "/local-media";

/// Told apart from any other use of the same key, and from later forms of the address.
const DOMAIN: &[u8] = b"stream-controller local-media 1\0";

/// Everything but what RFC 3986 never escapes.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const PATH: &AsciiSet = &SEGMENT.remove(b'/');

/// Makes and checks addresses.
#[derive(Clone)]
pub struct UrlSigner {
    key: Arc<[u8; 32]>,
}

/// What an address allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `GET` and `HEAD`.
    Read,
    /// `PUT`.
    Write,
}

/// Why an address is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It was not made here, or changed since.
    #[error("the signature does not fit this address; ask for a new one")]
    BadSignature,
    /// It was valid once.
    #[error("the address has expired; ask for a new one")]
    Expired,
}

/// A key that could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The file is there and cannot be read.
    #[error("cannot read the signing key {path}")]
    Unreadable {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The disk did not take a new key.
    #[error(transparent)]
    Disk(#[from] AtomicError),
    /// The kernel gave no random bytes.
    #[error("no random bytes for a signing key")]
    NoRandom(#[source] io::Error),
}

impl UrlSigner {
    /// The key kept at `path` (32 bytes, mode 0600), made if it is missing or not a key.
    ///
    /// # Errors
    /// See [`SignerError`].
    pub fn load_or_create(path: &Path) -> Result<Self, SignerError> {
        let present = match fs::read(path) {
            Ok(bytes) => Some(bytes),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(source) => {
                return Err(SignerError::Unreadable {
                    path: path.display().to_string(),
                    source,
                });
            }
        };
        if let Some(bytes) = &present {
            match <[u8; 32]>::try_from(bytes.as_slice()) {
                Ok(key) => return Ok(Self { key: Arc::new(key) }),
                // Nothing is lost with it but addresses handed out earlier.
                Err(_) => tracing::warn!(
                    path = %path.display(),
                    "the signing key of local media is damaged; a new one is made"
                ),
            }
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|e| SignerError::NoRandom(io::Error::other(e)))?;
        atomic::write(path, &key)?;
        Ok(Self { key: Arc::new(key) })
    }

    /// The address of `key` below `base`, until `expires`.
    pub(super) fn url(&self, base: &str, access: Access, key: &str, expires: Timestamp) -> Secret {
        let expires = expires.as_second();
        let signature = self.mac(access, key, expires).finalize().into_bytes();
        let signature: String = signature.iter().map(|b| format!("{b:02x}")).collect();
        let base = base.trim_end_matches('/');
        let path = utf8_percent_encode(key, PATH);
        Secret::new(format!(
            "{base}{LOCAL_MEDIA_PATH}/{path}?expires={expires}&signature={signature}"
        ))
    }

    /// Checks what an address said, in constant time.
    pub(super) fn check(
        &self,
        access: Access,
        key: &str,
        expires: i64,
        signature: &str,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let signature = unhex(signature).ok_or(Refused::BadSignature)?;
        self.mac(access, key, expires)
            .verify_slice(&signature)
            .map_err(|_| Refused::BadSignature)?;
        if now.as_second() < expires {
            Ok(())
        } else {
            Err(Refused::Expired)
        }
    }

    fn mac(&self, access: Access, key: &str, expires: i64) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&*self.key).expect("HMAC takes keys of every length");
        mac.update(DOMAIN);
        mac.update(match access {
            Access::Read => b"GET\0",
            Access::Write => b"PUT\0",
        });
        mac.update(&expires.to_be_bytes());
        mac.update(key.as_bytes());
        mac
    }
}

/// A file name as one segment of a path.
pub(super) fn encode_segment(name: &str) -> impl fmt::Display + '_ {
    utf8_percent_encode(name, SEGMENT)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(bytes)
}

impl fmt::Debug for UrlSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UrlSigner(***)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    fn signer() -> UrlSigner {
        UrlSigner {
            key: Arc::new([7; 32]),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn signature(url: &Secret) -> String {
        url.expose().rsplit_once("signature=").unwrap().1.to_owned()
    }

    #[test]
    fn an_address_serves_its_own_method_key_and_time_only() {
        let signer = signer();
        let url = signer.url("http://h:1/", Access::Read, "a/ö b+&=%.mp4", at(1000));
        assert!(
            url.expose().starts_with(
                "http://h:1/local-media/a/%C3%B6%20b%2B%26%3D%25.mp4?expires=1000&signature="
            ),
            "{}",
            url.expose()
        );
        let s = signature(&url);
        let key = "a/ö b+&=%.mp4";
        let check = |access, key, expires, s: &str, now| signer.check(access, key, expires, s, now);
        assert_eq!(check(Access::Read, key, 1000, &s, at(999)), Ok(()));
        assert_eq!(
            check(Access::Read, key, 1000, &s, at(1000)),
            Err(Refused::Expired)
        );
        let bad = Err(Refused::BadSignature);
        assert_eq!(check(Access::Write, key, 1000, &s, at(999)), bad);
        assert_eq!(check(Access::Read, "a/other.mp4", 1000, &s, at(999)), bad);
        assert_eq!(check(Access::Read, key, 1001, &s, at(999)), bad);
        assert_eq!(check(Access::Read, key, 1000, "", at(999)), bad);
        assert_eq!(check(Access::Read, key, 1000, &s[..63], at(999)), bad);
        assert_eq!(
            check(Access::Read, key, 1000, &"ö".repeat(32), at(999)),
            bad
        );
    }

    proptest! {
        #[test]
        fn one_changed_digit_is_refused(place in 0usize..64, digit in "[0-9a-f]") {
            let signer = signer();
            let mut s = signature(&signer.url("", Access::Read, "k.mp4", at(1000)));
            prop_assume!(s[place..=place] != digit);
            s.replace_range(place..=place, &digit);
            let checked = signer.check(Access::Read, "k.mp4", 1000, &s, at(1));
            prop_assert_eq!(checked, Err(Refused::BadSignature));
        }
    }

    #[test]
    fn the_key_is_kept_private_and_a_damaged_one_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("local-media.key");
        let first = UrlSigner::load_or_create(&path).unwrap();
        let again = UrlSigner::load_or_create(&path).unwrap();
        assert_eq!(first.key, again.key);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(format!("{first:?}"), "UrlSigner(***)");
        atomic::write(&path, b"short").unwrap();
        let new = UrlSigner::load_or_create(&path).unwrap();
        assert_ne!(first.key, new.key);
        assert_eq!(fs::read(&path).unwrap(), *new.key);
    }
}
