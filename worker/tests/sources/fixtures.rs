//! Small files of every kind, made by FFmpeg at the first use and kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use supervise::{CaptureLimits, ExitReason, Spec};

/// Change it when a recipe changes: made files are found by it.
const EDITION: &str = "fixtures-1";

const LIMITS: CaptureLimits = CaptureLimits {
    timeout: Duration::from_secs(60),
    max_bytes: 1 << 20,
};

/// The picture most files have: what the test format wants.
pub(crate) const PICTURE: &str = "-f lavfi -i testsrc2=s=320x180:r=30";
/// The sound most files have.
pub(crate) const SOUND: &str = "-f lavfi -i sine=r=48000";
/// H.264 as files have it: reordered pictures, a keyframe each second.
pub(crate) const H264: &str = "-c:v libx264 -preset ultrafast -bf 2 -g 30 -sc_threshold 0 \
                               -pix_fmt yuv420p";
/// AAC-LC stereo.
pub(crate) const AAC: &str = "-c:a aac -b:a 64k -ac 2";

/// The bytes of `name`, made by `ffmpeg {recipe} {name}`.
pub(crate) async fn made(name: &str, recipe: &str) -> Vec<u8> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(EDITION);
    let kept = dir.join(name);
    if let Ok(bytes) = std::fs::read(&kept) {
        return bytes;
    }
    let room = tempfile::tempdir().unwrap();
    let path = make(room.path(), name, recipe).await;
    let bytes = std::fs::read(path).unwrap();
    std::fs::create_dir_all(&dir).unwrap();
    storage::atomic::write(&kept, &bytes).unwrap();
    bytes
}

async fn make(room: &Path, name: &str, recipe: &str) -> PathBuf {
    let path = room.join(name);
    let spec = Spec::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-loglevel", "error"])
        .args(recipe.split_ascii_whitespace())
        .arg(&path);
    let captured = supervise::capture(spec, LIMITS).await.unwrap();
    let said = String::from_utf8_lossy(&captured.stderr);
    assert_eq!(captured.exit, ExitReason::Code(0), "{name}: {said}");
    path
}

/// Three seconds that fit the test format, the index in front.
pub(crate) async fn fitting() -> Vec<u8> {
    let recipe = format!("{PICTURE} {SOUND} -t 3 {H264} {AAC} -movflags +faststart");
    made("fitting.mp4", &recipe).await
}

/// Four seconds that fit the test format; `faststart` says where the index is.
pub(crate) async fn four_seconds(faststart: bool) -> Vec<u8> {
    let (name, flags) = match faststart {
        true => ("four-front.mp4", "-movflags +faststart"),
        false => ("four-end.mp4", ""),
    };
    made(
        name,
        &format!("{PICTURE} {SOUND} -t 4 {H264} {AAC} {flags}"),
    )
    .await
}
