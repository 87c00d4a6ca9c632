//! Whether a live feed goes on air as it is, judged from its own headers and first pictures. Pure.

use bytes::Bytes;
use programme::fit::fit;
use programme::{AudioInfo, Fit, MediaInfo, StreamFormat, VideoInfo};

use crate::flv::{AudioConfig, Packet, VideoConfig};

/// Media looked at for its rate, ms.
const LOOK_MS: i64 = 300;
/// Sound that has not begun by then is not waited for, and a rate too high is believed, ms.
const DOUBT_MS: i64 = 1_000;
/// A feed's own clock counts milliseconds: its rate is known within so much.
const RATE_TOLERANCE: f64 = 1.05;

/// What was seen of a feed so far.
#[derive(Debug, Default)]
pub(super) struct Sample {
    video: Option<Bytes>,
    audio: Option<Bytes>,
    /// When its pictures are decoded.
    times_ms: Vec<i64>,
    reordered: bool,
}

/// What it is, and how it reaches the air.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    /// `h264 1280x720 30 fps, aac 48000 Hz 2 ch`.
    pub(super) media: String,
    pub(super) fit: Fit,
    pub(super) has_sound: bool,
}

// === impl Sample ===

impl Sample {
    pub(super) fn note(&mut self, packet: &Packet) {
        match packet {
            Packet::VideoHeader(header) => self.video = Some(header.clone()),
            Packet::AudioHeader(header) => self.audio = Some(header.clone()),
            Packet::Video(video) => {
                self.times_ms.push(video.dts_ms);
                self.reordered |= video.pts_ms != video.dts_ms;
            }
            Packet::Audio(_) => {}
        }
    }

    /// Whether this header is not the one in force.
    pub(super) fn is_news(&self, header: &Packet) -> bool {
        match header {
            Packet::VideoHeader(header) => self.video.as_ref() != Some(header),
            Packet::AudioHeader(header) => self.audio.as_ref() != Some(header),
            Packet::Video(_) | Packet::Audio(_) => false,
        }
    }

    /// Whether a feed that is copied can be copied with this header too, which is in force then.
    pub(super) fn still_fits(&mut self, header: &Packet, format: &StreamFormat) -> bool {
        if !self.is_news(header) {
            return true;
        }
        self.note(header);
        let Some(video) = &self.video else {
            return false;
        };
        judge(video, self.audio.as_ref(), 0.0, format).fit == Fit::Copy
    }

    /// Only the headers are known any more.
    pub(super) fn begin_again(&mut self) {
        self.times_ms.clear();
        self.reordered = false;
    }

    /// Those in force.
    pub(super) fn headers(&self) -> impl Iterator<Item = Packet> {
        let video = self.video.clone().map(Packet::VideoHeader);
        let audio = self.audio.clone().map(Packet::AudioHeader);
        video.into_iter().chain(audio)
    }

    /// Pictures that were seen.
    pub(super) fn pictures(&self) -> usize {
        self.times_ms.len()
    }

    /// Whether its pictures are shown in another order than they come in.
    pub(super) fn is_reordered(&self) -> bool {
        self.reordered
    }

    /// The judgement, once enough was seen.
    pub(super) fn verdict(&self, format: &StreamFormat) -> Option<Verdict> {
        let seen_ms = self.times_ms.last()? - self.times_ms.first()?;
        let fps = rate(&self.times_ms);
        let certain = self.audio.is_some() && is_slow_enough(fps, format);
        if seen_ms < if certain { LOOK_MS } else { DOUBT_MS } {
            return None;
        }
        Some(judge(
            self.video.as_ref()?,
            self.audio.as_ref(),
            fps,
            format,
        ))
    }
}

/// Pictures a second: the smaller of two measures, each of which some feeds mislead upwards.
fn rate(times_ms: &[i64]) -> f64 {
    middle_rate(times_ms).min(whole_rate(times_ms))
}

/// By all of them: the steps of a muxer that rounds to frames of sound have no middle.
fn whole_rate(times_ms: &[i64]) -> f64 {
    let ends = times_ms.iter().min().zip(times_ms.iter().max());
    let span_ms = ends.map_or(0, |(first, last)| last - first);
    match span_ms {
        1.. => (times_ms.len() - 1) as f64 * 1_000.0 / span_ms as f64,
        _ => f64::INFINITY,
    }
}

/// By the middle half of the steps between them: the first pictures of a feed that sends no decode
/// times, as RTSP does, have them guessed, and badly.
fn middle_rate(times_ms: &[i64]) -> f64 {
    let mut steps: Vec<i64> = times_ms.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_unstable();
    let cut = steps.len() / 4;
    let middle = &steps[cut..steps.len() - cut];
    let sum_ms: i64 = middle.iter().sum();
    match sum_ms {
        1.. => middle.len() as f64 * 1_000.0 / sum_ms as f64,
        _ => f64::INFINITY,
    }
}

fn is_slow_enough(fps: f64, format: &StreamFormat) -> bool {
    fps <= f64::from(format.fps) * RATE_TOLERANCE
}

fn judge(video: &Bytes, audio: Option<&Bytes>, seen_fps: f64, format: &StreamFormat) -> Verdict {
    // A slower feed is shown as it is; what cannot be told apart is the stream's own rate.
    let fps = if is_slow_enough(seen_fps, format) {
        f64::from(format.fps)
    } else {
        seen_fps
    };
    let picture = VideoConfig::parse(video).ok();
    let sound = audio.and_then(|header| AudioConfig::parse(header).ok());
    let info = MediaInfo {
        container: "flv".to_owned(),
        duration_s: None,
        video: Some(video_info(picture, fps)),
        audio: audio.map(|_| audio_info(sound)),
    };
    let media = [
        picture.map_or("h264".to_owned(), |picture| {
            let VideoConfig { width, height, .. } = picture;
            format!("h264 {width}x{height} {seen_fps:.0} fps")
        }),
        match (audio, sound) {
            (None, _) => "no sound".to_owned(),
            (Some(_), None) => "aac".to_owned(),
            (
                Some(_),
                Some(AudioConfig {
                    rate_hz, channels, ..
                }),
            ) => {
                format!("aac {rate_hz} Hz {channels} ch")
            }
        },
    ];
    Verdict {
        media: media.join(", "),
        fit: fit(&info, format),
        has_sound: audio.is_some(),
    }
}

/// A header that cannot be read is left to a decoder that may know better.
fn video_info(picture: Option<VideoConfig>, fps: f64) -> VideoInfo {
    let profile = picture.and_then(|picture| match picture.profile {
        66 => Some("Baseline"),
        77 => Some("Main"),
        100 => Some("High"),
        110 => Some("High 10"),
        122 => Some("High 4:2:2"),
        244 => Some("High 4:4:4 Predictive"),
        _ => None,
    });
    VideoInfo {
        codec: "h264".to_owned(),
        profile: profile.map(str::to_owned),
        width: picture.map_or(2, |picture| picture.width),
        height: picture.map_or(2, |picture| picture.height),
        // Those of the profiles above that are copied have no other.
        pix_fmt: Some("yuv420p".to_owned()),
        fps,
        nominal_fps: fps,
        square_pixels: true,
        rotation_deg: 0,
        interlaced: picture.is_some_and(|picture| !picture.progressive),
        kbps: None,
    }
}

fn audio_info(sound: Option<AudioConfig>) -> AudioInfo {
    AudioInfo {
        codec: "aac".to_owned(),
        profile: sound
            .filter(|sound| sound.object_type == 2)
            .map(|_| "LC".to_owned()),
        rate_hz: sound.map_or(0, |sound| sound.rate_hz),
        channels: sound.map_or(0, |sound| u32::from(sound.channels)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flv::VideoPacket;

    /// High, level 3.1, 1280x720, progressive, as x264 writes it.
    const SPS_720P: &[u8] = &[
        1, 100, 0, 31, 0xff, 0xe1, 0, 27, 0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05,
        0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83,
        0x19, 0x60, 1, 0, 0,
    ];
    /// AAC-LC, 48 kHz, stereo; and 44.1 kHz.
    const AAC_48: &[u8] = &[0x11, 0x90];
    const AAC_44: &[u8] = &[0x12, 0x10];

    fn sample(sps: &'static [u8], aac: Option<&'static [u8]>, fps: i64, seen_ms: i64) -> Sample {
        let mut sample = Sample::default();
        sample.note(&Packet::VideoHeader(Bytes::from_static(sps)));
        if let Some(aac) = aac {
            sample.note(&Packet::AudioHeader(Bytes::from_static(aac)));
        }
        let mut picture = 0;
        while picture * 1_000 / fps <= seen_ms {
            let ms = picture * 1_000 / fps;
            sample.note(&Packet::Video(VideoPacket {
                dts_ms: ms,
                pts_ms: ms,
                keyframe: picture == 0,
                payload: Bytes::new(),
            }));
            picture += 1;
        }
        sample
    }

    fn verdict(sample: &Sample) -> Option<Verdict> {
        sample.verdict(&StreamFormat::default())
    }

    #[test]
    fn what_has_the_streams_shape_is_copied() {
        for fps in [30, 25] {
            let found = verdict(&sample(SPS_720P, Some(AAC_48), fps, 400)).unwrap();
            assert_eq!(found.fit, Fit::Copy, "{}", found.media);
            let media = format!("h264 1280x720 {fps} fps, aac 48000 Hz 2 ch");
            assert_eq!(found.media, media);
        }
    }

    #[test]
    fn another_rate_or_sound_is_transcoded_and_says_why() {
        assert!(verdict(&sample(SPS_720P, Some(AAC_48), 60, 400)).is_none());
        let fast = verdict(&sample(SPS_720P, Some(AAC_48), 60, 1_100)).unwrap();
        assert!(!fast.fit.copies_video() && fast.fit.to_string().contains("frame rate"));
        let sound = verdict(&sample(SPS_720P, Some(AAC_44), 30, 400)).unwrap();
        assert!(sound.fit.copies_video() && !sound.fit.copies_audio());
        let small = StreamFormat {
            width: 640,
            height: 360,
            ..StreamFormat::default()
        };
        let small = sample(SPS_720P, Some(AAC_48), 30, 400).verdict(&small);
        assert!(!small.unwrap().fit.copies_video());
    }

    #[test]
    fn guessed_times_of_the_first_pictures_do_not_count() {
        // As FFmpeg 5.1 made them of an RTSP feed with B-frames; later ones are right.
        for guessed in [
            [0, 33, 53, 87, 100, 120, 153, 187, 220, 253, 287, 320],
            [0, 0, 67, 100, 134, 167, 200, 234, 267, 300, 334, 367],
        ] {
            let right = (1..20).map(|picture| guessed[11] + picture * 100 / 3);
            let times: Vec<i64> = guessed.into_iter().chain(right).collect();
            assert!((29.0..31.0).contains(&rate(&times)), "{}", rate(&times));
        }
        assert!((58.0..62.0).contains(&rate(&[0, 17, 33, 50, 67, 83, 100, 117])));
        assert!(rate(&[7, 7]).is_infinite(), "it is not divided by nothing");
        // As GStreamer's flvmux writes 30 a second beside sound.
        let rounded = [
            0, 21, 42, 85, 128, 149, 192, 213, 256, 277, 320, 341, 384, 426, 448, 490, 512, 554,
            576, 618, 661, 682, 704, 746, 789, 810, 853, 874, 917, 960, 981,
        ];
        assert!((29.0..31.5).contains(&rate(&rounded)), "{}", rate(&rounded));
    }

    #[test]
    fn sound_is_waited_for_a_second() {
        assert!(verdict(&sample(SPS_720P, Some(AAC_48), 30, 200)).is_none());
        assert!(verdict(&sample(SPS_720P, None, 30, 900)).is_none());
        let found = verdict(&sample(SPS_720P, None, 30, 1_100)).unwrap();
        assert_eq!(found.fit, Fit::Copy);
        assert!(!found.has_sound && found.media.ends_with("no sound"));
    }

    #[test]
    fn a_header_nobody_can_read_is_for_a_decoder() {
        let found = verdict(&sample(&[1, 2, 3], Some(AAC_48), 30, 400)).unwrap();
        assert!(!found.fit.copies_video());
    }
}
