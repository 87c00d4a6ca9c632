//! A parent that is killed with `kill -9` takes its children along, except those made to stay.
//!
//! The parent is this test program, started again to run [`as_the_parent`] alone.

use supervise::lines::LineReader;
use supervise::watch::Watched;
use supervise::{ExitReason, Grace, Output, Spec, spawn};

const ROLE: &str = "SUPERVISE_TEST_PARENT";

#[tokio::test]
async fn children_die_with_a_killed_parent_unless_made_to_stay() {
    let program = std::env::current_exe().unwrap();
    let spec = Spec::new(program)
        .args(["--exact", "as_the_parent", "--ignored", "--nocapture"])
        .env(ROLE, "1")
        .stdout(Output::Piped);
    let mut parent = spawn(spec).unwrap();
    let mut lines = LineReader::new(parent.take_stdout().unwrap());
    let mut children = Vec::new();
    while children.len() < 2 {
        let line = lines
            .next_line()
            .await
            .unwrap()
            .expect("the parent is alive");
        if let Some(pid) = line.strip_prefix("child ") {
            children.push(Watched::open(pid.parse().unwrap()).unwrap());
        }
    }
    parent.kill_now();
    assert_eq!(parent.wait().await, ExitReason::Signal(libc::SIGKILL));

    let [dying, staying] = &children[..] else {
        unreachable!()
    };
    dying.exited().await;
    assert!(!staying.has_exited());
    let at_once = Grace {
        again_after: std::time::Duration::from_secs(10),
        kill_after: std::time::Duration::from_secs(20),
    };
    let _ended = staying.terminate(at_once).await;
}

#[tokio::test]
#[ignore = "the other half of the test above"]
async fn as_the_parent() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let dying = spawn(Spec::new("sleep").arg("1000")).unwrap();
    let staying = spawn(Spec::new("sleep").arg("1000").outlives_parent()).unwrap();
    println!("\nchild {}\nchild {}", dying.pid(), staying.pid());
    std::future::pending::<()>().await;
}
