//! Files that cannot be played: each ends with its reason, and nothing else is opened.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use worker::source::SourceEnd;

use crate::fixtures::{AAC, H264, PICTURE, SOUND, fitting, four_seconds, made};
use crate::rig::{FORMAT, Rig, drain, play, put, ready};

#[tokio::test]
async fn an_empty_file() {
    let played = play("empty.mp4", b"").await;
    assert_eq!(played.failure().error_type, "source_empty");
    assert!(played.failure().message.contains("empty.mp4"));
}

#[tokio::test]
async fn a_text_that_calls_itself_a_film() {
    let played = play("text.mp4", b"This is not a film.\n".repeat(200).as_slice()).await;
    assert_eq!(played.failure().error_type, "source_not_media");
    assert!(played.pictures.is_empty());
}

#[tokio::test]
async fn a_film_without_a_single_picture() {
    let bytes = made("none.mp4", &format!("{PICTURE} -t 0 -c:v libx264")).await;
    let played = play("none.mp4", &bytes).await;
    assert!(played.pictures.is_empty());
    let known = ["source_unplayable", "source_not_media", "source_unreadable"];
    assert!(
        known.contains(&played.failure().error_type.as_str()),
        "{:?}",
        played.end
    );
}

#[tokio::test]
async fn a_cut_off_file_ends_short_with_what_it_has() {
    let mut bytes = four_seconds(true).await;
    bytes.truncate(bytes.len() * 2 / 5);
    let played = play("cut.mp4", &bytes).await;
    let SourceEnd::Short {
        media_s,
        expected_s,
    } = played.end
    else {
        panic!("{:?}", played.end);
    };
    assert!((3.9..=4.1).contains(&expected_s), "{expected_s}");
    assert!((0.5..=2.0).contains(&media_s), "{media_s}");
    assert!(played.pictures.len() >= 15, "what is there is shown");
}

#[tokio::test]
async fn a_cut_off_file_whose_index_would_have_come_last() {
    let mut bytes = four_seconds(false).await;
    bytes.truncate(bytes.len() / 2);
    let played = play("cut.mp4", &bytes).await;
    assert_eq!(played.failure().error_type, "source_incomplete");
    assert!(played.failure().hint.contains("whole"));
}

#[tokio::test]
async fn an_object_deleted_after_it_was_listed() {
    let rig = Rig::of(&[("gone.mp4", &fitting().await)]).await;
    let object = rig.listed("gone.mp4").await;
    std::fs::remove_file(rig.media.join("gone.mp4")).unwrap();
    let source = worker::source::file::open(&rig.context, &object, 0.0, FORMAT);
    let played = drain(&source).await;
    source.close().await;
    assert_eq!(played.failure().error_type, "no_such_key");
    assert!(played.failure().message.contains("gone.mp4"));
}

#[tokio::test]
async fn an_object_deleted_after_it_was_probed() {
    let rig = Rig::of(&[("gone.mp4", &fitting().await)]).await;
    let object = rig.listed("gone.mp4").await;
    rig.play("gone.mp4").await.assert_whole(90, 3.0);
    std::fs::remove_file(rig.media.join("gone.mp4")).unwrap();
    let source = worker::source::file::open(&rig.context, &object, 0.0, FORMAT);
    let played = drain(&source).await;
    source.close().await;
    assert_eq!(played.failure().error_type, "no_such_key");
}

/// A playlist in an `.mp4` may name files of this machine and addresses of its network.
#[tokio::test]
async fn a_playlist_is_never_followed() {
    let bait = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = bait.local_addr().unwrap();
    let secret = tempfile::NamedTempFile::with_suffix(".ts").unwrap();
    let hls = format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nhttp://{address}/a.ts\n#EXTINF:3,\n{}\n\
         #EXT-X-ENDLIST\n",
        secret.path().display()
    );
    let concat = format!("ffconcat version 1.0\nfile http://{address}/a.mp4\n");
    let dash = format!(
        "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
         profiles=\"urn:mpeg:dash:profile:isoff-on-demand:2011\"><Period><AdaptationSet>\
         <Representation id=\"1\" mimeType=\"video/mp4\"><BaseURL>http://{address}/a.mp4</BaseURL>\
         </Representation></AdaptationSet></Period></MPD>"
    );
    let sdp = format!(
        "v=0\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {} RTP/AVP 96\n",
        address.port()
    );
    for (key, text) in [
        ("hls.mp4", hls),
        ("concat.mp4", concat),
        ("dash.mp4", dash),
        ("sdp.mp4", sdp),
    ] {
        let played = play(key, text.as_bytes()).await;
        let error_type = &played.failure().error_type;
        let known = ["source_refused", "source_not_media"];
        assert!(
            known.contains(&error_type.as_str()),
            "{key}: {:?}",
            played.end
        );
    }
    let visit = tokio::time::timeout(Duration::from_millis(10), bait.accept()).await;
    assert!(visit.is_err(), "an address in a file was visited");
}

/// An executable that stands for FFmpeg.
fn script(dir: &Path, body: &str) -> PathBuf {
    let path = dir.join("ffmpeg-stand-in");
    storage::atomic::write(&path, format!("#!/bin/sh\n{body}\n").as_bytes()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn what_ffmpeg_says_is_told_without_the_signature() {
    let dir = tempfile::tempdir().unwrap();
    let said = "[https @ 0x1] [error] https://b.example/a.mp4?X-Amz-Signature=CANARY: odd";
    let ffmpeg = script(dir.path(), &format!("echo '{said}' >&2; exit 1"));
    let rig = Rig::with_ffmpeg(&ffmpeg, &[("a.mp4", &fitting().await)]).await;
    let played = rig.play("a.mp4").await;
    assert_eq!(played.failure().error_type, "source_unreadable");
    assert!(
        played.failure().message.contains("b.example"),
        "{:?}",
        played.end
    );
    assert!(!format!("{:?}", played.end).contains("CANARY"));
}

#[tokio::test]
async fn an_ffmpeg_that_is_missing() {
    let missing = Path::new("/nonexistent/ffmpeg");
    let rig = Rig::with_ffmpeg(missing, &[("a.mp4", &fitting().await)]).await;
    let played = rig.play("a.mp4").await;
    assert_eq!(played.failure().error_type, "ffmpeg_not_started");
    assert!(played.failure().hint.contains("FFMPEG_BIN"));
}

#[tokio::test]
async fn an_ffmpeg_that_crashes() {
    let dir = tempfile::tempdir().unwrap();
    let ffmpeg = script(dir.path(), "kill -SEGV $$");
    let rig = Rig::with_ffmpeg(&ffmpeg, &[("a.mp4", &fitting().await)]).await;
    let played = rig.play("a.mp4").await;
    assert_eq!(played.failure().error_type, "ffmpeg_crashed");
    assert!(
        played.failure().message.contains("SIGSEGV"),
        "{:?}",
        played.end
    );
}

#[tokio::test]
async fn an_ffmpeg_that_writes_no_flv() {
    let dir = tempfile::tempdir().unwrap();
    let ffmpeg = script(dir.path(), "echo no flv at all; exit 0");
    let rig = Rig::with_ffmpeg(&ffmpeg, &[("a.mp4", &fitting().await)]).await;
    let played = rig.play("a.mp4").await;
    assert_eq!(played.failure().error_type, "source_unreadable");
}

#[tokio::test]
async fn closing_ends_an_ffmpeg_that_does_not_listen() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = format!("{PICTURE} {SOUND} -t 3 {H264} {AAC}");
    let flv = made("fitting.flv", &recipe).await;
    let (media, pid) = (dir.path().join("a.flv"), dir.path().join("pid"));
    storage::atomic::write(&media, &flv).unwrap();
    let ffmpeg = script(
        dir.path(),
        &format!(
            "trap '' TERM\ncat {}\necho $$ > {}\nwhile :; do sleep 0.05; done",
            media.display(),
            pid.display()
        ),
    );
    let rig = Rig::with_ffmpeg(&ffmpeg, &[("a.mp4", &fitting().await)]).await;
    let source = rig.open("a.mp4", 0.0).await;
    ready(source.queue()).await;
    while !pid.exists() {
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    source.close().await;
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    let pid = std::fs::read_to_string(&pid).unwrap();
    assert!(
        !Path::new("/proc").join(pid.trim()).exists(),
        "it still runs"
    );
}

#[tokio::test]
async fn a_file_replaced_by_another_is_looked_into_again() {
    let rig = Rig::of(&[("a.mp4", b"no film")]).await;
    let played = rig.play("a.mp4").await;
    assert_eq!(played.failure().error_type, "source_not_media");
    put(&rig.media, "a.mp4", &fitting().await);
    rig.play("a.mp4").await.assert_whole(90, 3.0);
}
