//! The preview: there while it is watched, and playable across a change of the picture's size.

use std::path::Path;
use std::time::{Duration, Instant};

use storage::model::report::PreviewState;
use supervise::{CaptureLimits, Spec};

use super::stage::{Clip, PATIENCE, Stage, soon};

/// Files of the preview.
fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

async fn playlist(directory: &Path, wanted: impl Fn(&str) -> bool) -> String {
    let began = Instant::now();
    loop {
        let text = std::fs::read_to_string(directory.join("index.m3u8")).unwrap_or_default();
        if wanted(&text) {
            return text;
        }
        assert!(began.elapsed() < PATIENCE, "{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_size_is_a_discontinuity_that_plays() {
    let stage = Stage::start(Vec::new(), soon()).await;
    let directory = stage.dir.path().join("main").join("preview");
    assert!(
        !directory.exists(),
        "nothing is written while nobody watches"
    );
    let began = Instant::now();
    stage.fanout().touch_preview();
    assert_eq!(stage.fanout().preview(), PreviewState::Running);
    playlist(&directory, |text| text.contains(".ts")).await;
    eprintln!("preview playable after {:?}", began.elapsed());
    stage.change_clip(Clip::make(320, 180).await);
    let text = playlist(&directory, |text| {
        let behind = text
            .split("#EXT-X-DISCONTINUITY\n")
            .last()
            .unwrap_or_default();
        text.matches("#EXT-X-DISCONTINUITY\n").count() >= 2 && behind.contains(".ts")
    })
    .await;
    assert!(!text.contains("ENDLIST"));
    assert_eq!(sizes(&directory).await, ["320x180", "640x360"]);
    assert!(files(&directory).len() < 14, "old segments are removed");
    stage.stop().await;
    assert_eq!(files(&directory), Vec::<String>::new());
}

/// Decodes the playlist as it stands; answers the sizes of its pictures.
async fn sizes(directory: &Path) -> Vec<String> {
    let spec = Spec::new("ffmpeg")
        .args([
            "-nostdin",
            "-v",
            "level+info",
            "-nostats",
            "-live_start_index",
            "0",
        ])
        .args([
            "-i",
            "index.m3u8",
            "-t",
            "6",
            "-vf",
            "showinfo",
            "-autoscale",
            "0",
        ])
        .args(["-f", "null", "-"])
        .cwd(directory);
    let limits = CaptureLimits {
        timeout: PATIENCE,
        max_bytes: 4 << 20,
    };
    let seen = supervise::capture(spec, limits).await.expect("runs");
    let said = String::from_utf8_lossy(&seen.stderr).into_owned();
    let complaints: Vec<_> = said.lines().filter(|l| l.contains("[error]")).collect();
    assert_eq!(complaints, Vec::<&str>::new());
    let shown = said.lines().filter_map(|line| line.split_once(" s:"));
    let mut sizes: Vec<_> = shown
        .filter_map(|(_, rest)| rest.split(' ').next())
        .map(str::to_owned)
        .collect();
    sizes.sort();
    sizes.dedup();
    sizes
}
