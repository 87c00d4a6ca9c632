//! What one message of a publisher carries, as far as anyone has to know to judge it.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;

/// Which track a message belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Track {
    /// AVC.
    Video,
    /// AAC.
    Audio,
    /// `onMetaData` and other script data.
    Script,
}

/// What a message carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// AVC or AAC sequence header.
    Header,
    /// One coded picture or one AAC frame.
    Frame {
        /// A picture that a decoder can start with; every AAC frame is one.
        key: bool,
    },
    /// Anything else: end of sequence, script data.
    Other,
}

/// A message, reduced to what it is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// Which track.
    pub track: Track,
    /// What it carries.
    pub part: Part,
    /// Decode time.
    pub dts_ms: i64,
    /// Presentation time.
    pub pts_ms: i64,
    /// Size of the body.
    pub bytes: usize,
    /// Hash of the coded data alone: the same packet has the same one wherever it is seen.
    pub digest: u64,
}

// === impl Tag ===

impl Tag {
    /// Reads the body of an FLV tag or of an RTMP message; the two are the same.
    pub fn parse(track: Track, dts_ms: i64, body: &[u8]) -> Self {
        let (part, cts_ms, coded) = match track {
            Track::Video => parse_video(body),
            Track::Audio => parse_audio(body),
            Track::Script => (Part::Other, 0, body),
        };
        let mut hasher = DefaultHasher::new();
        hasher.write(coded);
        Self {
            track,
            part,
            dts_ms,
            pts_ms: dts_ms + cts_ms,
            bytes: body.len(),
            digest: hasher.finish(),
        }
    }

    /// A picture or an AAC frame, as opposed to headers and script data.
    pub fn is_frame(&self) -> bool {
        matches!(self.part, Part::Frame { .. })
    }

    /// A picture.
    pub fn is_picture(&self) -> bool {
        self.track == Track::Video && self.is_frame()
    }

    /// A picture a decoder can start with.
    pub fn is_keyframe(&self) -> bool {
        self.track == Track::Video && self.part == Part::Frame { key: true }
    }
}

fn parse_video(body: &[u8]) -> (Part, i64, &[u8]) {
    let [first, kind, a, b, c, coded @ ..] = body else {
        return (Part::Other, 0, body);
    };
    // The composition time is a signed 24-bit number.
    let cts = i64::from(i32::from_be_bytes([*a, *b, *c, 0]) >> 8);
    let key = first >> 4 == 1;
    match kind {
        0 => (Part::Header, 0, coded),
        1 => (Part::Frame { key }, cts, coded),
        _ => (Part::Other, 0, coded),
    }
}

fn parse_audio(body: &[u8]) -> (Part, i64, &[u8]) {
    match body {
        [first, 0, coded @ ..] if first >> 4 == 10 => (Part::Header, 0, coded),
        [first, 1, coded @ ..] if first >> 4 == 10 => (Part::Frame { key: true }, 0, coded),
        _ => (Part::Other, 0, body),
    }
}

/// Reads the tags of an FLV file; a cut-off last tag is left out.
pub fn tags(file: &[u8]) -> Vec<Tag> {
    let mut found = Vec::new();
    let mut rest = file.get(13..).unwrap_or_default();
    while let Some((head, after)) = rest.split_at_checked(11) {
        let size = be24(&head[1..4]);
        let Some((body, next)) = after.split_at_checked(size) else {
            break;
        };
        let dts = i64::from(head[7]) << 24 | be24(&head[4..7]) as i64;
        let track = match head[0] & 0x1f {
            9 => Track::Video,
            8 => Track::Audio,
            _ => Track::Script,
        };
        found.push(Tag::parse(track, dts, body));
        rest = next.get(4..).unwrap_or_default();
    }
    found
}

fn be24(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |all, b| all << 8 | usize::from(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_told_from_a_header_and_composition_times_may_be_negative() {
        let header = Tag::parse(Track::Video, 5, &[0x17, 0, 0, 0, 0, 1]);
        assert!(header.part == Part::Header && !header.is_picture());
        let key = Tag::parse(Track::Video, 5, &[0x17, 1, 0, 0, 40, 9, 9]);
        assert!(key.is_keyframe() && key.pts_ms == 45);
        let early = Tag::parse(Track::Video, 50, &[0x27, 1, 0xff, 0xff, 0xf6, 9, 9]);
        assert!(early.is_picture() && !early.is_keyframe() && early.pts_ms == 40);
        assert_eq!(early.digest, key.digest, "only the coded data counts");
    }

    #[test]
    fn what_is_cut_off_or_foreign_is_nothing_known() {
        for body in [&[][..], &[0x17], &[0x17, 1, 0], &[0x17, 2, 0, 0, 0]] {
            assert_eq!(Tag::parse(Track::Video, 0, body).part, Part::Other);
        }
        let mp3 = Tag::parse(Track::Audio, 0, &[0x2f, 1, 2]);
        assert_eq!(mp3.part, Part::Other);
    }
}
