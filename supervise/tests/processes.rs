//! Children as they really behave: every test starts real processes and waits for what they do.

#![expect(
    clippy::unwrap_used,
    reason = "a test helper that fails is a test that fails"
)]

use std::collections::BTreeSet;
use std::io::{Read, Seek, Write};
use std::time::Duration;

use rustix::process::Signal;
use supervise::lines::LineReader;
use supervise::watch::{WatchError, Watched, WatchedEnd};
use supervise::{
    Child, ExitReason, Grace, Group, Input, Output, Priority, SpawnError, Spec, Terminated, spawn,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdout;

const SIGKILL: ExitReason = ExitReason::Signal(libc::SIGKILL);
const SIGTERM: ExitReason = ExitReason::Signal(libc::SIGTERM);

/// Far longer than any test takes: an exit within it was caused by the test.
const PATIENT: Grace = Grace {
    again_after: Duration::from_secs(60),
    kill_after: Duration::from_secs(120),
};
const HASTY: Grace = Grace {
    again_after: Duration::from_millis(100),
    kill_after: Duration::from_millis(200),
};

fn sh(script: &str) -> Spec {
    Spec::new("sh").arg("-c").arg(script).stdout(Output::Piped)
}

/// Starts a script and waits for the first line it writes.
async fn started(script: &str) -> (Child, String, LineReader<ChildStdout>) {
    let mut child = spawn(sh(script)).unwrap();
    let mut lines = LineReader::new(child.take_stdout().unwrap());
    let line = lines.next_line().await.unwrap().unwrap();
    (child, line, lines)
}

async fn output_of(spec: Spec) -> String {
    let mut child = spawn(spec).unwrap();
    let mut text = String::new();
    let mut stdout = child.take_stdout().unwrap();
    stdout.read_to_string(&mut text).await.unwrap();
    assert_eq!(child.wait().await, ExitReason::Code(0), "{text}");
    text
}

#[tokio::test]
async fn who_prepares_comes_after_who_works_and_nobody_but_ours_goes_first() {
    let own = rustix::process::getpriority_process(None).unwrap();
    let usual = own.max(0);
    let expected = [
        (Priority::Ours, own),
        (Priority::Usual, usual),
        (Priority::Background, (usual + 5).min(19)),
    ];
    for (priority, niceness) in expected {
        let told = output_of(sh("cut -d' ' -f19 /proc/$$/stat").priority(priority)).await;
        assert_eq!(told.trim(), niceness.to_string(), "{priority:?}");
    }
}

/// The state letter of `/proc/PID/stat`; `None` once the process has been reaped.
fn state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 2..].chars().next()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(40), waited)
        .await
        .unwrap_or_else(|_| panic!("never happened: {what}"));
}

#[tokio::test]
async fn exit_code_and_signal_are_told_and_told_again() {
    let mut child = spawn(sh("exit 42")).unwrap();
    assert_eq!(child.wait().await, ExitReason::Code(42));
    assert_eq!(child.wait().await, ExitReason::Code(42));
    assert_eq!(child.try_wait(), Some(ExitReason::Code(42)));

    let mut child = spawn(sh("kill -USR1 $$")).unwrap();
    assert_eq!(child.wait().await, ExitReason::Signal(libc::SIGUSR1));
    assert_eq!(child.wait().await.to_string(), "signal SIGUSR1");
}

#[tokio::test]
async fn an_abandoned_wait_loses_nothing() {
    let (mut child, _, _) = started("echo up; exec sleep 1000").await;
    assert_eq!(child.try_wait(), None);
    for _ in 0..3 {
        let short = Duration::from_millis(5);
        assert!(tokio::time::timeout(short, child.wait()).await.is_err());
    }
    child.kill_now();
    assert_eq!(child.wait().await, SIGKILL);
}

#[tokio::test]
async fn a_missing_program_is_told_from_a_machine_that_refuses() {
    let error = spawn(Spec::new("/nowhere/ffmpeg")).unwrap_err();
    assert!(matches!(error, SpawnError::Missing { .. }), "{error:?}");
    assert!(error.to_string().contains("/nowhere/ffmpeg"), "{error}");

    let not_executable = tempfile::NamedTempFile::new().unwrap();
    let error = spawn(Spec::new(not_executable.path())).unwrap_err();
    assert!(matches!(error, SpawnError::Missing { .. }), "{error:?}");
}

#[tokio::test]
async fn the_environment_is_exactly_what_was_given() {
    let mut spec = Spec::new("/usr/bin/env").stdout(Output::Piped);
    spec.env = vec![("ONLY".into(), "this".into())];
    assert_eq!(output_of(spec).await, "ONLY=this\n");

    // The test runner's own environment has plenty of CARGO_* to be leaked.
    let names: BTreeSet<_> = supervise::minimal_env().into_iter().map(|v| v.0).collect();
    assert!(names.contains("PATH".as_ref() as &std::ffi::OsStr));
    assert!(
        !names
            .iter()
            .any(|name| name.to_string_lossy().starts_with("CARGO"))
    );
}

#[tokio::test]
async fn a_child_has_its_three_descriptors_and_those_passed() {
    // Inheritable on purpose, as a library or our own parent might leave one.
    let _leaky = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::empty()).unwrap();
    // Listed by another process: to list them takes a descriptor.
    let list = "ls /proc/$$/fd; true";
    assert_eq!(output_of(sh(list)).await, "0\n1\n2\n");

    let (mut a, mut b) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    write!(a, "first").unwrap();
    write!(b, "second").unwrap();
    a.rewind().unwrap();
    b.rewind().unwrap();
    let script = format!("{list}; cat /dev/fd/7 /dev/fd/3");
    let spec = sh(&script).fd(a, 3).fd(b, 7);
    assert_eq!(output_of(spec).await, "0\n1\n2\n3\n7\nsecondfirst");
}

/// Faults of this process that the kernel settled without a disk (proc(5), /proc/PID/stat, field 10).
fn faults() -> usize {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    after_name.split(' ').nth(7).unwrap().parse().unwrap()
}

#[tokio::test]
async fn starting_a_child_copies_nothing_of_this_process() {
    const PAGE: usize = 4096;
    const PAGES: usize = 10_000;
    let mut memory = vec![1_u8; PAGES * PAGE];
    let mut child = spawn(Spec::new("cat").stdin(Input::Piped)).unwrap();
    let before = faults();
    memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 2);
    let during = faults() - before;
    drop(child.take_stdin());
    assert_eq!(child.wait().await, ExitReason::Code(0));
    assert_eq!(memory.iter().map(|&byte| usize::from(byte)).max(), Some(2));
    // After a fork each page is one, and other tests of this process run meanwhile.
    assert!(during < PAGES / 4, "{during} faults");
}

#[tokio::test]
async fn a_child_has_no_signal_of_ours_blocked_or_handled_nor_a_broken_pipe_ignored() {
    let _handled = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).unwrap();
    let told = output_of(
        Spec::new("sed")
            .args(["-n", "s/^Sig\\(Blk\\|Ign\\|Cgt\\):\\s*//p"])
            .arg("/proc/self/status")
            .stdout(Output::Piped),
    )
    .await;
    let sets: Vec<_> = told
        .lines()
        .map(|set| u64::from_str_radix(set, 16).unwrap())
        .collect();
    let [blocked, ignored, handled] = sets[..] else {
        panic!("{told}");
    };
    assert_eq!((blocked, handled), (0, 0), "{told}");
    // Rust ignores it in this process.
    assert_eq!(ignored & 1 << (libc::SIGPIPE - 1), 0, "{told}");
}

#[tokio::test]
async fn a_name_is_looked_for_in_the_childs_own_path() {
    let dir = tempfile::tempdir().unwrap();
    let of = |name: &str| dir.path().join(name);
    for (sub, program) in [("first", "/dev/null"), ("second", "/bin/echo")] {
        std::fs::create_dir(of(sub)).unwrap();
        std::os::unix::fs::symlink(program, of(sub).join("which-one")).unwrap();
    }
    let path = format!("{0}/none:{0}/first:{0}/second", dir.path().display());
    let named = |name: &str| Spec::new(name).env("PATH", &path).stdout(Output::Piped);
    // The first that is there may not be executed.
    assert_eq!(output_of(named("which-one").arg("found")).await, "found\n");
    let error = spawn(named("sh")).unwrap_err();
    assert!(matches!(error, SpawnError::Missing { .. }), "{error:?}");

    // It is not the program that is missing then.
    let error = spawn(named("which-one").cwd(of("nowhere"))).unwrap_err();
    assert!(matches!(error, SpawnError::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn a_failed_exec_is_seen_whatever_number_is_passed() {
    for number in 3..40 {
        let spec = Spec::new("/nowhere").fd(tempfile::tempfile().unwrap(), number);
        assert!(
            matches!(spawn(spec), Err(SpawnError::Missing { .. })),
            "{number}"
        );
    }
}

#[tokio::test]
async fn files_take_the_place_of_pipes() {
    let mut input = tempfile::tempfile().unwrap();
    write!(input, "from a file").unwrap();
    input.rewind().unwrap();
    let mut output = tempfile::tempfile().unwrap();
    let spec = Spec::new("cat")
        .stdin(Input::File(input))
        .stdout(Output::File(output.try_clone().unwrap()));
    assert_eq!(spawn(spec).unwrap().wait().await, ExitReason::Code(0));
    let mut text = String::new();
    output.rewind().unwrap();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(text, "from a file");
}

#[tokio::test]
async fn group_and_session_are_the_childs_own() {
    let (mut child, stat, _) = started("cat /proc/$$/stat; read line").await;
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let pid = child.pid().to_string();
    assert_eq!(fields[2], pid, "process group");
    assert_ne!(fields[3], pid, "session");
    child.kill_now();
    child.wait().await;

    let spec = sh("cat /proc/$$/stat").group(Group::OwnSession);
    let stat = output_of(spec).await;
    let (pid, rest) = stat.split_once(' ').unwrap();
    let fields: Vec<&str> = rest.rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_eq!((fields[2], fields[3]), (pid, pid), "group, session");
}

#[tokio::test]
async fn terminate_ends_an_obedient_child_within_its_grace() {
    let mut child = spawn(Spec::new("sleep").arg("1000")).unwrap();
    assert_eq!(child.terminate(PATIENT).await, Terminated::Exited(SIGTERM));
    assert_eq!(child.terminate(PATIENT).await, Terminated::Exited(SIGTERM));
}

#[tokio::test]
async fn terminate_kills_a_child_that_ignores_it() {
    let (mut child, _, _) = started("trap '' TERM; echo up; while :; do sleep 0.05; done").await;
    assert_eq!(child.terminate(HASTY).await, Terminated::Killed(SIGKILL));
}

#[tokio::test]
async fn terminate_asks_twice() {
    let script = "trap 'n=$((n+1)); [ $n = 2 ] && exit 7' TERM; echo up; \
                  while :; do sleep 1000 & wait; done";
    let (mut child, _, _) = started(script).await;
    let grace = Grace {
        again_after: Duration::from_millis(100),
        kill_after: Duration::from_secs(60),
    };
    let end = child.terminate(grace).await;
    assert_eq!(end, Terminated::Exited(ExitReason::Code(7)));
}

#[tokio::test]
async fn terminate_wakes_a_stopped_child_or_kills_it() {
    for (script, grace, expected) in [
        (
            "echo up; while :; do sleep 0.05; done",
            PATIENT,
            Terminated::Exited(SIGTERM),
        ),
        (
            "trap '' TERM; echo up; while :; do sleep 0.05; done",
            HASTY,
            Terminated::Killed(SIGKILL),
        ),
    ] {
        let (mut child, _, _) = started(script).await;
        let pid = child.pid().as_raw();
        Watched::open(pid).unwrap().signal(Signal::STOP).unwrap();
        until("the child is stopped", || state(pid) == Some('T')).await;
        assert_eq!(child.terminate(grace).await, expected);
    }
}

#[tokio::test]
async fn terminate_drains_output_nobody_reads() {
    // More than a pipe holds: without a reader this child can never reach its `exit`.
    let script = "trap '' TERM; echo up >&2; head -c 1000000 /dev/zero; exit 5";
    let mut child = spawn(sh(script)).unwrap();
    let mut stderr = LineReader::new(child.take_stderr().unwrap());
    assert_eq!(stderr.next_line().await.unwrap().as_deref(), Some("up"));
    let end = child.terminate(PATIENT).await;
    assert_eq!(end, Terminated::Exited(ExitReason::Code(5)));
}

#[tokio::test]
async fn terminate_closes_standard_input() {
    let spec = sh("trap '' TERM; echo up; cat; exit 6").stdin(Input::Piped);
    let mut child = spawn(spec).unwrap();
    let mut lines = LineReader::new(child.take_stdout().unwrap());
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("up"));
    let end = child.terminate(PATIENT).await;
    assert_eq!(end, Terminated::Exited(ExitReason::Code(6)));
}

#[tokio::test]
async fn nothing_of_the_group_outlives_a_terminated_child() {
    let script = "(trap '' TERM; sleep 1000 & echo $!; wait; sleep 1000) & wait";
    let (mut child, grandchild, _) = started(script).await;
    let grandchild = Watched::open(grandchild.parse().unwrap()).unwrap();
    assert!(!grandchild.has_exited());
    // The leader obeys; the rest of its group does not.
    assert_eq!(child.terminate(PATIENT).await, Terminated::Exited(SIGTERM));
    grandchild.exited().await;
}

#[tokio::test]
async fn nothing_of_the_group_outlives_a_child_that_ended_by_itself() {
    let (mut child, grandchild, _) = started("sleep 1000 & echo $!; read line").await;
    let grandchild = Watched::open(grandchild.parse().unwrap()).unwrap();
    // Standard input is /dev/null, so `read` ends and the leader with it.
    assert!(matches!(child.wait().await, ExitReason::Code(_)));
    grandchild.exited().await;
}

#[tokio::test]
async fn a_dropped_child_is_killed_and_reaped() {
    let (child, _, _) =
        started("trap '' TERM HUP INT; echo up; while :; do sleep 0.05; done").await;
    let pid = child.pid().as_raw();
    let watched = Watched::open(pid).unwrap();
    drop(child);
    watched.exited().await;
    until("the zombie is reaped", || state(pid).is_none()).await;
}

#[tokio::test]
async fn a_dropped_child_made_to_outlive_us_lives_on() {
    let spec = Spec::new("cat")
        .stdin(Input::Piped)
        .stdout(Output::Piped)
        .outlives_parent();
    let mut child = spawn(spec).unwrap();
    let watched = Watched::open(child.pid().as_raw()).unwrap();
    let (mut stdin, stdout) = (child.take_stdin().unwrap(), child.take_stdout().unwrap());
    drop(child);
    stdin.write_all(b"still here\n").await.unwrap();
    let answer = LineReader::new(stdout).next_line().await.unwrap();
    assert_eq!(answer.as_deref(), Some("still here"));
    assert_eq!(watched.terminate(PATIENT).await, WatchedEnd::Exited);
}

#[tokio::test]
async fn a_child_outlives_the_thread_that_asked_for_it() {
    let runtime = tokio::runtime::Handle::current();
    let thread = std::thread::spawn(move || {
        let _inside = runtime.enter();
        spawn(Spec::new("cat").stdin(Input::Piped).stdout(Output::Piped)).unwrap()
    });
    let mut child = thread.join().unwrap();
    let (mut stdin, stdout) = (child.take_stdin().unwrap(), child.take_stdout().unwrap());
    stdin.write_all(b"alive\n").await.unwrap();
    let answer = LineReader::new(stdout).next_line().await.unwrap();
    assert_eq!(answer.as_deref(), Some("alive"));
    drop(stdin);
    assert_eq!(child.wait().await, ExitReason::Code(0));
}

#[tokio::test]
async fn exits_are_noticed_within_100_ms() {
    let mut delays = Vec::new();
    for _ in 0..21 {
        let (mut child, _, _) = started("echo up; exec sleep 1000").await;
        let watched = Watched::open(child.pid().as_raw()).unwrap();
        let killed = std::time::Instant::now();
        watched.signal(Signal::KILL).unwrap();
        assert_eq!(child.wait().await, SIGKILL);
        delays.push(killed.elapsed());
    }
    delays.sort();
    // The median: a busy machine may hold up the test itself now and then.
    let median = delays[delays.len() / 2];
    assert!(median < Duration::from_millis(100), "{delays:?}");
}

#[tokio::test]
async fn a_process_that_is_not_a_child_is_watched_and_terminated() {
    let script = "(trap '' TERM; sleep 0.05; echo $$; while :; do sleep 0.05; done) & \
                  setsid sleep 1000 & echo $!; wait";
    let (_leader, other, _) = started(script).await;
    let other = Watched::open(other.parse().unwrap()).unwrap();
    assert!(other.start_ticks().unwrap() > 0);
    assert_eq!(other.terminate(PATIENT).await, WatchedEnd::Exited);
    assert!(other.has_exited());
    other.signal(Signal::TERM).unwrap();

    let (_leader, deaf, _) = started("trap '' TERM; echo $$; while :; do sleep 0.05; done").await;
    let deaf = Watched::open(deaf.parse().unwrap()).unwrap();
    assert_eq!(deaf.terminate(HASTY).await, WatchedEnd::Killed);
}

#[tokio::test]
async fn a_number_without_a_process_is_gone() {
    let mut child = spawn(sh("exit 0")).unwrap();
    let pid = child.pid().as_raw();
    child.wait().await;
    for none in [pid, 0, -1, i32::MAX] {
        let opened = Watched::open(none);
        assert!(
            matches!(opened, Err(WatchError::Gone { .. })),
            "{none}: {opened:?}"
        );
    }
}
