//! Files that do not fit, or are not what they say: one for each kind an operator may upload.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Clip, cached, make, words};

/// What the stream should do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It airs, spliced or transcoded.
    Airs,
    /// It airs as far as it goes.
    AirsInPart,
    /// It is skipped, with a reason.
    Skipped,
}

/// One kind of unfit file.
#[derive(Debug, Clone)]
pub struct Bad {
    /// Name in the bucket.
    pub key: &'static str,
    /// The file.
    pub file: PathBuf,
    /// What should become of it.
    pub fate: Fate,
}

/// Every kind, in the order of their names.
pub fn all() -> Vec<Bad> {
    let mut all = vec![
        spoiled("empty.mp4", Fate::Skipped, |_| Vec::new()),
        spoiled("truncated.mp4", Fate::AirsInPart, |whole| {
            whole[..whole.len() * 2 / 5].to_vec()
        }),
        spoiled("truncated-without-index.mp4", Fate::Skipped, |_| {
            let whole = fs::read(moov_at_end()).expect("a fixture");
            whole[..whole.len() * 2 / 5].to_vec()
        }),
        spoiled("garbled.mp4", Fate::Skipped, |whole| {
            // Noise under a valid first box, so that it looks like an MP4 at first.
            let noise = (0..20_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8);
            whole[..32].iter().copied().chain(noise).collect()
        }),
        spoiled("text.mp4", Fate::Skipped, |_| {
            b"This is a letter to the editor, not a film.\n".repeat(50)
        }),
        spoiled("playlist.mp4", Fate::Skipped, |_| {
            b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
                .to_vec()
        }),
        spoiled("concat.mp4", Fate::Skipped, |_| {
            b"ffconcat version 1.0\nfile good.mp4\n".to_vec()
        }),
        spoiled("wrong-extension.mkv", Fate::Airs, <[u8]>::to_vec),
        Bad {
            key: "moov-at-end.mp4",
            file: moov_at_end(),
            fate: Fate::Airs,
        },
        Bad {
            key: "zero-length.mp4",
            file: zero_length(),
            fate: Fate::Skipped,
        },
    ];
    all.extend(unfit());
    all.sort_by_key(|bad| bad.key);
    all
}

/// A good file, three seconds long, that the spoiled ones are made from and that airs between them.
pub fn good() -> PathBuf {
    let clip = Clip {
        name: "good.mp4",
        seconds: 3.0,
        gop: 30,
        ..Clip::default()
    };
    let more = &["-movflags", "+faststart"];
    Clip { more, ..clip }.file()
}

fn moov_at_end() -> PathBuf {
    let clip = Clip {
        name: "moov-at-end.mp4",
        seconds: 3.0,
        gop: 30,
        ..Clip::default()
    };
    clip.file()
}

/// A valid MP4 with tracks and without a single picture.
fn zero_length() -> PathBuf {
    let input = "-f lavfi -i testsrc2=size=640x360:rate=30:duration=1 -f lavfi -i anullsrc=r=48000:cl=stereo";
    let output = "-t 0 -c:v libx264 -c:a aac -movflags +empty_moov";
    make("zero-length.mp4", &words(&format!("{input} {output}")))
}

fn spoiled(key: &'static str, fate: Fate, spoil: impl Fn(&[u8]) -> Vec<u8>) -> Bad {
    let bytes = spoil(&fs::read(good()).expect("a fixture"));
    let file = cached(key, &bytes);
    write_once(&file, &bytes);
    Bad { key, file, fate }
}

fn write_once(file: &Path, bytes: &[u8]) {
    if fs::read(file).ok().as_deref() != Some(bytes) {
        fs::write(file, bytes).expect("writing a fixture");
    }
}

/// Valid files that must be transcoded.
fn unfit() -> Vec<Bad> {
    const PICTURE: &str = "-f lavfi -i testsrc2=size=640x360:rate=30:duration=3";
    const SOUND: &str = "-f lavfi -i sine=frequency=440:sample_rate=48000:duration=3";
    const X264: &str = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30";
    const AAC: &str = "-c:a aac -ac 2";
    let recipes = [
        ("audio-only.m4a", format!("{SOUND} {AAC}")),
        ("audio-only.mp3", format!("{SOUND} -c:a libmp3lame")),
        ("video-only.mp4", format!("{PICTURE} {X264}")),
        (
            "portrait.mp4",
            format!("-f lavfi -i testsrc2=size=360x640:rate=30:duration=3 {SOUND} {X264} {AAC}"),
        ),
        (
            "ten-bit.mp4",
            format!("{PICTURE} {SOUND} -c:v libx264 -preset ultrafast -pix_fmt yuv420p10le {AAC}"),
        ),
        (
            "hevc.mp4",
            format!(
                "{PICTURE} {SOUND} -c:v libx265 -preset ultrafast -x265-params log-level=error {AAC}"
            ),
        ),
        (
            "variable-rate.mp4",
            format!(
                "{PICTURE} {SOUND} {X264} -vf select=not(between(mod(n\\,30)\\,5\\,20)) -vsync vfr {AAC}"
            ),
        ),
        (
            "surround.mp4",
            format!("{PICTURE} -f lavfi -i anoisesrc=r=48000:d=3 {X264} -c:a aac -ac 6"),
        ),
        (
            "telephone.mp4",
            format!("{PICTURE} {SOUND} {X264} -c:a aac -ar 8000 -ac 1"),
        ),
        (
            "wrong-rate.mp4",
            format!("-f lavfi -i testsrc2=size=640x360:rate=25:duration=3 {SOUND} {X264} {AAC}"),
        ),
    ];
    recipes
        .into_iter()
        .map(|(key, recipe)| Bad {
            key,
            file: make(key, &words(&recipe)),
            fate: Fate::Airs,
        })
        .collect()
}
