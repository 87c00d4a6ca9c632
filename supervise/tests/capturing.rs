//! Programs run to their end, and those that do not come to one.

use std::time::Duration;

use supervise::{CaptureError, CaptureLimits, ExitReason, Spec, capture};

const LIMITS: CaptureLimits = CaptureLimits {
    timeout: Duration::from_secs(60),
    max_bytes: 10_000,
};

fn sh(script: &str) -> Spec {
    Spec::new("sh").arg("-c").arg(script)
}

#[tokio::test]
async fn output_and_exit_are_told() {
    let done = capture(sh("echo out; echo err >&2; exit 3"), LIMITS)
        .await
        .unwrap();
    assert_eq!(done.exit, ExitReason::Code(3));
    assert_eq!(
        (&done.stdout[..], &done.stderr[..]),
        (&b"out\n"[..], &b"err\n"[..])
    );
}

#[tokio::test]
async fn standard_error_is_cut_and_does_not_block() {
    let done = capture(sh("head -c 1000000 /dev/zero >&2; echo done"), LIMITS)
        .await
        .unwrap();
    assert_eq!(done.stdout, b"done\n");
    assert_eq!(done.stderr.len(), LIMITS.max_bytes);
}

#[tokio::test]
async fn too_much_output_is_an_error() {
    let exactly = capture(sh("head -c 10000 /dev/zero"), LIMITS)
        .await
        .unwrap();
    assert_eq!(exactly.stdout.len(), 10_000);
    let error = capture(sh("cat /dev/zero"), LIMITS).await.unwrap_err();
    assert!(
        matches!(
            error,
            CaptureError::TooMuchOutput {
                max_bytes: 10_000,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn too_long_is_an_error_and_the_program_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let script = format!("echo $$ > {}; trap '' TERM; cat", pid_file.display());
    let limits = CaptureLimits {
        timeout: Duration::from_secs(1),
        ..LIMITS
    };
    let mut spec = sh(&script);
    let (held_open, _writer) = rustix::pipe::pipe().unwrap();
    spec.stdin = supervise::Input::File(held_open.into());
    let error = capture(spec, limits).await.unwrap_err();
    assert!(matches!(error, CaptureError::TimedOut { .. }), "{error:?}");
    let pid = std::fs::read_to_string(pid_file).unwrap();
    if let Ok(dying) = supervise::watch::Watched::open(pid.trim().parse().unwrap()) {
        dying.exited().await;
    }
}

#[tokio::test]
async fn a_leftover_that_holds_the_pipes_does_not_hold_the_result() {
    let done = capture(sh("sleep 1000 & echo early"), LIMITS)
        .await
        .unwrap();
    assert_eq!(done.stdout, b"early\n");
}
