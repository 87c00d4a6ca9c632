//! Where a destination publishes to, and which part of that is secret. Pure.
//!
//! | | address, for everybody to see | preset, for FFmpeg alone |
//! | --- | --- | --- |
//! | RTMP with a key | `rtmps://host/live2` | `rtmp_app=live2`, `rtmp_playpath=KEY` |
//! | SRT with a key | `srt://host:port` | `streamid=KEY` |
//! | without a key | as configured | |
//! | RTMP with a key, presets do not work and it was allowed | `rtmps://host/live2/KEY` | |
//!
//! An application with a query (`live2?backup=1`, YouTube's second ingest) keeps it before the key.

use storage::model::DestinationConfig;
use storage::secret::Secret;

use super::failure::{Failure, FailureKind};
use super::knock::{Door, Greeting};
use crate::ffmpeg::publish::{MAX_PRESET_VALUE_BYTES, PresetLine, Protocol};

/// How FFmpeg can be given a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum KeyPassing {
    /// Through a pipe.
    Preset,
    /// Only in its arguments, and that was allowed.
    Argument,
    /// Only in its arguments, and that was not allowed.
    Refused,
}

/// A destination as FFmpeg is told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What is spoken.
    pub protocol: Protocol,
    /// The host alone.
    pub host: String,
    /// Where it can be asked for cheaply.
    pub door: Option<Door>,
    /// FFmpeg's argument; secret only with [`KeyPassing::Argument`].
    pub address: Secret,
    /// What goes through the pipe.
    pub preset: Vec<PresetLine>,
}

/// The parts of `scheme://[user@]host[:port][/path]`.
struct Parts<'a> {
    protocol: Protocol,
    host: &'a str,
    port: Option<u16>,
    path: &'a str,
}

impl Target {
    /// Resolves `config`; `key` is what its `key_env` holds.
    ///
    /// # Errors
    /// What no retry can fix: the key or the URL is missing or cannot be one.
    pub fn new(
        config: &DestinationConfig,
        key: Option<&Secret>,
        passing: KeyPassing,
    ) -> Result<Self, Failure> {
        let parts = parts(&config.url).ok_or_else(|| {
            let message = format!("{:?} has no URL that can be published to", config.name);
            Failure::new(FailureKind::UrlUnusable, message)
        })?;
        let plain = Self {
            protocol: parts.protocol,
            host: parts.host.to_owned(),
            door: parts.door(),
            address: Secret::new(&*config.url),
            preset: Vec::new(),
        };
        let Some(variable) = &config.key_env else {
            return Ok(plain);
        };
        let key = usable(variable, key)?;
        let preset = match (passing, parts.protocol) {
            (KeyPassing::Preset, Protocol::Srt) => vec![line("streamid", key)],
            (KeyPassing::Preset, Protocol::Rtmp | Protocol::Rtmps) => vec![
                line("rtmp_app", parts.path.trim_matches('/')),
                line("rtmp_playpath", key),
            ],
            (KeyPassing::Argument, protocol) => {
                return Ok(Self {
                    address: Secret::new(with_key(&config.url, protocol, key)),
                    ..plain
                });
            }
            (KeyPassing::Refused, _) => {
                let message = format!(
                    "this FFmpeg can be given the key of {:?} only in its arguments, where every \
                     user of the machine sees it",
                    config.name
                );
                return Err(Failure::new(FailureKind::ArgvSecretRefused, message));
            }
        };
        Ok(Self { preset, ..plain })
    }
}

impl Parts<'_> {
    fn door(&self) -> Option<Door> {
        let (usual, greeting) = match self.protocol {
            Protocol::Rtmp => (Some(1935), Greeting::Rtmp),
            Protocol::Rtmps => (Some(443), Greeting::None),
            // There it is the other who knocks.
            Protocol::Srt if self.waits_for_a_caller() => return None,
            Protocol::Srt => (None, Greeting::Srt),
        };
        Some(Door {
            host: self.host.to_owned(),
            port: self.port.or(usual)?,
            greeting,
        })
    }

    /// FFmpeg's `mode` of `srt:` (ffmpeg-protocols(1)); the usual one is `caller`.
    fn waits_for_a_caller(&self) -> bool {
        let query = self.path.split_once('?').map_or("", |(_, query)| query);
        query
            .split('&')
            .any(|option| matches!(option, "mode=listener" | "mode=rendezvous"))
    }
}

/// The URL as it may be shown: without user, password, query and, when it names the whole path
/// itself, without the last part of that, which is a key more often than not.
pub fn shown(config: &DestinationConfig) -> String {
    let Some((scheme, rest)) = config.url.split_once("://") else {
        return "***".to_owned();
    };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let hidden = config.key_env.is_none() && path.trim_matches('/').contains('/');
    let path = match path.trim_end_matches('/').rsplit_once('/') {
        Some((app, _)) if hidden => format!("{app}/***"),
        _ => path.to_owned(),
    };
    let query = match query {
        None => String::new(),
        Some(query) if config.key_env.is_some() && scheme != "srt" && !query.contains('/') => {
            format!("?{query}")
        }
        Some(_) => "?***".to_owned(),
    };
    format!("{scheme}://{host}{path}{query}")
}

fn parts(url: &str) -> Option<Parts<'_>> {
    if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return None;
    }
    let (scheme, rest) = url.split_once("://")?;
    let protocol = match scheme {
        "rtmp" => Protocol::Rtmp,
        "rtmps" => Protocol::Rtmps,
        "srt" => Protocol::Srt,
        _ => return None,
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let (host, port) = match host.strip_prefix('[') {
        Some(address) => address.split_once(']')?,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port = port.strip_prefix(':').and_then(|port| port.parse().ok());
    let app_fits = path.len() <= MAX_PRESET_VALUE_BYTES;
    (!host.is_empty() && app_fits).then_some(Parts {
        protocol,
        host,
        port,
        path,
    })
}

/// The key without the blanks that come along when it is copied.
fn usable<'a>(variable: &str, key: Option<&'a Secret>) -> Result<&'a str, Failure> {
    let key = key.map(|key| key.expose().trim()).unwrap_or_default();
    if key.is_empty() {
        let message = format!("{variable} holds no stream key");
        return Err(Failure::new(FailureKind::KeyMissing, message));
    }
    let wrong = if key.chars().any(char::is_control) {
        "has control characters in it"
    } else if key.len() > MAX_PRESET_VALUE_BYTES {
        "is longer than 900 bytes"
    } else {
        return Ok(key);
    };
    let message = format!("the stream key in {variable} {wrong}");
    Err(Failure::new(FailureKind::KeyUnusable, message))
}

fn line(option: &'static str, value: &str) -> PresetLine {
    PresetLine {
        option,
        value: Secret::new(value),
    }
}

fn with_key(url: &str, protocol: Protocol, key: &str) -> String {
    match protocol {
        Protocol::Rtmp | Protocol::Rtmps => format!("{}/{key}", url.trim_end_matches('/')),
        Protocol::Srt if url.contains('?') => format!("{url}&streamid={key}"),
        Protocol::Srt => format!("{url}?streamid={key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str, key_env: Option<&str>) -> DestinationConfig {
        DestinationConfig {
            name: "main".to_owned(),
            url: url.to_owned(),
            key_env: key_env.map(str::to_owned),
            renew_after_s: None,
        }
    }

    fn keyed(url: &str, key: &str, passing: KeyPassing) -> Result<Target, Failure> {
        Target::new(&config(url, Some("KEY")), Some(&Secret::new(key)), passing)
    }

    fn lines(target: &Target) -> Vec<(&str, &str)> {
        let lines = target.preset.iter();
        lines
            .map(|line| (line.option, line.value.expose()))
            .collect()
    }

    #[test]
    fn the_key_goes_into_the_preset_and_not_into_the_address() {
        for (url, app) in [
            ("rtmps://a.rtmps.youtube.com:443/live2", "live2"),
            (
                "rtmps://ingest.global-contribute.live-video.net:443/app/",
                "app",
            ),
            ("rtmp://b.rtmp.youtube.com/live2?backup=1", "live2?backup=1"),
            ("rtmp://h/app/instance", "app/instance"),
        ] {
            let target = keyed(url, " CANARY\n", KeyPassing::Preset).expect("a target");
            assert_eq!(
                lines(&target),
                [("rtmp_app", app), ("rtmp_playpath", "CANARY")]
            );
            assert_eq!(target.address.expose(), url);
        }
        let srt = keyed("srt://h:9000?latency=200", "CANARY", KeyPassing::Preset);
        assert_eq!(lines(&srt.expect("a target")), [("streamid", "CANARY")]);
    }

    #[test]
    fn in_an_argument_the_key_comes_after_the_query() {
        for (url, address) in [
            (
                "rtmp://b.rtmp.youtube.com/live2?backup=1",
                "rtmp://b.rtmp.youtube.com/live2?backup=1/K",
            ),
            ("rtmp://h/app/", "rtmp://h/app/K"),
            ("srt://h:1", "srt://h:1?streamid=K"),
            ("srt://h:1?latency=9", "srt://h:1?latency=9&streamid=K"),
        ] {
            let target = keyed(url, "K", KeyPassing::Argument).expect("a target");
            assert_eq!(target.address.expose(), address);
            assert!(target.preset.is_empty());
        }
    }

    #[test]
    fn keys_that_cannot_be_one_are_refused_and_never_shown() {
        let url = "rtmp://h/app";
        let long = "CANARY".repeat(200);
        for (key, kind) in [
            ("  ", FailureKind::KeyMissing),
            ("CANARY\nrtmp_app=other", FailureKind::KeyUnusable),
            ("CANARY\0", FailureKind::KeyUnusable),
            (long.as_str(), FailureKind::KeyUnusable),
        ] {
            let failure = keyed(url, key, KeyPassing::Preset).expect_err("refused");
            assert_eq!(failure.kind, kind);
            assert!(!format!("{failure:?}").contains("CANARY"));
        }
        let missing = Target::new(&config(url, Some("KEY")), None, KeyPassing::Preset);
        assert_eq!(missing.expect_err("refused").kind, FailureKind::KeyMissing);
        let refused = keyed(url, "CANARY", KeyPassing::Refused).expect_err("refused");
        assert_eq!(refused.kind, FailureKind::ArgvSecretRefused);
    }

    #[test]
    fn a_destination_without_a_key_needs_no_preset() {
        let config = config("rtmp://127.0.0.1:1935/live/main", None);
        let target = Target::new(&config, None, KeyPassing::Refused).expect("a target");
        assert_eq!(
            (target.host.as_str(), target.preset.len()),
            ("127.0.0.1", 0)
        );
    }

    #[test]
    fn what_is_shown_holds_no_secret() {
        for (url, key_env, seen) in [
            (
                "rtmp://h/live2?backup=1",
                Some("K"),
                "rtmp://h/live2?backup=1",
            ),
            ("rtmp://user:CANARY@h:1/app", Some("K"), "rtmp://h:1/app"),
            ("rtmp://h/live/CANARY", None, "rtmp://h/live/***"),
            ("rtmp://h/live2?backup=1/CANARY", None, "rtmp://h/live2?***"),
            ("srt://h:9000?streamid=CANARY", None, "srt://h:9000?***"),
            (
                "srt://h:9000?passphrase=CANARY",
                Some("K"),
                "srt://h:9000?***",
            ),
            ("rtmp://h/app", None, "rtmp://h/app"),
        ] {
            assert_eq!(shown(&config(url, key_env)), seen);
        }
    }

    #[test]
    fn other_addresses_cannot_be_published_to() {
        for url in [
            "http://h/x",
            "rtmp:///app",
            "rtmp://h/a b",
            "file:///etc/passwd",
            "h/app",
            "",
        ] {
            let target = Target::new(&config(url, None), None, KeyPassing::Preset);
            assert_eq!(target.expect_err(url).kind, FailureKind::UrlUnusable);
        }
    }

    #[test]
    fn the_door_is_where_the_url_leads() {
        let door = |url: &str| {
            let target = Target::new(&config(url, None), None, KeyPassing::Preset).expect("usable");
            target
                .door
                .map(|door| (door.host, door.port, door.greeting))
        };
        let to = |host: &str, port, greeting| Some((host.to_owned(), port, greeting));
        for (url, expected) in [
            (
                "rtmp://a.example/live/x",
                to("a.example", 1935, Greeting::Rtmp),
            ),
            (
                "rtmp://u:p@[::1]:1936/live/x",
                to("::1", 1936, Greeting::Rtmp),
            ),
            (
                "rtmps://a.example/live/x",
                to("a.example", 443, Greeting::None),
            ),
            ("srt://a.example:9000", to("a.example", 9000, Greeting::Srt)),
            (
                "srt://a.example:9000?latency=9&mode=caller",
                to("a.example", 9000, Greeting::Srt),
            ),
            ("srt://a.example", None),
            ("srt://0.0.0.0:9000?mode=listener", None),
            ("srt://a.example:9000?latency=9&mode=rendezvous", None),
        ] {
            assert_eq!(door(url), expected, "{url}");
        }
    }
}
