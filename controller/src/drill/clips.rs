//! The programme of the drill: short small films, made once per drill by FFmpeg.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use ingest::Tag;
use ingest::tag::tags;
use serde_json::{Value, json};
use supervise::{CaptureLimits, ExitReason, Spec, capture};

use super::programme::Programme;

const FPS: u32 = 25;
const WIDTH: u32 = 320;
const HEIGHT: u32 = 180;
/// Small enough for five channels on two cores; large enough that what kernels and pipes keep ahead is
/// seconds, and not minutes.
const VIDEO_KBPS: u32 = 1500;
const SECONDS: &str = "60";
/// Long enough each that a fault meets a source that is still being read.
const NAMES: [&str; 3] = ["1.mp4", "2.mp4", "3.mp4"];

const LIMITS: CaptureLimits = CaptureLimits {
    timeout: Duration::from_secs(120),
    max_bytes: 16 << 20,
};

/// The `format` of a stream that these films fit as they are.
pub fn format() -> Value {
    json!({
        "width": WIDTH, "height": HEIGHT, "fps": FPS, "video_kbps": VIDEO_KBPS, "audio_kbps": 64
    })
}

/// Makes the films in `folder`; gives what they look like on air.
///
/// # Errors
/// When FFmpeg cannot make them.
pub async fn make(ffmpeg: &Path, folder: &Path) -> anyhow::Result<Programme> {
    let mut all: Vec<Tag> = Vec::new();
    for (number, name) in NAMES.iter().enumerate() {
        let file = folder.join(name);
        encode(ffmpeg, number, &file).await?;
        all.extend(read(ffmpeg, &file).await?);
    }
    Ok(Programme::of(all.iter()))
}

async fn encode(ffmpeg: &Path, number: usize, file: &Path) -> anyhow::Result<()> {
    // Each film's packets occur in no other: another hue, another seed.
    let hue = number * 110;
    let picture =
        format!("testsrc2=size={WIDTH}x{HEIGHT}:rate={FPS},hue=h={hue},noise=alls=30:allf=t");
    let noise = format!("anoisesrc=color=pink:amplitude=0.1:sample_rate=48000:seed={number}");
    let rate = format!("{VIDEO_KBPS}k");
    let gop = FPS.to_string();
    let spec = Spec::new(ffmpeg)
        .args(["-v", "error", "-nostdin", "-y"])
        .args(["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &noise])
        .args(["-t", SECONDS, "-c:v", "libx264", "-preset", "ultrafast"])
        .args(["-pix_fmt", "yuv420p", "-g", &gop, "-sc_threshold", "0"])
        .args(["-b:v", &rate, "-maxrate", &rate, "-bufsize", &rate])
        .args(["-c:a", "aac", "-b:a", "64k", "-ar", "48000", "-ac", "2"])
        .args(["-movflags", "+faststart", "-f", "mp4"])
        .arg(file);
    run(spec, "make a film for the drill").await.map(drop)
}

/// The packets as they are spliced: what is copied keeps its coded bytes.
async fn read(ffmpeg: &Path, file: &Path) -> anyhow::Result<Vec<Tag>> {
    let spec = Spec::new(ffmpeg)
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(file)
        .args(["-c", "copy", "-f", "flv", "-"]);
    Ok(tags(&run(spec, "read a film of the drill").await?))
}

async fn run(spec: Spec, what: &str) -> anyhow::Result<Vec<u8>> {
    let made = capture(spec, LIMITS)
        .await
        .with_context(|| format!("FFmpeg cannot {what}"))?;
    if made.exit != ExitReason::Code(0) {
        let words = String::from_utf8_lossy(&made.stderr);
        bail!("FFmpeg cannot {what}: {}", words.trim());
    }
    Ok(made.stdout)
}
