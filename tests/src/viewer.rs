//! What a viewer would have seen, and what a test demands of it.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::time::{Duration, Instant};

pub use ingest::viewer::AAC_FRAME_MS;

use crate::flv::{Tag, Track};
use crate::rtmp::{Message, Receiver};
use crate::wait;

/// Time of arrival is time of this machine, which runs other tests, too. Media time is not.
const LOADED: Duration = Duration::from_millis(700);
/// For another picture to come.
const CHANGE_LIMIT: Duration = Duration::from_secs(40);

/// One connection, judged; see [`ingest::viewer::Report`].
#[derive(Debug, Clone, Default)]
pub struct Report(ingest::viewer::Report);

impl Deref for Report {
    type Target = ingest::viewer::Report;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Report {
    /// Judges what came.
    pub fn of(messages: &[Message]) -> Self {
        Self(ingest::viewer::Report::of(messages))
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

    /// Panics when the viewer's picture or sound stood still for longer than `limit`, or its supply did for
    /// longer than that and what other tests may hold it up.
    pub fn assert_no_hole_over(&self, limit: Duration) {
        let limit_ms = i64::try_from(limit.as_millis()).expect("a short limit");
        assert!(self.longest_step_ms <= limit_ms, "picture hole: {self:?}");
        assert!(
            self.longest_audio_hole_ms <= limit_ms as f64,
            "sound hole: {self:?}"
        );
        assert!(
            self.longest_arrival_hole <= limit + LOADED,
            "nothing arrived for too long: {self:?}"
        );
    }
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

/// A picture of a known file, as it came.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// Index of the file in the list that was asked about.
    pub file: usize,
    /// When it presents in its file.
    pub file_ms: i64,
    /// When it presents on air.
    pub air_ms: i64,
    /// Its arrival.
    pub arrived: Instant,
}

/// The pictures that name a place in one of `files`, as they came.
pub fn shown(messages: &[Message], files: &[Vec<Tag>]) -> Vec<Shown> {
    let places = places(files);
    let known = messages.iter().filter_map(|message| {
        let (file, tag) = places.get(&message.tag.digest)?;
        (tag.track == Track::Video).then_some(Shown {
            file: *file,
            file_ms: tag.pts_ms,
            air_ms: message.tag.pts_ms,
            arrived: message.arrived,
        })
    });
    known.collect()
}

/// When the first picture after `since` came that is of the film, or is not.
pub fn first_picture(
    receiver: &Receiver,
    film: &HashSet<u64>,
    is_of_film: bool,
    since: Instant,
) -> Instant {
    wait::until("the picture changes", CHANGE_LIMIT, || {
        receiver.look(|connections| {
            let frames = connections.last()?.frames();
            let found = frames
                .filter(|message| message.tag.track == Track::Video && message.arrived > since)
                .find(|message| film.contains(&message.tag.digest) == is_of_film);
            Some(found?.arrived)
        })
    })
}

/// Panics unless the pictures of `file` came in its order, with steps of no more than `gop` either
/// way: one that was left in its middle went on where it was, or at the keyframe before.
///
/// Pictures that look alike name no place.
pub fn assert_continues(messages: &[Message], file: &[Tag], gop: Duration) {
    // Pictures are sent in the order of decoding, which is this much off that of showing.
    const REORDER_MS: i64 = 150;
    let limit_ms = i64::try_from(gop.as_millis()).expect("a short limit") + REORDER_MS;
    let shown = shown(messages, &[file.to_vec()]);
    let pairs = shown.windows(2);
    let steps = pairs.map(|pair| (pair[0].file_ms, pair[1].file_ms - pair[0].file_ms));
    let far: Vec<_> = steps.filter(|(_, step)| step.abs() > limit_ms).collect();
    assert!(shown.len() > 30, "only {} pictures came", shown.len());
    assert!(
        far.is_empty(),
        "steps in the film over {limit_ms} ms (at, by): {far:?}"
    );
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
