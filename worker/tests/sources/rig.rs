//! A folder store, its media server, and what comes out of a source.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use programme::{Fit, ListedObject, StreamFormat};
use storage::layout::Layout;
use storage::media::MediaStore;
use storage::media::server::MediaServer;
use storage::model::ErrorReport;
use storage::model::StorageSettings;
use storage::model::job::Provider;
use tempfile::TempDir;
use worker::ffmpeg::redact::Redactor;
use worker::flv::{AudioConfig, AudioPacket, Packet, VideoConfig, VideoPacket};
use worker::source::{FileSource, Programs, SourceContext, SourceEnd, SourceQueue, file};

/// Nothing here takes as long.
const LIMIT: Duration = Duration::from_secs(60);

/// What the files are played in.
pub(crate) const FORMAT: StreamFormat = StreamFormat {
    width: 320,
    height: 180,
    fps: 30,
    video_kbps: 800,
    audio_kbps: 96,
};

/// A store of files and what reads it.
pub(crate) struct Rig {
    pub(crate) context: Arc<SourceContext>,
    pub(crate) store: MediaStore,
    pub(crate) media: PathBuf,
    _room: TempDir,
}

/// All that came out of a source.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) fit: Option<Fit>,
    pub(crate) video_headers: Vec<VideoConfig>,
    pub(crate) audio_headers: Vec<AudioConfig>,
    pub(crate) pictures: Vec<VideoPacket>,
    pub(crate) sound: Vec<AudioPacket>,
    pub(crate) end: SourceEnd,
}

// === impl Rig ===

impl Rig {
    /// A store of `files`.
    pub(crate) async fn of(files: &[(&str, &[u8])]) -> Self {
        let ffmpeg = std::env::var_os("FFMPEG_BIN").unwrap_or_else(|| "ffmpeg".into());
        Self::with_ffmpeg(Path::new(&ffmpeg), files).await
    }

    /// The same, played by `ffmpeg`.
    pub(crate) async fn with_ffmpeg(ffmpeg: &Path, files: &[(&str, &[u8])]) -> Self {
        let room = tempfile::tempdir().unwrap();
        let media = room.path().join("media");
        for (key, bytes) in files {
            put(&media, key, bytes);
        }
        let settings = StorageSettings {
            provider: Provider::Local,
            bucket: None,
            prefix: String::new(),
            endpoint: None,
            region: None,
            local_dir: Some(media.clone()),
            url_ttl_secs: 3_600,
            extensions: Vec::new(),
        };
        let store = MediaStore::open(&settings, None).await.unwrap();
        let server = MediaServer::start(store.clone()).await.unwrap();
        let layout = Layout {
            state_dir: room.path().join("state"),
            runtime_dir: room.path().join("run"),
            cache_dir: room.path().join("cache"),
        };
        let programs = Programs {
            ffmpeg: ffmpeg.to_owned(),
            ffprobe: "ffprobe".into(),
        };
        let context = SourceContext::new(
            programs,
            store.clone(),
            server,
            &layout,
            Redactor::default(),
        );
        Self {
            context,
            store,
            media,
            _room: room,
        }
    }

    /// The object as a listing has it.
    pub(crate) async fn listed(&self, key: &str) -> ListedObject {
        self.store.stat(key).await.unwrap().to_listed()
    }

    pub(crate) async fn open(&self, key: &str, start_s: f64) -> FileSource {
        file::open(&self.context, &self.listed(key).await, start_s, FORMAT)
    }

    /// Plays `key` from `start_s` to its end.
    pub(crate) async fn play_from(&self, key: &str, start_s: f64) -> Played {
        let source = self.open(key, start_s).await;
        let played = drain(&source).await;
        source.close().await;
        played
    }

    pub(crate) async fn play(&self, key: &str) -> Played {
        self.play_from(key, 0.0).await
    }
}

/// Writes `bytes` into the store as `key`.
pub(crate) fn put(media: &Path, key: &str, bytes: &[u8]) {
    let path = media.join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    storage::atomic::write(&path, bytes).unwrap();
}

/// One file, played alone.
pub(crate) async fn play(key: &str, bytes: &[u8]) -> Played {
    Rig::of(&[(key, bytes)]).await.play(key).await
}

/// Takes everything out of a source, as fast as it comes.
pub(crate) async fn drain(source: &FileSource) -> Played {
    let mut packets = Vec::new();
    let end = tokio::time::timeout(LIMIT, async {
        loop {
            while let Some(packet) = source.queue().pop() {
                packets.push(packet);
            }
            match source.queue().end() {
                Some(end) if source.queue().peek().is_none() => return end,
                Some(_) => {}
                None => source.queue().changed().await,
            }
        }
    });
    let end = end.await.expect("a source ends");
    let mut played = Played {
        fit: source.fit().cloned(),
        video_headers: Vec::new(),
        audio_headers: Vec::new(),
        pictures: Vec::new(),
        sound: Vec::new(),
        end,
    };
    for packet in packets {
        match packet {
            Packet::VideoHeader(header) => {
                played
                    .video_headers
                    .push(VideoConfig::parse(&header).unwrap());
            }
            Packet::AudioHeader(header) => {
                played
                    .audio_headers
                    .push(AudioConfig::parse(&header).unwrap());
            }
            Packet::Video(picture) => played.pictures.push(picture),
            Packet::Audio(frame) => played.sound.push(frame),
        }
    }
    played
}

/// Waits until the source may go on air.
pub(crate) async fn ready(queue: &SourceQueue) {
    let wait = async {
        while !queue.is_ready() {
            queue.changed().await;
        }
    };
    tokio::time::timeout(LIMIT, wait)
        .await
        .expect("a source becomes ready");
}

// === impl Played ===

impl Played {
    /// Why it failed.
    #[track_caller]
    pub(crate) fn failure(&self) -> &ErrorReport {
        match &self.end {
            SourceEnd::Failed(report) => report,
            other => panic!("it did not fail but ended as {other:?}"),
        }
    }

    /// The file came whole, in one shape, in order: its pictures (within one) and seconds of sound.
    #[track_caller]
    pub(crate) fn assert_whole(&self, pictures: usize, sound_s: f64) {
        assert_eq!(self.end, SourceEnd::Complete);
        let apart = self.pictures.len().abs_diff(pictures);
        assert!(
            apart <= 1,
            "{} pictures, not {pictures}",
            self.pictures.len()
        );
        let frames = sound_s * 48_000.0 / 1_024.0;
        let apart = (self.sound.len() as f64 - frames).abs();
        assert!(
            apart <= 3.0,
            "{} AAC frames, not {frames:.1}",
            self.sound.len()
        );
        self.assert_on_format();
    }

    /// Everything that came can stand in a stream of the test format.
    #[track_caller]
    pub(crate) fn assert_on_format(&self) {
        assert_eq!(self.video_headers.len(), 1);
        let video = &self.video_headers[0];
        assert_eq!((video.width, video.height), (FORMAT.width, FORMAT.height));
        assert!(video.profile <= 100, "profile {}", video.profile);
        assert!(self.pictures[0].keyframe);
        assert_eq!(
            self.audio_headers.len(),
            usize::from(!self.sound.is_empty())
        );
        for audio in &self.audio_headers {
            assert_eq!(
                (audio.object_type, audio.rate_hz, audio.channels),
                (2, 48_000, 2)
            );
        }
        let rising = |times: Vec<i64>| times.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(rising(self.pictures.iter().map(|p| p.dts_ms).collect()));
        assert!(rising(self.sound.iter().map(|f| f.ts_ms).collect()));
        assert!(self.pictures.iter().all(|p| p.pts_ms >= p.dts_ms));
    }

    /// Presentation times in presentation order.
    pub(crate) fn shown_at(&self) -> Vec<i64> {
        let mut times: Vec<i64> = self.pictures.iter().map(|p| p.pts_ms).collect();
        times.sort_unstable();
        times
    }

    /// One picture every 1/30 s.
    #[track_caller]
    pub(crate) fn assert_steady(&self) {
        for pair in self.shown_at().windows(2) {
            let step = pair[1] - pair[0];
            assert!((33..=34).contains(&step), "{step} ms after {} ms", pair[0]);
        }
    }

    /// Where the keyframes are, counted in pictures.
    pub(crate) fn keyframes(&self) -> Vec<usize> {
        let at = |(n, picture): (usize, &VideoPacket)| picture.keyframe.then_some(n);
        self.pictures.iter().enumerate().filter_map(at).collect()
    }

    /// How much later the sound begins than the picture, ms.
    pub(crate) fn sound_offset_ms(&self) -> i64 {
        self.sound[0].ts_ms - self.shown_at()[0]
    }
}
