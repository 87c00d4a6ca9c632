//! A feed that is pulled: FFmpeg opens it, again and again, for as long as the input is configured.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use storage::model::{ErrorReport, LiveInputConfig};
use supervise::ExitReason;
use supervise::lines::{LineReader, Tail};
use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::intake::{DecodeTimes, Intake};
use super::transcoder::{not_started, packets};
use super::{Common, Feed, Order, fault};
use crate::ffmpeg::live::{self, Address};
use crate::ffmpeg::run::{self, Speaker};
use crate::flv::{FlvReader, Packet};

/// From the start of FFmpeg to the first packet.
const OPEN_LIMIT: Duration = Duration::from_secs(12);
/// A feed that is silent for so long is opened again.
const SILENCE_LIMIT: Duration = Duration::from_secs(3);
/// From the end of its output to FFmpeg's own.
const END_LIMIT: Duration = Duration::from_millis(500);
/// Between tries, before they are spread.
const PAUSES_S: [f64; 4] = [1.0, 2.0, 4.0, 5.0];
/// Pauses differ by so much either way, so that a server that comes back is not met by all at once.
const SPREAD: f64 = 0.2;
const READ_BYTES: usize = 64 << 10;
/// Pictures in a row whose time does not move: FFmpeg lets none go back, so a clock that began again stands still.
const STUCK_AFTER: u32 = 3;
/// What FFmpeg says of a codec that cannot be copied into FLV.
const NOT_COPYABLE: [&str; 2] = ["not compatible with flv", "not supported in container"];

/// How one try ended.
struct Try {
    delivered: bool,
    /// Only a transcoding FFmpeg can read this feed.
    needs_transcoding: bool,
    /// The server goes on with another feed.
    began_again: bool,
    error: ErrorReport,
}

/// How reading it ended.
struct Read {
    delivered: bool,
    began_again: bool,
    /// Where FFmpeg does not know why.
    error: Option<ErrorReport>,
}

/// The time of the last picture, and how many more in a row had it.
#[derive(Default)]
struct Clock {
    last_ms: Option<i64>,
    stood: u32,
}

/// Opens the feed at `url` again and again.
pub(super) async fn keep_pulling(
    common: &Common,
    feed: &Arc<Feed>,
    url: &str,
    config: &LiveInputConfig,
    mut orders: mpsc::Receiver<Order>,
) {
    let address = address(common, url, config);
    let mut failed = 0_u32;
    let mut transcodes = false;
    loop {
        let ended = one_try(common, feed, &address, transcodes, is_told(failed + 1)).await;
        let switches = ended.needs_transcoding && !transcodes;
        transcodes |= ended.needs_transcoding;
        failed = if ended.delivered { 1 } else { failed + 1 };
        tell(feed, &ended, failed);
        feed.facts().retry_count = failed;
        feed.over(Some(ended.error));
        if !switches && !ended.began_again {
            wait(pause(failed, random()), &mut orders).await;
        }
    }
}

fn address(common: &Common, url: &str, config: &LiveInputConfig) -> Address {
    let password = config.password_env.as_ref();
    let password = password.and_then(|name| common.passwords.get(name));
    Address {
        url: url.to_owned(),
        credentials: password.map(|password| {
            let user = config.user.clone().unwrap_or_default();
            (user, password.clone())
        }),
    }
}

/// A server that is down for hours fills no log: the first try is told, and then every twentieth.
fn is_told(failed: u32) -> bool {
    failed % 20 == 1
}

fn tell(feed: &Feed, ended: &Try, failed: u32) {
    let input = &feed.name;
    let (error_type, message) = (&ended.error.error_type, &ended.error.message);
    if ended.delivered {
        tracing::warn!(
            input,
            error_type,
            will_retry = true,
            "the live feed has ended: {message}"
        );
    } else if is_told(failed) {
        tracing::info!(
            input,
            error_type,
            retry_count = failed,
            will_retry = true,
            "no live feed: {message}"
        );
    }
}

/// What FFmpeg says is logged if `told`, and else only of a feed that has come.
async fn one_try(
    common: &Common,
    feed: &Arc<Feed>,
    address: &Address,
    transcodes: bool,
    told: bool,
) -> Try {
    feed.connecting(Some(address.url.clone()));
    let failed = |error| Try {
        delivered: false,
        needs_transcoding: false,
        began_again: false,
        error,
    };
    let format = transcodes.then_some(common.format);
    let spec = match live::pull(&common.ffmpeg, address, format) {
        Ok(spec) => spec,
        Err(error) => return failed(unreachable(error.to_string())),
    };
    let mut child = match supervise::spawn(spec) {
        Ok(child) => child,
        Err(error) => return failed(not_started(&error)),
    };
    let stdout = child.take_stdout().expect("standard output is piped");
    let stderr = child
        .take_stderr()
        .expect("standard error is piped unless told otherwise");
    let speaker = Speaker {
        role: "live",
        subject: feed.name.clone(),
    };
    let log = tokio::spawn(run::follow(
        LineReader::new(stderr),
        run::tail([]),
        speaker,
        common.redactor.clone(),
        CancellationToken::new(),
        {
            let feed = Arc::clone(feed);
            move |_| told || feed.buffer.has_feed()
        },
    ));
    let decode_times = match address.url.starts_with("rtsp") {
        true => DecodeTimes::Guessed,
        false => DecodeTimes::Sent,
    };
    let read = read(common, feed, stdout, transcodes, decode_times).await;
    let exit = match read.error {
        None => timeout(END_LIMIT, child.wait()).await.ok(),
        Some(_) => None,
    };
    child.kill_now();
    child.wait().await;
    // The stream ends with the process; a task that failed has no lines to tell.
    let tail = log.await.map_or_else(|_| Tail::new(0), |heard| heard.tail);
    let needs_transcoding = tail
        .iter()
        .any(|line| NOT_COPYABLE.iter().any(|said| line.contains(said)));
    let error = read.error.unwrap_or_else(|| {
        // What FFmpeg said of a feed that simply ended was not about its end.
        let said = tail.newest().filter(|_| exit != Some(ExitReason::Code(0)));
        unreachable(said.unwrap_or("the server ended the feed").to_owned())
    });
    Try {
        delivered: read.delivered,
        needs_transcoding,
        began_again: read.began_again,
        error,
    }
}

/// Reads until the feed ends.
async fn read(
    common: &Common,
    feed: &Arc<Feed>,
    mut stdout: ChildStdout,
    transcodes: bool,
    decode_times: DecodeTimes,
) -> Read {
    let mut reader = FlvReader::new();
    let mut intake = Intake::new(common, feed, decode_times);
    let mut clock = Clock::default();
    let mut delivered = false;
    let ended = |delivered, error| Read {
        delivered,
        error,
        began_again: false,
    };
    loop {
        let mut chunk = BytesMut::with_capacity(READ_BYTES);
        let limit = if delivered { SILENCE_LIMIT } else { OPEN_LIMIT };
        match timeout(limit, stdout.read_buf(&mut chunk)).await {
            Err(_) => return ended(delivered, Some(silent(limit))),
            Ok(Ok(0) | Err(_)) => return ended(delivered, None),
            Ok(Ok(_)) => reader.push(chunk.freeze()),
        }
        let packets = match packets(&mut reader) {
            Ok(packets) => packets,
            Err(error) => return ended(delivered, Some(unreachable(error.to_string()))),
        };
        for packet in packets {
            if !delivered {
                delivered = true;
                feed.buffer.begin();
            }
            if decode_times == DecodeTimes::Sent && clock.stands_still(&packet) {
                return Read {
                    delivered,
                    began_again: true,
                    error: Some(began_again()),
                };
            }
            if let Err(error) = intake.take(packet, Instant::now()) {
                return ended(delivered, Some(error));
            }
        }
        if transcodes {
            let mut facts = feed.facts();
            facts.copied = facts.copied.map(|_| false);
        }
    }
}

/// Until the next try; shorter when told to look.
async fn wait(pause: Duration, orders: &mut mpsc::Receiver<Order>) {
    let told = async {
        loop {
            match orders.recv().await {
                Some(Order::Look) => return,
                Some(Order::EndPublisher(_) | Order::Publisher(_)) => {}
                None => std::future::pending().await,
            }
        }
    };
    tokio::select! {
        () = sleep(pause) => {}
        () = told => {}
    }
}

/// `random` is from 0 to 1.
fn pause(failed: u32, random: f64) -> Duration {
    let at = (failed.max(1) as usize - 1).min(PAUSES_S.len() - 1);
    Duration::from_secs_f64(PAUSES_S[at] * (1.0 + SPREAD * (2.0 * random - 1.0)))
}

fn random() -> f64 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

fn silent(limit: Duration) -> ErrorReport {
    fault(
        "live_silent",
        format!("nothing came for {} s", limit.as_secs()),
        "check what publishes there; it is tried again by itself",
    )
}

fn unreachable(said: String) -> ErrorReport {
    fault(
        "live_unreachable",
        said,
        "check the input's url and what publishes there; it is tried again by itself",
    )
}

fn began_again() -> ErrorReport {
    fault(
        "live_began_again",
        "the server goes on with a feed whose clock has begun again".to_owned(),
        "nothing: it is opened again at once",
    )
}

// === impl Clock ===

impl Clock {
    fn stands_still(&mut self, packet: &Packet) -> bool {
        let Packet::Video(video) = packet else {
            return false;
        };
        self.stood = match self.last_ms.replace(video.dts_ms) == Some(video.dts_ms) {
            true => self.stood + 1,
            false => 0,
        };
        self.stood >= STUCK_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_ffmpeg_holds_is_told_from_one_that_trembles() {
        let told = |times: &[i64]| {
            let mut clock = Clock::default();
            let pictures = times.iter().map(|ms| {
                Packet::Video(crate::flv::VideoPacket {
                    dts_ms: *ms,
                    pts_ms: *ms,
                    keyframe: false,
                    payload: bytes::Bytes::new(),
                })
            });
            let mut told = pictures.map(|picture| clock.stands_still(&picture));
            told.any(|told| told)
        };
        assert!(!told(&[0, 33, 33, 67, 67, 67, 100]));
        assert!(told(&[0, 33, 33, 33, 33]));
    }

    #[test]
    fn pauses_grow_to_five_seconds_and_are_spread() {
        let pauses = [1, 2, 3, 4, 5, 50].map(|failed| pause(failed, 0.5).as_secs_f64());
        assert_eq!(pauses, [1.0, 2.0, 4.0, 5.0, 5.0, 5.0]);
        assert_eq!(pause(1, 0.0).as_secs_f64(), 0.8);
        assert_eq!(pause(4, 1.0).as_secs_f64(), 6.0);
    }
}
