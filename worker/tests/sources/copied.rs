//! Files that fit, in every container: nothing is decoded, nothing is lost.

use std::time::Duration;

use programme::Fit;
use worker::source::SourceEnd;

use crate::fixtures::{AAC, H264, PICTURE, SOUND, fitting, four_seconds, made};
use crate::rig::{Rig, drain, play, ready};

#[tokio::test]
async fn a_fitting_mp4_is_copied_picture_by_picture() {
    let played = play("fitting.mp4", &fitting().await).await;
    assert_eq!(played.fit, Some(Fit::Copy));
    played.assert_whole(90, 3.0);
    played.assert_steady();
    assert_eq!(played.keyframes(), [0, 30, 60]);
    assert!(played.sound_offset_ms().abs() <= 22);
}

#[tokio::test]
async fn an_index_at_the_end_makes_no_difference() {
    let played = play("four.mp4", &four_seconds(false).await).await;
    assert_eq!(played.fit, Some(Fit::Copy));
    played.assert_whole(120, 4.0);
    assert_eq!(played.keyframes(), [0, 30, 60, 90]);
}

#[tokio::test]
async fn transport_stream_matroska_and_flv_come_out_the_same() {
    for name in ["fitting.ts", "fitting.mkv", "fitting.flv", "fitting.mov"] {
        let recipe = format!("{PICTURE} {SOUND} -t 3 {H264} {AAC}");
        let played = play(name, &made(name, &recipe).await).await;
        assert_eq!(played.fit, Some(Fit::Copy), "{name}");
        played.assert_whole(90, 3.0);
        played.assert_steady();
        assert_eq!(played.keyframes(), [0, 30, 60], "{name}");
    }
}

#[tokio::test]
async fn a_wrong_extension_does_not_mislead() {
    let recipe = format!("{PICTURE} {SOUND} -t 3 {H264} {AAC}");
    let matroska = made("fitting.mkv", &recipe).await;
    let played = play("really-matroska.mp4", &matroska).await;
    played.assert_whole(90, 3.0);
    let played = play("really-mp4.ts", &fitting().await).await;
    played.assert_whole(90, 3.0);
}

#[tokio::test]
async fn odd_names_are_only_names() {
    let key = "shows/ö b+c &=%25 (1)#2'.mp4";
    let played = play(key, &fitting().await).await;
    played.assert_whole(90, 3.0);
}

#[tokio::test]
async fn a_file_without_sound_is_copied_and_ready_without_an_audio_header() {
    let recipe = format!("{PICTURE} -t 3 {H264}");
    let rig = Rig::of(&[("mute.mp4", &made("mute.mp4", &recipe).await)]).await;
    let source = rig.open("mute.mp4", 0.0).await;
    ready(source.queue()).await;
    let played = drain(&source).await;
    source.close().await;
    assert_eq!(played.fit, Some(Fit::Copy));
    played.assert_whole(90, 0.0);
}

#[tokio::test]
async fn the_distance_between_picture_and_sound_is_the_files_own() {
    let recipe = format!("{PICTURE} -itsoffset 0.4 {SOUND} -t 3 {H264} {AAC}");
    let played = play("late.mp4", &made("late.mp4", &recipe).await).await;
    assert_eq!(played.fit, Some(Fit::Copy));
    let offset = played.sound_offset_ms();
    assert!((offset - 400).abs() <= 25, "{offset} ms");
}

#[tokio::test]
async fn within_a_file_it_begins_at_the_keyframe_before() {
    let rig = Rig::of(&[("four.mp4", &four_seconds(true).await)]).await;
    let played = rig.play_from("four.mp4", 2.5).await;
    // Sound begins where the file has it beside the keyframe's decode time.
    played.assert_whole(60, 2.08);
    let offset = played.sound_offset_ms();
    assert!((-130..=22).contains(&offset), "{offset} ms");
}

#[tokio::test]
async fn at_the_very_end_of_a_file_nothing_is_left() {
    let rig = Rig::of(&[("four.mp4", &four_seconds(true).await)]).await;
    let played = rig.play_from("four.mp4", 4.0).await;
    assert_eq!(played.end, SourceEnd::Complete);
}

#[tokio::test]
async fn what_is_not_taken_is_not_read() {
    // Noise, so that the file is far larger than queue and pipe together.
    let recipe = "-f lavfi -i nullsrc=s=320x180:r=30,geq=random(1)*255:128:128 -t 6 -c:v libx264 \
                  -preset ultrafast -qp 12 -g 30 -bf 0 -pix_fmt yuv420p";
    let bytes = made("noise.mp4", recipe).await;
    assert!(bytes.len() > 8 << 20, "{} bytes", bytes.len());
    let mut format = crate::rig::FORMAT;
    format.video_kbps = 100_000;
    let rig = Rig::of(&[("noise.mp4", &bytes)]).await;
    let object = rig.listed("noise.mp4").await;
    let source = worker::source::file::open(&rig.context, &object, 0.0, format);
    ready(source.queue()).await;
    // The reader has all the time it wants to go too far.
    let early_end = tokio::time::timeout(Duration::from_secs(1), async {
        while source.queue().end().is_none() {
            source.queue().changed().await;
        }
    });
    assert!(
        early_end.await.is_err(),
        "it was read to its end though nobody took anything"
    );
    let buffered = source.queue().buffered_ms();
    assert!((1..=4_500).contains(&buffered), "{buffered} ms in hand");
    let played = drain(&source).await;
    source.close().await;
    played.assert_whole(180, 0.0);
}
