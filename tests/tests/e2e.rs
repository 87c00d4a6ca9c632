//! End-to-end tests, one theme per file. One binary, so that all of them share two cores evenly.

#[path = "e2e/harness.rs"]
mod harness;

/// Says which test did not run and why; `scripts/test.sh` counts these lines.
fn skipped(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Past the test runner's capture, so that it is seen although the test passes.
    let line = format!("SKIPPED {test}: {why}\n");
    std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).expect("standard error");
}
