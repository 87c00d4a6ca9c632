//! One look into one object, and the copy of its outcome in `CACHE_DIR`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use programme::MediaInfo;
use programme::fit::{ProbeError, ffprobe_args, parse_ffprobe};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use storage::media::MediaObject;
use storage::media::server::MediaServer;
use supervise::{CaptureLimits, Captured, Priority, Spec, capture};

const LIMITS: CaptureLimits = CaptureLimits {
    timeout: Duration::from_secs(15),
    max_bytes: 512 * 1024,
};

/// What came of a look into an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It can be read.
    Media(MediaInfo),
    /// It was read, and is nothing that plays.
    NotMedia(String),
    /// It could not be read this time.
    Failed(String),
}

/// A remembered outcome.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    key: String,
    version: String,
    outcome: Outcome,
}

// === impl Outcome ===

impl Outcome {
    pub(crate) fn info(&self) -> Option<&MediaInfo> {
        match self {
            Self::Media(info) => Some(info),
            Self::NotMedia(_) | Self::Failed(_) => None,
        }
    }

    pub(crate) fn into_info(self) -> Option<MediaInfo> {
        match self {
            Self::Media(info) => Some(info),
            Self::NotMedia(_) | Self::Failed(_) => None,
        }
    }

    /// Holds for as long as the object is the same.
    pub(crate) fn is_final(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }
}

/// Runs `ffprobe` on a ticket of `server`: no signed address in its arguments or words.
pub(crate) async fn look(ffprobe: &Path, server: &MediaServer, key: &str) -> Outcome {
    let ticket = match server.ticket(key) {
        Ok(ticket) => ticket,
        Err(error) => return Outcome::Failed(format!("no address for it: {error}")),
    };
    let spec = Spec::new(ffprobe)
        .priority(Priority::Background)
        .args(ffprobe_args())
        .args(["-rw_timeout", "5000000", "-i", ticket.url()]);
    match capture(spec, LIMITS).await {
        Ok(captured) => judge(&captured, ticket.url(), key),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

fn judge(captured: &Captured, url: &str, key: &str) -> Outcome {
    match parse_ffprobe(&captured.stdout) {
        Ok(info) => Outcome::Media(info),
        Err(ProbeError::NotJson(_)) => {
            Outcome::Failed("ffprobe ended without an answer".to_owned())
        }
        Err(error @ ProbeError::NotMedia) => {
            let words = String::from_utf8_lossy(&captured.stderr).replace(url, key);
            let said = words.lines().map(str::trim).rfind(|line| !line.is_empty());
            let reason = said.map_or_else(|| error.to_string(), |said| format!("{error} ({said})"));
            if is_about_the_way(&words) {
                Outcome::Failed(reason)
            } else {
                Outcome::NotMedia(reason)
            }
        }
    }
}

/// FFmpeg has one exit code for a broken file and a broken connection; its words tell them apart.
fn is_about_the_way(words: &str) -> bool {
    [
        "Server returned",
        "HTTP error",
        "timed out",
        "Connection ",
        "Input/output error",
    ]
    .iter()
    .any(|sign| words.contains(sign))
}

/// Where the outcome for this version of this object is kept.
pub(crate) fn file(dir: &Path, object: &MediaObject) -> PathBuf {
    let mut hash = Sha256::new();
    hash.update(&object.key);
    hash.update([0]);
    hash.update(object.version());
    let name: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    dir.join(format!("{}.json", &name[..32]))
}

/// Whatever cannot be read is looked into again.
pub(crate) fn recall(path: &Path, object: &MediaObject) -> Option<Outcome> {
    let bytes = std::fs::read(path).ok()?;
    let remembered: Remembered = serde_json::from_slice(&bytes).ok()?;
    let same = remembered.key == object.key && remembered.version == object.version();
    same.then_some(remembered.outcome)
}

/// A cache that cannot be written costs time, nothing else.
pub(crate) fn remember(path: &Path, object: &MediaObject, outcome: &Outcome) {
    let remembered = Remembered {
        key: object.key.clone(),
        version: object.version(),
        outcome: outcome.clone(),
    };
    let written = serde_json::to_vec(&remembered)
        .map_err(|error| error.to_string())
        .and_then(|json| storage::atomic::write(path, &json).map_err(|error| error.to_string()));
    if let Err(error) = written {
        tracing::debug!(path = %path.display(), error, "cannot keep what ffprobe said");
    }
}

#[cfg(test)]
mod tests {
    use supervise::ExitReason;

    use super::*;

    fn said(stdout: &str, stderr: &str) -> Outcome {
        let captured = Captured {
            exit: ExitReason::Code(1),
            stdout: stdout.into(),
            stderr: stderr.into(),
        };
        judge(&captured, "http://127.0.0.1:1/m/abc/a.mp4", "shows/a.mp4")
    }

    #[test]
    fn a_broken_file_and_a_broken_way_are_told_apart() {
        let broken = said(
            "{\n}\n",
            "http://127.0.0.1:1/m/abc/a.mp4: Invalid data found when processing input\n",
        );
        let Outcome::NotMedia(reason) = broken else {
            panic!("{broken:?}");
        };
        assert!(
            reason.contains("shows/a.mp4: Invalid data") && !reason.contains("127.0.0.1"),
            "{reason}"
        );
        let away = said("{\n}\n", "[http @ 0x1] HTTP error 502 Bad Gateway\n");
        assert!(!away.is_final(), "{away:?}");
        assert!(!said("", "").is_final());
    }

    #[test]
    fn a_remembered_outcome_is_for_one_version_only() {
        let dir = tempfile::tempdir().unwrap();
        let object = |etag: &str| MediaObject {
            key: "a.mp4".to_owned(),
            size_bytes: 1,
            modified: None,
            etag: Some(etag.to_owned()),
        };
        let (old, new) = (object("1"), object("2"));
        let outcome = Outcome::NotMedia("text".to_owned());
        remember(&file(dir.path(), &old), &old, &outcome);
        assert_eq!(recall(&file(dir.path(), &old), &old), Some(outcome));
        assert_eq!(recall(&file(dir.path(), &old), &new), None);
        assert_eq!(recall(&file(dir.path(), &new), &new), None);
    }
}
