//! Where settings come from: flags before variables, and for secrets systemd credentials.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use storage::secret::Secret;

/// Named texts from outside: the process environment, or a map in tests.
pub trait Vars: Send + Sync {
    /// The variable `name`; `None` when unset or not UTF-8.
    fn get(&self, name: &str) -> Option<String>;

    /// The file of the systemd credentials directory that `name` is kept in.
    ///
    /// `storage-secret-access-key`, `STORAGE_SECRET_ACCESS_KEY` and every mix of case name the same
    /// credential.
    fn credential(&self, name: &str) -> Option<String>;
}

/// The environment of this process and its `CREDENTIALS_DIRECTORY`.
#[derive(Debug, Clone)]
pub struct ProcessVars {
    credentials: BTreeMap<String, PathBuf>,
}

/// Variables of a test, or of a dry run.
#[derive(Debug, Clone, Default)]
pub struct MapVars(pub BTreeMap<String, String>);

/// Looks up secrets by the name of their variable: a credential wins over the environment, which
/// every child of a service could inherit.
#[derive(Clone)]
pub struct Keyring(std::sync::Arc<dyn Vars>);

// === impl ProcessVars ===

impl ProcessVars {
    /// Lists the credentials directory, if there is one.
    pub fn new() -> Self {
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY")
            .map(|dir| list_credentials(Path::new(&dir)))
            .unwrap_or_default();
        Self { credentials }
    }
}

impl Default for ProcessVars {
    fn default() -> Self {
        Self::new()
    }
}

impl Vars for ProcessVars {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn credential(&self, name: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.credentials.get(&folded(name))?).ok()?;
        Some(text.trim_end_matches(['\r', '\n']).to_owned())
    }
}

fn list_credentials(dir: &Path) -> BTreeMap<String, PathBuf> {
    // A directory that cannot be listed holds nothing for us; a secret that is then missing is
    // reported by its name.
    let Ok(entries) = std::fs::read_dir(dir) else {
        return BTreeMap::new();
    };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((folded(&name), entry.path()))
        })
        .collect()
}

fn folded(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

// === impl MapVars ===

impl<const N: usize> From<[(&str, &str); N]> for MapVars {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }
}

impl Vars for MapVars {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn credential(&self, _name: &str) -> Option<String> {
        None
    }
}

// === impl Keyring ===

impl Keyring {
    /// Secrets out of `vars`.
    pub fn new(vars: std::sync::Arc<dyn Vars>) -> Self {
        Self(vars)
    }

    /// The secret `name`; `None` when it is unset or empty.
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.0
            .credential(name)
            .or_else(|| self.0.get(name))
            .filter(|text| !text.is_empty())
            .map(Secret::new)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "a credential file of the test, not a document"
    )]
    fn credentials_are_found_in_any_case_and_without_their_last_newline() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("youtube-stream-key"), "abcd-1234\n").unwrap();
        let vars = ProcessVars {
            credentials: list_credentials(dir.path()),
        };
        assert_eq!(
            vars.credential("YOUTUBE_STREAM_KEY").as_deref(),
            Some("abcd-1234")
        );
        assert_eq!(vars.credential("TWITCH_STREAM_KEY"), None);
        let shown = format!("{:?}", Keyring::new(std::sync::Arc::new(vars)));
        assert!(!shown.contains("abcd"), "{shown}");
    }
}
