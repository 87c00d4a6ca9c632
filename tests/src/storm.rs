//! Many calls at once, of a kind and to a stream drawn by a seed.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::http;

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
    /// How long it took, from before the connection was made.
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
    let next = AtomicUsize::new(0);
    let ready = Barrier::new(at_once);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..at_once)
            .map(|_| {
                scope.spawn(|| {
                    let mut answers = Vec::new();
                    ready.wait();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return answers;
                        }
                        answers.push(one(address, targets, draw(seed, number as u64)));
                    }
                })
            })
            .collect();
        let joined = callers.into_iter().map(|caller| caller.join());
        joined
            .flat_map(|answers| answers.expect("no caller panics"))
            .collect()
    })
}

fn one(address: SocketAddr, targets: Targets<'_>, drawn: u64) -> Answered {
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
    let answer = http::request(address, "POST", &path, &[], &[], LIMIT)
        .unwrap_or_else(|error| panic!("POST {path}: {error}"));
    Answered {
        call,
        status: answer.status,
        text: answer.text(),
        took: begun.elapsed(),
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
