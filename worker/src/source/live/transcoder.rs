//! An FFmpeg that brings a feed into the stream's format. One task per transcoder, which ends with it.

use std::sync::Arc;

use bytes::BytesMut;
use programme::{Fit, StreamFormat};
use rustix::pipe::fcntl_setpipe_size;
use storage::model::ErrorReport;
use supervise::lines::LineReader;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::steady::Steady;
use super::{Common, Feed, fault};
use crate::ffmpeg::live;
use crate::ffmpeg::run::{self, Speaker};
use crate::flv::{FlvError, FlvReader, FlvWriter, Metadata, Packet};

/// Packets waiting for FFmpeg: some six seconds.
const WAITING: usize = 512;
const PIPE_BYTES: usize = 1 << 20;
/// What is read at once.
const READ_BYTES: usize = 64 << 10;

/// See the module. Dropped, it ends its FFmpeg.
#[derive(Debug)]
pub(super) struct Transcoder {
    packets: mpsc::Sender<Packet>,
    /// A packet was lost: nothing is of use before a keyframe.
    lost: bool,
    _task: AbortOnDropHandle<()>,
}

// === impl Transcoder ===

impl Transcoder {
    pub(super) fn start(
        common: &Common,
        feed: &Arc<Feed>,
        fit: &Fit,
        has_sound: bool,
    ) -> Result<Self, ErrorReport> {
        let spec = live::transcode(&common.ffmpeg, fit, has_sound, common.format);
        let mut child = supervise::spawn(spec).map_err(|error| not_started(&error))?;
        let stdin = child.take_stdin().expect("standard input is piped");
        let stdout = child.take_stdout().expect("standard output is piped");
        let stderr = child
            .take_stderr()
            .expect("standard error is piped unless told otherwise");
        // Best effort: an unprivileged user may have used up what pipes it can have.
        let _default_size_remains = fcntl_setpipe_size(&stdout, PIPE_BYTES);
        let speaker = Speaker {
            role: "live",
            subject: feed.name.clone(),
        };
        let log = run::follow(
            LineReader::new(stderr),
            run::tail([]),
            speaker,
            common.redactor.clone(),
            CancellationToken::new(),
            |_| true,
        );
        let (packets, waiting) = mpsc::channel(WAITING);
        let (feed, format) = (Arc::clone(feed), common.format);
        let task = tokio::spawn(async move {
            tokio::select! {
                () = write(stdin, waiting, format) => {}
                () = read(stdout, &feed) => {}
                _heard = log => {}
            }
            child.kill_now();
            child.wait().await;
        });
        Ok(Self {
            packets,
            lost: false,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// What is not taken in time is lost, up to the next keyframe.
    pub(super) fn take(&mut self, packet: Packet) -> Result<(), ErrorReport> {
        match &packet {
            Packet::Video(video) if video.keyframe => self.lost = false,
            Packet::Video(_) if self.lost => return Ok(()),
            _ => {}
        }
        match self.packets.try_send(packet) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.lost = true;
                Ok(())
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(fault(
                "live_transcode_failed",
                "the FFmpeg that transcodes the feed has ended".to_owned(),
                "see the [FFMPEG] lines before this one, or send the stream's own format",
            )),
        }
    }
}

async fn write(mut stdin: ChildStdin, mut waiting: mpsc::Receiver<Packet>, format: StreamFormat) {
    let mut writer = None;
    let mut pieces = Vec::new();
    let mut headers = Vec::new();
    let mut steady = Steady::default();
    while let Some(packet) = waiting.recv().await {
        let Some(packet) = steady.place(packet) else {
            continue;
        };
        let writer = match (&mut writer, packet.dts_ms()) {
            (Some(writer), _) => writer,
            // A header has no time: it goes with the first packet that has.
            (None, None) => {
                headers.push(packet);
                continue;
            }
            (None, Some(origin_ms)) => {
                let writer = writer.insert(FlvWriter::new(origin_ms));
                let metadata = Metadata {
                    width: format.width,
                    height: format.height,
                    fps: f64::from(format.fps),
                };
                writer.file_header(&metadata, &mut pieces);
                for header in headers.drain(..) {
                    writer.write(&header, &mut pieces);
                }
                writer
            }
        };
        writer.write(&packet, &mut pieces);
        for piece in pieces.drain(..) {
            if stdin.write_all(&piece).await.is_err() {
                return;
            }
        }
    }
}

async fn read(mut stdout: ChildStdout, feed: &Feed) {
    let mut reader = FlvReader::new();
    loop {
        let mut chunk = BytesMut::with_capacity(READ_BYTES);
        match stdout.read_buf(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(_) => reader.push(chunk.freeze()),
        }
        match packets(&mut reader) {
            Ok(packets) => feed.deliver(packets, Instant::now()),
            Err(error) => {
                tracing::error!(%error, "a transcoded feed cannot be read");
                return;
            }
        }
    }
}

/// Every whole packet there is.
pub(super) fn packets(reader: &mut FlvReader) -> Result<Vec<Packet>, FlvError> {
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet()? {
        packets.push(packet);
    }
    Ok(packets)
}

pub(super) fn not_started(error: &supervise::SpawnError) -> ErrorReport {
    fault(
        "ffmpeg_not_started",
        error.to_string(),
        "check FFMPEG_BIN and the limits on processes",
    )
}
