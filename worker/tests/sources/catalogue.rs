//! The catalogue over a folder that changes.

use programme::{ItemSpec, Position, Programme, UpNext};
use worker::catalogue::Catalogue;
use worker::catalogue::book::From;

use crate::rig::{Rig, put};

fn start(rig: &Rig) -> Catalogue {
    let reach = rig.context.reach().clone();
    Catalogue::start(rig.store.clone(), reach, None, Programme::default())
}

#[track_caller]
fn item(up_next: UpNext) -> (String, Position) {
    match up_next {
        UpNext::Item(object, position) => (object.key, position),
        other => panic!("no item: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_bucket_is_looked_at_again_until_there_is_something() {
    let rig = Rig::of(&[]).await;
    std::fs::create_dir_all(&rig.media).unwrap();
    let catalogue = start(&rig);
    catalogue.changed().await;
    assert_eq!(catalogue.up_next(From::Start { seed: 0 }), UpNext::Empty);
    let report = catalogue.report();
    assert_eq!(report.error.unwrap().error_type, "programme_empty");
    put(&rig.media, "shows/a.mp4", b"1");
    put(&rig.media, "shows/notes.txt", b"1");
    let asked = tokio::time::Instant::now();
    catalogue.changed().await;
    assert_eq!(asked.elapsed().as_secs(), 2);
    let (key, _) = item(catalogue.up_next(From::Start { seed: 0 }));
    assert_eq!(key, "shows/a.mp4");
    assert_eq!(
        (catalogue.report().items, catalogue.report().error),
        (1, None)
    );
    catalogue.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_is_missing_is_an_error_and_is_found_when_it_is_there() {
    let rig = Rig::of(&[]).await;
    let catalogue = start(&rig);
    catalogue.changed().await;
    let error = catalogue.report().error.unwrap();
    assert!(!error.hint.is_empty(), "{error:?}");
    put(&rig.media, "a.mp4", b"1");
    catalogue.changed().await;
    assert_eq!(item(catalogue.up_next(From::Start { seed: 0 })).0, "a.mp4");
    catalogue.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_added_during_a_round_is_known_in_the_next() {
    let rig = Rig::of(&[("a.mp4", b"1")]).await;
    let catalogue = start(&rig);
    catalogue.changed().await;
    let (_, first) = item(catalogue.up_next(From::Start { seed: 0 }));
    put(&rig.media, "b.mp4", b"1");
    tokio::time::advance(std::time::Duration::from_secs(120)).await;
    let (_, second) = item(catalogue.up_next(From::After(&first)));
    assert_eq!(second.round, 1);
    catalogue.changed().await;
    assert_eq!(item(catalogue.up_next(From::After(&second))).0, "b.mp4");
    catalogue.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_programme_that_comes_while_another_is_listed_is_listed_itself() {
    let rig = Rig::of(&[("old/a.mp4", b"1"), ("new/b.mp4", b"1")]).await;
    let of = |prefix: &str| Programme {
        items: vec![ItemSpec::Prefix(prefix.to_owned())],
        ..Programme::default()
    };
    let reach = rig.context.reach().clone();
    let catalogue = Catalogue::start(rig.store.clone(), reach, None, of("old/"));
    let asked = tokio::time::Instant::now();
    // The listing task has asked the folder by then, and has no answer yet.
    tokio::task::yield_now().await;
    catalogue.set_programme(of("new/"));
    let mut key = String::new();
    while key != "new/b.mp4" {
        catalogue.changed().await;
        key = item(catalogue.up_next(From::Start { seed: 0 })).0;
    }
    assert_eq!(asked.elapsed().as_secs(), 0);
    catalogue.close().await;
}
