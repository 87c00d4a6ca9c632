//! What a viewer would have seen: pure arithmetic over received messages.

use std::time::{Duration, Instant};

use crate::receiver::{Connection, Message};
use crate::tag::{Part, Tag, Track};

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

// === impl Report ===

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
}

/// A time in which no picture arrived, whatever the connections did meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Arrival of the last picture before it.
    pub began: Instant,
    /// Arrival of the first one after it; `None` while there is none.
    pub ended: Option<Instant>,
}

// === impl Outage ===

impl Outage {
    /// How long it lasted, or has lasted at `now`.
    pub fn length(&self, now: Instant) -> Duration {
        self.ended
            .unwrap_or(now)
            .saturating_duration_since(self.began)
    }
}

/// The times between `from` and `to` in which no picture arrived for longer than `tolerance`.
///
/// One that began before `from` counts with its true beginning; where nothing had arrived before
/// `from`, it begins there.
pub fn outages(
    connections: &[Connection],
    from: Instant,
    to: Instant,
    tolerance: Duration,
) -> Vec<Outage> {
    let mut arrivals: Vec<Instant> = connections
        .iter()
        .flat_map(|connection| &connection.messages)
        .filter(|message| message.tag.is_picture() && message.arrived <= to)
        .map(|message| message.arrived)
        .collect();
    arrivals.sort_unstable();
    let begins = arrivals.partition_point(|arrived| *arrived < from);
    let mut last = match begins {
        0 => from,
        n => arrivals[n - 1],
    };
    let mut found = Vec::new();
    for arrived in &arrivals[begins..] {
        if *arrived - last > tolerance {
            found.push(Outage {
                began: last,
                ended: Some(*arrived),
            });
        }
        last = *arrived;
    }
    if to.saturating_duration_since(last) > tolerance {
        found.push(Outage {
            began: last,
            ended: None,
        });
    }
    found
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
        message.tag.dts_ms - first.tag.dts_ms - i64::try_from(waited).unwrap_or(i64::MAX)
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

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(40);

    fn pictures(from: Instant, count: u32) -> Connection {
        let message = |n: u32| Message {
            tag: Tag::parse(
                Track::Video,
                i64::from(n * 40),
                &[0x17, 1, 0, 0, 0, n.to_le_bytes()[0]],
            ),
            arrived: from + FRAME * n,
        };
        Connection {
            app: "live".into(),
            key: "key".into(),
            opened: from,
            closed: None,
            unpublished: false,
            error: None,
            messages: (0..count).map(message).collect(),
        }
    }

    #[test]
    fn an_outage_spans_connections_and_may_still_go_on() {
        let start = Instant::now();
        let again = start + Duration::from_secs(3);
        let connections = [pictures(start, 26), pictures(again, 26)];
        let tolerance = Duration::from_millis(200);
        let last = start + Duration::from_secs(1);
        let to = again + Duration::from_secs(1);
        let found = outages(&connections, start, to, tolerance);
        assert_eq!(
            found,
            [Outage {
                began: last,
                ended: Some(again)
            }]
        );
        let to = to + Duration::from_secs(1);
        let found = outages(&connections, start, to, tolerance);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].ended, None);
        assert_eq!(found[1].length(to), Duration::from_secs(1));
    }

    #[test]
    fn where_one_began_before_the_window_its_beginning_is_told() {
        let start = Instant::now();
        let connections = [pictures(start, 26)];
        let from = start + Duration::from_secs(2);
        let found = outages(&connections, from, from + FRAME, FRAME * 3);
        assert_eq!(found[0].began, start + Duration::from_secs(1));
        let nothing = outages(&[], from, from + Duration::from_secs(1), FRAME);
        assert_eq!(nothing[0].began, from);
    }
}
