//! What `ffprobe` says of a file.
//!
//! Numbers come as JSON numbers or as text, and fields come and go between FFmpeg 5.1 and 9; so
//! every field is optional here, and both spellings are read.

use serde_json::Value;

use super::{AudioInfo, FORMAT_WHITELIST, MediaInfo, VideoInfo};

/// Why there is no [`MediaInfo`].
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// `ffprobe` wrote something else than JSON: it was killed, or is not `ffprobe`.
    #[error("the answer of ffprobe is not JSON")]
    NotJson(#[from] serde_json::Error),
    /// `ffprobe` could not read the file; its standard error says why.
    #[error("the file is not media that can be played, or it is damaged or incomplete")]
    NotMedia,
}

/// Arguments of `ffprobe` before the input, for [`parse_ffprobe`].
pub fn ffprobe_args() -> Vec<&'static str> {
    vec![
        "-v",
        "error",
        "-print_format",
        "json",
        "-show_format",
        "-show_streams",
        "-format_whitelist",
        FORMAT_WHITELIST,
    ]
}

/// Reads the JSON of `ffprobe -show_format -show_streams`.
///
/// # Errors
/// When it is not JSON, or says that the file could not be read.
pub fn parse_ffprobe(json: &[u8]) -> Result<MediaInfo, ProbeError> {
    let root: Value = serde_json::from_slice(json)?;
    let format = &root["format"];
    let container = text(format, "format_name").ok_or(ProbeError::NotMedia)?;
    let streams = root["streams"].as_array().map_or(&[][..], Vec::as_slice);
    let of_kind = |kind: &'static str| {
        streams.iter().filter(move |stream| {
            text(stream, "codec_type").as_deref() == Some(kind) && stream["codec_name"].is_string()
        })
    };
    let audio = of_kind("audio").next();
    let video = of_kind("video")
        .find(|stream| !is_attached(stream))
        .map(|stream| video(stream, format, audio));
    let durations = streams.iter().filter_map(length);
    Ok(MediaInfo {
        container,
        duration_s: length(format).or_else(|| durations.reduce(f64::max)),
        video,
        audio: audio.map(audio_info),
    })
}

/// Cover art and chapter thumbnails are tracks to `ffprobe`, but not pictures to play.
fn is_attached(stream: &Value) -> bool {
    ["attached_pic", "timed_thumbnails"]
        .iter()
        .any(|flag| number(&stream["disposition"], flag) == Some(1.0))
}

fn video(stream: &Value, format: &Value, audio: Option<&Value>) -> VideoInfo {
    let pixels = |name| number(stream, name).map_or(0, whole);
    VideoInfo {
        codec: text(stream, "codec_name").unwrap_or_default(),
        profile: text(stream, "profile"),
        width: pixels("width"),
        height: pixels("height"),
        pix_fmt: text(stream, "pix_fmt"),
        fps: rate(stream, "avg_frame_rate"),
        nominal_fps: rate(stream, "r_frame_rate"),
        square_pixels: has_square_pixels(stream),
        rotation_deg: rotation(stream),
        interlaced: text(stream, "field_order")
            .is_some_and(|order| !matches!(order.as_str(), "progressive" | "unknown")),
        kbps: video_bits_per_s(stream, format, audio).map(|bits| whole(bits / 1000.0)),
    }
}

fn audio_info(stream: &Value) -> AudioInfo {
    AudioInfo {
        codec: text(stream, "codec_name").unwrap_or_default(),
        profile: text(stream, "profile"),
        rate_hz: number(stream, "sample_rate").map_or(0, whole),
        channels: number(stream, "channels").map_or(0, whole),
    }
}

/// Matroska and MPEG-TS state no rate per track: then it is what the whole file has beside sound.
fn video_bits_per_s(stream: &Value, format: &Value, audio: Option<&Value>) -> Option<f64> {
    number(stream, "bit_rate").or_else(|| {
        let sound = audio.and_then(|audio| number(audio, "bit_rate"));
        let rest = number(format, "bit_rate")? - sound.unwrap_or(0.0);
        (rest > 0.0).then_some(rest)
    })
}

/// Within half a percent: scalers that keep an odd aspect leave 1280:1281 behind, which nobody sees.
fn has_square_pixels(stream: &Value) -> bool {
    match ratio(stream, "sample_aspect_ratio", ':') {
        Some(aspect) => (aspect - 1.0).abs() <= 0.005,
        None => true,
    }
}

/// Clockwise, 0–359. The display matrix counts the other way round; the older `rotate` tag does not.
fn rotation(stream: &Value) -> i32 {
    let matrix = stream["side_data_list"]
        .as_array()
        .and_then(|list| list.iter().find_map(|data| number(data, "rotation")));
    let clockwise = match matrix {
        Some(counter_clockwise) => -counter_clockwise,
        None => number(&stream["tags"], "rotate").unwrap_or(0.0),
    };
    (clockwise.round() as i32).rem_euclid(360)
}

fn length(of: &Value) -> Option<f64> {
    number(of, "duration").filter(|seconds| *seconds > 0.0)
}

fn rate(stream: &Value, name: &str) -> f64 {
    ratio(stream, name, '/').unwrap_or(0.0)
}

/// `a/b`; `None` for `0/0`, `0:1`, `N/A` and the like.
fn ratio(of: &Value, name: &str, separator: char) -> Option<f64> {
    let text = text(of, name)?;
    let (above, below) = text.split_once(separator)?;
    let value = above.parse::<f64>().ok()? / below.parse::<f64>().ok()?;
    (value.is_finite() && value > 0.0).then_some(value)
}

fn text(of: &Value, name: &str) -> Option<String> {
    of[name].as_str().map(str::to_owned)
}

fn number(of: &Value, name: &str) -> Option<f64> {
    let number = match &of[name] {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite())
}

/// Saturates: a file may claim anything.
fn whole(number: f64) -> u32 {
    number.round() as u32
}
