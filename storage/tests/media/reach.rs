//! Whose fault a failed read is.

use storage::media::reach::{Fault, Reach};

use crate::bench::{Bench, noise};

#[tokio::test]
async fn an_object_answers_for_itself_as_long_as_another_can_be_read() {
    let bench = Bench::s3("").await;
    bench.drop_in("b.mp4", &noise(100));
    let reach = Reach::new(bench.store.clone());
    reach.expect(["a.mp4", "b.mp4"].into_iter());
    assert!(matches!(reach.whose_fault("a.mp4").await, Fault::Object(_)));
    assert!(matches!(reach.whose_fault("b.mp4").await, Fault::Passing));
    assert!(!reach.is_away());
    bench.go_away();
    assert!(matches!(reach.whose_fault("b.mp4").await, Fault::Store(_)));
    let away = reach.away();
    assert_eq!(
        away.map(|away| away.error.error_type).as_deref(),
        Some("storage_unreachable")
    );
}
