//! What an FFmpeg that has ended leaves: its exit code says nothing, the media time does.

use programme::MediaInfo;
use storage::media::server::Origin;
use supervise::ExitReason;
use supervise::lines::Tail;

use super::super::queue::SourceEnd;
use super::super::{Unread, fault};
use super::Facts;
use super::job::{Halt, Job};
use super::reading::Stage;

impl Job {
    /// How the source ended, given how its FFmpeg did.
    pub(super) async fn judge(
        &self,
        facts: &Facts,
        exit: ExitReason,
        tail: Tail,
    ) -> Result<SourceEnd, Halt> {
        let key = &self.object.key;
        let newest_ms = self.queue.newest_ms();
        let expected_s = stated_length_s(&facts.info);
        let media_s = self.media_s();
        let expected_s = match (newest_ms, expected_s) {
            (Some(_), None) => {
                tracing::debug!(key, read_s = media_s, "ended; no length is stated");
                return Ok(SourceEnd::Complete);
            }
            (_, Some(expected_s)) if is_complete(media_s, expected_s) => {
                return Ok(SourceEnd::Complete);
            }
            (Some(_), Some(expected_s)) => Some(expected_s),
            (None, _) if is_crash(exit) => {
                return Err(Unread::from(fault::crashed(key, exit)).into());
            }
            (None, _) => None,
        };
        let fresh = || Origin::known(key, false);
        let origin = self.origin.get_or_init(fresh);
        let asked = async {
            let reach = self.context.reach();
            match expected_s {
                Some(expected_s) => match fault::interruption(reach, key, origin).await {
                    Some(error) => Err(Unread::Interrupted(error)),
                    None => Ok(SourceEnd::Short {
                        media_s,
                        expected_s,
                    }),
                },
                None => Err(fault::unreadable(reach, key, origin, tail.iter()).await),
            }
        };
        let answer = tokio::select! {
            answer = asked => Some(answer),
            () = self.freeze.cancelled() => None,
        };
        match answer {
            Some(answer) => Ok(answer?),
            None => Err(Halt::Frozen(Stage::Ended { tail })),
        }
    }
}

/// Ended by a signal that nobody sent.
fn is_crash(exit: ExitReason) -> bool {
    matches!(exit, ExitReason::Signal(_))
}

/// Raw streams of sound state no length; FFmpeg guesses it from the first frames.
fn stated_length_s(info: &MediaInfo) -> Option<f64> {
    let guessed = matches!(info.container.as_str(), "mp3" | "aac");
    info.duration_s.filter(|_| !guessed)
}

/// Within 2 s or 2 % of the length, and never less than half of it.
fn is_complete(media_s: f64, expected_s: f64) -> bool {
    let tolerance_s = (expected_s * 0.02).max(2.0).min(expected_s / 2.0);
    media_s >= expected_s - tolerance_s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_is_within_two_seconds_or_two_percent_but_not_half() {
        for (media_s, expected_s, complete) in [
            (10.0, 10.0, true),
            (8.1, 10.0, true),
            (7.9, 10.0, false),
            (3_540.0, 3_600.0, true),
            (3_520.0, 3_600.0, false),
            (1.2, 2.0, true),
            (0.9, 2.0, false),
            (0.0, 1.0, false),
            (12.0, 10.0, true),
        ] {
            assert_eq!(
                is_complete(media_s, expected_s),
                complete,
                "{media_s} of {expected_s}"
            );
        }
    }
}
