//! MediaMTX's paths: their names here, and what its API says of them. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};
use storage::model::StreamId;
use utoipa::ToSchema;

/// `live/<stream>/in` (what somebody publishes) or `live/<stream>/out` (what we push).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathName {
    /// The stream.
    pub stream: StreamId,
    direction: Direction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    In,
    Out,
}

/// Not the name of a path of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a path is live/<stream>/in or live/<stream>/out")]
pub struct NotOurs;

/// One path, as far as it concerns us.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MediaPath {
    /// `live/<stream>/in` or `live/<stream>/out`.
    #[schema(value_type = String)]
    pub name: PathName,
    /// Somebody publishes there.
    pub usable: bool,
    /// How: `rtmpConn`, `rtspSession`, `srtConn`, `webRTCSession` …
    pub source: Option<String>,
    /// Codecs, as `H264`, `MPEG-4 Audio`.
    pub tracks: Vec<String>,
    /// Bytes received from whoever publishes.
    pub inbound_bytes: u64,
}

/// A page of `GET /v3/paths/list`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// Pages there are.
    #[serde(default)]
    pub page_count: u32,
    items: Vec<Item>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    name: String,
    source: Option<Source>,
    /// Before 1.16.
    #[serde(default)]
    ready: bool,
    /// Since 1.16; true for ever with `alwaysAvailable`.
    available: Option<bool>,
    /// Since 1.16: the real source, not its stand-in.
    online: Option<bool>,
    #[serde(default)]
    tracks: Vec<String>,
    #[serde(default)]
    tracks2: Vec<Track>,
    /// Since 1.17.
    inbound_bytes: Option<u64>,
    #[serde(default)]
    bytes_received: u64,
}

#[derive(Debug, Deserialize)]
struct Source {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Deserialize)]
struct Track {
    codec: String,
}

// === impl PathName ===

impl PathName {
    /// Something to be pulled, rather than what we push.
    pub fn is_feed(&self) -> bool {
        self.direction == Direction::In
    }

    /// Whether a live input with this URL pulls this path.
    pub fn is_pulled_by(&self, url: &str) -> bool {
        let Some((_, rest)) = url.split_once("://") else {
            return false;
        };
        let path = rest.split_once('/').map_or("", |(_, path)| path);
        let path = path.split(['?', '#']).next().unwrap_or_default();
        // SRT names it in its stream id: `read:live/main/in`.
        let in_query = rest
            .split(['?', '&'])
            .filter_map(|pair| pair.strip_prefix("streamid="))
            .any(|id| id.split(':').nth(1) == Some(&self.to_string()));
        // HLS adds its playlist.
        let path = path.strip_suffix("/index.m3u8").unwrap_or(path);
        in_query || path.trim_end_matches('/') == self.to_string()
    }
}

impl FromStr for PathName {
    type Err = NotOurs;

    fn from_str(text: &str) -> Result<Self, NotOurs> {
        let rest = text.strip_prefix("live/").ok_or(NotOurs)?;
        let (stream, direction) = rest.split_once('/').ok_or(NotOurs)?;
        Ok(Self {
            stream: stream.parse().map_err(|_| NotOurs)?,
            direction: match direction {
                "in" => Direction::In,
                "out" => Direction::Out,
                _ => return Err(NotOurs),
            },
        })
    }
}

impl fmt::Display for PathName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::In => "in",
            Direction::Out => "out",
        };
        write!(f, "live/{}/{direction}", self.stream)
    }
}

impl Serialize for PathName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl Page ===

impl Page {
    /// Reads an answer.
    ///
    /// # Errors
    /// What is not a list of paths.
    pub fn read(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// Our paths of it.
    pub fn into_paths(self) -> impl Iterator<Item = MediaPath> {
        self.items.into_iter().filter_map(|item| {
            Some(MediaPath {
                name: item.name.parse().ok()?,
                usable: item.is_usable(),
                source: item.source.map(|source| source.kind),
                tracks: match item.tracks2.is_empty() {
                    true => item.tracks,
                    false => item.tracks2.into_iter().map(|track| track.codec).collect(),
                },
                inbound_bytes: item.inbound_bytes.unwrap_or(item.bytes_received),
            })
        })
    }
}

impl Item {
    fn is_usable(&self) -> bool {
        match (self.available, self.online) {
            (Some(available), Some(online)) => available && online && self.source.is_some(),
            _ => self.ready,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded: FFmpeg publishes by RTMP (and somebody reads it) and by RTSP, to one path nobody publishes, one is
    /// not ours. Of 1.20.1 also a path with a stand-in for its publisher (`alwaysAvailable`).
    const RECORDED: [(&str, &[u8]); 2] = [
        ("1.9.3", include_bytes!("answers/1.9.3.json")),
        ("1.20.1", include_bytes!("answers/1.20.1.json")),
    ];

    #[test]
    fn what_1_9_and_todays_version_answered_is_understood_alike() {
        for (version, recorded) in RECORDED {
            let page = Page::read(recorded).expect(version);
            assert_eq!(page.page_count, 1, "{version}");
            let paths: Vec<_> = page.into_paths().collect();
            let found = |name: &str| {
                let path = paths.iter().find(|path| path.name.to_string() == name);
                path.unwrap_or_else(|| panic!("{version}: {name}"))
            };
            for (name, kind) in [
                ("live/main/in", "rtmpConn"),
                ("live/second/in", "rtspSession"),
            ] {
                let path = found(name);
                assert!(path.usable, "{version}: {name}");
                assert_eq!(path.source.as_deref(), Some(kind), "{version}");
                assert_eq!(path.tracks, ["H264", "MPEG-4 Audio"], "{version}");
                assert!(path.inbound_bytes > 2_000_000, "{version}: {path:?}");
            }
            let unpublished = found("live/third/in");
            assert!(!unpublished.usable && unpublished.source.is_none());
            let mut others = paths.iter().map(|path| path.name.to_string());
            assert!(others.all(|name| name != "other"), "it is not ours");
        }
        let today = Page::read(RECORDED[1].1).expect("a page");
        let standby = "live/standby/in".parse().expect("a name");
        let standby = today.into_paths().find(|path| path.name == standby);
        assert!(!standby.expect("it is listed").usable, "no feed is there");
    }

    #[test]
    fn names() {
        for good in ["live/main/in", "live/a-b_1/out"] {
            assert_eq!(good.parse::<PathName>().expect(good).to_string(), good);
        }
        for bad in [
            "",
            "live/main",
            "live//in",
            "live/main/on",
            "live/../in",
            "live/a b/in",
            "x/main/in",
            "live/main/in/",
        ] {
            assert_eq!(bad.parse::<PathName>(), Err(NotOurs), "{bad}");
        }
    }

    #[test]
    fn which_url_pulls_it() {
        let path: PathName = "live/main/in".parse().expect("a name");
        for url in [
            "rtsp://127.0.0.1:8554/live/main/in",
            "rtmp://h/live/main/in?x=1",
            "http://h:8888/live/main/in/index.m3u8",
            "srt://h:8890?streamid=read:live/main/in&latency=200",
        ] {
            assert!(path.is_pulled_by(url), "{url}");
        }
        for url in [
            "rtsp://h/live/main2/in",
            "rtsp://h/live/main/out",
            "rtsp://h",
            "nothing",
        ] {
            assert!(!path.is_pulled_by(url), "{url}");
        }
    }
}
