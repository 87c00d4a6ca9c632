//! Files of three encodings become one stream: real FFmpeg on both sides of reader, timeline and
//! writer.

use bytes::Bytes;
use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use supervise::{CaptureLimits, Captured, ExitReason, Spec, capture};
use worker::flv::{FlvReader, FlvWriter, Metadata, Packet, VideoConfig};
use worker::timeline::{Silence, SourceShape, Timeline};

const LIMITS: CaptureLimits = CaptureLimits {
    timeout: Duration::from_secs(60),
    max_bytes: 32 << 20,
};

/// How FFmpeg makes a clip of 3 s.
struct Recipe {
    name: &'static str,
    rate: &'static str,
    frame_us: u64,
    video: &'static str,
    sound: &'static str,
}

const RECIPES: [Recipe; 3] = [
    Recipe {
        name: "flat",
        rate: "25",
        frame_us: 40_000,
        video: "-profile:v baseline -g 25",
        sound: "-ar 48000 -ac 2",
    },
    Recipe {
        name: "deep",
        rate: "30000/1001",
        frame_us: 33_367,
        video: "-profile:v high -bf 4 -b_strategy 0 -x264-params b-pyramid=normal:open-gop=1:keyint=20",
        sound: "-ar 44100 -ac 2",
    },
    Recipe {
        name: "plain",
        rate: "30",
        frame_us: 33_333,
        video: "-profile:v main -bf 1 -b_strategy 0 -g 60",
        sound: "-ar 48000 -ac 1",
    },
];

async fn run(program: &str, args: &str, files: &[&Path]) -> Captured {
    let mut files = files.iter();
    let args = args.split_whitespace().map(|arg| match arg {
        "FILE" => files.next().expect("as many files as FILEs").into(),
        arg => arg.into(),
    });
    let done = capture(
        Spec::new(program).args(args.collect::<Vec<std::ffi::OsString>>()),
        LIMITS,
    )
    .await
    .expect("FFmpeg is installed");
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.exit, ExitReason::Code(0), "{said}");
    assert_eq!(said, "", "{program} complains");
    done
}

/// What comes out of the FFmpeg of a file source that starts `from_s` into the file.
async fn source(folder: &Path, recipe: &Recipe, from_s: &str) -> Vec<Packet> {
    let file = folder.join(recipe.name).with_extension("mp4");
    let args = format!(
        "-v error -f lavfi -i testsrc2=size=320x180:rate={} -f lavfi -i sine=frequency=440 -t 3 \
         -c:v libx264 -preset veryfast -pix_fmt yuv420p {} -c:a aac {} FILE",
        recipe.rate, recipe.video, recipe.sound
    );
    run("ffmpeg", &args, &[&file]).await;
    let args = format!("-v error -ss {from_s} -i FILE -c copy -f flv pipe:1");
    let copied = run("ffmpeg", &args, &[&file]).await;
    packets(copied.stdout)
}

fn packets(stream: Vec<u8>) -> Vec<Packet> {
    let mut reader = FlvReader::new();
    let mut packets = Vec::new();
    for chunk in stream.chunks(65_536) {
        reader.push(Bytes::copy_from_slice(chunk));
        while let Some(packet) = reader.next_packet().expect("FFmpeg writes FLV") {
            packets.push(packet);
        }
    }
    packets
}

async fn silence() -> Silence {
    let args = "-v error -f lavfi -i anullsrc=sample_rate=48000:channel_layout=stereo -t 0.5 \
                -c:a aac -f flv pipe:1";
    let packets = packets(run("ffmpeg", args, &[]).await.stdout);
    let header = packets.iter().find_map(|packet| match packet {
        Packet::AudioHeader(header) => Some(header.clone()),
        _ => None,
    });
    let frame = packets.iter().rev().nth(3).and_then(|packet| match packet {
        Packet::Audio(audio) => Some(audio.payload.clone()),
        _ => None,
    });
    Silence {
        header: header.expect("a header"),
        frame: frame.expect("a frame"),
        rate_hz: 48_000,
        frame_samples: 1024,
    }
}

/// Plays each source to its last picture; with `cut_at`, to the first clean point from there on.
fn splice(sources: &[(u64, Vec<Packet>)], silence: Silence, cut_at_ms: Option<i64>) -> Vec<Bytes> {
    let mut timeline = Timeline::new(silence);
    let mut out = Vec::new();
    for (frame_us, packets) in sources {
        timeline.join(SourceShape {
            frame_us: *frame_us,
        });
        let last = packets.iter().rposition(Packet::is_video);
        for (at, packet) in packets.iter().enumerate() {
            if let (Packet::Video(video), Some(cut_at_ms)) = (packet, cut_at_ms)
                && video.dts_ms >= cut_at_ms
                && timeline.is_clean_point(video)
            {
                timeline.close();
            }
            timeline.push(packet.clone(), &mut out);
            timeline.fill_silence(timeline.video_end_ms(), &mut out);
            if Some(at) == last {
                timeline.close();
            }
        }
    }
    assert_eq!(timeline.counters().joins, sources.len() as u64);
    assert_eq!(timeline.counters().jumps, 0);
    let mut writer = FlvWriter::new(0);
    let mut pieces = Vec::new();
    writer.file_header(
        &Metadata {
            width: 320,
            height: 180,
            fps: 30.0,
        },
        &mut pieces,
    );
    for packet in &out {
        writer.write(packet, &mut pieces);
    }
    pieces
}

/// FFmpeg's parser goes by the first parameter sets of a file for ever, and complains of pictures
/// that have others. The decoder does not; the muxer needs no parser.
const UNPARSED: &str = "-fflags +nofillin+noparse";

/// Presentation and decode times in ms of one track of a file.
async fn times(file: &Path, track: &str) -> Vec<(i64, i64)> {
    let args = format!(
        "-v error {UNPARSED} -select_streams {track}:0 -show_entries packet=pts_time,dts_time \
         -of csv=p=0 FILE"
    );
    let listed = run("ffprobe", &args, &[file]).await.stdout;
    let ms = |seconds: &str| (seconds.parse::<f64>().expect("a time") * 1000.0).round() as i64;
    let lines = String::from_utf8(listed).expect("numbers are text");
    let pairs = lines
        .lines()
        .filter_map(|line| line.trim_end_matches(',').split_once(','));
    pairs.map(|(pts, dts)| (ms(pts), ms(dts))).collect()
}

/// A checksum of each picture as decoded, in the order shown. Nothing may be wrong with any.
async fn pictures(file: &Path) -> Vec<String> {
    let args = format!(
        "-v error {UNPARSED} -i FILE -map 0:v -vsync passthrough -enc_time_base 1:1000 \
         -f framemd5 pipe:1 -map 0:a -f null -"
    );
    let listed = run("ffmpeg", &args, &[file]).await.stdout;
    let lines = String::from_utf8(listed).expect("checksums are text");
    let pictures = lines.lines().filter(|line| !line.starts_with('#'));
    pictures
        .filter_map(|line| line.rsplit_once(", ").map(|(_, sum)| sum.to_owned()))
        .collect()
}

async fn assert_unbroken(file: &Path) {
    let mut video = times(file, "v").await;
    assert!(
        video.windows(2).all(|pair| pair[0].1 < pair[1].1),
        "decode times increase"
    );
    assert!(video.iter().all(|(pts, dts)| pts >= dts));
    video.sort_unstable();
    let longest = video.windows(2).map(|pair| pair[1].0 - pair[0].0).max();
    assert!(longest <= Some(41), "a picture stands for {longest:?} ms");

    let audio = times(file, "a").await;
    let steps: Vec<i64> = audio.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
    // A frame is 21.3 or 23.2 ms; at a join half of one more or less is left.
    assert!(
        steps.iter().all(|step| (10..=35).contains(step)),
        "{steps:?}"
    );
    let ends = (video[video.len() - 1].0, audio[audio.len() - 1].0);
    assert!((ends.0 - ends.1).abs() < 100, "{ends:?}");
}

/// The spliced file, and the same after the FFmpeg of an output.
async fn on_air(folder: &Path, pieces: &[Bytes]) -> [PathBuf; 2] {
    let (spliced, sent) = (folder.join("spliced.flv"), folder.join("sent.flv"));
    let mut file = std::fs::File::create(&spliced).expect("a temporary folder");
    file.write_all(&pieces.concat()).expect("room for it");
    let args = format!("-y -v error -f flv -fpsprobesize 0 {UNPARSED} -i FILE -c copy -f flv FILE");
    run("ffmpeg", &args, &[&spliced, &sent]).await;
    [spliced, sent]
}

#[tokio::test]
async fn three_encodings_become_one_stream_and_every_picture_is_as_in_its_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut sources = Vec::new();
    let mut expected = Vec::new();
    for recipe in &RECIPES {
        let packets = source(folder.path(), recipe, "0").await;
        let size = packets.iter().find_map(|packet| match packet {
            Packet::VideoHeader(header) => VideoConfig::parse(header).ok(),
            _ => None,
        });
        assert_eq!(
            size.map(|config| (config.width, config.height)),
            Some((320, 180))
        );
        sources.push((recipe.frame_us, packets));
        expected.extend(pictures(&folder.path().join(recipe.name).with_extension("mp4")).await);
    }
    assert_eq!(expected.len(), 75 + 90 + 90);
    for file in on_air(folder.path(), &splice(&sources, silence().await, None)).await {
        assert_unbroken(&file).await;
        assert!(
            pictures(&file).await == expected,
            "{} shows other pictures",
            file.display()
        );
    }
}

#[tokio::test]
async fn sources_that_start_and_are_cut_anywhere_show_whole_pictures_only() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut sources, mut known) = (Vec::new(), HashSet::new());
    // The second begins with an open GOP, the pictures of which refer to what is not there.
    for (recipe, from_s) in RECIPES.iter().zip(["1.3", "0.9", "0"]) {
        sources.push((recipe.frame_us, source(folder.path(), recipe, from_s).await));
        known.extend(pictures(&folder.path().join(recipe.name).with_extension("mp4")).await);
    }
    for cut_at_ms in [130, 500, 875] {
        let pieces = splice(&sources, silence().await, Some(cut_at_ms));
        for file in on_air(folder.path(), &pieces).await {
            assert_unbroken(&file).await;
            assert!(pictures(&file).await.iter().all(|sum| known.contains(sum)));
        }
    }
}
