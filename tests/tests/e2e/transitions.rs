//! Transitions, as a viewer sees and hears them: what was received is decoded again.
//!
//! The programme is dark grey under one tone, the feed light grey under another.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use e2e::controller::{Controller, Setup};
use e2e::media;
use e2e::nginx::{Nginx, free_address};
use e2e::process::{self, Child};
use e2e::rtmp::Receiver;
use e2e::viewer::Report;
use e2e::wait;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::skipped;

const SOON: Duration = Duration::from_secs(30);
/// Long enough for the feed's first group to be over.
const A_WHILE: Duration = Duration::from_millis(1_500);
const DARK: u8 = 64;
const LIGHT: u8 = 208;
/// Tries at a transition: a machine that is too slow for one of them makes a cut, and says so.
const TRIES: usize = 6;

/// A stream with a feed that waits to be taken.
struct Stage {
    _folder: TempDir,
    orders: TempDir,
    receiver: Receiver,
    controller: Controller,
    recorder: Option<Nginx>,
    _publisher: Child,
}

impl Stage {
    fn new() -> Self {
        let programme = media::grey("programme.mp4", DARK, 440, 120);
        let folder = media::folder(&[("programme.mp4", &programme)]);
        let (receiver, recorder) = (Receiver::start(), Nginx::start());
        let address = free_address().to_string();
        let orders = tempfile::tempdir().expect("a temporary directory");
        let ffmpeg = ffmpeg_with_orders(orders.path());
        let controller = Setup::local(folder.path())
            .variable("INGEST_BIND", &address)
            .variable("FFMPEG_BIN", &ffmpeg.display().to_string())
            .stream("main", config(&receiver, recorder.as_ref(), "cut"))
            .start();
        let answer = controller.call("POST", "/ingest/keys", &json!({ "stream_id": "main" }));
        let key = answer.json()["key"].as_str().expect("a key").to_owned();
        controller.start("main");
        controller.wait_on_air("main", "programme.mp4", SOON);
        let publisher = publish(&format!("rtmp://{address}/live/{key}"));
        controller.wait("main", "the feed is there", SOON, |status| {
            status["live_inputs"][0]["state"] == "ready"
        });
        Self {
            _folder: folder,
            orders,
            receiver,
            controller,
            recorder,
            _publisher: publisher,
        }
    }

    fn set(&self, kind: &str) {
        let config = config(&self.receiver, self.recorder.as_ref(), kind);
        let answer = self.controller.call("PUT", "/streams/main", &config);
        assert!(answer.status < 300, "{}", answer.text());
    }

    /// What FFmpeg does when it is to render a transition.
    fn order(&self, what: &str) {
        fs::write(self.orders.path().join("order"), what).expect("writing an order");
    }

    fn take(&self, what: &str) {
        let body = json!({ "take": what });
        self.controller
            .call("POST", "/streams/main/source", &body)
            .expect(202);
        self.controller.wait("main", what, SOON, |status| {
            status["on_air"]["kind"] == what
        });
        wait::observe(A_WHILE);
    }

    fn said(&self, what: &str) -> usize {
        self.controller.worker_log().matches(what).count()
    }
}

fn config(receiver: &Receiver, recorder: Option<&Nginx>, kind: &str) -> Value {
    let mut destinations = vec![json!({ "name": "out", "url": format!("{}/key", receiver.url()) })];
    let recorded = recorder.map(|nginx| format!("{}/recorded", nginx.url()));
    destinations.extend(recorded.map(|url| json!({ "name": "recorded", "url": url })));
    json!({
        "format": media::format(),
        "destinations": destinations,
        "live_inputs": [{ "name": "owner", "ingest": true, "take": "manual" }],
        "live": { "transition": { "kind": kind, "seconds": 0.6 } },
    })
}

fn publish(url: &str) -> Child {
    let mut command = process::command("ffmpeg");
    command.args(["-v", "error", "-re", "-stream_loop", "-1", "-i"]);
    command.arg(media::grey("feed.flv", LIGHT, 1_200, 120));
    command
        .args(["-c", "copy", "-f", "flv", url])
        .stderr(Stdio::null());
    Child::spawn(&mut command)
}

/// An FFmpeg that does as it is told when it is to render a transition: no other has a filter graph.
fn ffmpeg_with_orders(directory: &Path) -> PathBuf {
    let program = directory.join("ffmpeg");
    let text = format!(
        "#!/bin/sh\n\
         case \"$*\" in *filter_complex*)\n\
         case \"$(cat {}/order 2>/dev/null)\" in fail) exit 1;; slow) sleep 20;; esac;;\n\
         esac\n\
         exec ffmpeg \"$@\"\n",
        directory.display()
    );
    fs::write(&program, text).expect("writing a script");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its permissions");
    program
}

/// One value of each picture or stretch of sound of a recording, in their order.
fn measured(recording: &Path, filter: &[&str], key: &str) -> Vec<f64> {
    let name = recording.to_string_lossy();
    let mut args = vec!["-v", "error", "-i", &name];
    args.extend(filter);
    args.extend(["-f", "null", "-"]);
    let output = process::run("ffmpeg", &args, Duration::from_secs(120)).expect("FFmpeg");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let values = text
        .lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values
        .map(|value| value.parse().unwrap_or(-200.0))
        .collect()
}

fn light(recording: &Path) -> Vec<f64> {
    let filter = "signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-";
    measured(recording, &["-an", "-vf", filter], "lavfi.signalstats.YAVG")
}

/// Of each 20 ms, dB.
fn loudness(recording: &Path) -> Vec<f64> {
    let filter = "asetnsamples=960,astats=metadata=1:reset=1,\
                  ametadata=print:key=lavfi.astats.Overall.RMS_level:file=-";
    measured(
        recording,
        &["-vn", "-af", filter],
        "lavfi.astats.Overall.RMS_level",
    )
}

/// How the picture came from one shade to the other, each time.
#[derive(Debug, Default)]
struct Changes {
    cuts: usize,
    dips: usize,
    mixes: usize,
}

impl Changes {
    fn of(light: &[f64]) -> Self {
        // Where the light is one of the two, and where it was the other one before.
        let shade = |value: f64| {
            [DARK, LIGHT]
                .into_iter()
                .find(|shade| (value - luma(*shade)).abs() < 6.0)
        };
        let mut changes = Self::default();
        let mut last: Option<(usize, u8)> = None;
        for (at, value) in light.iter().enumerate() {
            // A dip comes by the darker shade on its way up: only what stands counts.
            let stands = at > 0 && (value - light[at - 1]).abs() < 1.0;
            let Some(now) = shade(*value).filter(|_| stands) else {
                continue;
            };
            if let Some((from, before)) = last.filter(|(_, before)| *before != now) {
                let between = &light[from + 1..at];
                let (dark, bright) = (luma(DARK), luma(LIGHT));
                // The first picture of the new shade does not stand yet.
                if between.len() < 2 {
                    changes.cuts += 1;
                } else if between.iter().any(|value| *value < 20.0) {
                    changes.dips += 1;
                } else {
                    let rises = now > before;
                    let steady = between.windows(2).all(|pair| {
                        (pair[1] - pair[0] >= -2.0) == rises || (pair[1] - pair[0]).abs() <= 2.0
                    });
                    let middle = between[between.len() / 2];
                    assert!(steady, "{between:?}");
                    assert!(
                        (dark + 30.0..bright - 30.0).contains(&middle),
                        "{between:?}"
                    );
                    changes.mixes += 1;
                }
            }
            last = Some((at, now));
        }
        changes
    }
}

/// Of a grey of full range, as coded.
fn luma(shade: u8) -> f64 {
    16.0 + f64::from(shade) * 219.0 / 255.0
}

#[test]
fn takeovers_are_faded_dipped_and_mixed() {
    let stage = Stage::new();
    if stage.recorder.is_none() {
        return skipped("nginx with its RTMP module is not installed");
    }
    let led_over = "a transition leads over";
    let mut made = Vec::new();
    for kind in ["dip", "crossfade", "fade"] {
        stage.set(kind);
        let before = stage.said(led_over);
        for _ in 0..TRIES {
            stage.take("live");
            stage.take("programme");
            if stage.said(led_over) >= before + 2 {
                break;
            }
        }
        made.push(stage.said(led_over) - before);
    }
    let missed = stage.said("a cut instead of a transition");
    stage.controller.stop("main");
    assert!(
        made.iter().all(|made| *made >= 2),
        "{made:?}\n{}",
        stage.controller.worker_log()
    );

    let connection = stage.receiver.only_connection();
    Report::of(&connection.messages).assert_seamless(media::FPS);
    let recorder = stage.recorder.expect("looked at above");
    let recordings = recorder.recordings();
    assert_eq!(recordings.len(), 1, "one session");
    let changes = Changes::of(&light(&recordings[0]));
    assert_eq!(
        (changes.dips, changes.mixes),
        (made[0], made[1]),
        "{changes:?} {made:?}"
    );
    assert_eq!(changes.cuts, made[2] + missed, "{changes:?} {made:?}");
    let loudness = loudness(&recordings[0]);
    let quiet = |values: &&[f64]| values[0] > -30.0 && values[1] <= -30.0;
    let falls = loudness.windows(2).filter(quiet).count();
    assert_eq!(
        falls,
        made[0] + made[2],
        "of dips and fades only: {loudness:?}"
    );
}

#[test]
fn an_ffmpeg_that_fails_or_is_slow_makes_a_cut_of_it() {
    let stage = Stage::new();
    stage.set("dip");
    for (order, why) in [
        ("fail", "FFmpeg rendered nothing"),
        ("slow", "FFmpeg was not done in time"),
    ] {
        let before = stage.said("a cut instead of a transition");
        stage.order(order);
        stage.take("live");
        stage.take("programme");
        let log = stage.controller.worker_log();
        assert_eq!(
            stage.said("a cut instead of a transition"),
            before + 2,
            "{log}"
        );
        assert!(log.contains(why), "{log}");
    }
    assert_eq!(stage.said("a transition leads over"), 0);
    assert!(
        stage.controller.ffmpegs("filter_complex").is_empty(),
        "none is left behind"
    );
    stage.controller.stop("main");
    let connection = stage.receiver.only_connection();
    Report::of(&connection.messages).assert_seamless(media::FPS);
}
