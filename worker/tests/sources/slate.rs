//! The slate as FFmpeg really renders it.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use storage::model::SlateConfig;
use worker::flv::{AudioConfig, Packet, VideoConfig};
use worker::source::{Slate, SlateSource};

use crate::fixtures::{AAC, H264, PICTURE, SOUND, made};
use crate::rig::{FORMAT, Rig};

fn from(key: &str) -> Option<SlateConfig> {
    Some(SlateConfig {
        key: key.to_owned(),
    })
}

/// Checks a slate and returns the pictures of its loop, counted between keyframes, and whether its
/// sound is silence.
#[track_caller]
fn look(slate: &Arc<Slate>) -> (usize, bool) {
    let video = VideoConfig::parse(slate.video_header()).unwrap();
    assert_eq!((video.width, video.height), (320, 180));
    let audio = AudioConfig::parse(slate.audio_header()).unwrap();
    assert_eq!(
        (audio.object_type, audio.rate_hz, audio.channels),
        (2, 48_000, 2)
    );
    let mut source = SlateSource::new(slate);
    let (mut keyframes, mut pictures, mut silent) = (Vec::new(), 0, true);
    for _ in 0..1_000 {
        match source.pop() {
            Packet::Video(picture) => {
                assert_eq!(picture.dts_ms, picture.pts_ms, "nothing is reordered");
                if picture.keyframe {
                    keyframes.push(pictures);
                }
                pictures += 1;
            }
            Packet::Audio(frame) => silent &= frame.payload == slate.silence_frame(),
            Packet::VideoHeader(_) | Packet::AudioHeader(_) => {}
        }
    }
    (keyframes[1] - keyframes[0], silent)
}

#[tokio::test]
async fn without_a_picture_a_card_is_made() {
    let rig = Rig::of(&[]).await;
    let slate = Slate::render(&rig.context, FORMAT, None).await.unwrap();
    assert_eq!(look(&slate), (60, true));
}

#[tokio::test]
async fn an_image_of_any_shape_and_kind_becomes_two_seconds() {
    for (key, source) in [
        ("slate.png", "testsrc2=s=500x500"),
        ("slate.jpg", "testsrc2=s=101x333"),
        ("slate.webp", "testsrc2=s=64x64"),
    ] {
        let bytes = made(key, &format!("-f lavfi -i {source} -frames:v 1")).await;
        let rig = Rig::of(&[(key, &bytes)]).await;
        let slate = Slate::render(&rig.context, FORMAT, from(key).as_ref())
            .await
            .unwrap();
        assert_eq!(look(&slate), (60, true), "{key}");
    }
}

#[tokio::test]
async fn a_clip_brings_its_sound_and_its_length() {
    let recipe = format!("{PICTURE} {SOUND} -t 3 {H264} {AAC} -movflags +faststart");
    let rig = Rig::of(&[("clip.mp4", &made("fitting.mp4", &recipe).await)]).await;
    let slate = Slate::render(&rig.context, FORMAT, from("clip.mp4").as_ref())
        .await
        .unwrap();
    let (_gop, silent) = look(&slate);
    assert!(!silent);
    let mut source = SlateSource::new(&slate);
    let pictures = std::iter::from_fn(|| Some(source.pop()))
        .filter_map(|packet| match packet {
            Packet::Video(picture) => Some(picture.payload),
            _ => None,
        })
        .take(91)
        .collect::<Vec<_>>();
    assert_eq!(
        pictures[0], pictures[90],
        "it begins again after 90 pictures"
    );
}

#[tokio::test]
async fn a_slate_that_is_not_there_or_no_picture_is_an_error_with_its_reason() {
    let rig = Rig::of(&[("text.png", b"no image"), ("text.mp4", b"no film")]).await;
    for (key, said) in [
        ("none.png", "none.png"),
        ("text.png", "rendered"),
        ("text.mp4", "not media"),
    ] {
        let error = Slate::render(&rig.context, FORMAT, from(key).as_ref())
            .await
            .unwrap_err();
        assert_eq!(error.error_type, "slate_failed");
        assert!(error.message.contains(said), "{}", error.message);
        assert!(error.message.contains(key), "{}", error.message);
    }
}

#[tokio::test]
async fn it_is_rendered_once_and_then_known() {
    let dir = tempfile::tempdir().unwrap();
    let (ffmpeg, runs) = (dir.path().join("ffmpeg"), dir.path().join("runs"));
    let real = std::env::var("FFMPEG_BIN").unwrap_or_else(|_| "ffmpeg".to_owned());
    let body = format!(
        "#!/bin/sh\ncase \"$*\" in *-version*) ;; *) echo run >> {} ;; esac\nexec {real} \"$@\"\n",
        runs.display()
    );
    storage::atomic::write(&ffmpeg, body.as_bytes()).unwrap();
    std::fs::set_permissions(&ffmpeg, std::fs::Permissions::from_mode(0o755)).unwrap();
    let rig = Rig::with_ffmpeg(&ffmpeg, &[]).await;
    for _ in 0..3 {
        let slate = Slate::render(&rig.context, FORMAT, None).await.unwrap();
        assert_eq!(look(&slate), (60, true));
    }
    let runs = std::fs::read_to_string(runs).unwrap().lines().count();
    assert_eq!(runs, 2, "the picture and the silence, once each");
}
