//! Which keys objects may have.

/// A key or prefix that no store accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// A key names an object, so it cannot be empty.
    #[error("must not be empty")]
    Empty,
    /// It would end a C string, or a log line.
    #[error("must not contain control characters")]
    Control,
    /// HTTP clients resolve such components, which breaks signatures; in a folder they lead out of it.
    #[error("must not contain the component '.' or '..', nor begin with '/'")]
    Dots,
    /// The limit of S3.
    #[error("must not be longer than 1024 bytes")]
    TooLong,
}

/// Whether `key` can name an object.
///
/// # Errors
/// Why it cannot.
pub fn check(key: &str) -> Result<(), InvalidKey> {
    if key.is_empty() {
        return Err(InvalidKey::Empty);
    }
    check_prefix(key)
}

/// Whether `prefix` can be the beginning of a key; it may be empty.
///
/// # Errors
/// Why it cannot.
pub fn check_prefix(prefix: &str) -> Result<(), InvalidKey> {
    if prefix.len() > 1024 {
        return Err(InvalidKey::TooLong);
    }
    if prefix.chars().any(char::is_control) {
        return Err(InvalidKey::Control);
    }
    if prefix.starts_with('/') || prefix.split('/').any(|part| part == "." || part == "..") {
        return Err(InvalidKey::Dots);
    }
    Ok(())
}
