//! Why a file could not be played, in words for the operator.
//!
//! FFmpeg's lines say what it stumbled over; where they speak of the connection, the store is asked
//! itself, because its errors name the cause (no such key, access denied, clock) and the remedy, and
//! because a store that cannot be reached says nothing of the file.

use programme::ListedObject;
use storage::media::reach::{Fault as StoreFault, Reach};
use storage::media::server::Origin;
use storage::model::ErrorReport;
use supervise::{CaptureError, ExitReason, SpawnError};

/// What FFmpeg's words mean. In order: the first that fits is meant.
const WORDS: [(&str, Fault); 13] = [
    ("not on whitelist", Fault::Refused),
    ("misdetection possible", Fault::NotMedia),
    ("moov atom not found", Fault::Incomplete),
    ("Server returned", Fault::Store),
    ("HTTP error", Fault::Store),
    ("Connection refused", Fault::Store),
    ("Connection timed out", Fault::Store),
    ("Connection reset", Fault::Store),
    ("Operation timed out", Fault::Store),
    ("Input/output error", Fault::Store),
    ("End of file", Fault::NotMedia),
    ("Invalid data found", Fault::NotMedia),
    ("Invalid argument", Fault::NotMedia),
];

/// Kinds of failure that a line of FFmpeg's can mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The container is none of those allowed.
    Refused,
    /// The index that stands at the end of the file is missing.
    Incomplete,
    /// The bytes did not come.
    Store,
    /// The bytes are no media.
    NotMedia,
}

/// Why nothing was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Unread {
    /// Something is wrong with the file, or with this machine.
    Bad(ErrorReport),
    /// The bytes did not come, for no fault of the file's.
    Interrupted(ErrorReport),
}

impl From<ErrorReport> for Unread {
    fn from(report: ErrorReport) -> Self {
        Self::Bad(report)
    }
}

impl From<Unread> for ErrorReport {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Bad(report) | Unread::Interrupted(report) => report,
        }
    }
}

/// An object of no bytes.
pub(super) fn empty(object: &ListedObject) -> ErrorReport {
    report(
        "source_empty",
        format!("{} is empty: 0 bytes", object.key),
        "Upload the file again; an upload may have been interrupted.",
    )
}

/// A file that `fit` refused.
pub(super) fn unplayable(key: &str, reason: &str) -> ErrorReport {
    report(
        "source_unplayable",
        format!("{key} cannot be played: {reason}"),
        "Convert it to MP4 with H.264 video and AAC audio, or take it out of the programme.",
    )
}

/// FFmpeg or ffprobe did not start.
pub(super) fn not_started(error: &SpawnError) -> ErrorReport {
    report(
        "ffmpeg_not_started",
        error.to_string(),
        "Install FFmpeg, or set FFMPEG_BIN and FFPROBE_BIN to its programs.",
    )
}

/// ffprobe gave no answer about `key`.
pub(super) fn not_probed(key: &str, error: &CaptureError) -> ErrorReport {
    match error {
        CaptureError::Spawn(error) => not_started(error),
        CaptureError::TimedOut { after, .. } => report(
            "source_timeout",
            format!(
                "{key} could not be looked into within {} s",
                after.as_secs()
            ),
            "Check how fast the media store answers; the file is tried again in a later round.",
        ),
        CaptureError::TooMuchOutput { .. } | CaptureError::Read { .. } => report(
            "source_unreadable",
            format!("{key} could not be looked into: {error}"),
            "Run ffprobe on the file by hand.",
        ),
    }
}

/// No permission to read `key` could be made.
pub(super) fn no_ticket(key: &str, error: &std::io::Error) -> ErrorReport {
    report(
        "internal",
        format!("no address for {key} could be made: {error}"),
        "This is a fault of the machine (no random numbers); restart it.",
    )
}

/// FFmpeg did not render the slate.
pub(super) fn not_rendered(error: &CaptureError) -> ErrorReport {
    match error {
        CaptureError::Spawn(error) => not_started(error),
        _ => report(
            "slate_failed",
            error.to_string(),
            "Choose a smaller picture or a shorter clip, and check the load of the machine.",
        ),
    }
}

/// FFmpeg rendered nothing of the slate.
pub(super) fn slate_nothing(last_line: Option<&str>) -> ErrorReport {
    let said = last_line.unwrap_or("it said nothing");
    report(
        "slate_failed",
        format!("FFmpeg rendered nothing: {said}"),
        "Check that the slate is a PNG, JPEG or WebP image or a clip, and that FFmpeg has libx264.",
    )
}

/// What FFmpeg rendered lacks `what`.
pub(super) fn slate_unusable(what: &str) -> ErrorReport {
    report(
        "slate_failed",
        format!("what FFmpeg rendered has no usable {what}"),
        "Check that this FFmpeg has the encoders libx264 and aac.",
    )
}

/// FFmpeg was ended by a signal while it read `key`.
pub(super) fn crashed(key: &str, exit: ExitReason) -> ErrorReport {
    report(
        "ffmpeg_crashed",
        format!("FFmpeg crashed on {key} ({exit})"),
        "Try another version of FFmpeg; if the machine ran out of memory, its log says so.",
    )
}

/// FFmpeg ended without a picture of `key`; `lines` are its last, redacted.
pub(super) async fn unreadable<'a>(
    reach: &Reach,
    key: &str,
    origin: &Origin,
    lines: impl Iterator<Item = &'a str>,
) -> Unread {
    let lines: Vec<&str> = lines.collect();
    let fault = fault_of(&lines);
    let words = from_words(key, fault, lines.last().copied());
    let is_clear = !matches!(fault, None | Some(Fault::Store));
    if is_clear || origin.is_cache() {
        return Unread::Bad(words);
    }
    match reach.whose_fault(key).await {
        StoreFault::Store(report) => Unread::Interrupted(report),
        StoreFault::Object(error) => Unread::Bad(error.report()),
        // The connection broke, and stands again.
        StoreFault::Passing if fault.is_some() => Unread::Interrupted(words),
        StoreFault::Passing => Unread::Bad(words),
    }
}

/// Whether an item ended early because its bytes stopped coming.
pub(super) async fn interruption(reach: &Reach, key: &str, origin: &Origin) -> Option<ErrorReport> {
    if origin.is_cache() {
        return None;
    }
    match reach.whose_fault(key).await {
        StoreFault::Store(report) => Some(report),
        StoreFault::Passing | StoreFault::Object(_) => None,
    }
}

/// The store did not say in time what `key` is.
pub(super) fn no_answer(key: &str) -> ErrorReport {
    report(
        "storage_timeout",
        format!("the media store does not answer about {key}"),
        "Check the network to the store; it is tried again by itself.",
    )
}

/// Not opened, because it cannot be had.
pub(super) fn away(reach: &Reach, key: &str) -> Option<Unread> {
    let away = reach.away()?;
    tracing::debug!(key, "not opened: the media store is away");
    Some(Unread::Interrupted(away.error))
}

fn fault_of(lines: &[&str]) -> Option<Fault> {
    let named = |(words, fault): &(&str, Fault)| {
        let found = lines.iter().any(|line| line.contains(words));
        found.then_some(*fault)
    };
    WORDS.iter().find_map(named)
}

fn from_words(key: &str, fault: Option<Fault>, last_line: Option<&str>) -> ErrorReport {
    let said = last_line.map_or_else(String::new, |line| format!(" (FFmpeg: {line})"));
    match fault {
        Some(Fault::Refused) => report(
            "source_refused",
            format!("{key} is not what its name says: its container is none that is played"),
            "Upload the media file itself; playlists and lists of other files are never followed.",
        ),
        Some(Fault::Incomplete) => report(
            "source_incomplete",
            format!("{key} has no index (moov): the file was cut off"),
            "Upload the file again, whole.",
        ),
        Some(Fault::NotMedia) => report(
            "source_not_media",
            format!("{key} is not media, or it is damaged{said}"),
            "Play the file on your own machine; upload it again or take it out of the programme.",
        ),
        Some(Fault::Store) => report(
            "source_unreachable",
            format!("{key} could not be read from the media store{said}"),
            "Check the connection to the media store; the file is tried again in a later round.",
        ),
        None => report(
            "source_unreadable",
            format!("{key} yielded nothing that can be shown{said}"),
            "The [FFMPEG] lines of this file in the log say more.",
        ),
    }
}

fn report(error_type: &str, message: String, hint: &str) -> ErrorReport {
    ErrorReport {
        error_type: error_type.to_owned(),
        message,
        hint: hint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_found_among_what_follows_from_it() {
        for (lines, error_type) in [
            (
                &[
                    "hls: Format not on whitelist 'mov,matroska'",
                    "http://127.0.0.1:1/m/***: Invalid argument",
                ][..],
                "source_refused",
            ),
            (
                &[
                    "mov,mp4,m4a,3gp,3g2,mj2: moov atom not found",
                    "http://127.0.0.1:1/m/***: Invalid data found when processing input",
                ],
                "source_incomplete",
            ),
            (
                &[
                    "mov,mp4,m4a,3gp,3g2,mj2: Format mov,mp4,m4a,3gp,3g2,mj2 detected only with \
                     low score of 1, misdetection possible!",
                    "mov,mp4,m4a,3gp,3g2,mj2: moov atom not found",
                ],
                "source_not_media",
            ),
            (
                &["http://127.0.0.1:1/m/***: Invalid data found when processing input"],
                "source_not_media",
            ),
            (&["http: HTTP error 502 Bad Gateway"], "source_unreachable"),
            (&[], "source_unreadable"),
        ] {
            let found = from_words("a.mp4", fault_of(lines), lines.last().copied());
            assert_eq!(found.error_type, error_type, "{lines:?}");
        }
    }
}
