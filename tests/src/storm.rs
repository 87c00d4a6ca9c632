//! Many calls at once, of a kind and to a stream drawn by a seed.
//!
//! One thread makes them all: a thousand threads would take the cores away from who is to answer. It goes before
//! other programs, as callers on machines of their own do not wait for the FFmpegs of this one; and answers are
//! read while the time runs, but understood only afterwards.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future;
use rustix::process::setpriority_process;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::time::timeout;

use crate::http;

/// A stop may wait for a worker that is only just being started.
const LIMIT: Duration = Duration::from_secs(60);

/// Just before the controller: see the priorities of `supervise`.
const CALLERS: i32 = -11;

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `POST …/start`.
    Start,
    /// `POST …/stop`.
    Stop,
    /// `POST …/skip`.
    Skip,
}

/// Who is called.
#[derive(Debug, Clone, Copy)]
pub struct Targets<'a> {
    /// Started, stopped and skipped.
    pub streams: &'a [String],
    /// Only skipped, so that it stays on air: by half of the skips.
    pub stays: Option<&'a str>,
}

/// One call, and what came of it.
#[derive(Debug, Clone)]
pub struct Answered {
    /// What was called.
    pub call: Call,
    /// The answer.
    pub status: u16,
    /// Its body.
    pub text: String,
    /// How long it took, over a connection that was open before.
    pub took: Duration,
}

/// The same, not read yet.
struct Raw {
    call: Call,
    bytes: Vec<u8>,
    took: Duration,
}

impl Call {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Skip => "skip",
        }
    }
}

/// Makes `count` calls, `at_once` of them at a time, and waits for all answers.
pub fn storm(
    address: SocketAddr,
    targets: Targets<'_>,
    count: usize,
    at_once: usize,
    seed: u64,
) -> Vec<Answered> {
    let raw = before_others(|| {
        let numbers = Cell::new(0..count as u64);
        let next = || {
            let mut rest = numbers.take();
            let number = rest.next();
            numbers.set(rest);
            number
        };
        let calls = async {
            let lines = (0..at_once).map(|_| TcpStream::connect(address));
            let lines = future::try_join_all(lines).await.expect("it accepts");
            let callers = lines.into_iter().map(async |mut line| {
                let mut answers = Vec::new();
                while let Some(number) = next() {
                    answers.push(one(&mut line, address, targets, draw(seed, number)).await);
                }
                // The line stays open, as it was before.
                (line, answers)
            });
            let (_lines, answers): (Vec<_>, Vec<_>) =
                future::join_all(callers).await.into_iter().unzip();
            answers.into_iter().flatten().collect::<Vec<_>>()
        };
        runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(calls)
    });
    raw.into_iter().map(Raw::understood).collect()
}

/// Does `work` in a thread that goes before other programs.
fn before_others<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            // Without the right to it, it waits for its turn as others do.
            let _as_before = setpriority_process(None, CALLERS);
            work()
        });
        worker.join().expect("every call is answered")
    })
}

async fn one(line: &mut TcpStream, address: SocketAddr, targets: Targets<'_>, drawn: u64) -> Raw {
    let Targets { streams, stays } = targets;
    let call = match drawn % 5 {
        0 | 1 => Call::Start,
        2 | 3 => Call::Skip,
        _ => Call::Stop,
    };
    let any = streams[(drawn >> 8) as usize % streams.len()].as_str();
    let stays = stays.filter(|_| call == Call::Skip && (drawn >> 40).is_multiple_of(2));
    let path = format!("/streams/{}/{}", stays.unwrap_or(any), call.name());
    let head = http::head(address, "POST", &path, &[], 0);
    let begun = Instant::now();
    let bytes = timeout(LIMIT, post(line, &head))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .unwrap_or_else(|error| panic!("POST {path}: {error}"));
    Raw {
        call,
        took: begun.elapsed(),
        bytes,
    }
}

/// The answer as it came.
async fn post(line: &mut TcpStream, head: &str) -> io::Result<Vec<u8>> {
    line.write_all(head.as_bytes()).await?;
    let mut bytes = Vec::with_capacity(8 * 1024);
    while !is_whole(&bytes) {
        if line.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(bytes)
}

/// Whether as much has come as its head says.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let head = str::from_utf8(&bytes[..end]).unwrap_or_default();
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    length.and_then(|(_, length)| length.trim().parse().ok()) == Some(bytes.len() - end - 4)
}

impl Raw {
    fn understood(self) -> Answered {
        let answer = http::parse(&self.bytes).expect("an answer that is whole has a head");
        Answered {
            call: self.call,
            status: answer.status,
            text: answer.text(),
            took: self.took,
        }
    }
}

/// The time that this share (0..1) of `times` does not exceed.
pub fn percentile(times: &[Duration], share: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    let index = (sorted.len() as f64 * share).ceil() as usize;
    let last = sorted.len().saturating_sub(1);
    sorted
        .get(index.saturating_sub(1).min(last))
        .copied()
        .unwrap_or_default()
}

/// SplitMix64: the same numbers for the same seed, in whichever order they are drawn.
pub fn draw(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add((number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
