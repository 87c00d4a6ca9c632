//! The command line that turns one file into FLV on standard output.
//!
//! The file is reached through the worker's own loopback address, which redirects to a signed one;
//! FFmpeg may open no other kind of address, no local file and no container that names others
//! (playlists): what is in a bucket must not decide what is opened.

use programme::fit::FORMAT_WHITELIST;
use programme::{Fit, MediaInfo, StreamFormat};

use super::encode::{self, Reorder, strings};

/// Colour behind the sound of a file without picture.
const STILL_COLOUR: &str = "0x12161c";

/// Positions below this are the beginning.
const MIN_SEEK_S: f64 = 0.05;

/// What is to be read, and what it should become.
#[derive(Debug, Clone, Copy)]
pub struct FileInput<'a> {
    /// Loopback address of the media server.
    pub url: &'a str,
    /// Begin here; a copied picture begins at the keyframe before.
    pub start_s: f64,
    /// As probed.
    pub info: &'a MediaInfo,
    /// As decided for `format`.
    pub fit: &'a Fit,
    /// The stream's.
    pub format: StreamFormat,
}

/// What becomes of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Track {
    Absent,
    Copy,
    Transcode,
}

/// Options before `-i` for anything read over HTTP, `formats` being the containers allowed.
pub(super) fn http_input(formats: &str) -> Vec<String> {
    let mut args = strings(["-format_whitelist", formats]);
    args.extend(http_reading());
    args
}

/// How bytes are read over HTTP. A connection that is cut or refused is made again for two seconds;
/// longer is the director's matter. All of these exist in FFmpeg 5.1 to 9.0.
pub(super) fn http_reading() -> Vec<String> {
    strings([
        "-protocol_whitelist",
        "http,https,tcp,tls",
        "-rw_timeout",
        "5000000",
        "-reconnect",
        "1",
        "-reconnect_on_network_error",
        "1",
        "-reconnect_on_http_error",
        "5xx,429",
        "-reconnect_delay_max",
        "2",
    ])
}

/// Options that stand first in every FFmpeg run whose lines are read.
pub(super) fn quiet() -> Vec<String> {
    strings([
        "-nostdin",
        "-hide_banner",
        "-nostats",
        "-loglevel",
        "level+warning",
    ])
}

// === impl FileInput ===

impl FileInput<'_> {
    /// Arguments for FFmpeg.
    pub fn args(&self) -> Vec<String> {
        let (video, audio) = self.tracks();
        let mut args = quiet();
        args.extend(http_input(FORMAT_WHITELIST));
        if video == Track::Transcode {
            args.extend(strings(["-threads", encode::THREADS]));
        }
        if self.start_s > MIN_SEEK_S {
            // A copied picture begins at the keyframe before, so the sound must begin there too.
            if video == Track::Copy {
                args.push("-noaccurate_seek".to_owned());
            }
            args.extend(["-ss".to_owned(), format!("{:.3}", self.start_s)]);
        }
        args.extend(["-i".to_owned(), self.url.to_owned()]);
        self.video_args(&mut args, video);
        self.audio_args(&mut args, audio);
        args.extend(strings([
            "-sn",
            "-dn",
            "-map_metadata",
            "-1",
            "-map_chapters",
            "-1",
        ]));
        args.extend(encode::flv_to_stdout());
        args
    }

    /// Whether anything is encoded, which costs a core's attention for a while.
    pub fn encodes(&self) -> bool {
        let (video, audio) = self.tracks();
        video != Track::Copy || audio == Track::Transcode
    }

    fn tracks(&self) -> (Track, Track) {
        let (video_reasons, audio_reasons) = match self.fit {
            Fit::Copy | Fit::Unplayable { .. } => (0, 0),
            Fit::Transcode { video, audio } => (video.len(), audio.len()),
        };
        let track = |present: bool, reasons: usize| match (present, reasons) {
            (false, _) => Track::Absent,
            (true, 0) => Track::Copy,
            (true, _) => Track::Transcode,
        };
        let video = track(self.info.video.is_some(), video_reasons);
        let audio = track(self.info.audio.is_some(), audio_reasons);
        // Within a file a picture that is made begins at the very second, but a copied sound at the
        // keyframe before; FFmpeg drops made pictures from before the second in any case.
        match (video, audio, self.start_s > MIN_SEEK_S) {
            (Track::Transcode, Track::Copy, true) => (video, Track::Transcode),
            _ => (video, audio),
        }
    }

    fn video_args(&self, args: &mut Vec<String>, video: Track) {
        match video {
            // `V`: not the cover picture of a music file.
            Track::Copy => args.extend(strings(["-map", "0:V:0", "-c:v", "copy"])),
            Track::Transcode => {
                args.extend(strings(["-map", "0:V:0", "-vf"]));
                args.push(self.picture_filter());
                args.extend(encode::video(self.format, Reorder::Two));
            }
            Track::Absent => {
                args.extend(strings(["-f", "lavfi", "-i"]));
                args.push(self.still());
                args.extend(strings(["-map", "1:v:0", "-shortest"]));
                args.extend(encode::video(self.format, Reorder::None));
                args.extend(strings(["-tune", "stillimage"]));
            }
        }
    }

    fn audio_args(&self, args: &mut Vec<String>, audio: Track) {
        match audio {
            Track::Absent => args.push("-an".to_owned()),
            Track::Copy => args.extend(strings(["-map", "0:a:0", "-c:a", "copy"])),
            Track::Transcode => {
                // Holes and overlaps of the file are filled and trimmed, never shifted along.
                args.extend(strings(["-map", "0:a:0", "-af", "aresample=async=1"]));
                args.extend(encode::audio(self.format));
            }
        }
    }

    fn picture_filter(&self) -> String {
        let interlaced = self.info.video.as_ref().is_some_and(|v| v.interlaced);
        let deinterlace = if interlaced {
            "bwdif=mode=send_frame,"
        } else {
            ""
        };
        format!("{deinterlace}{}", encode::fit_picture(self.format))
    }

    /// The picture of a file that has none, as long as its sound.
    fn still(&self) -> String {
        let StreamFormat {
            width, height, fps, ..
        } = self.format;
        let length = match self.info.duration_s {
            Some(duration_s) => format!(":d={:.3}", (duration_s - self.start_s).max(0.1)),
            None => String::new(),
        };
        format!("color=c={STILL_COLOUR}:s={width}x{height}:r={fps}{length}")
    }
}

#[cfg(test)]
mod tests {
    use programme::{AudioInfo, TranscodeReason};

    use super::*;

    const FORMAT: StreamFormat = StreamFormat {
        width: 1280,
        height: 720,
        fps: 30,
        video_kbps: 3_000,
        audio_kbps: 128,
    };

    fn info(duration_s: Option<f64>) -> MediaInfo {
        MediaInfo {
            container: "mp3".to_owned(),
            duration_s,
            video: None,
            audio: Some(AudioInfo {
                codec: "mp3".to_owned(),
                profile: None,
                rate_hz: 48_000,
                channels: 2,
            }),
        }
    }

    fn args(info: &MediaInfo, start_s: f64) -> String {
        let codec = TranscodeReason {
            what: "codec".to_owned(),
            has: "mp3".to_owned(),
            needs: "aac".to_owned(),
        };
        let fit = Fit::Transcode {
            video: Vec::new(),
            audio: vec![codec],
        };
        let input = FileInput {
            url: "http://127.0.0.1:1/m/0/a.mp3",
            start_s,
            info,
            fit: &fit,
            format: FORMAT,
        };
        assert!(input.encodes());
        input.args().join(" ")
    }

    #[test]
    fn what_may_be_opened_is_bounded_before_the_file_is_named() {
        let args = args(&info(None), 0.0);
        let named = args.find("-i http").unwrap();
        let formats = args.find("-format_whitelist mov,").unwrap();
        let protocols = args
            .find("-protocol_whitelist http,https,tcp,tls ")
            .unwrap();
        assert!(formats < named && protocols < named);
        assert!(args.ends_with("-f flv pipe:1"));
    }

    #[test]
    fn the_beginning_is_not_sought() {
        assert!(!args(&info(None), 0.0).contains("-ss"));
        assert!(args(&info(None), 12.5).contains("-ss 12.500 -i"));
    }

    #[test]
    fn a_still_is_as_long_as_the_sound_that_is_left() {
        assert!(args(&info(Some(60.0)), 12.5).contains("r=30:d=47.500"));
        assert!(!args(&info(None), 12.5).contains(":d="));
    }
}
