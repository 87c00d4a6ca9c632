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

    /// What version 1.20.1 answered, and two more paths.
    const TODAY: &str = r#"{"itemCount":3,"pageCount":1,"items":[
        {"name":"live/main/in","confName":"~^live/([a-z0-9][a-z0-9_-]{0,62})/in$","ready":true,
         "readyTime":"2026-11-21T17:10:44.263698928Z","available":true,"availableTime":"2026-11-21T17:10:44.263698928Z",
         "online":true,"onlineTime":"2026-11-21T17:10:44.263861249Z",
         "source":{"type":"rtmpConn","id":"12762bca-2ccf-44e6-9185-d5de318db871"},"tracks":["H264","MPEG-4 Audio"],
         "tracks2":[{"codec":"H264","codecProps":{"width":640,"height":360,"profile":"Baseline","level":"3"}},
                    {"codec":"MPEG-4 Audio","codecProps":{"sampleRate":48000,"channelCount":2}}],
         "readers":[],"inboundBytes":699848,"outboundBytes":0,"inboundFramesInError":0,"bytesReceived":699848,"bytesSent":0},
        {"name":"live/second/in","confName":"x","source":null,"ready":true,"available":true,"online":false,
         "tracks":[],"tracks2":[],"bytesReceived":0,"bytesSent":0,"readers":[]},
        {"name":"other","confName":"all_others","source":null,"ready":false,"tracks":[],"readers":[]}]}"#;
    /// As version 1.9 answers.
    const OLD: &str = r#"{"itemCount":1,"pageCount":1,"items":[{"name":"live/main/in","confName":"all_others",
        "source":{"type":"rtspSession","id":"b2"},"ready":true,"readyTime":"2024-11-21T00:00:00Z",
        "tracks":["H264","MPEG-4 Audio"],"bytesReceived":815,"bytesSent":0,"readers":[]}]}"#;

    #[test]
    fn both_generations_of_the_api_are_understood() {
        let paths: Vec<_> = Page::read(TODAY.as_bytes())
            .expect("a page")
            .into_paths()
            .collect();
        assert_eq!(paths.len(), 2, "what is not ours is left out");
        assert!(paths[0].usable && !paths[1].usable, "a stand-in is no feed");
        assert_eq!(paths[0].inbound_bytes, 699_848);
        assert_eq!(paths[0].tracks, ["H264", "MPEG-4 Audio"]);
        let paths: Vec<_> = Page::read(OLD.as_bytes())
            .expect("a page")
            .into_paths()
            .collect();
        assert!(paths[0].usable);
        assert_eq!(paths[0].source.as_deref(), Some("rtspSession"));
        assert_eq!(paths[0].inbound_bytes, 815);
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
