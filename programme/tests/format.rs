//! The format chosen for `"auto"`.

use programme::format::auto;
use programme::{Fit, FormatChoice, MediaInfo, StreamFormat, VideoInfo, fit};

fn file(width: u32, height: u32, fps: f64, seconds: f64) -> MediaInfo {
    MediaInfo {
        container: "matroska,webm".into(),
        duration_s: Some(seconds),
        video: Some(VideoInfo {
            codec: "h264".into(),
            profile: Some("Main".into()),
            width,
            height,
            pix_fmt: Some("yuv420p".into()),
            fps,
            nominal_fps: fps,
            square_pixels: true,
            rotation_deg: 0,
            interlaced: false,
            kbps: None,
        }),
        audio: None,
    }
}

fn with(mut info: MediaInfo, change: impl FnOnce(&mut VideoInfo)) -> MediaInfo {
    change(info.video.as_mut().expect("every file here has a picture"));
    info
}

fn shape(infos: &[MediaInfo]) -> (u32, u32, u32) {
    let format = auto(infos.iter());
    (format.width, format.height, format.fps)
}

#[test]
fn nothing_to_go_by_is_the_default() {
    assert_eq!(auto([].into_iter()), StreamFormat::default());
    let mut sound = file(0, 0, 0.0, 10.0);
    sound.video = None;
    assert_eq!(auto([&sound].into_iter()), StreamFormat::default());
}

#[test]
fn a_uniform_bucket_is_never_transcoded() {
    for (width, height, fps, kbps) in [
        (1920, 1080, 60.0, 12_000),
        (1920, 1080, 25.0, 8_000),
        (1280, 720, 30_000.0 / 1001.0, 2_500),
        (854, 480, 24_000.0 / 1001.0, 1_200),
        (1080, 1920, 30.0, 6_000),
    ] {
        let info = with(file(width, height, fps, 60.0), |video| {
            video.kbps = Some(kbps)
        });
        let format = auto([&info, &info].into_iter());
        assert_eq!(fit(&info, &format), Fit::Copy, "{format:?}");
    }
}

#[test]
fn the_majority_wins_then_the_longer_then_the_larger() {
    let (hd, sd) = (file(1280, 720, 30.0, 10.0), file(640, 360, 25.0, 10.0));
    assert_eq!(shape(&[hd.clone(), sd.clone(), sd.clone()]), (640, 360, 25));
    assert_eq!(shape(&[sd.clone(), hd.clone()]), (1280, 720, 30));
    assert_eq!(
        shape(&[hd.clone(), file(640, 360, 25.0, 3600.0)]),
        (640, 360, 25)
    );
}

#[test]
fn what_must_be_transcoded_anyway_has_no_say_unless_there_is_nothing_else() {
    let hevc = with(file(1920, 1080, 60.0, 100.0), |video| {
        video.codec = "hevc".into()
    });
    let h264 = file(1280, 720, 30.0, 1.0);
    assert_eq!(shape(&[hevc.clone(), hevc.clone(), h264]), (1280, 720, 30));
    assert_eq!(shape(&[hevc]), (1920, 1080, 60));
    let phone = with(file(1920, 1080, 29.8, 9.0), |video| video.rotation_deg = 90);
    assert_eq!(shape(&[phone]), (1080, 1920, 30));
}

#[test]
fn nothing_above_1080p60_and_nothing_odd_is_chosen() {
    assert_eq!(shape(&[file(3840, 2160, 120.0, 1.0)]), (1920, 1080, 60));
    assert_eq!(shape(&[file(3840, 1600, 24.0, 1.0)]), (1920, 800, 24));
    assert_eq!(shape(&[file(2160, 3840, 30.0, 1.0)]), (1080, 1920, 30));
    assert_eq!(shape(&[file(853, 481, 12.5, 1.0)]), (854, 482, 13));
    assert_eq!(shape(&[file(16, 16, 0.2, 1.0)]), (160, 90, 1));
}

#[test]
fn bit_rates_follow_the_shape_and_leave_room_for_copying() {
    let chosen = |info| auto([&info].into_iter()).video_kbps;
    assert_eq!(chosen(file(1280, 720, 30.0, 1.0)), 3000);
    assert_eq!(chosen(file(1280, 720, 50.0, 1.0)), 4500);
    assert_eq!(chosen(file(1920, 1080, 60.0, 1.0)), 6000);
    let rich = |kbps| with(file(1280, 720, 30.0, 1.0), |video| video.kbps = Some(kbps));
    assert_eq!(chosen(rich(10_001)), 5001);
    assert_eq!(chosen(rich(100_000)), 6000, "but not any bit rate");
}

#[test]
fn the_choice_is_read_from_the_configuration() {
    let read = serde_json::from_str::<FormatChoice>;
    assert_eq!(read("\"auto\"").ok(), Some(FormatChoice::Auto));
    let fixed = read(r#"{"height": 1080, "width": 1920}"#).ok();
    let expected = StreamFormat {
        width: 1920,
        height: 1080,
        ..StreamFormat::default()
    };
    assert_eq!(fixed, Some(FormatChoice::Fixed(expected)));
    assert!(read("\"best\"").is_err_and(|error| error.to_string().contains("\"auto\"")));
    assert!(read(r#"{"heigth": 1080}"#).is_err());
    assert!(read("720").is_err());
}
