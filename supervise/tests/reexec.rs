//! A process that becomes another program, several times, keeps its children, their pipes and its
//! own number; children it does not hand over end.
//!
//! The process is this test program (no harness: its main thread has to be the one that forks),
//! started again with the number of the image in its arguments.

#![expect(
    clippy::print_stdout,
    reason = "the images tell the test what they see"
)]

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;

use supervise::lines::LineReader;
use supervise::reexec::{self, Image, PassedFd};
use supervise::{Child, ExitReason, Input, Output, Pid, Spec, spawn};

const IMAGES: u32 = 5;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("image") => supervise::spawner_here(|| in_runtime(image(&args))),
        // What a test runner asks of a list of tests.
        Some("--list") => {}
        _ => {
            in_runtime(children_pipes_and_number_survive_five_images());
            in_runtime(an_image_that_cannot_be_had_changes_nothing());
            println!("ok");
        }
    }
}

fn in_runtime(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(work);
    runtime.shutdown_background();
}

async fn children_pipes_and_number_survive_five_images() {
    let spec = Spec::new(std::env::current_exe().expect("this program"))
        .args(["image", "0"])
        .stdout(Output::Piped);
    let mut process = spawn(spec).expect("starts");
    let pid = process.pid().to_string();
    let mut lines = LineReader::new(process.take_stdout().expect("piped"));
    let mut seen = Vec::new();
    while let Some(line) = lines.next_line().await.expect("read") {
        seen.push(line);
    }
    assert_eq!(process.wait().await, ExitReason::Code(0), "{seen:?}");
    let own: Vec<_> = seen.iter().filter(|line| line.starts_with("pid")).collect();
    assert_eq!(own.len(), IMAGES as usize, "{seen:?}");
    assert!(own.iter().all(|line| line[4..] == pid), "{seen:?}");
    let echoed: Vec<_> = seen
        .iter()
        .filter(|line| line.starts_with("echo"))
        .collect();
    // One child per image that had a predecessor, asked by every image after its own.
    assert_eq!(echoed.len() as u32, IMAGES * (IMAGES - 1) / 2, "{seen:?}");
    assert!(seen.contains(&"strays 0".to_owned()), "{seen:?}");
}

async fn an_image_that_cannot_be_had_changes_nothing() {
    let mut child = spawn(Spec::new("cat").stdin(Input::Piped)).expect("starts");
    let failed = reexec::become_image(Image {
        program: "/nowhere/at/all".into(),
        args: vec!["x".into()],
        keep: Vec::new(),
    });
    assert_eq!(failed.kind(), std::io::ErrorKind::NotFound);
    assert!(child.try_wait().is_none());
    child.kill_now();
    let _killed = child.wait().await;
}

/// Arguments: `image N`, then `pid:stdin:stdout` of each child handed over.
async fn image(args: &[String]) {
    let number: u32 = args[2].parse().expect("a number");
    println!("pid {}", std::process::id());
    let mut handed: Vec<(Pid, PassedFd, PassedFd)> =
        args[3..].iter().map(|arg| parse(arg)).collect();
    let known: Vec<Pid> = handed.iter().map(|(pid, ..)| *pid).collect();
    let all: Vec<Pid> = children_of_this_process();
    reexec::end_strays(&all, &known);
    reexec::welcome_signals();
    handed = handed.into_iter().map(ask).collect();
    if number + 1 == IMAGES {
        while children_of_this_process().len() > known.len() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        println!("strays {}", children_of_this_process().len() - known.len());
        return;
    }
    handed.push(start_echo());
    let stray = spawn(Spec::new("sleep").arg("1000")).expect("starts");
    assert!(reexec::children().contains(&stray.pid()));
    let failed = reexec::become_image(Image {
        program: std::env::current_exe().expect("this program"),
        args: ["reexec".into(), "image".into(), (number + 1).to_string()]
            .into_iter()
            .chain(
                handed
                    .iter()
                    .map(|(pid, i, o)| format!("{pid}:{}:{}", i.number(), o.number())),
            )
            .collect(),
        keep: handed
            .iter()
            .flat_map(|(_, i, o)| [i.number(), o.number()])
            .collect(),
    });
    panic!("{failed}");
}

fn start_echo() -> (Pid, PassedFd, PassedFd) {
    let spec = Spec::new("cat").stdin(Input::Piped).stdout(Output::Piped);
    let mut child = spawn(spec).expect("starts");
    let stdin = child
        .take_stdin()
        .expect("piped")
        .into_owned_fd()
        .expect("a pipe");
    let stdout = child
        .take_stdout()
        .expect("piped")
        .into_owned_fd()
        .expect("a pipe");
    (
        child.hand_over(),
        PassedFd::new(stdin),
        PassedFd::new(stdout),
    )
}

/// A child that got its death signal, or whose pipes were lost, cannot answer.
fn ask((pid, stdin, stdout): (Pid, PassedFd, PassedFd)) -> (Pid, PassedFd, PassedFd) {
    let child = Child::inherited(pid).expect("a child");
    let mut to: std::fs::File = blocking(stdin);
    let mut from = BufReader::new(blocking(stdout));
    writeln!(to, "are you there").expect("it reads");
    let mut answer = String::new();
    from.read_line(&mut answer).expect("it answers");
    println!("echo {answer}");
    let (to, from): (OwnedFd, OwnedFd) = (to.into(), from.into_inner().into());
    (child.hand_over(), PassedFd::new(to), PassedFd::new(from))
}

fn blocking(fd: PassedFd) -> std::fs::File {
    let fd = fd.take().expect("open");
    rustix::fs::fcntl_setfl(&fd, rustix::fs::OFlags::empty()).expect("a pipe");
    fd.into()
}

fn parse(arg: &str) -> (Pid, PassedFd, PassedFd) {
    let numbers: Vec<i32> = arg
        .split(':')
        .map(|n| n.parse().expect("a number"))
        .collect();
    let fd = |at: usize| PassedFd::from_number(numbers[at]);
    (Pid::from_raw(numbers[0]), fd(1), fd(2))
}

fn children_of_this_process() -> Vec<Pid> {
    let mut found = Vec::new();
    for task in std::fs::read_dir("/proc/self/task")
        .expect("Linux")
        .flatten()
    {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(
            text.split_whitespace()
                .map(|n| Pid::from_raw(n.parse().expect("a number"))),
        );
    }
    found
}
