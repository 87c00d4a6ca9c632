//! `demo`: a channel on air from nothing: clips of several kinds when the media folder is empty, and
//! a stream `main` that only has a preview. `serve` then does the rest.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use storage::document::{Document, Opened};
use storage::media::MediaStore;
use storage::model::config::CONFIG_VERSION;
use storage::model::job::Provider;
use storage::model::{StreamConfig, StreamConfigFile};
use supervise::{CaptureLimits, ExitReason, Spec, capture};

use super::say;
use crate::config::Config;

/// A clip takes seconds; more means that something is wrong.
const LIMITS: CaptureLimits = CaptureLimits {
    timeout: Duration::from_secs(180),
    max_bytes: 256 * 1024,
};
/// Found by fontconfig on every desktop and wherever Debian's FFmpeg is installed.
const FONT: &str = "font=DejaVu Sans";

/// A clip to be made.
struct Clip {
    file: &'static str,
    title: &'static str,
    /// A filter source of pictures, with size and rate.
    picture: &'static str,
    /// Hertz of its tone.
    tone_hz: u32,
    seconds: u32,
    /// Options beside [`H264`].
    encoding: &'static str,
}

/// Of every clip.
const H264: &str = "-c:v libx264 -preset veryfast -pix_fmt yuv420p -ac 2";
const MAIN_AAC: &str = "-profile:v main -b:v 2000k -g 60 -c:a aac -b:a 128k -ar 48000";
const HIGH_AAC: &str = "-profile:v high -bf 3 -b:v 2500k -g 60 -c:a aac -b:a 128k -ar 48000";
const MP3: &str = "-b:v 1500k -g 50 -c:a libmp3lame -ar 44100";

/// The first two are put on air as they are, the last two are transcoded: the page tells which.
const CLIPS: [Clip; 4] = [
    Clip {
        file: "01-good-morning.mp4",
        title: "Good morning",
        picture: "gradients=size=1280x720:rate=30:n=4:c0=0x123a6b:c1=0x7a2f6d:c2=0xe0703c:c3=0x16213e:speed=0.02",
        tone_hz: 330,
        seconds: 20,
        encoding: HIGH_AAC,
    },
    Clip {
        file: "02-test-pattern.mp4",
        title: "Test pattern",
        picture: "testsrc2=size=1280x720:rate=30",
        tone_hz: 440,
        seconds: 20,
        encoding: MAIN_AAC,
    },
    Clip {
        file: "03-colour-bars-25fps.mkv",
        title: "Colour bars, 25 frames/s, MP3",
        picture: "smptehdbars=size=1024x576:rate=25",
        tone_hz: 550,
        seconds: 15,
        encoding: MP3,
    },
    Clip {
        file: "04-from-a-phone.mp4",
        title: "Upright",
        picture: "gradients=size=540x960:rate=30:n=3:c0=0x0f766e:c1=0x1e3a8a:c2=0x84cc16:speed=0.03",
        tone_hz: 660,
        seconds: 15,
        encoding: MAIN_AAC,
    },
];

/// Makes what is missing for a channel with a picture.
///
/// # Errors
/// In words for the operator.
pub async fn prepare(config: &Config) -> anyhow::Result<()> {
    let folder = match (config.storage.provider, &config.storage.local_dir) {
        (Provider::Local, Some(folder)) => folder.join(&config.storage.prefix),
        _ => bail!("the demo plays a local folder: unset STORAGE_PROVIDER"),
    };
    config.layout.create()?;
    tokio::fs::create_dir_all(&folder)
        .await
        .with_context(|| format!("cannot make the media folder {}", folder.display()))?;
    let store = MediaStore::open(&config.storage, None).await?;
    if store.list("").await?.is_empty() {
        for clip in &CLIPS {
            say(format_args!("making {}", folder.join(clip.file).display()));
            make(&config.ffmpeg_bin, &folder, clip).await?;
        }
    }
    let path = config.layout.config_file();
    tokio::task::spawn_blocking(move || preview_only(&path)).await?
}

/// An operator's own configuration is left as it is.
fn preview_only(path: &Path) -> anyhow::Result<()> {
    let (mut document, opened) = Document::<StreamConfigFile>::open(path)?;
    if matches!(opened, Opened::Absent) {
        let main = StreamConfig {
            autostart: true,
            ..StreamConfig::default()
        };
        let id = "main".parse().expect("\"main\" is a stream id");
        document.save(&StreamConfigFile {
            version: CONFIG_VERSION,
            streams: [(id, main)].into(),
        })?;
    }
    Ok(())
}

/// Under a name that is not listed until it is whole.
async fn make(ffmpeg: &Path, folder: &Path, clip: &Clip) -> anyhow::Result<()> {
    let unfinished = folder.join(format!(".{}", clip.file));
    let mut result = encode(ffmpeg, &unfinished, clip, Some(&caption(clip))).await;
    if result.is_err() {
        // An FFmpeg without drawtext, or a machine without fonts: a clip without words then.
        result = encode(ffmpeg, &unfinished, clip, None).await;
    }
    result?;
    tokio::fs::hard_link(&unfinished, folder.join(clip.file))
        .await
        .with_context(|| format!("cannot name {}", clip.file))?;
    tokio::fs::remove_file(&unfinished).await?;
    Ok(())
}

async fn encode(
    ffmpeg: &Path,
    to: &Path,
    clip: &Clip,
    caption: Option<&str>,
) -> anyhow::Result<()> {
    let tone = format!(
        "sine=frequency={}:sample_rate=48000,volume=0.1",
        clip.tone_hz
    );
    let mut spec = Spec::new(ffmpeg)
        .args(["-v", "error", "-nostdin", "-y"])
        .args(["-f", "lavfi", "-i", clip.picture])
        .args(["-f", "lavfi", "-i", &tone]);
    if let Some(caption) = caption {
        spec = spec.args(["-vf", caption]);
    }
    let format = if clip.file.ends_with(".mkv") {
        "matroska"
    } else {
        "mp4"
    };
    let spec = spec
        .args(H264.split(' ').chain(clip.encoding.split(' ')))
        .args(["-t", &clip.seconds.to_string(), "-f", format])
        .arg(to);
    let made = capture(spec, LIMITS).await?;
    if made.exit != ExitReason::Code(0) {
        let words = String::from_utf8_lossy(&made.stderr);
        bail!("FFmpeg cannot make {}: {}", clip.file, words.trim());
    }
    Ok(())
}

/// Its name and a running clock, so that a viewer sees that it moves and what it is.
fn caption(clip: &Clip) -> String {
    let text = |size: &str, y: &str, text: &str| {
        format!(
            "drawtext={FONT}:fontcolor=white:fontsize={size}:x=(w-tw)/2:y={y}:\
             shadowcolor=black@0.6:shadowx=2:shadowy=2:text='{text}'"
        )
    };
    let title = text("h/13", "h*0.40", clip.title);
    let clock = text("h/20", "h*0.55", "%{pts\\:hms}");
    format!("{title},{clock}")
}
