//! Reading [`Config`] and collecting what is wrong with it.

mod mediamtx;
mod obs;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use storage::history::Limits;
use storage::layout::Layout;
use storage::model::StorageSettings;
use storage::model::job::Provider;
use storage::secret::Secret;
use supervise::cgroup::Delegated;

use super::{Config, Flags, Keyring, LogFormat, Logging, Vars};

const EXTENSIONS: &str = "mp4,mov,mkv,webm,m4v,ts,flv,mp3,m4a,wav";
const MIB: u64 = 1024 * 1024;
const NAME: &str = "stream-controller";
const CACHE_MAX_BYTES: u64 = 2 << 30;
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

    fn bind(&mut self, guarded: bool) -> SocketAddr {
        let default = SocketAddr::from(([127, 0, 0, 1], 8080));
        let bind = self.parsed("CONTROLLER_BIND", "an address like 127.0.0.1:8080", default);
        if !bind.ip().is_loopback() && !guarded {
            self.errors.push(format!(
                "CONTROLLER_BIND={bind} lets everyone on the network control the streams: set \
                 CONTROLLER_API_TOKEN, or CONTROLLER_ALLOW_PUBLIC=true if something else guards it"
            ));
        }
        bind
    }

    fn ingest_bind(&mut self) -> Option<SocketAddr> {
        let text = self.text("INGEST_BIND")?;
        let parsed = text.parse();
        if parsed.is_err() {
            let wanted = "an address like 0.0.0.0:1935";
            self.errors
                .push(format!("INGEST_BIND={text} is not {wanted}"));
        }
        parsed.ok()
    }

    fn token(&mut self) -> Option<Secret> {
        let token = self.keyring.secret("CONTROLLER_API_TOKEN")?;
        if token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Some(token);
        }
        self.errors.push(
            "CONTROLLER_API_TOKEN holds blanks or characters that no HTTP header can carry".into(),
        );
        Some(token)
    }

    fn cors_origins(&mut self) -> Vec<String> {
        let origins = self.list("CONTROLLER_CORS_ORIGINS", "");
        for origin in &origins {
            let host = origin
                .strip_prefix("https://")
                .or_else(|| origin.strip_prefix("http://"));
            if host.is_none_or(|host| host.is_empty() || host.contains(['/', '*', '@', '?'])) {
                self.errors.push(format!(
                    "CONTROLLER_CORS_ORIGINS: {origin:?} must be http(s)://host[:port], \
                     without a path or wildcard"
                ));
            }
        }
        origins
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

    fn storage(&mut self, state_dir: &Path) -> StorageSettings {
        let provider = self.provider();
        let bucket = self.text("STORAGE_BUCKET");
        if provider != Provider::Local && bucket.is_none() {
            self.errors
                .push("STORAGE_BUCKET must name the bucket".into());
        }
        let default_region = match provider {
            Provider::R2 => Some("auto"),
            Provider::S3 => Some("us-east-1"),
            Provider::Local => None,
        };
        StorageSettings {
            provider,
            bucket: bucket.filter(|_| provider != Provider::Local),
            prefix: self.prefix(),
            endpoint: self.endpoint(provider),
            region: default_region
                .map(|region| self.text("STORAGE_REGION").unwrap_or(region.to_owned())),
            local_dir: (provider == Provider::Local)
                .then(|| self.directory("STORAGE_LOCAL_DIR", state_dir.join("media"))),
            url_ttl_secs: self.url_ttl_secs(),
            extensions: self.extensions(),
        }
    }

    fn provider(&mut self) -> Provider {
        match self.text("STORAGE_PROVIDER").as_deref() {
            None | Some("local") => Provider::Local,
            Some("r2") => Provider::R2,
            Some("s3") => Provider::S3,
            Some(other) => {
                self.errors.push(format!(
                    "STORAGE_PROVIDER={other} is none of r2, s3 and local"
                ));
                Provider::Local
            }
        }
    }

    fn prefix(&mut self) -> String {
        let prefix = self.text("STORAGE_PREFIX").unwrap_or_default();
        match prefix.trim_matches('/') {
            "" => String::new(),
            inner => format!("{inner}/"),
        }
    }

    fn endpoint(&mut self, provider: Provider) -> Option<String> {
        if provider == Provider::Local {
            return None;
        }
        if let Some(endpoint) = self.text("STORAGE_ENDPOINT") {
            let rest = endpoint
                .strip_prefix("https://")
                .or_else(|| endpoint.strip_prefix("http://"));
            if rest.is_none_or(|rest| rest.is_empty() || rest.contains(['@', '?', '#', ' '])) {
                // Not shown: it may hold `user:password@`.
                self.errors.push(
                    "STORAGE_ENDPOINT must be http(s)://host[:port], without user or query".into(),
                );
            }
            return Some(endpoint.trim_end_matches('/').to_owned());
        }
        if provider == Provider::S3 {
            return None;
        }
        let account = self.text("STORAGE_ACCOUNT_ID");
        match &account {
            None => self.errors.push(
                "STORAGE_ACCOUNT_ID (or STORAGE_ENDPOINT) must be set for r2; the Cloudflare \
                 dashboard shows it under R2"
                    .into(),
            ),
            Some(id) if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) => self
                .errors
                .push(format!("STORAGE_ACCOUNT_ID={id} is not an account id")),
            Some(_) => {}
        }
        account.map(|id| format!("https://{id}.r2.cloudflarestorage.com"))
    }

    fn storage_keys(&mut self) -> Option<(Secret, Secret)> {
        let provider = self.text("STORAGE_PROVIDER");
        let id = self.keyring.secret("STORAGE_ACCESS_KEY_ID");
        let secret = self.keyring.secret("STORAGE_SECRET_ACCESS_KEY");
        if id.is_some() != secret.is_some() {
            self.errors.push(
                "STORAGE_ACCESS_KEY_ID and STORAGE_SECRET_ACCESS_KEY belong together: set both or \
                 neither"
                    .into(),
            );
        }
        if provider.as_deref() == Some("r2") && id.is_none() && secret.is_none() {
            self.errors.push(
                "r2 needs STORAGE_ACCESS_KEY_ID and STORAGE_SECRET_ACCESS_KEY (an R2 API token)"
                    .into(),
            );
        }
        id.zip(secret)
    }

    fn url_ttl_secs(&mut self) -> u64 {
        let ttl = self.parsed("STORAGE_URL_TTL_SECS", "a number of seconds", 86_400_u64);
        if !(60..=604_800).contains(&ttl) {
            self.errors.push(format!(
                "STORAGE_URL_TTL_SECS={ttl} must lie between 60 and 604800: S3 and R2 sign for at \
                 most seven days"
            ));
        }
        ttl
    }

    fn cache_max_bytes(&mut self) -> u64 {
        self.parsed("CACHE_MAX_BYTES", "a number of bytes", CACHE_MAX_BYTES)
    }

    fn extensions(&mut self) -> Vec<String> {
        let extensions: Vec<String> = self
            .list("STORAGE_EXTENSIONS", EXTENSIONS)
            .iter()
            .map(|text| text.trim_start_matches('.').to_ascii_lowercase())
            .collect();
        let plain = |text: &String| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        if extensions.is_empty() || !extensions.iter().all(plain) {
            self.errors
                .push("STORAGE_EXTENSIONS must be a list like mp4,mkv,mp3".into());
        }
        extensions
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
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;
    use crate::config::MapVars;

    fn place() -> Place {
        Place {
            cwd: "/home/op".into(),
            exe_dir: "/opt/sc".into(),
            root: false,
            terminal: false,
            cgroup: None,
        }
    }

    fn read<const N: usize>(vars: [(&str, &str); N]) -> Result<Config, ConfigErrors> {
        Config::read(&Flags::default(), MapVars::from(vars), &place())
    }

    fn errors<const N: usize>(vars: [(&str, &str); N]) -> String {
        read(vars).unwrap_err().to_string()
    }

    #[test]
    fn a_newcomer_needs_no_setting() {
        let config = read([("HOME", "/home/op")]).unwrap();
        assert_eq!(config.bind.to_string(), "127.0.0.1:8080");
        assert_eq!(config.storage.provider, Provider::Local);
        let state_dir = Path::new("/home/op/.local/state/stream-controller");
        assert_eq!(config.layout.state_dir, state_dir);
        assert_eq!(config.storage.local_dir, Some(state_dir.join("media")));
        assert_eq!(config.worker_bin, Path::new("/opt/sc/stream-worker"));
        assert_eq!(config.ffmpeg_bin, Path::new("ffmpeg"));
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let text = errors([
            ("CONTROLLER_BIND", "localhost"),
            ("STORAGE_PROVIDER", "s3"),
            ("STORAGE_URL_TTL_SECS", "5"),
            ("STORAGE_ACCESS_KEY_ID", "AKIAEXAMPLE"),
            ("LOG_FORMAT", "xml"),
            ("ALLOW_ARGV_SECRETS", "maybe"),
            ("CONTROLLER_CORS_ORIGINS", "*"),
        ]);
        for name in [
            "CONTROLLER_BIND",
            "STORAGE_BUCKET",
            "STORAGE_URL_TTL_SECS",
            "STORAGE_SECRET_ACCESS_KEY",
            "LOG_FORMAT",
            "ALLOW_ARGV_SECRETS",
            "CONTROLLER_CORS_ORIGINS",
        ] {
            assert!(text.contains(name), "{name} is not told in: {text}");
        }
        assert!(text.starts_with("7 mistake(s)"), "{text}");
    }

    #[test]
    fn secrets_are_never_shown() {
        let text = errors([
            ("CONTROLLER_API_TOKEN", "hunter 2"),
            ("STORAGE_PROVIDER", "s3"),
            ("STORAGE_ENDPOINT", "https://user:hunter2@example.org"),
            ("STORAGE_SECRET_ACCESS_KEY", "hunter2"),
        ]);
        assert!(!text.contains("hunter"), "{text}");
        let config = read([("CONTROLLER_API_TOKEN", "hunter2")]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn the_network_is_not_let_in_without_a_token_or_a_word() {
        let bind = ("CONTROLLER_BIND", "0.0.0.0:8080");
        assert!(errors([bind]).contains("CONTROLLER_API_TOKEN"));
        assert!(read([bind, ("CONTROLLER_API_TOKEN", "abc")]).is_ok());
        assert!(read([bind, ("CONTROLLER_ALLOW_PUBLIC", "true")]).is_ok());
        assert!(read([("CONTROLLER_BIND", "[::1]:80")]).is_ok());
    }

    #[test]
    fn controllers_with_a_state_directory_each_share_no_sockets() {
        let vars = [("STATE_DIR", "state"), ("XDG_RUNTIME_DIR", "/run/user/1")];
        let layout = read(vars).unwrap().layout;
        assert_eq!(layout.state_dir, Path::new("/home/op/state"));
        assert_eq!(layout.runtime_dir, Path::new("/home/op/state/run"));
        assert_eq!(layout.cache_dir, Path::new("/home/op/state/cache"));
    }

    #[test]
    fn directories_of_the_service_manager_are_used() {
        let layout = read([
            (
                "STATE_DIRECTORY",
                "/var/lib/stream-controller:/var/lib/more",
            ),
            ("RUNTIME_DIRECTORY", "/run/stream-controller"),
            ("CACHE_DIRECTORY", "/var/cache/stream-controller"),
        ])
        .unwrap()
        .layout;
        assert_eq!(layout.state_dir, Path::new("/var/lib/stream-controller"));
        assert_eq!(layout.runtime_dir, Path::new("/run/stream-controller"));
        assert_eq!(layout.cache_dir, Path::new("/var/cache/stream-controller"));
    }

    #[test]
    fn a_runtime_directory_too_long_for_sockets_is_refused() {
        let long = format!("/{}", "r".repeat(100));
        assert!(errors([("RUNTIME_DIR", &long)]).contains("shorter path"));
    }

    #[test]
    fn r2_is_named_by_its_account() {
        let config = read([
            ("STORAGE_PROVIDER", "r2"),
            ("STORAGE_BUCKET", "shows"),
            ("STORAGE_ACCOUNT_ID", "abc123"),
            ("STORAGE_ACCESS_KEY_ID", "id"),
            ("STORAGE_SECRET_ACCESS_KEY", "secret"),
            ("STORAGE_PREFIX", "/24-7"),
        ])
        .unwrap();
        assert_eq!(
            config.storage.endpoint.as_deref(),
            Some("https://abc123.r2.cloudflarestorage.com")
        );
        assert_eq!(config.storage.region.as_deref(), Some("auto"));
        assert_eq!(config.storage.prefix, "24-7/");
    }

    #[test]
    fn every_setting_has_a_flag_that_wins_and_no_secret_has_one() {
        let command = Flags::augment_args(Command::new("test"));
        let arguments = [
            "test",
            "--controller-bind",
            "127.0.0.1:1",
            "--rust-log=debug",
        ];
        let matches = command.clone().try_get_matches_from(arguments).unwrap();
        let flags = Flags::from_arg_matches(&matches).unwrap();
        let vars = MapVars::from([("CONTROLLER_BIND", "127.0.0.1:2")]);
        let config = Config::read(&flags, vars, &place()).unwrap();
        assert_eq!(config.bind.port(), 1);
        assert_eq!(config.logging.filter, "debug");
        for secret in crate::config::SECRETS {
            let flag = secret.to_ascii_lowercase().replace('_', "-");
            assert!(
                command
                    .get_arguments()
                    .all(|arg| arg.get_long() != Some(&flag))
            );
        }
    }
}
