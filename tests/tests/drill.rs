//! `stream-controller drill` and its soak: the faults as an operator makes them.
//!
//! A binary of its own: what they judge is what a viewer sees to the tenth of a second, and the other tests starve
//! and freeze the machine on purpose. Drills mostly wait, so several are held side by side; the soak, which compares
//! its records to a quarter of a second, has the machine for itself.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use e2e::controller::binary;
use e2e::process::{self, Child};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Where root may neither mount nor give up its rights, it can be kept from nothing; where only root may filter what
/// arrives, others have no dead line: left out by name then. Every other fault must be within its limits.
const MAY_BE_SKIPPED: [&str; 2] = ["state-read-only", "destination-half-open"];

/// What the status has to call a fault. Of the others, some are nothing that has a name, and some last no longer here
/// than it takes to tell them.
const TOLD: [(&str, &str); 7] = [
    ("publisher-killed", "ffmpeg_exited"),
    ("publisher-frozen", "ffmpeg_stalled"),
    ("destination-refuses", "connection_refused"),
    ("destination-resets", "connection_lost"),
    ("destination-stalls", "stalled"),
    ("destination-rejects-key", "key_rejected"),
    ("storage-lost", "storage_unreachable"),
];

/// Drills that share the faults.
const SIDE_BY_SIDE: usize = 3;

/// Of the shorter soak that is one of the tests: workers, publishers, readers and controllers that are
/// killed or stand still, an upgrade, a reset, lost storage.
const SOAK_SECONDS: f64 = 75.0;
const SOAK_SEED: &str = "3960";

/// Held by every test for as long as it drills; the soak wants it for itself.
static DRILLING: RwLock<()> = RwLock::new(());

fn beside_others() -> RwLockReadGuard<'static, ()> {
    // One that failed leaves the others to be judged by themselves.
    DRILLING.read().unwrap_or_else(PoisonError::into_inner)
}

/// Names of all faults, in the order of the drill.
fn faults() -> Vec<String> {
    let mut list = process::command(binary("stream-controller"));
    list.args(["drill", "--list"]);
    let output = list.output().expect("starting the drill");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

/// Runs it to its end; its exit code, the JSON it printed, and all it said. Nothing is left of it then.
fn drill(arguments: &[&str], limit: Duration) -> (i32, Value, String) {
    let program = binary("stream-controller");
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new("timeout");
    command.args(["--kill-after=30", "--signal=INT"]);
    command.arg(limit.as_secs().to_string());
    command.arg(program).arg("drill").arg("--json");
    command.args(arguments).stdin(Stdio::null());
    command
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.env("WORKER_BIN", binary("stream-worker"));
    command
        .env("STATE_DIR", temporary.path())
        .env("TMPDIR", temporary.path());
    let output = command.output().expect("starting the drill");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = format!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let json = serde_json::from_str(text.trim()).unwrap_or_default();
    assert_nothing_left(temporary.path());
    (process::code(output.status), json, said)
}

/// It was the drill that ended its processes: nothing is on its way out any more.
#[track_caller]
fn assert_nothing_left(of: &Path) {
    let outlived: Vec<_> = process::family(None, of)
        .iter()
        .map(process::Process::command_line)
        .collect();
    assert!(outlived.is_empty(), "{outlived:?}");
    let left: Vec<_> = std::fs::read_dir(of)
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn every_fault_of_the_drill_stays_within_its_limits() {
    let _drilling = beside_others();
    let faults = faults();
    // Dealt like cards: neighbours are alike, and take alike long.
    let hands = (0..SIDE_BY_SIDE).map(|hand| {
        let dealt = faults.iter().skip(hand).step_by(SIDE_BY_SIDE);
        dealt.map(String::as_str).collect::<Vec<_>>().join(",")
    });
    let hands: Vec<String> = hands.collect();
    let reports: Vec<_> = std::thread::scope(|scope| {
        let start = |hand| {
            scope.spawn(move || {
                let arguments = ["--seconds", "6", "--only", hand];
                drill(&arguments, Duration::from_secs(600))
            })
        };
        let drills: Vec<_> = hands.iter().map(|hand| start(hand.as_str())).collect();
        let reports = drills.into_iter().map(|drill| drill.join());
        reports.map(|it| it.expect("a drill is held")).collect()
    });
    let seen: usize = reports.iter().map(judge).sum();
    assert_eq!(seen, faults.len(), "{reports:#?}");
    assert!(seen >= 26, "{faults:?}");
}

/// Every fault of it was within its limits; how many that were.
#[track_caller]
fn judge((code, report, said): &(i32, Value, String)) -> usize {
    let outcomes = report["outcomes"].as_array();
    let outcomes = outcomes.unwrap_or_else(|| panic!("no report:\n{said}"));
    let mut wrong = Vec::new();
    for outcome in outcomes {
        let name = outcome["fault"].as_str().expect("a name");
        match &outcome["verdict"] {
            verdict if verdict == "pass" => {}
            verdict if verdict["skipped"].is_string() && MAY_BE_SKIPPED.contains(&name) => {
                e2e::skipped(&format!("{name}: {}", verdict["skipped"]));
            }
            verdict => wrong.push(format!("{name}: {verdict}\n{}", outcome["seen"])),
        }
        let told = outcome["told"].as_array().into_iter().flatten();
        let told: Vec<_> = told.filter_map(Value::as_str).collect();
        let untold = TOLD
            .into_iter()
            .find(|(fault, name_of_it)| *fault == name && !told.contains(name_of_it));
        if let Some((_, name_of_it)) = untold {
            wrong.push(format!("{name}: told as {told:?}, not {name_of_it}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{said}", wrong.join("\n"));
    assert_eq!((*code, &report["passed"]), (0, &Value::Bool(true)));
    outcomes.len()
}

/// `SOAK_MINUTES` makes it longer, with faults of its own each time; `scripts/soak.sh` is the half-hour
/// one.
#[test]
fn a_short_soak_loses_nothing_and_leaves_nothing() {
    let _alone = DRILLING.write().unwrap_or_else(PoisonError::into_inner);
    let asked = std::env::var("SOAK_MINUTES").ok();
    let seconds = asked.as_ref().map_or(SOAK_SECONDS, |minutes| {
        minutes.parse::<f64>().expect("SOAK_MINUTES is a number") * 60.0
    });
    let minutes = (seconds / 60.0).to_string();
    let mut arguments = vec!["--soak", &minutes];
    if asked.is_none() {
        arguments.extend(["--seed", SOAK_SEED]);
    }
    let limit = Duration::from_secs_f64(seconds + 240.0);
    let (code, report, said) = drill(&arguments, limit);
    assert_eq!((code, &report["passed"]), (0, &Value::Bool(true)), "{said}");
    let soak = &report["soak"];
    assert_eq!(soak["streams"], 5, "{report:#}");
    assert!(soak["faults"].as_u64() >= Some(3), "{report:#}");
    assert!(soak["record"]["gaps"].as_u64() >= Some(1), "{report:#}");
}

#[test]
fn a_drill_that_is_interrupted_or_killed_leaves_nothing_behind() {
    let _drilling = beside_others();
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let temporary = tempfile::tempdir().unwrap();
        let mut command = process::command(binary("stream-controller"));
        command.args(["drill", "--only", "operator-slate", "--seconds", "600"]);
        command.env("WORKER_BIN", binary("stream-worker"));
        command
            .env("STATE_DIR", temporary.path())
            .env("TMPDIR", temporary.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut drill = Child::spawn(&mut command);
        let mark = temporary.path();
        let workers = || process::workers(&process::family(None, mark)).len();
        e2e::wait::until("its worker is there", Duration::from_secs(60), || {
            (workers() == 1).then_some(())
        });
        drill.signal(signal);
        assert_ne!(drill.wait(Duration::from_secs(30)).code(), Some(0));
        if signal == Signal::SIGKILL {
            e2e::wait::until("all of it is gone", Duration::from_secs(30), || {
                let processes = process::family(None, mark).len();
                let files = std::fs::read_dir(mark).unwrap().count();
                (processes + files == 0).then_some(())
            });
        }
        assert_nothing_left(mark);
    }
}
