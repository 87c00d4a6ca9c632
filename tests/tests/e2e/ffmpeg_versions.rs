//! The whole chain with newer FFmpegs, whose options and exit codes differ.

use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::canary::{OTHER_STREAM_KEY, Watch};
use e2e::controller::{Controller, Setup, repository, to_one};
use e2e::media::{self, bad};
use e2e::rtmp::Receiver;
use e2e::s3::Bucket;
use e2e::viewer::Report;
use serde_json::json;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(40);

/// FFmpeg of that version as `scripts/test.sh` fetches it.
pub(crate) fn ffmpeg(version: &str) -> Option<PathBuf> {
    let file = repository()
        .join(".cache/ffmpeg")
        .join(version)
        .join("ffmpeg");
    if file.exists() {
        return Some(file);
    }
    super::skipped(&format!(
        "FFmpeg {version} is not there; scripts/test.sh fetches it"
    ));
    None
}

/// Copied, transcoded and silent items, the slate, a preview: everything an FFmpeg is asked to do.
fn whole_chain(ffmpeg: &Path) {
    let mut files = bad::all();
    files.retain(|f| ["hevc.mp4", "text.mp4", "video-only.mp4"].contains(&f.key));
    let bucket = Bucket::with(&[("a.mp4", &bad::good()), ("z.mkv", &media::ten()[2].1)]);
    for file in &files {
        bucket.put(file.key, &file.file);
    }
    let receiver = Receiver::start();
    let controller = Setup::new(bucket.environment())
        .variable("FFMPEG_BIN", &ffmpeg.display().to_string())
        .stream("main", to_one(&receiver.url()))
        .start();
    controller.start("main");
    receiver.wait_for_media(0, SOON);
    for key in ["hevc.mp4", "video-only.mp4", "z.mkv", "a.mp4"] {
        controller.wait_on_air("main", key, SOON);
    }
    let status = controller.status("main");
    assert_eq!(
        status["programme"]["problems"][0]["key"], "text.mp4",
        "{status:#}"
    );
    assert_eq!(status["state"], "running", "{status:#}");
    controller.stop("main");
    let report = Report::of(&receiver.only_connection().messages);
    report.assert_seamless(media::FPS);
}

fn keyed(ffmpeg: &Path, receiver: &Receiver, allow: bool) -> (Controller, TempDir) {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let destination = json!({ "name": "out", "url": receiver.url(), "key_env": "OUT_KEY" });
    let controller = Setup::local(folder.path())
        .variable("FFMPEG_BIN", &ffmpeg.display().to_string())
        .variable("OUT_KEY", OTHER_STREAM_KEY)
        .variable("ALLOW_ARGV_SECRETS", if allow { "true" } else { "false" })
        .stream(
            "main",
            json!({ "format": media::format(), "destinations": [destination] }),
        )
        .start();
    (controller, folder)
}

#[test]
fn the_whole_chain_runs_on_ffmpeg_7() {
    let Some(ffmpeg) = ffmpeg("7.0") else { return };
    whole_chain(&ffmpeg);
    let receiver = Receiver::start();
    let (controller, _folder) = keyed(&ffmpeg, &receiver, false);
    let watch = Watch::start(controller.pid(), controller.directory().join("run"));
    controller.start("main");
    receiver.wait_for_span(1_000, SOON);
    assert_eq!(receiver.look(|all| all[0].key.clone()), OTHER_STREAM_KEY);
    watch.finish();
}

#[test]
fn the_whole_chain_runs_on_ffmpeg_9() {
    let Some(ffmpeg) = ffmpeg("9.0") else { return };
    whole_chain(&ffmpeg);
}

#[test]
fn a_key_that_ffmpeg_9_would_show_is_refused_unless_allowed() {
    let Some(ffmpeg) = ffmpeg("9.0") else { return };
    let receiver = Receiver::start();
    let (controller, _folder) = keyed(&ffmpeg, &receiver, false);
    let watch = Watch::start(controller.pid(), controller.directory().join("run"));
    controller.start("main");
    controller.wait("main", "the refusal is told", SOON, |status| {
        let error = &status["destinations"][0]["error"];
        error["type"] == "argv_secret_refused" || status["error"]["type"] == "argv_secret_refused"
    });
    watch.finish();
    assert_eq!(receiver.media_connections(), 0);

    let (allowed, _folder) = keyed(&ffmpeg, &receiver, true);
    allowed.start("main");
    receiver.wait_for_span(1_000, SOON);
    assert_eq!(receiver.look(|all| all[0].key.clone()), OTHER_STREAM_KEY);
}
