//! From a feed's packets into its buffer: as they are, or through an FFmpeg that brings them into the
//! stream's format.

use std::sync::Arc;
use std::time::Duration;

use programme::Fit;
use storage::model::ErrorReport;
use tokio::time::Instant;

use super::judge::{Sample, Verdict};
use super::transcoder::Transcoder;
use super::{Common, Feed, fault};
use crate::flv::Packet;

/// A feed that shows nothing for so long is told as one without a picture.
const PICTURE_AWAITED: Duration = Duration::from_secs(3);
/// Packets kept while a feed is judged, and pictures looked at: two seconds are some two hundred.
const MOST_PENDING: usize = 600;
/// Guessed decode times are good after so much media, ms.
const GUESSES_SETTLE_MS: i64 = 1_000;

/// Whether a feed's pictures come with the times at which they are to be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DecodeTimes {
    /// They do.
    Sent,
    /// FFmpeg guesses them, wrongly until it knows how far the pictures are reordered.
    Guessed,
}

/// See the module.
pub(super) struct Intake<'a> {
    common: &'a Common,
    feed: &'a Arc<Feed>,
    /// When its first packet came: a server may take its time before that.
    begun: Option<Instant>,
    decode_times: DecodeTimes,
    sample: Sample,
    mode: Mode,
    told_blind: bool,
}

enum Mode {
    Judging(Vec<Packet>),
    /// As `Copying`, from the first keyframe whose time can be trusted; the first picture's time.
    Settling(Option<i64>),
    Copying,
    Transcoding(Transcoder),
}

// === impl Intake ===

impl<'a> Intake<'a> {
    pub(super) fn new(common: &'a Common, feed: &'a Arc<Feed>, decode_times: DecodeTimes) -> Self {
        Self {
            common,
            feed,
            begun: None,
            decode_times,
            sample: Sample::default(),
            mode: Mode::Judging(Vec::new()),
            told_blind: false,
        }
    }

    /// The feed's next packet; an error ends the feed.
    pub(super) fn take(&mut self, packet: Packet, now: Instant) -> Result<(), ErrorReport> {
        self.judge_again(&packet);
        match &mut self.mode {
            Mode::Judging(pending) => {
                self.sample.note(&packet);
                pending.push(packet);
                if pending.len() > MOST_PENDING {
                    *pending = self.sample.headers().collect();
                }
                if self.sample.pictures() > MOST_PENDING {
                    Err(fault(
                        "live_damaged",
                        "its pictures have no header, or their times stand still".to_owned(),
                        "restart the encoder; it sends something no player would take",
                    ))
                } else if self.sample.pictures() > 0 {
                    self.settle(now)
                } else {
                    self.mind_blindness(now);
                    Ok(())
                }
            }
            Mode::Settling(first_ms) => {
                if settles(&packet, first_ms) {
                    self.mode = Mode::Copying;
                } else if matches!(packet, Packet::Video(_)) {
                    return Ok(());
                }
                self.feed.deliver([packet], now);
                Ok(())
            }
            Mode::Copying => {
                self.feed.deliver([packet], now);
                Ok(())
            }
            Mode::Transcoding(transcoder) => transcoder.take(packet),
        }
    }

    /// A new header in a running feed may be of another shape.
    fn judge_again(&mut self, packet: &Packet) {
        let is_header = matches!(packet, Packet::VideoHeader(_) | Packet::AudioHeader(_));
        let settled = match &self.mode {
            Mode::Judging(_) => return,
            Mode::Settling(_) | Mode::Copying => {
                is_header && !self.sample.still_fits(packet, &self.common.format)
            }
            Mode::Transcoding(_) => is_header && self.sample.is_news(packet),
        };
        if settled {
            let input = &self.feed.name;
            tracing::info!(input, "the feed has changed its shape");
            self.sample.begin_again();
            self.begun = None;
            // First, so that a transcoder of the old shape adds nothing more.
            self.mode = Mode::Judging(self.sample.headers().collect());
            self.feed.buffer.restart();
        }
    }

    fn settle(&mut self, now: Instant) -> Result<(), ErrorReport> {
        let Some(verdict) = self.sample.verdict(&self.common.format) else {
            return Ok(());
        };
        let Verdict {
            media,
            fit,
            has_sound,
        } = verdict;
        let input = &self.feed.name;
        tracing::info!(input, media, "the live feed is {fit}");
        {
            let mut facts = self.feed.facts();
            facts.media = Some(media);
            facts.copied = Some(fit == Fit::Copy);
            facts.error = None;
            facts.retry_count = 0;
        }
        let Mode::Judging(pending) = &mut self.mode else {
            return Ok(());
        };
        let pending = std::mem::take(pending);
        match fit {
            Fit::Copy => {
                let guessed = self.decode_times == DecodeTimes::Guessed;
                self.mode = match guessed && self.sample.is_reordered() {
                    true => Mode::Settling(None),
                    false => Mode::Copying,
                };
                for packet in pending {
                    self.take(packet, now)?;
                }
            }
            Fit::Transcode { .. } => {
                let mut transcoder = Transcoder::start(self.common, self.feed, &fit, has_sound)?;
                for packet in pending {
                    transcoder.take(packet)?;
                }
                self.mode = Mode::Transcoding(transcoder);
            }
            Fit::Unplayable { reason } => {
                let hint = "set the encoder to a usual picture size";
                return Err(fault("live_unplayable", reason, hint));
            }
        }
        Ok(())
    }

    fn mind_blindness(&mut self, now: Instant) {
        let begun = *self.begun.get_or_insert(now);
        if self.told_blind || now < begun + PICTURE_AWAITED {
            return;
        }
        self.told_blind = true;
        let error = fault(
            "live_no_video",
            "sound arrives, and no picture".to_owned(),
            "add a video track in the encoder; a feed of sound alone does not take the air",
        );
        let input = &self.feed.name;
        tracing::warn!(
            input,
            error_type = error.error_type,
            hint = error.hint,
            "{}",
            error.message
        );
        self.feed.facts().error = Some(error);
    }
}

/// Whether this is the keyframe from which on decode times that are guessed are right.
fn settles(packet: &Packet, first_ms: &mut Option<i64>) -> bool {
    let Packet::Video(video) = packet else {
        return false;
    };
    let first_ms = *first_ms.get_or_insert(video.dts_ms);
    // A clock that has jumped back has been running for some time.
    video.keyframe && !(0..GUESSES_SETTLE_MS).contains(&(video.dts_ms - first_ms))
}
