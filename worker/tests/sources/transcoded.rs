//! Files that do not fit: each comes out in the stream's one shape.

use programme::{Fit, TranscodeReason};

use crate::fixtures::{AAC, H264, PICTURE, SOUND, made};
use crate::rig::{Played, Rig, play};

/// Reasons why the picture and the sound were transcoded.
#[track_caller]
fn reasons(played: &Played) -> (Vec<&str>, Vec<&str>) {
    let Some(Fit::Transcode { video, audio }) = &played.fit else {
        panic!("not transcoded: {:?}", played.fit);
    };
    fn what(reasons: &[TranscodeReason]) -> Vec<&str> {
        reasons.iter().map(|reason| reason.what.as_str()).collect()
    }
    (what(video), what(audio))
}

#[tokio::test]
async fn a_portrait_picture_is_letterboxed() {
    let recipe = format!("-f lavfi -i testsrc2=s=180x320:r=30 {SOUND} -t 2 {H264} {AAC}");
    let played = play("portrait.mp4", &made("portrait.mp4", &recipe).await).await;
    assert_eq!(reasons(&played), (vec!["size"], vec![]));
    played.assert_whole(60, 2.0);
    played.assert_steady();
    assert_eq!(played.keyframes(), [0], "one keyframe every two seconds");
}

#[tokio::test]
async fn ten_bits_become_eight() {
    let recipe =
        format!("{PICTURE} {SOUND} -t 2 -c:v libx264 -preset ultrafast -pix_fmt yuv420p10le {AAC}");
    let played = play("ten.mp4", &made("ten.mp4", &recipe).await).await;
    assert!(reasons(&played).0.contains(&"pixel_format"));
    played.assert_whole(60, 2.0);
}

#[tokio::test]
async fn hevc_becomes_h264() {
    let recipe = format!(
        "{PICTURE} {SOUND} -t 2 -c:v libx265 -preset ultrafast -x265-params log-level=error {AAC}"
    );
    let played = play("hevc.mp4", &made("hevc.mp4", &recipe).await).await;
    assert_eq!(reasons(&played), (vec!["codec"], vec![]));
    played.assert_whole(60, 2.0);
}

#[tokio::test]
async fn a_variable_rate_becomes_constant() {
    let recipe = format!(
        "-f lavfi -i testsrc2=s=320x180:r=30,select='not(mod(n\\,7))+mod(n\\,2)' {SOUND} -t 3 \
         -vsync vfr {H264} {AAC}"
    );
    let played = play("vfr.mp4", &made("vfr.mp4", &recipe).await).await;
    assert!(
        reasons(&played)
            .0
            .iter()
            .any(|what| what.starts_with("frame_"))
    );
    played.assert_whole(90, 3.0);
    played.assert_steady();
}

#[tokio::test]
async fn another_rate_becomes_the_streams() {
    let recipe = format!("-f lavfi -i testsrc2=s=320x180:r=25 {SOUND} -t 2 {H264} {AAC}");
    let played = play("25.mp4", &made("25.mp4", &recipe).await).await;
    assert_eq!(reasons(&played), (vec!["frame_rate"], vec![]));
    played.assert_whole(60, 2.0);
    played.assert_steady();
}

#[tokio::test]
async fn six_channels_become_two_beside_a_copied_picture() {
    let recipe = format!("{PICTURE} {SOUND} -t 3 {H264} -c:a aac -ac 6");
    let played = play("surround.mp4", &made("surround.mp4", &recipe).await).await;
    assert_eq!(reasons(&played), (vec![], vec!["channels"]));
    played.assert_whole(90, 3.0);
    assert_eq!(
        played.keyframes(),
        [0, 30, 60],
        "the picture is the file's own"
    );
    assert!(
        played.sound_offset_ms().abs() <= 45,
        "{}",
        played.sound_offset_ms()
    );
}

#[tokio::test]
async fn eight_kilohertz_become_forty_eight() {
    let recipe = format!("{PICTURE} -f lavfi -i sine=r=8000 -t 3 {H264} -c:a pcm_s16le -ac 1");
    let played = play("8k.mov", &made("8k.mov", &recipe).await).await;
    assert_eq!(
        reasons(&played),
        (vec![], vec!["codec", "sample_rate", "channels"])
    );
    played.assert_whole(90, 3.0);
}

#[tokio::test]
async fn sound_alone_gets_a_picture_as_long_as_it() {
    let recipe = "-f lavfi -i sine=r=44100 -t 3";
    let played = play("sound.mp3", &made("sound.mp3", recipe).await).await;
    assert!(reasons(&played).0.contains(&"no_video"));
    played.assert_whole(91, 3.05);
    played.assert_steady();
}

#[tokio::test]
async fn the_cover_of_a_music_file_is_no_film() {
    let recipe = "-f lavfi -i sine=r=48000 -f lavfi -i testsrc2=s=64x64:r=1 -map 0 -map 1 -t 2 \
                  -c:v mjpeg -frames:v 1 -disposition:v attached_pic -c:a aac -ac 2";
    let played = play("cover.m4a", &made("cover.m4a", recipe).await).await;
    assert_eq!(reasons(&played), (vec!["no_video"], vec![]));
    played.assert_whole(60, 2.0);
}

#[tokio::test]
async fn pixels_that_are_not_square_and_fields_are_undone() {
    let recipe = "-f lavfi -i testsrc2=s=360x288:r=50 -f lavfi -i sine=r=48000 -t 2 \
                  -vf tinterlace=4,setsar=16/15 -c:v mpeg2video -flags +ildct+ilme -b:v 800k \
                  -c:a mp2 -ac 2";
    let played = play("dvb.ts", &made("dvb.ts", recipe).await).await;
    assert_eq!(
        reasons(&played),
        (vec!["codec", "size", "frame_rate"], vec!["codec"])
    );
    played.assert_whole(60, 2.0);
    played.assert_steady();
}

#[tokio::test]
async fn a_transcoded_file_resumes_at_the_second() {
    let recipe = format!("-f lavfi -i testsrc2=s=640x360:r=30 {SOUND} -t 4 {H264} {AAC}");
    let rig = Rig::of(&[("large.mp4", &made("large.mp4", &recipe).await)]).await;
    let played = rig.play_from("large.mp4", 2.5).await;
    // Both are encoded, also the sound that fits: so both begin at the very second.
    played.assert_whole(45, 1.5);
    let offset = played.sound_offset_ms();
    assert!(offset.abs() <= 45, "{offset} ms");
}
