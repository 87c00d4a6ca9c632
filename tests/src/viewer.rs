//! What a viewer would have seen: pure arithmetic over received messages.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::flv::{Part, Tag, Track};
use crate::rtmp::Message;

/// Length of an AAC frame at 48 kHz.
pub const AAC_FRAME_MS: f64 = 1024.0 * 1000.0 / 48_000.0;

/// One connection, judged.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Pictures received.
    pub pictures: usize,
    /// AAC frames received.
    pub sounds: usize,
    /// Longest distance between two pictures that present one after the other.
    pub longest_step_ms: i64,
    /// Where that was, in presentation time.
    pub longest_step_at_ms: i64,
    /// Shortest such distance; 0 when two present at the same time.
    pub shortest_step_ms: i64,
    /// Longest piece without sound between two AAC frames.
    pub longest_audio_hole_ms: f64,
    /// Where that was.
    pub longest_audio_hole_at_ms: i64,
    /// Decode times that did not increase within their track.
    pub decode_order_errors: usize,
    /// Pictures that present before they are decoded.
    pub presented_before_decoded: usize,
    /// AVC sequence headers received.
    pub video_headers: usize,
    /// Longest time in which nothing arrived.
    pub longest_arrival_hole: Duration,
    /// The most that media time ran ahead of the clock, compared with its slowest moment before.
    pub greatest_burst_ms: i64,
    /// From the first to the last decode time.
    pub span_ms: i64,
}

impl Report {
    /// Judges what came.
    pub fn of(messages: &[Message]) -> Self {
        let frames: Vec<&Message> = messages.iter().filter(|m| m.tag.is_frame()).collect();
        let video: Vec<&Tag> = track(&frames, Track::Video);
        let audio: Vec<&Tag> = track(&frames, Track::Audio);
        let mut report = Self {
            pictures: video.len(),
            sounds: audio.len(),
            decode_order_errors: disorder(&video) + disorder(&audio),
            presented_before_decoded: video.iter().filter(|t| t.pts_ms < t.dts_ms).count(),
            video_headers: messages
                .iter()
                .filter(|m| m.tag.track == Track::Video && m.tag.part == Part::Header)
                .count(),
            longest_arrival_hole: longest_arrival_hole(&frames),
            greatest_burst_ms: greatest_burst_ms(&frames),
            span_ms: span_ms(&frames),
            ..Self::default()
        };
        report.judge_pictures(&video);
        report.judge_sound(&audio);
        report
    }

    fn judge_pictures(&mut self, video: &[&Tag]) {
        // Of the last pictures, those that present between others may not have been decoded yet
        // when the session ended.
        let complete_until = video.last().map_or(0, |tag| tag.dts_ms);
        let shown = video.iter().map(|tag| tag.pts_ms);
        let mut shown: Vec<i64> = shown.filter(|pts| *pts <= complete_until).collect();
        shown.sort_unstable();
        let steps = || shown.windows(2).map(|pair| (pair[1] - pair[0], pair[0]));
        let longest = steps().max_by_key(|(step, _)| *step).unwrap_or_default();
        (self.longest_step_ms, self.longest_step_at_ms) = longest;
        self.shortest_step_ms = steps().map(|(step, _)| step).min().unwrap_or_default();
    }

    fn judge_sound(&mut self, audio: &[&Tag]) {
        for pair in audio.windows(2) {
            let hole = (pair[1].dts_ms - pair[0].dts_ms) as f64 - AAC_FRAME_MS;
            if hole > self.longest_audio_hole_ms {
                self.longest_audio_hole_ms = hole;
                self.longest_audio_hole_at_ms = pair[0].dts_ms;
            }
        }
    }

    /// Panics unless this is an unbroken picture of `fps` with unbroken sound.
    pub fn assert_seamless(&self, fps: u32) {
        let frame_ms = (1000 + i64::from(fps) - 1) / i64::from(fps);
        assert!(
            self.pictures > 0 && self.sounds > 0,
            "nothing came: {self:?}"
        );
        assert!(
            self.longest_step_ms <= frame_ms + 1,
            "a picture stood still: {self:?}"
        );
        assert!(
            self.shortest_step_ms >= 1,
            "two pictures at one time: {self:?}"
        );
        assert!(
            self.longest_audio_hole_ms < AAC_FRAME_MS,
            "a hole in the sound: {self:?}"
        );
        self.assert_decodable();
    }

    /// Panics unless decode times increase and no picture presents before it is decoded.
    pub fn assert_decodable(&self) {
        assert_eq!(self.decode_order_errors, 0, "decode order: {self:?}");
        assert_eq!(self.presented_before_decoded, 0, "pts < dts: {self:?}");
    }

    /// Panics when the viewer's picture, sound or supply stood still for longer than `limit`.
    pub fn assert_no_hole_over(&self, limit: Duration) {
        let limit_ms = i64::try_from(limit.as_millis()).expect("a short limit");
        assert!(self.longest_step_ms <= limit_ms, "picture hole: {self:?}");
        assert!(
            self.longest_audio_hole_ms <= limit_ms as f64,
            "sound hole: {self:?}"
        );
        assert!(
            self.longest_arrival_hole <= limit,
            "nothing arrived for too long: {self:?}"
        );
    }
}

fn track<'a>(frames: &[&'a Message], track: Track) -> Vec<&'a Tag> {
    let tags = frames.iter().map(|message| &message.tag);
    tags.filter(|tag| tag.track == track).collect()
}

fn disorder(tags: &[&Tag]) -> usize {
    tags.windows(2)
        .filter(|pair| pair[1].dts_ms <= pair[0].dts_ms)
        .count()
}

fn span_ms(frames: &[&Message]) -> i64 {
    match (frames.first(), frames.last()) {
        (Some(first), Some(last)) => last.tag.dts_ms - first.tag.dts_ms,
        _ => 0,
    }
}

fn longest_arrival_hole(frames: &[&Message]) -> Duration {
    frames
        .windows(2)
        .map(|pair| pair[1].arrived - pair[0].arrived)
        .max()
        .unwrap_or_default()
}

fn greatest_burst_ms(frames: &[&Message]) -> i64 {
    let Some(first) = frames.first() else {
        return 0;
    };
    let lead = |message: &Message| {
        let waited = (message.arrived - first.arrived).as_millis();
        message.tag.dts_ms - first.tag.dts_ms - i64::try_from(waited).expect("a short test")
    };
    let mut least = 0;
    let mut greatest = 0;
    for frame in frames {
        let lead = lead(frame);
        least = least.min(lead);
        greatest = greatest.max(lead - least);
    }
    greatest
}

/// One piece of the session whose packets are those of a known file, unbroken.
#[derive(Debug, Clone)]
pub struct Passage {
    /// Index of the file in the list that was asked about.
    pub file: usize,
    /// Pictures of the file that came, of all it has (not counting those that look like others).
    pub pictures: (usize, usize),
    /// Air time minus file time of its pictures: least and greatest.
    pub video_shift_ms: (i64, i64),
    /// Air time minus file time of its sound: least and greatest; `None` without sound.
    pub audio_shift_ms: Option<(i64, i64)>,
    /// Arrival of its first picture.
    pub began: Instant,
}

impl Passage {
    /// How far picture and sound moved against each other, compared with the file: worst case.
    pub fn av_error_ms(&self) -> i64 {
        let Some((low, high)) = self.audio_shift_ms else {
            return 0;
        };
        let (first, last) = self.video_shift_ms;
        (high - first).abs().max((last - low).abs())
    }
}

/// Recognises files in the session by the digests of their packets, in the order they aired.
///
/// Digests that occur in several files, or several times in one (silence, still pictures), name
/// no place and are not used.
pub fn passages(messages: &[Message], files: &[Vec<Tag>]) -> Vec<Passage> {
    let places = places(files);
    let mut found: Vec<Passage> = Vec::new();
    for message in messages {
        let Some((file, tag)) = places.get(&message.tag.digest) else {
            continue;
        };
        let shift = message.tag.pts_ms - tag.pts_ms;
        match tag.track {
            Track::Video => {
                let starts = found.last().is_none_or(|last| {
                    // The same file again (a loop of one) moves on by its own length.
                    last.file != *file || shift - last.video_shift_ms.1 > 500
                });
                if starts {
                    let all = files[*file].iter().filter(|t| t.track == Track::Video);
                    found.push(Passage {
                        file: *file,
                        pictures: (0, all.filter(|t| places.contains_key(&t.digest)).count()),
                        video_shift_ms: (shift, shift),
                        audio_shift_ms: None,
                        began: message.arrived,
                    });
                }
                let passage = found.last_mut().expect("just made when absent");
                passage.pictures.0 += 1;
                widen(&mut passage.video_shift_ms, shift);
            }
            Track::Audio => {
                // Sound may come a little before the first picture of its file, or after the last:
                // it belongs to the nearest passage of that file.
                let near =
                    |p: &&mut Passage| p.file == *file && (shift - p.video_shift_ms.0).abs() < 500;
                if let Some(passage) = found.iter_mut().rev().find(near) {
                    widen(passage.audio_shift_ms.get_or_insert((shift, shift)), shift);
                }
            }
            Track::Script => {}
        }
    }
    found
}

fn places(files: &[Vec<Tag>]) -> HashMap<u64, (usize, &Tag)> {
    let mut places = HashMap::new();
    let mut ambiguous = Vec::new();
    for (number, tags) in files.iter().enumerate() {
        for tag in tags.iter().filter(|tag| tag.is_frame()) {
            if places.insert(tag.digest, (number, tag)).is_some() {
                ambiguous.push(tag.digest);
            }
        }
    }
    for digest in ambiguous {
        places.remove(&digest);
    }
    places
}

fn widen(range: &mut (i64, i64), value: i64) {
    *range = (range.0.min(value), range.1.max(value));
}
