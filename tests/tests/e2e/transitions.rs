//! Transitions, as a viewer sees and hears them: what was received is decoded again.
//!
//! The programme is dark grey under one tone, the feed light grey under another, slate and card are in
//! between and silent.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::controller::Setup;
use e2e::media;
use e2e::nginx::Nginx;
use e2e::process::{self, Child};
use e2e::rtmp::Receiver;
use e2e::stage::{self, publish};
use e2e::viewer::Report;
use e2e::wait;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ffmpeg_versions::ffmpeg;
use crate::skipped;

const SOON: Duration = Duration::from_secs(30);
/// Long enough for the feed's first group to be over.
const A_WHILE: Duration = Duration::from_millis(1_500);
const DARK: u8 = 64;
const MIDDLE: u8 = 136;
const LIGHT: u8 = 208;
/// A machine that is too slow for a transition makes a cut of it, and says so: it is tried again for so long.
const PATIENCE: Duration = Duration::from_secs(200);
/// Of programme and feed, seconds: neither begins anew within a test, where a feed has a hole.
const LENGTH_S: u32 = 300;
pub(crate) const LED_OVER: &str = "a transition leads over";
pub(crate) const CUT_INSTEAD: &str = "a cut instead of a transition";

/// A stream with a feed that waits to be taken.
struct Stage {
    _folder: TempDir,
    orders: TempDir,
    on_air: stage::Stage,
    recorder: Option<Nginx>,
    begun: Instant,
    _publisher: Child,
}

impl Stage {
    /// With transitions of that kind, rendered by this FFmpeg.
    fn new(ffmpeg: &Path, kind: &str) -> Self {
        let programme = media::grey("programme.mp4", DARK, 440, LENGTH_S);
        let feed = media::grey("feed.flv", LIGHT, 1_200, LENGTH_S);
        let folder = media::folder(&[("programme.mp4", &programme)]);
        picture(&folder.path().join("between.png"), MIDDLE);
        let (receiver, recorder) = (Receiver::start(), Nginx::start());
        let orders = tempfile::tempdir().expect("a temporary directory");
        let ffmpeg = ffmpeg_with_orders(orders.path(), ffmpeg);
        let fields = fields(&receiver, recorder.as_ref(), kind);
        let setup =
            Setup::local(folder.path()).variable("FFMPEG_BIN", &ffmpeg.display().to_string());
        let streams = vec![("main".to_owned(), receiver, fields)];
        let on_air = stage::Stage::start(setup, streams, "programme.mp4");
        let publisher = publish(&feed, &["-c", "copy"], &on_air.address("main"));
        on_air
            .controller
            .wait("main", "the feed is there", SOON, |status| {
                status["live_inputs"][0]["state"] == "ready"
            });
        Self {
            _folder: folder,
            orders,
            on_air,
            recorder,
            begun: Instant::now(),
            _publisher: publisher,
        }
    }

    fn set(&self, kind: &str) {
        let receiver = self.on_air.receiver();
        let config = stage::config(receiver, fields(receiver, self.recorder.as_ref(), kind));
        let answer = self.on_air.controller.call("PUT", "/streams/main", &config);
        assert!(answer.status < 300, "{}", answer.text());
    }

    /// What FFmpeg does when it is to render a transition.
    fn order(&self, what: &str) {
        fs::write(self.orders.path().join("order"), what).expect("writing an order");
    }

    fn take(&self, what: &str) {
        let body = json!({ "take": what });
        let asked = self
            .on_air
            .controller
            .call("POST", "/streams/main/source", &body);
        asked.expect(202);
        let kind = if what == "card" { "slate" } else { what };
        self.on_air.wait_kind("main", kind);
        wait::observe(A_WHILE);
    }

    /// Whether it can be tried once more.
    fn has_time(&self) -> bool {
        self.begun.elapsed() < PATIENCE
    }

    fn log(&self) -> Log {
        Log(self.on_air.controller.worker_log())
    }

    /// Stops; what the viewer saw, who had one unbroken session.
    fn recording(&self) -> PathBuf {
        self.on_air.controller.stop("main");
        let connection = self.on_air.receiver().only_connection();
        Report::of(&connection.messages).assert_seamless(media::FPS);
        let recorder = self.recorder.as_ref().expect("looked at before");
        let mut recordings = recorder.recordings();
        assert_eq!(recordings.len(), 1, "one session");
        recordings.remove(0)
    }
}

/// What the worker has said.
struct Log(String);

impl Log {
    fn lines(&self) -> impl Iterator<Item = Value> {
        self.0
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
    }

    fn said(&self, message: &str) -> usize {
        self.lines()
            .filter(|line| line["message"] == message)
            .count()
    }

    /// Transitions of that kind that were aired.
    fn led_over(&self, kind: &str) -> usize {
        let led = self.lines().filter(|line| {
            let of_kind = line["kind"].as_str();
            line["message"] == LED_OVER && of_kind.is_some_and(|it| it.eq_ignore_ascii_case(kind))
        });
        led.count()
    }

    /// Whether a cut was made instead, to there, for that reason.
    fn tells(&self, to: &str, reason: &str) -> bool {
        self.lines().any(|line| {
            line["message"] == CUT_INSTEAD && line["to"] == to && line["reason"] == reason
        })
    }

    /// How often something else than before took the air, once the programme had it; an item that follows
    /// another is the same.
    fn changes(&self) -> usize {
        let shown = self
            .lines()
            .filter_map(|line| match line["message"].as_str()? {
                "on air" => Some(DARK),
                "the slate is on air" => Some(MIDDLE),
                "live is on air" => Some(LIGHT),
                _ => None,
            });
        let shown: Vec<u8> = shown.skip_while(|shade| *shade != DARK).collect();
        shown.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }
}

fn fields(receiver: &Receiver, recorder: Option<&Nginx>, kind: &str) -> Value {
    let mut destinations = vec![json!({ "name": "out", "url": format!("{}/key", receiver.url()) })];
    let recorded = recorder.map(|nginx| format!("{}/recorded", nginx.url()));
    destinations.extend(recorded.map(|url| json!({ "name": "recorded", "url": url })));
    json!({
        "destinations": destinations,
        "programme": { "items": [{ "key": "programme.mp4" }] },
        "slate": { "key": "between.png" },
        "live_inputs": [{ "name": "owner", "ingest": true, "take": "manual" }],
        "live": { "transition": { "kind": kind, "seconds": 0.6 }, "card": { "key": "between.png" } },
    })
}

/// Of one shade.
fn picture(file: &Path, shade: u8) {
    let colour = format!("color=c=0x{shade:02x}{shade:02x}{shade:02x}:size=64x36");
    let name = file.to_string_lossy();
    let args = [
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        &colour,
        "-frames:v",
        "1",
        &name,
    ];
    let made = process::run("ffmpeg", &args, SOON).expect("FFmpeg");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

/// An FFmpeg that does as it is told when it is to render a transition: no other has a filter graph.
fn ffmpeg_with_orders(directory: &Path, ffmpeg: &Path) -> PathBuf {
    let program = directory.join("ffmpeg");
    let text = format!(
        "#!/bin/sh\n\
         case \"$*\" in *filter_complex*)\n\
         case \"$(cat {}/order 2>/dev/null)\" in fail) exit 1;; slow) sleep 60;; esac;;\n\
         esac\n\
         exec {} \"$@\"\n",
        directory.display(),
        ffmpeg.display()
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
        // Where the light is one of these, and where it was another one before.
        let shade = |value: f64| {
            [DARK, MIDDLE, LIGHT]
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
            if last.is_none() && now != DARK {
                // The slate, until the programme is there.
                continue;
            }
            if let Some((from, before)) = last.filter(|(_, before)| *before != now) {
                let between = &light[from + 1..at];
                let (dark, bright) = (luma(now.min(before)), luma(now.max(before)));
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
                        (dark + 10.0..bright - 10.0).contains(&middle),
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
    const KINDS: [&str; 3] = ["dip", "crossfade", "fade"];
    let stage = Stage::new(Path::new("ffmpeg"), "cut");
    if stage.recorder.is_none() {
        return skipped("nginx with its RTMP module is not installed");
    }
    for kind in KINDS {
        stage.set(kind);
        while stage.log().led_over(kind) < 2 && stage.has_time() {
            stage.take("live");
            stage.take("programme");
        }
    }
    let recording = stage.recording();
    let log = stage.log();
    let made = KINDS.map(|kind| log.led_over(kind));
    assert!(made.iter().all(|made| *made >= 2), "{made:?}\n{}", log.0);
    let changes = Changes::of(&light(&recording));
    assert_eq!(
        (changes.dips, changes.mixes),
        (made[0], made[1]),
        "{changes:?} {made:?}"
    );
    let seen = changes.dips + changes.mixes + changes.cuts;
    assert_eq!(seen, log.changes(), "{changes:?} {made:?}\n{}", log.0);
    let loudness = loudness(&recording);
    let quiet = |values: &&[f64]| values[0] > -30.0 && values[1] <= -30.0;
    let falls = loudness.windows(2).filter(quiet).count();
    assert_eq!(
        falls,
        made[0] + made[2],
        "of dips and fades only: {loudness:?}"
    );
}

/// To the slate and from it, to the card and from it; how often it was dipped and how often mixed.
fn by_slate_and_card(version: &str, kind: &str) -> Option<Changes> {
    const WAYS: [&str; 6] = ["slate", "programme", "live", "card", "live", "programme"];
    let stage = Stage::new(&ffmpeg(version)?, kind);
    if stage.recorder.is_none() {
        skipped("nginx with its RTMP module is not installed");
        return None;
    }
    let mut led = [0; WAYS.len()];
    while led.contains(&0) && stage.has_time() {
        for (way, led) in WAYS.iter().zip(&mut led) {
            let before = stage.log().said(LED_OVER);
            stage.take(way);
            *led += stage.log().said(LED_OVER) - before;
        }
    }
    let recording = stage.recording();
    let log = stage.log();
    assert!(!led.contains(&0), "{led:?}\n{}", log.0);
    let changes = Changes::of(&light(&recording));
    assert_eq!(
        (changes.dips + changes.mixes, changes.cuts),
        (led.iter().sum(), log.changes() - log.said(LED_OVER)),
        "{changes:?} {led:?}\n{}",
        log.0
    );
    Some(changes)
}

#[test]
fn ffmpeg_7_mixes_with_slate_and_card() {
    let Some(changes) = by_slate_and_card("7.0", "crossfade") else {
        return;
    };
    assert_eq!(changes.dips, 0, "{changes:?}");
}

#[test]
fn ffmpeg_9_dips_to_slate_and_card() {
    let Some(changes) = by_slate_and_card("9.0", "dip") else {
        return;
    };
    assert_eq!(changes.mixes, 0, "{changes:?}");
}

#[test]
fn an_ffmpeg_that_fails_or_is_slow_makes_a_cut_of_it() {
    let stage = Stage::new(Path::new("ffmpeg"), "dip");
    let mut asked = 0;
    for (order, why) in [
        ("fail", "FFmpeg rendered nothing"),
        ("slow", "FFmpeg was not done in time"),
    ] {
        stage.order(order);
        // A busy machine has other reasons, too: a failure that comes late, a feed that was not there.
        while !stage.log().tells("live", why) {
            assert!(stage.has_time(), "{}", stage.log().0);
            for what in ["live", "programme"] {
                stage.take(what);
                asked += 1;
            }
        }
    }
    let log = stage.log();
    assert_eq!(log.said(LED_OVER), 0, "{}", log.0);
    let told = log.said(CUT_INSTEAD);
    assert!(
        (asked / 2..=asked).contains(&told),
        "of {asked} {told}: {}",
        log.0
    );
    let controller = &stage.on_air.controller;
    wait::until("none is left behind", SOON, || {
        controller
            .ffmpegs("filter_complex")
            .is_empty()
            .then_some(())
    });
    controller.stop("main");
    let connection = stage.on_air.receiver().only_connection();
    Report::of(&connection.messages).assert_seamless(media::FPS);
}
