//! When a track can be spliced as it is.

use super::{AudioInfo, FORMAT_WHITELIST, Fit, MediaInfo, TranscodeReason, VideoInfo};
use crate::format::{AUDIO_CHANNELS, AUDIO_RATE_HZ, StreamFormat};

/// How far a file's frame rate may be from the stream's: 29.97 fits 30, 25 does not.
const RATE_TOLERANCE: f64 = 0.002;

/// How far apart average and nominal rate of a constant rate may be: short files round.
const VARIATION_TOLERANCE: f64 = 0.01;

/// Larger pictures are not decoded: a few bytes can claim gigabytes.
const MAX_SIDE: u32 = 8192;

/// The profiles without 10-bit samples or 4:2:2, as FFmpeg names them.
const PROFILES: [&str; 4] = ["Constrained Baseline", "Baseline", "Main", "High"];

/// How a file of this kind reaches the air in `format`. A file without sound is still copied:
/// silence is put in on air. One without picture gets a still, so its video is always made.
pub fn fit(info: &MediaInfo, format: &StreamFormat) -> Fit {
    if let Some(reason) = unplayable(info) {
        return Fit::Unplayable { reason };
    }
    let video = match &info.video {
        Some(video) => video_reasons(video, &info.container, format),
        None => vec![TranscodeReason::new("no_video", "sound alone", "a picture")],
    };
    let audio = info.audio.as_ref().map_or_else(Vec::new, audio_reasons);
    if video.is_empty() && audio.is_empty() {
        Fit::Copy
    } else {
        Fit::Transcode { video, audio }
    }
}

/// Whether the codec and its use fit any stream format; size and rate are left out.
pub(crate) fn is_copyable_in_some_format(video: &VideoInfo, container: &str) -> bool {
    coding_reasons(video, container).is_empty() && rate_reasons(video, video.fps).is_empty()
}

fn unplayable(info: &MediaInfo) -> Option<String> {
    let allowed = |name: &str| FORMAT_WHITELIST.split(',').any(|known| known == name);
    if !info.container.split(',').any(allowed) {
        return Some(format!(
            "its container is {}, which is not played; allowed are {FORMAT_WHITELIST}",
            info.container
        ));
    }
    match (&info.video, &info.audio) {
        (None, None) => Some("it has neither picture nor sound".into()),
        (Some(video), _) if video.width == 0 || video.height == 0 => {
            Some("its picture has no size: the file is damaged or incomplete".into())
        }
        (Some(video), _) if video.width > MAX_SIDE || video.height > MAX_SIDE => Some(format!(
            "its picture of {}×{} is larger than {MAX_SIDE}×{MAX_SIDE}",
            video.width, video.height
        )),
        _ => None,
    }
}

fn video_reasons(
    video: &VideoInfo,
    container: &str,
    format: &StreamFormat,
) -> Vec<TranscodeReason> {
    let mut reasons = coding_reasons(video, container);
    if (video.width, video.height) != (format.width, format.height) {
        reasons.push(TranscodeReason::new(
            "size",
            format!("{}×{}", video.width, video.height),
            format!("{}×{}", format.width, format.height),
        ));
    }
    reasons.extend(rate_reasons(video, f64::from(format.fps)));
    let ceiling = format.video_kbps.saturating_mul(2);
    if let Some(kbps) = video.kbps.filter(|kbps| *kbps > ceiling) {
        reasons.push(TranscodeReason::new(
            "bit_rate",
            format!("{kbps} kbit/s"),
            format!("{ceiling} kbit/s or less"),
        ));
    }
    reasons
}

/// What differs whatever the stream's size and rate are.
fn coding_reasons(video: &VideoInfo, container: &str) -> Vec<TranscodeReason> {
    if video.codec != "h264" {
        // The codec's own profile and pixel format would say nothing more.
        return vec![TranscodeReason::new("codec", &*video.codec, "h264")];
    }
    let mut reasons = Vec::new();
    let mut require = |holds: bool, what: &str, has: &str, needs: &str| {
        if !holds {
            reasons.push(TranscodeReason::new(what, has, needs));
        }
    };
    let profile = video.profile.as_deref().unwrap_or("unknown");
    let pix_fmt = video.pix_fmt.as_deref().unwrap_or("unknown");
    // Full-range video (yuvj420p) is refused too: players take the range from the first picture of
    // a session, and what follows would look washed out.
    require(
        PROFILES.contains(&profile),
        "profile",
        profile,
        "High or below",
    );
    require(pix_fmt == "yuv420p", "pixel_format", pix_fmt, "yuv420p");
    require(!video.interlaced, "scan", "interlaced", "progressive");
    require(video.square_pixels, "pixel_shape", "not square", "square");
    let rotation = format!("{}°", video.rotation_deg);
    require(video.rotation_deg == 0, "rotation", &rotation, "0°");
    // AVI has no presentation times; reordered pictures cannot be placed without decoding.
    require(
        container != "avi",
        "container",
        "avi",
        "one with presentation times",
    );
    reasons
}

fn rate_reasons(video: &VideoInfo, needed_fps: f64) -> Vec<TranscodeReason> {
    let differs = |fps: f64, from: f64, tolerance: f64| (fps - from).abs() > from * tolerance;
    let mut reasons = Vec::new();
    if video.fps <= 0.0 {
        reasons.push(TranscodeReason::new(
            "frame_rate",
            "unknown",
            shown_fps(needed_fps),
        ));
    } else if differs(video.fps, needed_fps, RATE_TOLERANCE) {
        let (has, needs) = (shown_fps(video.fps), shown_fps(needed_fps));
        reasons.push(TranscodeReason::new("frame_rate", has, needs));
    }
    if video.nominal_fps > 0.0 && differs(video.fps, video.nominal_fps, VARIATION_TOLERANCE) {
        let has = format!(
            "variable ({} on average, {} at times)",
            shown_fps(video.fps),
            shown_fps(video.nominal_fps)
        );
        reasons.push(TranscodeReason::new("frame_timing", has, "constant"));
    }
    reasons
}

fn audio_reasons(audio: &AudioInfo) -> Vec<TranscodeReason> {
    let mut reasons = Vec::new();
    let profile = audio.profile.as_deref().unwrap_or("unknown");
    if audio.codec != "aac" {
        reasons.push(TranscodeReason::new("codec", &*audio.codec, "aac"));
    } else if profile != "LC" {
        reasons.push(TranscodeReason::new("profile", profile, "LC"));
    }
    if audio.rate_hz != AUDIO_RATE_HZ {
        reasons.push(TranscodeReason::new(
            "sample_rate",
            format!("{} Hz", audio.rate_hz),
            format!("{AUDIO_RATE_HZ} Hz"),
        ));
    }
    if audio.channels != AUDIO_CHANNELS {
        reasons.push(TranscodeReason::new(
            "channels",
            audio.channels.to_string(),
            AUDIO_CHANNELS.to_string(),
        ));
    }
    reasons
}

/// `29.97`, `30`.
fn shown_fps(fps: f64) -> String {
    let text = format!("{fps:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl TranscodeReason {
    fn new(what: &str, has: impl Into<String>, needs: impl Into<String>) -> Self {
        Self {
            what: what.to_owned(),
            has: has.into(),
            needs: needs.into(),
        }
    }
}
