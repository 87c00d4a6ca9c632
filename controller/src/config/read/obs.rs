//! Reading what the operator set of OBS.

use std::path::PathBuf;
use std::time::Duration;

use storage::model::StreamId;
use storage::secret::Secret;

use super::Reader;
use crate::config::ObsConfig;

/// Name of the input OBS streams to, where none is set: the one every stream has with `INGEST_BIND`.
const INPUT: &str = "ingest";
const DEBOUNCE_S: f64 = 5.0;

impl Reader<'_> {
    /// OBS, if there is one: `OBS_WEBSOCKET_URL` is what turns it on.
    pub(super) fn obs(&mut self) -> Option<ObsConfig> {
        let Some(url) = self.text("OBS_WEBSOCKET_URL") else {
            for needless in [
                "OBS_OWNER_SOURCES",
                "OBS_INGEST_URL",
                "OBS_SWITCH_SCENES",
                "OBS_RESTART_COMMAND",
            ] {
                if self.text(needless).is_some() {
                    self.errors.push(format!(
                        "{needless} has no effect without OBS_WEBSOCKET_URL, as ws://127.0.0.1:4455"
                    ));
                }
            }
            return None;
        };
        if url
            .strip_prefix("ws://")
            .is_none_or(|rest| rest.is_empty() || rest.contains('@'))
        {
            // Not shown: it may hold a password.
            self.errors.push(
                "OBS_WEBSOCKET_URL must be ws://host:port; the password belongs into OBS_WEBSOCKET_PASSWORD".into(),
            );
        }
        let owner_sources = self.list("OBS_OWNER_SOURCES", "");
        if owner_sources.is_empty() {
            self.errors.push(
                "OBS_OWNER_SOURCES must name the sources whose being on asks for the air, comma-separated".into(),
            );
        }
        Some(ObsConfig {
            password: self.keyring.secret("OBS_WEBSOCKET_PASSWORD"),
            owner_sources,
            stream: self.obs_stream(),
            input: self.text("OBS_INPUT").unwrap_or_else(|| INPUT.to_owned()),
            debounce: self.obs_debounce(),
            ingest: self.obs_ingest(),
            switch_scenes: self.flag("OBS_SWITCH_SCENES"),
            restart: self.obs_restart(),
            url,
        })
    }

    fn obs_stream(&mut self) -> Option<StreamId> {
        let name = self.text("OBS_STREAM")?;
        let parsed = name.parse::<StreamId>();
        if let Err(error) = &parsed {
            self.errors.push(format!("OBS_STREAM={name}: {error}"));
        }
        parsed.ok()
    }

    fn obs_debounce(&mut self) -> Duration {
        let seconds = self.parsed("OBS_DEBOUNCE_S", "a number of seconds", DEBOUNCE_S);
        if (0.0..=60.0).contains(&seconds) {
            return Duration::from_secs_f64(seconds);
        }
        self.errors.push(format!(
            "OBS_DEBOUNCE_S={seconds} must lie between 0 and 60"
        ));
        Duration::from_secs_f64(DEBOUNCE_S)
    }

    fn obs_ingest(&mut self) -> Option<(String, Option<Secret>)> {
        let url = self.text("OBS_INGEST_URL")?;
        let rest = url
            .strip_prefix("rtmp://")
            .or_else(|| url.strip_prefix("rtmps://"));
        if rest.is_none_or(|rest| rest.is_empty() || rest.contains(['@', '?', ' '])) {
            // Not shown: it may hold a key.
            self.errors.push(
                "OBS_INGEST_URL must be rtmp(s)://host[:port]/app; the stream key belongs into OBS_INGEST_KEY".into(),
            );
        }
        Some((url, self.keyring.secret("OBS_INGEST_KEY")))
    }

    /// Words are split at blanks: there is no shell that could misread one.
    fn obs_restart(&mut self) -> Option<(PathBuf, Vec<String>)> {
        let command = self.text("OBS_RESTART_COMMAND")?;
        let mut words = command.split_whitespace().map(str::to_owned);
        let program = PathBuf::from(words.next()?);
        Some((program, words.collect()))
    }
}
