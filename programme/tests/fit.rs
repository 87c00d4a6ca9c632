//! Files as `ffprobe` describes them, and how they reach the air.
//!
//! The fixtures are what ffprobe 5.1 wrote about files made for them, file names left out.

#![expect(
    clippy::unwrap_used,
    reason = "a test helper that fails is a test that fails"
)]

use programme::{
    AudioInfo, Fit, MediaInfo, ProbeError, StreamFormat, VideoInfo, fit, parse_ffprobe,
};
use proptest::prelude::*;

const COPYABLE: &[u8] = include_bytes!("fixtures/copyable.json");
const MPEGTS: &[u8] = include_bytes!("fixtures/mpegts.json");
const ROTATED: &[u8] = include_bytes!("fixtures/rotated.json");
const VARIABLE_RATE: &[u8] = include_bytes!("fixtures/variable_rate.json");
const COVER_ART: &[u8] = include_bytes!("fixtures/cover_art.json");
const NTSC: &[u8] = include_bytes!("fixtures/ntsc.json");
const INTERLACED: &[u8] = include_bytes!("fixtures/interlaced.json");

fn read(json: &[u8]) -> MediaInfo {
    parse_ffprobe(json).unwrap()
}

/// 720p30 with room for the fixtures' bit rate.
fn format() -> StreamFormat {
    StreamFormat {
        video_kbps: 4000,
        ..StreamFormat::default()
    }
}

/// A file that is copied into [`format`].
fn fitting() -> MediaInfo {
    MediaInfo {
        container: "mov,mp4,m4a,3gp,3g2,mj2".into(),
        duration_s: Some(60.0),
        video: Some(fitting_video()),
        audio: Some(fitting_audio()),
    }
}

fn fitting_video() -> VideoInfo {
    VideoInfo {
        codec: "h264".into(),
        profile: Some("High".into()),
        width: 1280,
        height: 720,
        pix_fmt: Some("yuv420p".into()),
        fps: 30.0,
        nominal_fps: 30.0,
        square_pixels: true,
        rotation_deg: 0,
        interlaced: false,
        kbps: Some(3000),
    }
}

fn fitting_audio() -> AudioInfo {
    AudioInfo {
        codec: "aac".into(),
        profile: Some("LC".into()),
        rate_hz: 48_000,
        channels: 2,
    }
}

/// What differs, by track: `video size`, `audio codec`, ….
fn differences(info: &MediaInfo, format: &StreamFormat) -> Vec<String> {
    match fit(info, format) {
        Fit::Copy => Vec::new(),
        Fit::Transcode { video, audio } => {
            assert!(
                !(video.is_empty() && audio.is_empty()),
                "nothing to transcode"
            );
            let video = video.iter().map(|reason| format!("video {}", reason.what));
            let audio = audio.iter().map(|reason| format!("audio {}", reason.what));
            video.chain(audio).collect()
        }
        Fit::Unplayable { reason } => vec![format!("unplayable: {reason}")],
    }
}

fn video_differences(change: impl FnOnce(&mut VideoInfo)) -> Vec<String> {
    let mut info = fitting();
    change(info.video.as_mut().unwrap());
    differences(&info, &format())
}

fn audio_differences(change: impl FnOnce(&mut AudioInfo)) -> Vec<String> {
    let mut info = fitting();
    change(info.audio.as_mut().unwrap());
    differences(&info, &format())
}

#[test]
fn a_file_in_the_streams_format_is_copied() {
    let info = read(COPYABLE);
    assert_eq!(info.duration_s, Some(2.0));
    assert_eq!(info.audio, Some(fitting_audio()));
    let video = info.video.as_ref().unwrap();
    assert_eq!((video.width, video.height, video.fps), (1280, 720, 30.0));
    assert_eq!(video.kbps, Some(7401));
    assert_eq!(fit(&info, &format()), Fit::Copy);
}

#[test]
fn a_transport_stream_is_copied_and_its_bit_rate_is_that_of_the_file() {
    let info = read(MPEGTS);
    assert_eq!(info.video.as_ref().unwrap().kbps, Some(7555));
    assert_eq!(fit(&info, &format()), Fit::Copy);
    assert_eq!(
        differences(&info, &StreamFormat::default()),
        ["video bit_rate"]
    );
}

#[test]
fn a_turned_picture_is_transcoded() {
    let info = read(ROTATED);
    // The display matrix says 90° counter-clockwise.
    assert_eq!(info.video.as_ref().unwrap().rotation_deg, 270);
    assert_eq!(differences(&info, &format()), ["video rotation"]);

    let tagged = br#"{"format": {"format_name": "mov,mp4"}, "streams": [{"codec_type": "video",
        "codec_name": "h264", "tags": {"rotate": "90"}}]}"#;
    assert_eq!(read(tagged).video.unwrap().rotation_deg, 90);
}

#[test]
fn a_variable_rate_is_transcoded() {
    let found = differences(&read(VARIABLE_RATE), &format());
    assert_eq!(
        found,
        ["video size", "video frame_rate", "video frame_timing"]
    );
}

#[test]
fn cover_art_is_no_picture() {
    let info = read(COVER_ART);
    assert_eq!(info.video, None);
    let found = differences(&info, &format());
    let expected = [
        "video no_video",
        "audio codec",
        "audio sample_rate",
        "audio channels",
    ];
    assert_eq!(found, expected);
}

#[test]
fn ntsc_rates_fit_the_next_whole_number_and_nothing_else() {
    let mut ntsc = format();
    (ntsc.width, ntsc.height) = (640, 360);
    let info = read(NTSC);
    assert_eq!(info.audio, None);
    assert_eq!(fit(&info, &ntsc), Fit::Copy, "without sound, too");
    for (fps, fits) in [
        (29.97, true),
        (30.05, true),
        (29.9, false),
        (30.1, false),
        (25.0, false),
    ] {
        let found = video_differences(|video| (video.fps, video.nominal_fps) = (fps, fps));
        assert_eq!(found.is_empty(), fits, "{fps}: {found:?}");
    }
}

#[test]
fn interlaced_and_stretched_pictures_are_transcoded() {
    let info = read(INTERLACED);
    let found = differences(&info, &format());
    let expected = [
        "video scan",
        "video pixel_shape",
        "video size",
        "video frame_rate",
    ];
    assert_eq!(found, expected);
}

#[test]
fn each_property_is_a_reason_by_itself() {
    assert!(video_differences(|_| ()).is_empty());
    assert_eq!(
        video_differences(|v| v.codec = "hevc".into()),
        ["video codec"]
    );
    assert_eq!(
        video_differences(|v| v.profile = Some("High 10".into())),
        ["video profile"]
    );
    assert_eq!(video_differences(|v| v.profile = None), ["video profile"]);
    assert_eq!(
        video_differences(|v| v.pix_fmt = Some("yuvj420p".into())),
        ["video pixel_format"]
    );
    assert_eq!(
        video_differences(|v| v.pix_fmt = Some("yuv420p10le".into())),
        ["video pixel_format"]
    );
    assert_eq!(video_differences(|v| v.width = 1278), ["video size"]);
    assert_eq!(
        video_differences(|v| v.rotation_deg = 180),
        ["video rotation"]
    );
    assert_eq!(video_differences(|v| v.interlaced = true), ["video scan"]);
    assert_eq!(
        video_differences(|v| v.square_pixels = false),
        ["video pixel_shape"]
    );
    assert_eq!(
        video_differences(|v| v.fps = 0.0),
        ["video frame_rate", "video frame_timing"]
    );
    assert_eq!(
        video_differences(|v| v.nominal_fps = 60.0),
        ["video frame_timing"]
    );
    assert_eq!(
        video_differences(|v| v.kbps = Some(8001)),
        ["video bit_rate"]
    );
    assert!(video_differences(|v| v.kbps = Some(8000)).is_empty());
    assert!(video_differences(|v| v.kbps = None).is_empty());

    assert_eq!(
        audio_differences(|a| a.codec = "mp3".into()),
        ["audio codec"]
    );
    assert_eq!(
        audio_differences(|a| a.profile = Some("HE-AAC".into())),
        ["audio profile"]
    );
    assert_eq!(
        audio_differences(|a| a.rate_hz = 44_100),
        ["audio sample_rate"]
    );
    assert_eq!(audio_differences(|a| a.channels = 6), ["audio channels"]);

    let mut avi = fitting();
    avi.container = "avi".into();
    assert_eq!(differences(&avi, &format()), ["video container"]);
}

#[test]
fn only_the_track_that_does_not_fit_is_transcoded() {
    let mut info = fitting();
    info.audio.as_mut().unwrap().channels = 6;
    let fit = fit(&info, &format());
    assert!(fit.copies_video());
    assert!(!fit.copies_audio());
    assert_eq!(fit.to_string(), "transcoded: audio channels is 6, needs 2");
}

#[test]
fn what_cannot_be_played_says_why() {
    let unplayable = |change: &dyn Fn(&mut MediaInfo)| {
        let mut info = fitting();
        change(&mut info);
        match fit(&info, &format()) {
            Fit::Unplayable { reason } => reason,
            other => panic!("{other}"),
        }
    };
    for container in ["hls", "concat", "tty", "image2", "png_pipe", "dash", ""] {
        let reason = unplayable(&|info| info.container = container.into());
        assert!(reason.contains(container), "{reason}");
    }
    let reason = unplayable(&|info| (info.video, info.audio) = (None, None));
    assert_eq!(reason, "it has neither picture nor sound");
    let reason = unplayable(&|info| info.video.as_mut().unwrap().width = 0);
    assert!(reason.contains("no size"), "{reason}");
    let reason = unplayable(&|info| info.video.as_mut().unwrap().height = 50_000);
    assert!(reason.contains("1280×50000"), "{reason}");
}

#[test]
fn what_ffprobe_could_not_read_is_told_from_what_is_not_json() {
    assert!(matches!(
        parse_ffprobe(b"{\n\n}\n"),
        Err(ProbeError::NotMedia)
    ));
    assert!(matches!(parse_ffprobe(b"[]"), Err(ProbeError::NotMedia)));
    assert!(matches!(parse_ffprobe(b""), Err(ProbeError::NotJson(_))));
    assert!(matches!(
        parse_ffprobe(b"{\"format\":"),
        Err(ProbeError::NotJson(_))
    ));
}

#[test]
fn lengths_come_from_the_tracks_when_the_container_is_silent() {
    let info = read(
        br#"{"format": {"format_name": "flv", "duration": "N/A"}, "streams": [
            {"codec_type": "audio", "codec_name": "aac", "duration": "3.5"},
            {"codec_type": "video", "codec_name": "h264", "duration": 4}]}"#,
    );
    assert_eq!(info.duration_s, Some(4.0));
    let info = read(br#"{"format": {"format_name": "flv"}}"#);
    assert_eq!(
        (info.duration_s, info.video, info.audio),
        (None, None, None)
    );
}

#[test]
fn the_json_of_a_fit_is_what_the_api_promises() {
    let mut info = fitting();
    info.video.as_mut().unwrap().fps = 25.0;
    info.video.as_mut().unwrap().nominal_fps = 25.0;
    let json = serde_json::to_value(fit(&info, &format())).unwrap();
    let expected = serde_json::json!({"how": "transcode", "audio": [], "video": [
        {"what": "frame_rate", "has": "25", "needs": "30"}]});
    assert_eq!(json, expected);
    assert_eq!(
        serde_json::from_value::<Fit>(json).unwrap(),
        fit(&info, &format())
    );
}

proptest! {
    /// A hostile file can make `ffprobe` write any text and any number into its fields.
    #[test]
    fn no_field_makes_reading_or_judging_panic(
        field in prop::sample::select(vec![
            "width", "height", "avg_frame_rate", "r_frame_rate", "sample_aspect_ratio", "bit_rate",
            "duration", "sample_rate", "channels", "codec_name", "profile", "field_order",
        ]),
        value in prop_oneof![
            any::<f64>().prop_map(|number| serde_json::json!(number)),
            any::<i64>().prop_map(|number| serde_json::json!(number)),
            "\\PC{0,20}".prop_map(|text| serde_json::json!(text)),
            "-?[0-9]{0,12}[/:]-?[0-9]{0,12}".prop_map(|text| serde_json::json!(text)),
            Just(serde_json::json!(null)),
            Just(serde_json::json!([{}])),
        ],
    ) {
        let mut json: serde_json::Value = serde_json::from_slice(COPYABLE).unwrap();
        for stream in json["streams"].as_array_mut().unwrap() {
            stream[field] = value.clone();
        }
        json["streams"][0]["side_data_list"] = serde_json::json!([{"rotation": value}]);
        json["format"][field] = value;
        let info = parse_ffprobe(json.to_string().as_bytes()).unwrap();
        let _ = fit(&info, &format()).to_string();
        let chosen = programme::format::auto([&info].into_iter());
        prop_assert!(chosen.width % 2 == 0 && chosen.height % 2 == 0);
        prop_assert!((160..=1920).contains(&chosen.width));
        prop_assert!((90..=1920).contains(&chosen.height));
        prop_assert!((1..=60).contains(&chosen.fps));
    }
}
