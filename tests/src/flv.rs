//! FLV as far as the harness needs it: what one tag holds, and files of tags.

use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::Hasher;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Which track a tag belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Track {
    /// AVC.
    Video,
    /// AAC.
    Audio,
    /// `onMetaData` and other script data.
    Script,
}

/// What a tag carries.
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

/// A tag, reduced to what the tests judge by.
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

impl Tag {
    /// Reads the body of a tag or of an RTMP message.
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
    match kind {
        0 => (Part::Header, 0, coded),
        1 => (
            Part::Frame {
                key: first >> 4 == 1,
            },
            cts,
            coded,
        ),
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

/// Writes what was received as a file that ffprobe and a player can open.
#[derive(Debug)]
pub struct Recorder {
    file: BufWriter<File>,
}

impl Recorder {
    /// Starts a file.
    ///
    /// # Errors
    /// When it cannot be created or written.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(b"FLV\x01\x05\0\0\0\x09\0\0\0\0")?;
        Ok(Self { file })
    }

    /// Appends a tag.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, track: Track, dts_ms: u32, body: &[u8]) -> io::Result<()> {
        let kind = match track {
            Track::Video => 9,
            Track::Audio => 8,
            Track::Script => 18,
        };
        let size = u32::try_from(body.len()).map_err(io::Error::other)?;
        let [_, s2, s1, s0] = size.to_be_bytes();
        let [t3, t2, t1, t0] = dts_ms.to_be_bytes();
        self.file
            .write_all(&[kind, s2, s1, s0, t2, t1, t0, t3, 0, 0, 0])?;
        self.file.write_all(body)?;
        self.file.write_all(&(size + 11).to_be_bytes())?;
        self.file.flush()
    }
}
