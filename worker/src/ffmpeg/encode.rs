//! How a picture and a sound are brought into a stream's format.

use programme::StreamFormat;
use programme::format::{AUDIO_CHANNELS, AUDIO_RATE_HZ};

/// Seconds between keyframes, as both YouTube and Twitch recommend.
pub const GOP_S: u32 = 2;

/// Threads of an encoder or decoder: it works ahead in bursts and must leave room for the outputs.
pub const THREADS: &str = "2";

/// Less than what a live feed has in hand, so that its picture goes on without sound; µs.
const LIVE_INTERLEAVE_US: &str = "200000";

/// Reordered pictures between two that are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reorder {
    /// None: decode order is presentation order.
    None,
    /// Two, which all players take.
    Two,
}

/// Output options for H.264 at the format's rate: closed GOPs of [`GOP_S`], nothing above the
/// bit rate for longer than two seconds.
pub fn video(format: StreamFormat, reorder: Reorder) -> Vec<String> {
    video_in_groups(format, reorder, GOP_S)
}

/// The same for what is watched as it happens: nothing is held back, a keyframe each second.
pub fn live_video(format: StreamFormat) -> Vec<String> {
    let mut args = video_in_groups(format, Reorder::None, 1);
    args.extend(strings(["-tune", "zerolatency"]));
    args
}

/// The same for a few pictures that are needed soon: one closed GOP of them.
pub fn video_in_one_group(format: StreamFormat, pictures: usize) -> Vec<String> {
    let mut args = h264(format, Reorder::None, "superfast");
    args.extend(groups(pictures + 1));
    args
}

fn video_in_groups(format: StreamFormat, reorder: Reorder, gop_s: u32) -> Vec<String> {
    let mut args = h264(format, reorder, "veryfast");
    args.extend(groups((format.fps * gop_s) as usize));
    args
}

/// A keyframe every so many pictures, and nowhere else.
fn groups(pictures: usize) -> Vec<String> {
    let gop = pictures.to_string();
    strings(["-g", &gop, "-keyint_min", &gop, "-sc_threshold", "0"])
}

fn h264(format: StreamFormat, reorder: Reorder, preset: &str) -> Vec<String> {
    let rate = format!("{}k", format.video_kbps);
    let buffer = format!("{}k", format.video_kbps * 2);
    let reordered = match reorder {
        Reorder::None => "0",
        Reorder::Two => "2",
    };
    strings([
        "-c:v",
        "libx264",
        "-preset",
        preset,
        "-profile:v",
        "high",
        "-pix_fmt",
        "yuv420p",
        "-threads",
        THREADS,
        "-b:v",
        &rate,
        "-maxrate",
        &rate,
        "-bufsize",
        &buffer,
        "-bf",
        reordered,
    ])
}

/// Output options for AAC-LC in the one shape every stream has.
pub fn audio(format: StreamFormat) -> Vec<String> {
    let kbps = format!("{}k", format.audio_kbps);
    let rate = AUDIO_RATE_HZ.to_string();
    let channels = AUDIO_CHANNELS.to_string();
    strings(["-c:a", "aac", "-b:a", &kbps, "-ar", &rate, "-ac", &channels])
}

/// Filter that fits any picture into the format: letterboxed, square pixels, constant rate.
///
/// `dar` is the display ratio, so pixels that are not square are squared by the same scaling.
pub fn fit_picture(format: StreamFormat) -> String {
    let StreamFormat {
        width, height, fps, ..
    } = format;
    format!(
        "fps={fps},\
         scale=w='if(gt(dar,{width}/{height}),{width},max(2,trunc({height}*dar/2)*2))'\
         :h='if(gt(dar,{width}/{height}),max(2,trunc({width}/dar/2)*2),{height})',\
         setsar=1,pad={width}:{height}:(ow-iw)/2:(oh-ih)/2"
    )
}

/// FLV with nothing in it that a reader of packets would have to skip, written in large pieces.
pub fn flv_to_stdout() -> Vec<String> {
    flv("0")
}

/// The same, each packet written at once, and none held back for longer than this while the other
/// track is silent: by default FFmpeg waits ten seconds for sound that has stopped.
pub fn live_flv_to_stdout() -> Vec<String> {
    let mut args = strings(["-max_interleave_delta", LIVE_INTERLEAVE_US]);
    args.extend(flv("1"));
    args
}

fn flv(flush_packets: &str) -> Vec<String> {
    strings([
        "-flush_packets",
        flush_packets,
        "-flvflags",
        "+no_duration_filesize+no_metadata+no_sequence_end",
        "-f",
        "flv",
        "pipe:1",
    ])
}

/// Owned texts of `parts`.
pub(super) fn strings<const N: usize>(parts: [&str; N]) -> Vec<String> {
    parts.map(str::to_owned).to_vec()
}
