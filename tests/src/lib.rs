//! The world around stream-controller, for its end-to-end tests and its benchmark.
//!
//! Nothing here is a mock of a part a user would run: the controller and the workers are the built
//! binaries, media comes from a real S3 server that checks signatures, FFmpeg is FFmpeg, and what
//! leaves is received by nginx-rtmp or by [`rtmp::Receiver`], which notes each message.
//!
//! - [`rtmp`]: an RTMP server that logs, and misbehaves on request.
//! - [`viewer`]: what a viewer would have seen, computed from that log.
//! - [`proxy`]: a TCP proxy that breaks connections.  [`far`]: a machine whose cable can be cut.
//! - [`s3`]: an S3 server with faults.  [`nginx`]: nginx with its RTMP module.
//! - [`mediamtx`]: a MediaMTX with our configuration.  [`upstream`]: servers a feed is pulled from.
//! - [`media`]: test files, made by FFmpeg when first asked for.
//! - [`controller`]: stream-controller in temporary directories, and its REST client.  [`contract`]: what it may
//!   answer.  [`stage`]: streams on air.
//! - [`apart`]: a network, a resolver, process numbers of one test alone.  [`group`]: what can run out.
//! - [`systemd`]: the installed service under systemd as PID 1.
//! - [`exposition`]: what Prometheus reads.
//! - [`process`]: children and what `/proc` says of them.  [`canary`]: secrets that must not leak.
//!
//! Everything is blocking: a test reads as a story, and each wait is a [`wait::until`] that polls
//! for a state and says what it waited for when it gives up.

pub mod apart;
pub mod canary;
pub mod contract;
pub mod controller;
pub mod encoder;
pub mod exposition;
pub mod far;
pub mod flv;
pub mod group;
pub mod http;
pub mod media;
pub mod mediamtx;
pub mod nginx;
pub mod obs;
pub mod pressure;
pub mod process;
pub mod proxy;
pub mod rtmp;
pub mod s3;
mod served;
pub mod stage;
pub mod storm;
pub mod systemd;
pub mod upstream;
pub mod viewer;
pub mod wait;

/// Says which test did not run and why; `scripts/test.sh` counts these lines.
pub fn skipped(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Past the test runner's capture, so that it is seen although the test passes.
    let line = format!("SKIPPED {test}: {why}\n");
    std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).expect("standard error");
}
