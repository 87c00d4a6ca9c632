//! A fanout that is played to in real time, as playout would.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use programme::StreamFormat;
use storage::model::job::{JOB_VERSION, Provider};
use storage::model::{
    DestinationConfig, DestinationReport, Job, JobSecrets, RetryConfig, StorageSettings,
    StreamConfig,
};
use storage::secret::Secret;
use supervise::{CaptureLimits, Output, Spec};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use worker::fanout::Fanout;
use worker::flv::{AudioPacket, FlvReader, Packet, VideoPacket};
use worker::journal::{Begin, Journal};
use worker::logging::{self, LogFormat, LogRing};

/// Never to be seen anywhere but at the server.
pub(crate) const KEY: &str = "CANARY-0f3a9d";
/// What the job calls it.
pub(crate) const KEY_ENV: &str = "PLATFORM_KEY";
/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Packets of a clip, and how long it is.
#[derive(Debug, Clone)]
pub(crate) struct Clip {
    packets: Vec<Packet>,
    length_ms: i64,
}

/// A fanout on air.
pub(crate) struct Stage {
    pub(crate) dir: tempfile::TempDir,
    fanout: Arc<Mutex<Fanout>>,
    clip: Arc<Mutex<Clip>>,
    end: CancellationToken,
    playing: tokio::task::JoinHandle<()>,
}

/// The log of this test process.
pub(crate) fn logs() -> LogRing {
    static LOGS: OnceLock<LogRing> = OnceLock::new();
    LOGS.get_or_init(|| {
        logging::init(LogFormat::Json, Some("debug"), "/nonexistent".as_ref()).expect("the only")
    })
    .clone()
}

/// A job with these destinations.
pub(crate) fn job(
    dir: &std::path::Path,
    destinations: Vec<DestinationConfig>,
    retry: RetryConfig,
) -> Job {
    Job {
        version: JOB_VERSION,
        stream_id: "main".parse().expect("an id"),
        generation: 1,
        nonce: "0".repeat(32),
        config: StreamConfig {
            destinations,
            retry,
            ..StreamConfig::default()
        },
        storage: StorageSettings {
            provider: Provider::Local,
            bucket: None,
            prefix: String::new(),
            endpoint: None,
            region: None,
            local_dir: Some(dir.to_owned()),
            url_ttl_secs: 60,
            extensions: Vec::new(),
        },
        ingest: false,
        ffmpeg_bin: "ffmpeg".into(),
        ffprobe_bin: "ffprobe".into(),
        state_dir: dir.to_owned(),
        runtime_dir: dir.to_owned(),
        cache_dir: dir.to_owned(),
        allow_argv_secrets: false,
        keys: None,
        cache_max_bytes: 0,
    }
}

/// A destination with the key.
pub(crate) fn keyed(name: &str, url: &str) -> DestinationConfig {
    DestinationConfig {
        name: name.to_owned(),
        url: url.to_owned(),
        key_env: Some(KEY_ENV.to_owned()),
        renew_after_s: None,
    }
}

/// Tries again soon.
pub(crate) fn soon() -> RetryConfig {
    RetryConfig {
        initial_s: 0.2,
        factor: 1.5,
        max_s: 1.0,
        max_attempts: None,
    }
}

impl Clip {
    /// Four seconds of a test picture of this size, a keyframe each second, with B-frames.
    pub(crate) async fn make(width: u32, height: u32) -> Self {
        let picture = format!("testsrc2=s={width}x{height}:r=30");
        let spec = Spec::new("ffmpeg")
            .stdout(Output::Piped)
            .args(["-v", "error", "-f", "lavfi", "-i", &picture])
            .args(["-f", "lavfi", "-i", "sine=r=48000", "-t", "4"])
            .args([
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-bf",
                "2",
                "-g",
                "30",
            ])
            .args([
                "-pix_fmt", "yuv420p", "-b:v", "2000k", "-c:a", "aac", "-b:a", "64k", "-ac", "2",
            ])
            .args(["-f", "flv", "pipe:1"]);
        let limits = CaptureLimits {
            timeout: PATIENCE,
            max_bytes: 8 << 20,
        };
        let made = supervise::capture(spec, limits).await.expect("a clip");
        let mut reader = FlvReader::new();
        reader.push(made.stdout.into());
        let packets: Vec<_> = std::iter::from_fn(|| reader.next_packet().expect("FLV")).collect();
        assert!(packets.len() > 200, "{} packets", packets.len());
        Self {
            packets,
            length_ms: 4_000,
        }
    }

    /// The packets of its round that begins at `from_ms`.
    fn round(&self, from_ms: i64) -> impl Iterator<Item = Packet> {
        self.packets
            .clone()
            .into_iter()
            .map(move |packet| match packet {
                Packet::Video(video) => Packet::Video(VideoPacket {
                    dts_ms: video.dts_ms + from_ms,
                    pts_ms: video.pts_ms + from_ms,
                    ..video
                }),
                Packet::Audio(audio) => Packet::Audio(AudioPacket {
                    ts_ms: audio.ts_ms + from_ms,
                    ..audio
                }),
                header => header,
            })
    }
}

impl Stage {
    /// On air with these destinations, whose key is [`KEY`].
    pub(crate) async fn start(destinations: Vec<DestinationConfig>, retry: RetryConfig) -> Self {
        let dir = tempfile::tempdir().expect("a temp dir");
        logs();
        let job = job(dir.path(), destinations, retry);
        let mut secrets = JobSecrets::default();
        secrets
            .stream_keys
            .insert(KEY_ENV.to_owned(), Secret::new(KEY));
        let journal = Journal::start(&job, Begin::Afresh);
        let fanout = Fanout::start(&job, &secrets, StreamFormat::default(), journal).await;
        let fanout = Arc::new(Mutex::new(fanout));
        let clip = Arc::new(Mutex::new(Clip::make(640, 360).await));
        let end = CancellationToken::new();
        let playing = tokio::spawn(play(Arc::clone(&fanout), Arc::clone(&clip), end.clone()));
        Self {
            dir,
            fanout,
            clip,
            end,
            playing,
        }
    }

    pub(crate) fn fanout(&self) -> MutexGuard<'_, Fanout> {
        self.fanout.lock().expect("no panic while it was held")
    }

    /// From its next round on, this is played.
    pub(crate) fn change_clip(&self, clip: Clip) {
        *self.clip.lock().expect("no panic while it was held") = clip;
    }

    pub(crate) fn report(&self) -> DestinationReport {
        self.fanout().reports().remove(0)
    }

    /// Waits until the first destination is as wanted; answers its report and how long it took.
    pub(crate) async fn until(
        &self,
        what: &str,
        wanted: impl Fn(&DestinationReport) -> bool,
    ) -> (DestinationReport, Duration) {
        let (began, mut last) = (Instant::now(), None);
        while began.elapsed() < PATIENCE {
            let report = self.report();
            if wanted(&report) {
                return (report, began.elapsed());
            }
            last = Some(report);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not {what} in time: {last:#?}");
    }

    /// Ends everything; answers how long the outputs took.
    pub(crate) async fn stop(self) -> Duration {
        self.end.cancel();
        self.playing.await.expect("no panic");
        let fanout = Arc::into_inner(self.fanout).expect("the player is gone");
        let began = Instant::now();
        fanout.into_inner().expect("no panic").stop().await;
        began.elapsed()
    }
}

async fn play(fanout: Arc<Mutex<Fanout>>, clip: Arc<Mutex<Clip>>, end: CancellationToken) {
    let began = Instant::now();
    let mut from_ms = 0;
    while !end.is_cancelled() {
        let round = clip.lock().expect("no panic while it was held").clone();
        fanout
            .lock()
            .expect("no panic while it was held")
            .mark_join();
        let mut batch = Vec::new();
        for packet in round.round(from_ms) {
            let due = packet.dts_ms().unwrap_or(0);
            while began.elapsed().as_millis() as i64 + 40 <= due {
                if !batch.is_empty() {
                    fanout
                        .lock()
                        .expect("no panic")
                        .send(&std::mem::take(&mut batch));
                }
                tokio::select! {
                    () = end.cancelled() => return,
                    () = tokio::time::sleep(Duration::from_millis(40)) => {}
                }
            }
            batch.push(packet);
        }
        fanout.lock().expect("no panic").send(&batch);
        from_ms += round.length_ms;
    }
}
