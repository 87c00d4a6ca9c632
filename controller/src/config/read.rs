//! Reading [`Config`] and collecting what is wrong with it.

mod bucket;
mod mediamtx;
mod network;
mod obs;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use storage::history::Limits;
use storage::layout::Layout;
use supervise::cgroup::Delegated;

use super::{Config, Flags, Keyring, LogFormat, Logging, Vars};

const MIB: u64 = 1024 * 1024;
const NAME: &str = "stream-controller";
/// Leaves room for the sockets of streams with short names.
const MAX_RUNTIME_DIR_BYTES: usize = super::MAX_SOCKET_PATH_BYTES - "/main.sock".len();

/// Where this process runs: what a default may depend on besides variables.
#[derive(Debug, Clone)]
pub struct Place {
    /// Working directory; relative paths are made absolute by it.
    pub cwd: PathBuf,
    /// Directory of this program.
    pub exe_dir: PathBuf,
    /// Run by root, so that system directories are the default.
    pub root: bool,
    /// Standard error is a terminal.
    pub terminal: bool,
    /// The control group that the service manager has handed over.
    pub cgroup: Option<Delegated>,
}

/// Every mistake in the settings; never empty, and never shows a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<String>);

struct Reader<'a> {
    flags: &'a Flags,
    vars: Arc<dyn Vars>,
    keyring: Keyring,
    place: &'a Place,
    errors: Vec<String>,
}

// === impl Config ===

impl Config {
    /// Reads all settings.
    ///
    /// # Errors
    /// With every mistake at once.
    pub fn read(
        flags: &Flags,
        vars: impl Vars + 'static,
        place: &Place,
    ) -> Result<Self, ConfigErrors> {
        Reader::new(flags, vars, place).outcome(Reader::config)
    }

    /// Reads only where everything is: for what must work whatever the other settings are.
    ///
    /// # Errors
    /// With every mistake in the directories.
    pub fn read_layout(
        flags: &Flags,
        vars: impl Vars + 'static,
        place: &Place,
    ) -> Result<Layout, ConfigErrors> {
        Reader::new(flags, vars, place).outcome(Reader::layout)
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn new(flags: &'a Flags, vars: impl Vars + 'static, place: &'a Place) -> Self {
        let vars: Arc<dyn Vars> = Arc::new(vars);
        Self {
            flags,
            keyring: Keyring::new(Arc::clone(&vars)),
            vars,
            place,
            errors: Vec::new(),
        }
    }

    fn outcome<T>(mut self, read: impl FnOnce(&mut Self) -> T) -> Result<T, ConfigErrors> {
        let found = read(&mut self);
        if self.errors.is_empty() {
            Ok(found)
        } else {
            Err(ConfigErrors(self.errors))
        }
    }

    /// A mistake leaves a stand-in in the result, which then is not returned.
    fn config(&mut self) -> Config {
        let layout = self.layout();
        let api_token = self.token();
        let allow_public = self.flag("CONTROLLER_ALLOW_PUBLIC");
        Config {
            bind: self.bind(allow_public || api_token.is_some()),
            allow_public,
            api_token,
            cors_origins: self.cors_origins(),
            storage: self.storage(&layout.state_dir),
            storage_keys: self.storage_keys(),
            cache_max_bytes: self.cache_max_bytes(),
            history: self.history(),
            worker_bin: self.program("WORKER_BIN", &self.place.exe_dir.join("stream-worker")),
            ffmpeg_bin: self.program("FFMPEG_BIN", Path::new("ffmpeg")),
            ffprobe_bin: self.program("FFPROBE_BIN", Path::new("ffprobe")),
            allow_argv_secrets: self.flag("ALLOW_ARGV_SECRETS"),
            ingest_bind: self.ingest_bind(),
            mediamtx: self.mediamtx(),
            obs: self.obs(),
            logging: self.logging(),
            keyring: self.keyring.clone(),
            cgroup: self.place.cgroup.clone(),
            layout,
        }
    }

    fn layout(&mut self) -> Layout {
        let root = self.place.root;
        let state_set = self.text("STATE_DIR").is_some();
        let default = self
            .systemd_dir("STATE_DIRECTORY")
            .or_else(|| root.then(|| Path::new("/var/lib").join(NAME)))
            .or_else(|| self.xdg("XDG_STATE_HOME", ".local/state"))
            .unwrap_or_else(|| self.place.cwd.join("state"));
        let state = self.directory("STATE_DIR", default);

        // Two controllers with a STATE_DIR each must not meet in one RUNTIME_DIR.
        let below = |name: &str| state_set.then(|| state.join(name));
        let runtime = below("run")
            .or_else(|| self.systemd_dir("RUNTIME_DIRECTORY"))
            .or_else(|| root.then(|| Path::new("/run").join(NAME)))
            .or_else(|| self.absolute("XDG_RUNTIME_DIR").map(|dir| dir.join(NAME)))
            .unwrap_or_else(|| state.join("run"));
        let cache = below("cache")
            .or_else(|| self.systemd_dir("CACHE_DIRECTORY"))
            .or_else(|| root.then(|| Path::new("/var/cache").join(NAME)))
            .or_else(|| self.xdg("XDG_CACHE_HOME", ".cache"))
            .unwrap_or_else(|| state.join("cache"));
        let runtime = self.directory("RUNTIME_DIR", runtime);
        let length = runtime.as_os_str().len();
        if length > MAX_RUNTIME_DIR_BYTES {
            self.errors.push(format!(
                "RUNTIME_DIR={} has {length} bytes; sockets in it can be reached only up to \
                 {MAX_RUNTIME_DIR_BYTES}: choose a shorter path",
                runtime.display()
            ));
        }
        let cache = self.directory("CACHE_DIR", cache);
        Layout {
            state_dir: state,
            runtime_dir: runtime,
            cache_dir: cache,
        }
    }

    fn history(&mut self) -> Limits {
        let days = self.parsed("HISTORY_RETENTION_DAYS", "a number of days", 90_u32);
        if !(1..=3650).contains(&days) {
            self.errors.push(format!(
                "HISTORY_RETENTION_DAYS={days} must lie between 1 and 3650"
            ));
        }
        let max_bytes = self.parsed("HISTORY_MAX_BYTES", "a number of bytes", 256 * MIB);
        if max_bytes < MIB {
            self.errors.push(format!(
                "HISTORY_MAX_BYTES={max_bytes} must be at least {MIB} (1 MiB)"
            ));
        }
        Limits { days, max_bytes }
    }

    fn logging(&mut self) -> Logging {
        let format = match self.text("LOG_FORMAT").as_deref() {
            None if self.place.terminal => LogFormat::Pretty,
            None | Some("json") => LogFormat::Json,
            Some("pretty") => LogFormat::Pretty,
            Some(other) => {
                self.errors
                    .push(format!("LOG_FORMAT={other} is neither json nor pretty"));
                LogFormat::Json
            }
        };
        let filter = self.text("RUST_LOG").unwrap_or_else(|| "info".into());
        if let Err(error) = tracing_subscriber::EnvFilter::from_str(&filter) {
            self.errors.push(format!("RUST_LOG={filter}: {error}"));
        }
        Logging { format, filter }
    }

    /// The flag, else the variable; empty counts as unset, so `NAME=` in a file means the default.
    fn text(&self, name: &str) -> Option<String> {
        self.flags
            .get(name)
            .map(str::to_owned)
            .or_else(|| self.vars.get(name))
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    }

    fn parsed<T: FromStr>(&mut self, name: &str, wanted: &str, default: T) -> T {
        let Some(text) = self.text(name) else {
            return default;
        };
        text.parse().unwrap_or_else(|_| {
            self.errors.push(format!("{name}={text} is not {wanted}"));
            default
        })
    }

    fn flag(&mut self, name: &str) -> bool {
        match self.text(name).as_deref() {
            None | Some("false" | "0" | "no" | "off") => false,
            Some("true" | "1" | "yes" | "on") => true,
            Some(other) => {
                self.errors
                    .push(format!("{name}={other} is neither true nor false"));
                false
            }
        }
    }

    fn list(&self, name: &str, default: &str) -> Vec<String> {
        self.text(name)
            .unwrap_or_else(|| default.to_owned())
            .split(',')
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
            .collect()
    }

    fn directory(&self, name: &str, default: PathBuf) -> PathBuf {
        let path = self.text(name).map_or(default, PathBuf::from);
        self.place.cwd.join(path)
    }

    /// A bare name is looked up in `PATH` when it is run.
    fn program(&self, name: &str, default: &Path) -> PathBuf {
        let path = self
            .text(name)
            .map_or_else(|| default.to_owned(), PathBuf::from);
        if path.components().count() > 1 {
            self.place.cwd.join(path)
        } else {
            path
        }
    }

    fn absolute(&self, name: &str) -> Option<PathBuf> {
        self.vars
            .get(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    }

    /// systemd separates several directories by colons; the first is the unit's own.
    fn systemd_dir(&self, name: &str) -> Option<PathBuf> {
        let value = self.vars.get(name)?;
        let first = value.split(':').next()?;
        Path::new(first).is_absolute().then(|| PathBuf::from(first))
    }

    fn xdg(&self, name: &str, below_home: &str) -> Option<PathBuf> {
        self.absolute(name)
            .or_else(|| self.absolute("HOME").map(|home| home.join(below_home)))
            .map(|dir| dir.join(NAME))
    }
}

// === impl ConfigErrors ===

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} mistake(s) in the settings:", self.0.len())?;
        for error in &self.0 {
            write!(f, "\n  - {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

#[cfg(test)]
mod tests;
