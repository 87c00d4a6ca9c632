//! Many calls at once, of a kind and to a stream drawn by a seed.
//!
//! One thread makes them all: a thousand threads would take the cores away from who is to answer.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::time::timeout;

use crate::http::{self, Answer};

/// A stop may wait for a worker that is only just being started.
const LIMIT: Duration = Duration::from_secs(60);

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
                answers.push(one(&mut line, targets, draw(seed, number)).await);
            }
            answers
        });
        future::join_all(callers).await.concat()
    };
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(calls)
}

async fn one(line: &mut TcpStream, targets: Targets<'_>, drawn: u64) -> Answered {
    let Targets { streams, stays } = targets;
    let call = match drawn % 5 {
        0 | 1 => Call::Start,
        2 | 3 => Call::Skip,
        _ => Call::Stop,
    };
    let any = streams[(drawn >> 8) as usize % streams.len()].as_str();
    let stays = stays.filter(|_| call == Call::Skip && (drawn >> 40).is_multiple_of(2));
    let path = format!("/streams/{}/{}", stays.unwrap_or(any), call.name());
    let begun = Instant::now();
    let answer = timeout(LIMIT, post(line, &path))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .unwrap_or_else(|error| panic!("POST {path}: {error}"));
    Answered {
        call,
        status: answer.status,
        text: answer.text(),
        took: begun.elapsed(),
    }
}

async fn post(line: &mut TcpStream, path: &str) -> io::Result<Answer> {
    let head = http::head(line.peer_addr()?, "POST", path, &[], 0);
    line.write_all(head.as_bytes()).await?;
    let mut raw = Vec::with_capacity(8 * 1024);
    loop {
        if line.read_buf(&mut raw).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let answer = http::parse(&raw);
        let whole = |answer: &Answer| {
            answer.header("content-length") == Some(&answer.body.len().to_string())
        };
        if let Some(answer) = answer.filter(whole) {
            return Ok(answer);
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
