//! The command lines that render the slate: its picture, and the silence that goes with it.

mod letters;

use programme::StreamFormat;
use programme::fit::{FORMAT_WHITELIST, IMAGE_FORMATS};
use programme::format::AUDIO_RATE_HZ;

use super::encode::{self, Reorder, strings};
use super::input::{http_input, quiet};

/// Colours of the generated card.
const CARD_GROUND: &str = "0x12161c";
const CARD_MARK: &str = "0x3d4756";
const CARD_WORDS: &str = "0xc8d2de";

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Picture<'a> {
    /// A sign that needs no words: two bars, "paused".
    Card,
    /// "Going live soon".
    Soon,
    /// An image, by its loopback address.
    Image {
        /// Of the media server.
        url: &'a str,
    },
    /// The beginning of a clip, by its loopback address.
    Clip {
        /// Of the media server.
        url: &'a str,
        /// Take its sound too.
        sound: bool,
    },
}

/// Renders exactly `frames` pictures as FLV on standard output.
pub fn picture(what: Picture<'_>, format: StreamFormat, frames: u64) -> Vec<String> {
    let mut args = quiet();
    match what {
        Picture::Card => args.extend(["-f".into(), "lavfi".into(), "-i".into(), card(format)]),
        Picture::Soon => args.extend(["-f".into(), "lavfi".into(), "-i".into(), soon(format)]),
        Picture::Image { url } => {
            args.extend(http_input(IMAGE_FORMATS));
            // By a plain name FFmpeg would take `.jpg` for a numbered series of files.
            args.extend(["-i".into(), format!("{url}?image"), "-vf".into()]);
            let fitted = encode::fit_picture(format);
            args.push(format!("{fitted},loop=loop=-1:size=1:start=0,setpts=N"));
            args.extend(strings(["-tune", "stillimage"]));
        }
        Picture::Clip { url, .. } => {
            args.extend(http_input(FORMAT_WHITELIST));
            args.extend(["-i".into(), url.into(), "-map".into(), "0:V:0".into()]);
            args.extend(["-vf".into(), encode::fit_picture(format)]);
        }
    }
    args.extend(encode::video(format, Reorder::None));
    args.extend(["-frames:v".into(), frames.to_string()]);
    if let Picture::Clip { sound: true, .. } = what {
        let seconds = frames as f64 / f64::from(format.fps);
        args.extend(strings([
            "-map",
            "0:a:0",
            "-af",
            "aresample=async=1:first_pts=0,apad",
        ]));
        args.extend(encode::audio(format));
        args.extend(["-t".into(), format!("{:.3}", seconds + 0.1)]);
    } else {
        args.push("-an".into());
    }
    args.extend(encode::flv_to_stdout());
    args
}

/// Renders half a second of silence as FLV on standard output.
pub fn silence(format: StreamFormat) -> Vec<String> {
    let mut args = quiet();
    args.extend(strings(["-f", "lavfi", "-i"]));
    args.push(format!("anullsrc=r={AUDIO_RATE_HZ}:cl=stereo"));
    args.extend(strings(["-t", "0.5"]));
    args.extend(encode::audio(format));
    args.extend(encode::flv_to_stdout());
    args
}

fn card(format: StreamFormat) -> String {
    let StreamFormat { width, height, .. } = format;
    let (bar_w, bar_h) = (height / 18, height / 5);
    let (left, right) = (width / 2 - bar_w * 3 / 2, width / 2 + bar_w / 2);
    let top = (height - bar_h) / 2;
    let bar = |x: u32| format!("drawbox=x={x}:y={top}:w={bar_w}:h={bar_h}:c={CARD_MARK}:t=fill");
    format!("{},{},{}", ground(format), bar(left), bar(right))
}

fn soon(format: StreamFormat) -> String {
    let size = (format.width, format.height);
    let words = letters::write("GOING LIVE SOON", CARD_WORDS, size).join(",");
    // Drawn once.
    let repeated = format!("loop=loop=-1:size=1:start=0,setpts=N/{}/TB", format.fps);
    format!("{},{words},{repeated}", ground(format))
}

fn ground(format: StreamFormat) -> String {
    let StreamFormat {
        width, height, fps, ..
    } = format;
    format!("color=c={CARD_GROUND}:s={width}x{height}:r={fps}")
}
