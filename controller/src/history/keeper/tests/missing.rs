//! What the record has lost is told with what it has.

use storage::history::UnrecordedCause;

use super::*;
use crate::history::report::Uptime;

async fn uptime(history: &History) -> Uptime {
    // The file is opened by the thread's first turn.
    for _ in 0..1_000 {
        match history.uptime(Window::Day, None).await {
            Ok(found) => return found,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    panic!("no answer: {:?}", history.fault());
}

fn causes(uptime: &Uptime) -> Vec<UnrecordedCause> {
    uptime.unrecorded.iter().map(|it| it.cause).collect()
}

#[tokio::test]
async fn a_window_says_what_of_it_is_not_recorded_and_claims_to_know_nothing_of_it() {
    let mut site = Site::new();
    let history = site.history();
    let never = uptime(&history).await;
    assert_eq!(causes(&never), [UnrecordedCause::NoRecord]);
    let (lost, ms) = (&never.unrecorded[0], Timestamp::as_millisecond);
    assert_eq!((ms(lost.from), ms(lost.to)), (ms(never.from), ms(never.to)));
    site.want(&history, 0);
    site.begin(1, 1_000, Some(moment::boot_id()));
    let begun = uptime(&history).await;
    let before = begun.unrecorded[0].to.as_millisecond();
    assert!((before - site.start.at.as_millisecond()).abs() <= 1);
    assert_eq!(begun.streams[0].destinations[0].gaps, 1);

    // A copy of now is put in its place later.
    history.close().await;
    let (file, copy) = (site.layout().history_file(), site.dir.path().join("copy"));
    fs::copy(&file, &copy).unwrap();
    let history = site.history();
    let crashed = What::Gone {
        worker: "w1".into(),
        cause: DarkCause::WorkerCrashed,
        error_type: None,
    };
    history.saw_at(&main(), site.moment(10_000), crashed);
    site.begin(2, 30_000, Some(moment::boot_id()));
    assert_eq!(uptime(&history).await.streams[0].destinations[0].gaps, 2);
    storage::atomic::set_aside(&copy, &file).unwrap();
    let replaced = uptime(&history).await;
    assert_eq!(
        causes(&replaced),
        [UnrecordedCause::NoRecord, UnrecordedCause::Replaced]
    );
    let hole = &replaced.unrecorded[1];
    let since = hole.from.as_millisecond() - site.start.at.as_millisecond();
    assert!((1_499..=1_501).contains(&since), "its newest: {since} ms");
    let out = &replaced.streams[0].destinations[0];
    assert_eq!(out.gaps, 1, "the other one began and ended in the hole");
    let after_s = (replaced.to.as_millisecond() - hole.to.as_millisecond()) as f64 / 1000.0;
    // From its own first second to its newest, and from when it was put there.
    let known_s = 1.5 + after_s;
    assert!((out.wanted_s - known_s).abs() < 0.01, "{out:#?}");
    history.close().await;

    spoil(&file);
    let history = site.history();
    let damaged = uptime(&history).await;
    assert_eq!(causes(&damaged), [UnrecordedCause::Damaged]);
    history.close().await;
}
