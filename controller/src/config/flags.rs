//! Every setting, once: its variable, its flag and its help.
//!
//! The flag of `SOME_SETTING` is `--some-setting`. Secrets are variables or systemd credentials only: a
//! flag would show them in `ps`.

use std::collections::BTreeMap;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

/// One setting that is a variable and a flag.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The variable.
    pub name: &'static str,
    /// Placeholder of the value in the help.
    value: &'static str,
    /// What it does, and its default.
    help: &'static str,
}

/// The settings given on the command line, by variable.
#[derive(Debug, Clone, Default)]
pub struct Flags(BTreeMap<&'static str, String>);

const fn setting(name: &'static str, value: &'static str, help: &'static str) -> Setting {
    Setting { name, value, help }
}

/// All settings that are not secrets, in the order of the help.
pub const SETTINGS: &[Setting] = &[
    setting(
        "CONTROLLER_BIND",
        "IP:PORT",
        "Address of the API [default: 127.0.0.1:8080]",
    ),
    setting(
        "CONTROLLER_ALLOW_PUBLIC",
        "BOOL",
        "Allow an address beyond loopback without CONTROLLER_API_TOKEN [default: false]",
    ),
    setting(
        "CONTROLLER_CORS_ORIGINS",
        "ORIGINS",
        "Web origins that may call the API, comma-separated [default: none]",
    ),
    setting(
        "STORAGE_PROVIDER",
        "r2|s3|local",
        "Where media lies [default: local]",
    ),
    setting("STORAGE_BUCKET", "NAME", "Bucket of r2 and s3"),
    setting(
        "STORAGE_PREFIX",
        "PREFIX",
        "Only objects below this, and keys relative to it",
    ),
    setting(
        "STORAGE_ENDPOINT",
        "URL",
        "S3 endpoint [default: AWS, or R2's of STORAGE_ACCOUNT_ID]",
    ),
    setting(
        "STORAGE_REGION",
        "REGION",
        "S3 region [default: us-east-1; auto for r2]",
    ),
    setting(
        "STORAGE_ACCOUNT_ID",
        "ID",
        "Cloudflare account, names R2's endpoint",
    ),
    setting(
        "STORAGE_LOCAL_DIR",
        "DIR",
        "Media folder of local [default: STATE_DIR/media]",
    ),
    setting(
        "STORAGE_URL_TTL_SECS",
        "SECONDS",
        "Life of a signed URL, 60 to 604800 [default: 86400]",
    ),
    setting(
        "STORAGE_EXTENSIONS",
        "LIST",
        "Playable extensions, comma-separated [default: mp4,mov,mkv,webm,m4v,ts,flv,mp3,m4a,wav]",
    ),
    setting(
        "STATE_DIR",
        "DIR",
        "Configuration, state and logs [default: /var/lib/stream-controller as root, else $XDG_STATE_HOME/stream-controller]",
    ),
    setting(
        "RUNTIME_DIR",
        "DIR",
        "Sockets and jobs of workers [default: /run/stream-controller as root, else $XDG_RUNTIME_DIR/stream-controller; STATE_DIR/run when STATE_DIR is set]",
    ),
    setting(
        "CACHE_DIR",
        "DIR",
        "Slates, probe results and media [default: /var/cache/stream-controller as root, else $XDG_CACHE_HOME/stream-controller; STATE_DIR/cache when STATE_DIR is set]",
    ),
    setting(
        "CACHE_MAX_BYTES",
        "BYTES",
        "Media of r2 and s3 kept in CACHE_DIR to play through an outage; 0 is none [default: 2147483648]",
    ),
    setting(
        "HISTORY_RETENTION_DAYS",
        "DAYS",
        "How long the history is kept [default: 90]",
    ),
    setting(
        "HISTORY_MAX_BYTES",
        "BYTES",
        "How large STATE_DIR/history.db may get [default: 268435456]",
    ),
    setting(
        "WORKER_BIN",
        "FILE",
        "stream-worker [default: next to this program]",
    ),
    setting("FFMPEG_BIN", "FILE", "FFmpeg [default: ffmpeg]"),
    setting("FFPROBE_BIN", "FILE", "ffprobe [default: ffprobe]"),
    setting(
        "ALLOW_ARGV_SECRETS",
        "BOOL",
        "Publish to keyed destinations even when this FFmpeg takes the key only on its command line, where other users can read it [default: false]",
    ),
    setting(
        "INGEST_BIND",
        "IP:PORT",
        "Address where encoders publish by RTMP, with keys of POST /ingest/keys [default: none]",
    ),
    setting(
        "MEDIAMTX_API_URL",
        "URL",
        "Control API of a MediaMTX to be watched, as http://127.0.0.1:9997 [default: none]",
    ),
    setting(
        "MEDIAMTX_API_USER",
        "NAME",
        "User of that API, with MEDIAMTX_API_PASSWORD",
    ),
    setting(
        "OBS_WEBSOCKET_URL",
        "URL",
        "OBS to be watched, as ws://127.0.0.1:4455 [default: none]",
    ),
    setting(
        "OBS_OWNER_SOURCES",
        "NAMES",
        "OBS sources whose being on asks for the air, comma-separated",
    ),
    setting(
        "OBS_STREAM",
        "ID",
        "Stream whose air they ask for [default: the only one]",
    ),
    setting(
        "OBS_INPUT",
        "NAME",
        "Live input OBS streams to [default: ingest]",
    ),
    setting(
        "OBS_DEBOUNCE_S",
        "SECONDS",
        "How long a source must be on or off to count, 0 to 60 [default: 5]",
    ),
    setting(
        "OBS_INGEST_URL",
        "URL",
        "Where OBS is told to stream to, as rtmp://127.0.0.1:1935/live [default: where it is set to]",
    ),
    setting(
        "OBS_SWITCH_SCENES",
        "true|false",
        "OBS streams the scene Owner Live while the owner has the air [default: false]",
    ),
    setting(
        "OBS_RESTART_COMMAND",
        "COMMAND",
        "Starts OBS again when it crashed or hangs, at most three times in a row [default: none]",
    ),
    setting(
        "LOG_FORMAT",
        "json|pretty",
        "Shape of log lines [default: pretty at a terminal, else json]",
    ),
    setting("RUST_LOG", "FILTER", "What is logged [default: info]"),
];

/// Variables that hold a secret of the controller itself.
pub const SECRETS: &[&str] = &[
    "CONTROLLER_API_TOKEN",
    "STORAGE_ACCESS_KEY_ID",
    "STORAGE_SECRET_ACCESS_KEY",
    "MEDIAMTX_API_PASSWORD",
    "OBS_WEBSOCKET_PASSWORD",
    "OBS_INGEST_KEY",
];

// === impl Setting ===

impl Setting {
    /// `SOME_SETTING` → `some-setting`.
    fn flag(self) -> String {
        self.name.to_ascii_lowercase().replace('_', "-")
    }
}

// === impl Flags ===

impl Flags {
    /// The value given for the variable `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        SETTINGS.iter().fold(command, |command, setting| {
            command.arg(
                Arg::new(setting.name)
                    .long(setting.flag())
                    .value_name(setting.value)
                    .help(format!("{} [env: {}]", setting.help, setting.name))
                    .help_heading("Settings")
                    .global(true),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in SETTINGS {
            if let Some(value) = matches.get_one::<String>(setting.name) {
                self.0.insert(setting.name, value.clone());
            }
        }
        Ok(())
    }
}
