//! Test files, made by FFmpeg when first asked for and kept below the target directory.
//!
//! A file's name holds the hash of the command that made it, so a changed command makes a new file.

pub mod bad;

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use crate::flv::{self, Tag};
use crate::process;

/// The format most tests put on air: small, so that two cores can do many streams at once.
pub const WIDTH: u32 = 640;
/// See [`WIDTH`].
pub const HEIGHT: u32 = 360;
/// See [`WIDTH`].
pub const FPS: u32 = 30;
/// See [`WIDTH`].
pub const VIDEO_KBPS: u32 = 800;

/// The `format` of a stream's configuration that [`Clip`]s fit by default.
pub fn format() -> serde_json::Value {
    serde_json::json!({
        "width": WIDTH, "height": HEIGHT, "fps": FPS, "video_kbps": VIDEO_KBPS, "audio_kbps": 128
    })
}

/// A clip of moving test picture and noise, whose packets occur in no other clip.
#[derive(Debug, Clone, Copy)]
pub struct Clip {
    /// Name with extension; the extension is the container.
    pub name: &'static str,
    /// Length of the picture.
    pub seconds: f64,
    /// Length of the sound; the picture's when absent, no sound when 0.
    pub audio_seconds: Option<f64>,
    /// Pixels.
    pub size: (u32, u32),
    /// H.264 profile.
    pub profile: &'static str,
    /// B-frames in a row.
    pub b_frames: u32,
    /// Pictures between keyframes.
    pub gop: u32,
    /// Bit rate of the picture.
    pub kbps: u32,
    /// More output options.
    pub more: &'static [&'static str],
}

impl Default for Clip {
    fn default() -> Self {
        Self {
            name: "clip.mp4",
            seconds: 10.0,
            audio_seconds: None,
            size: (WIDTH, HEIGHT),
            profile: "high",
            b_frames: 2,
            gop: 60,
            kbps: 700,
            more: &[],
        }
    }
}

impl Clip {
    /// The file, made if it is not there.
    pub fn file(&self) -> PathBuf {
        let (width, height) = self.size;
        let seed = hash(&self.name) % 10_000;
        let sound = self.audio_seconds.unwrap_or(self.seconds);
        let picture = format!(
            "testsrc2=size={width}x{height}:rate={FPS}:duration={},hue=h={}",
            self.seconds,
            seed % 360
        );
        let noise = format!(
            "anoisesrc=color=pink:amplitude=0.2:sample_rate=48000:seed={seed}:duration={sound}"
        );
        let mut args = vec!["-f".to_owned(), "lavfi".into(), "-i".into(), picture];
        if sound > 0.0 {
            args.extend(["-f".into(), "lavfi".into(), "-i".into(), noise]);
            args.extend(words("-c:a aac -b:a 128k -ac 2 -ar 48000"));
        }
        args.extend(words(&format!(
            "-c:v libx264 -preset veryfast -pix_fmt yuv420p -profile:v {} -bf {} -g {} -b:v {}k",
            self.profile, self.b_frames, self.gop, self.kbps
        )));
        args.extend(words(&format!("-maxrate {0}k -bufsize {0}k", self.kbps)));
        args.extend(self.more.iter().map(|word| (*word).to_owned()));
        make(self.name, &args)
    }
}

/// Ten files that fit [`format()`] and differ in everything that fitting files can differ in:
/// profile, reordering depth, pyramid, open GOPs, GOP length, container, length, and sound that ends
/// before or after the picture.
pub fn ten() -> Vec<(String, PathBuf)> {
    let named = |clip: Clip| (clip.name.to_owned(), clip.file());
    ten_clips().map(named).into()
}

fn ten_clips() -> [Clip; 10] {
    let clip = Clip::default();
    [
        Clip {
            name: "01-baseline.mp4",
            seconds: 4.0,
            profile: "baseline",
            b_frames: 0,
            ..clip
        },
        Clip {
            name: "02-main.mp4",
            seconds: 3.37,
            profile: "main",
            gop: 30,
            ..clip
        },
        Clip {
            name: "03-pyramid.mkv",
            seconds: 4.2,
            b_frames: 3,
            gop: 90,
            more: &["-x264-params", "b-pyramid=normal:b-adapt=0"],
            ..clip
        },
        Clip {
            name: "04-deep.mp4",
            seconds: 4.03,
            b_frames: 4,
            gop: 120,
            more: &["-x264-params", "b-pyramid=strict:b-adapt=0"],
            ..clip
        },
        Clip {
            name: "05-short-gop.flv",
            seconds: 2.5,
            profile: "main",
            b_frames: 1,
            gop: 15,
            ..clip
        },
        Clip {
            name: "06-open-gop.mp4",
            seconds: 4.4,
            gop: 48,
            more: &["-x264-params", "open-gop=1:b-adapt=0"],
            ..clip
        },
        Clip {
            name: "07-one-gop.mov",
            seconds: 3.0,
            profile: "baseline",
            b_frames: 0,
            gop: 250,
            ..clip
        },
        Clip {
            name: "08-transport.ts",
            seconds: 3.9,
            b_frames: 3,
            ..clip
        },
        Clip {
            name: "09-sound-short.mp4",
            seconds: 3.6,
            audio_seconds: Some(3.2),
            profile: "main",
            more: &["-refs", "4"],
            ..clip
        },
        Clip {
            name: "10-sound-long.mp4",
            seconds: 2.9,
            audio_seconds: Some(3.3),
            b_frames: 0,
            more: &["-tune", "zerolatency"],
            ..clip
        },
    ]
}

/// A fitting file of some length with a keyframe every second and its index at the front.
pub fn long() -> PathBuf {
    let clip = Clip {
        name: "long.mp4",
        seconds: 60.0,
        gop: 30,
        more: &["-movflags", "+faststart"],
        ..Clip::default()
    };
    clip.file()
}

/// A file that fits [`format()`] and shows one shade of grey (0 to 255) under one tone, with a
/// keyframe each second: what is made of it can be told from the rest by its light and its sound.
pub fn grey(name: &str, shade: u8, tone_hz: u32, seconds: u32) -> PathBuf {
    let picture = format!(
        "color=c=0x{shade:02x}{shade:02x}{shade:02x}:size={WIDTH}x{HEIGHT}:rate={FPS}:duration={seconds}"
    );
    let tone = format!(
        "aevalsrc='0.4*sin(2*PI*{tone_hz}*t)|0.4*sin(2*PI*{tone_hz}*t)':s=48000:duration={seconds}"
    );
    let mut args = words("-f lavfi -i");
    args.push(picture);
    args.extend(words("-f lavfi -i"));
    args.push(tone);
    args.extend(words(
        "-c:v libx264 -preset veryfast -pix_fmt yuv420p -profile:v high -bf 2",
    ));
    args.extend(words("-g 30 -b:v 500k -c:a aac -b:a 128k -ac 2 -ar 48000"));
    make(name, &args)
}

/// A folder that holds these files under these names: media for the `local` provider.
pub fn folder(files: &[(&str, &Path)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary directory");
    for (name, file) in files {
        fs::copy(file, folder.path().join(name)).expect("copying a fixture");
    }
    folder
}

/// The packets of a file as an FLV muxer gets them, to recognise it in a session.
pub fn packets(file: &Path) -> Vec<Tag> {
    let name = file.to_string_lossy();
    let args = ["-v", "error", "-i", &name, "-c", "copy", "-f", "flv", "-"];
    let output = process::run("ffmpeg", &args, Duration::from_secs(60)).expect("FFmpeg");
    flv::tags(&output.stdout)
}

/// What ffprobe says of a file, as JSON.
pub fn probe(file: &Path) -> serde_json::Value {
    let name = file.to_string_lossy();
    let args = [
        "-v",
        "error",
        "-of",
        "json",
        "-show_format",
        "-show_streams",
        &name,
    ];
    let output = process::run("ffprobe", &args, Duration::from_secs(60)).expect("ffprobe");
    serde_json::from_slice(&output.stdout).expect("ffprobe's JSON")
}

/// Runs FFmpeg with `args` and the output file's name, unless that was done before.
fn make(name: &str, args: &[String]) -> PathBuf {
    // One at a time: x264 uses both cores by itself, and two tests may want the same file.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let file = cached(name, &args);
    if file.exists() {
        return file;
    }
    let half = file.with_file_name(format!("half-{name}"));
    let half_name = half.to_string_lossy();
    let mut all = vec!["-v", "error", "-y"];
    all.extend(args.iter().map(String::as_str));
    all.push(&half_name);
    let output = process::run("ffmpeg", &all, Duration::from_secs(180)).expect("FFmpeg");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "making {name}: {said}");
    fs::rename(&half, &file).expect("keeping a fixture");
    file
}

/// Where a file made by this recipe is kept; a folder of its own, so that it keeps its name.
fn cached(name: &str, recipe: &impl Hash) -> PathBuf {
    let folder = target_directory()
        .join("e2e-media")
        .join(format!("{:016x}", hash(&(name, recipe))));
    fs::create_dir_all(&folder).expect("creating the fixture directory");
    folder.join(name)
}

/// Cargo's target directory, found from the running test's own place in it.
pub fn target_directory() -> PathBuf {
    let own = std::env::current_exe().expect("the test's own path");
    let found = own
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").exists());
    found
        .expect("tests run from cargo's target directory")
        .to_owned()
}

fn hash(what: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}
