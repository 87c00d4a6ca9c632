//! `authMethod: http`: who may do what at MediaMTX. Pure, and answered from memory.
//!
//! MediaMTX asks within the one task that owns all its paths: a slow answer would hold up every
//! publisher, and a call back to its API would wait for itself.

use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;

use super::paths::PathName;
use crate::ingest::Keys;

/// What MediaMTX asks. It holds passwords, so it is in no log and has no `Debug` text of its own.
#[derive(Deserialize)]
pub struct Question {
    #[serde(default)]
    ip: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    token: String,
    action: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    query: String,
    #[serde(default)]
    protocol: String,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// It may.
    Granted,
    /// It may not, and nothing it could send would help.
    Denied,
    /// It sent no key: RTSP and HTTP clients send one when they are asked.
    KeyNeeded,
}

// === impl Question ===

impl Question {
    /// Whether this may be done.
    pub fn answer(&self, keys: &Keys) -> Permit {
        let path = self.path.parse::<PathName>().ok();
        match (self.action.as_str(), path) {
            ("publish", Some(path)) if path.is_feed() => self.by_key(&path, keys),
            ("publish", Some(path)) if self.is_local() => {
                tracing::debug!(%path, "our own push is let in");
                Permit::Granted
            }
            ("read" | "playback", Some(_)) if self.is_local() => Permit::Granted,
            ("read" | "playback", Some(path)) => self.by_key(&path, keys),
            ("api" | "metrics" | "pprof", _) if self.is_local() => Permit::Granted,
            _ => Permit::Denied,
        }
    }

    /// RTSP and HTTP clients come without a key first, and send it when they are asked; these do not.
    pub fn is_last_word(&self) -> bool {
        matches!(self.protocol.as_str(), "rtmp" | "srt")
    }

    fn by_key(&self, path: &PathName, keys: &Keys) -> Permit {
        let mut sent = self.sent().peekable();
        if sent.peek().is_none() {
            return Permit::KeyNeeded;
        }
        let fits = |key: &str| {
            keys.owner(key)
                .is_some_and(|owner| owner.stream_id == path.stream)
        };
        match sent.any(fits) {
            true => Permit::Granted,
            false => Permit::Denied,
        }
    }

    /// The key is the password, the token, or stands in the query.
    fn sent(&self) -> impl Iterator<Item = &str> {
        let query = self.query.split('&').filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            matches!(name, "key" | "pass" | "token").then_some(value)
        });
        let fields = [self.password.as_str(), self.token.as_str()];
        fields
            .into_iter()
            .chain(query)
            .filter(|key| !key.is_empty())
    }

    fn is_local(&self) -> bool {
        self.ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Question");
        shown
            .field("action", &self.action)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::JoinSet;

    fn ask(keys: &Keys, text: &str) -> Permit {
        let question: Question = serde_json::from_str(text).unwrap();
        question.answer(keys)
    }

    #[tokio::test]
    async fn a_key_opens_its_own_stream_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let mut tasks = JoinSet::new();
        let keys = Keys::open(&directory.path().join("ingest_keys.json"), &mut tasks);
        let made = keys
            .make("main".parse().unwrap(), "ingest".into(), None)
            .await
            .unwrap();
        let key = made.key.expose();
        let publish = |path: &str, rest: &str| {
            let asked = format!(
                r#"{{"ip": "203.0.113.9", "action": "publish", "path": "{path}", "protocol": "rtmp", "id": null, {rest}}}"#
            );
            ask(&keys, &asked)
        };
        for way in [
            format!(r#""user": "u", "password": "{key}""#),
            format!(r#""token": "{key}""#),
            format!(r#""query": "a=b&key={key}""#),
            format!(r#""query": "user=u&pass={key}""#),
        ] {
            assert_eq!(publish("live/main/in", &way), Permit::Granted, "{way}");
            assert_eq!(publish("live/second/in", &way), Permit::Denied, "{way}");
            assert_eq!(publish("live/main/out", &way), Permit::Denied, "{way}");
            assert_eq!(publish("elsewhere", &way), Permit::Denied, "{way}");
        }
        assert_eq!(
            publish("live/main/in", r#""password": """#),
            Permit::KeyNeeded
        );
        assert_eq!(
            publish("live/main/in", r#""password": "guess""#),
            Permit::Denied
        );
        keys.revoke(&made.kept.id).await.unwrap();
        assert_eq!(
            publish("live/main/in", &format!(r#""token": "{key}""#)),
            Permit::Denied
        );
    }

    #[test]
    fn who_cannot_be_asked_for_a_key_has_said_its_last_word() {
        for (protocol, is_last) in [("rtmp", true), ("srt", true), ("rtsp", false)] {
            let text = format!(r#"{{"action": "publish", "path": "x", "protocol": "{protocol}"}}"#);
            let question: Question = serde_json::from_str(&text).unwrap();
            assert_eq!(question.is_last_word(), is_last, "{protocol}");
        }
    }

    #[tokio::test]
    async fn this_machine_reads_and_pushes_without_a_key() {
        let directory = tempfile::tempdir().unwrap();
        let keys = Keys::open(&directory.path().join("k.json"), &mut JoinSet::new());
        let from = |ip: &str, action: &str, path: &str| {
            ask(
                &keys,
                &format!(r#"{{"ip": "{ip}", "action": "{action}", "path": "{path}"}}"#),
            )
        };
        assert_eq!(from("127.0.0.1", "read", "live/main/in"), Permit::Granted);
        assert_eq!(from("::1", "publish", "live/main/out"), Permit::Granted);
        assert_eq!(from("127.0.0.1", "api", ""), Permit::Granted);
        assert_eq!(
            from("127.0.0.1", "publish", "live/main/in"),
            Permit::KeyNeeded
        );
        assert_eq!(
            from("203.0.113.9", "read", "live/main/in"),
            Permit::KeyNeeded
        );
        assert_eq!(
            from("203.0.113.9", "publish", "live/main/out"),
            Permit::Denied
        );
        assert_eq!(from("203.0.113.9", "api", ""), Permit::Denied);
        assert_eq!(from("127.0.0.1", "format", "live/main/in"), Permit::Denied);
    }
}
