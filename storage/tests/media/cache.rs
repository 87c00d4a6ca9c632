//! The media cache: what is kept, what is dropped, and what is never served.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::StatusCode;
use programme::ListedObject;
use storage::media::cache::MediaCache;
use storage::media::reach::Fault;
use storage::media::server::MediaServer;
use tempfile::TempDir;

use crate::bench::{Bench, make, noise};
use crate::http;

const MIB: usize = 1 << 20;
const LIMIT: Duration = Duration::from_secs(60);

/// A worker as far as the cache is concerned.
struct Player {
    server: MediaServer,
    cache: MediaCache,
}

async fn player(bench: &Bench, dir: &Path, max_bytes: usize) -> Player {
    let max_bytes = u64::try_from(max_bytes).unwrap();
    let cache = MediaCache::open(dir.to_owned(), &bench.settings, max_bytes).unwrap();
    let server = MediaServer::start_with(bench.store.clone(), Some(cache.clone())).await;
    Player {
        server: server.unwrap(),
        cache,
    }
}

impl Player {
    fn want(&self, objects: &[&ListedObject]) {
        let objects = objects.iter().map(|object| (*object).clone()).collect();
        self.server.fetcher().unwrap().want(objects);
    }

    async fn keep(&self, object: &ListedObject) {
        self.want(&[object]);
        until(&format!("{} is kept", object.key), || {
            self.cache.has(object)
        })
        .await;
    }

    /// Status, bytes, and whether they came from the cache.
    async fn read(&self, object: &ListedObject) -> (StatusCode, Vec<u8>, bool) {
        let ticket = self.server.ticket_for(object).unwrap();
        let answer = http::get(ticket.url()).await;
        (
            answer.status,
            answer.body.to_vec(),
            ticket.origin().is_cache(),
        )
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = tokio::time::timeout(LIMIT, waited).await;
    assert!(in_time.is_ok(), "not in time: {what}");
}

async fn listed(bench: &Bench, key: &str, content: &[u8]) -> ListedObject {
    bench.drop_in(key, content);
    let objects = bench.store.list("").await.unwrap();
    objects
        .iter()
        .find(|object| object.key == key)
        .unwrap()
        .to_listed()
}

fn files(dir: &TempDir, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.path()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect()
}

#[tokio::test]
async fn what_is_kept_is_served_when_the_store_is_gone() {
    let (bench, dir) = (Bench::s3("").await, tempfile::tempdir().unwrap());
    let content = noise(2 * MIB + 7);
    let a = listed(&bench, "a.mp4", &content).await;
    let player = player(&bench, dir.path(), 8 * MIB).await;
    assert_eq!(player.read(&a).await.0, StatusCode::FOUND, "not kept yet");
    player.keep(&a).await;
    bench.go_away();
    let (status, body, from_cache) = player.read(&a).await;
    assert_eq!((status, from_cache), (StatusCode::OK, true));
    assert!(body == content);
    assert!(matches!(
        player.server.reach().whose_fault("a.mp4").await,
        Fault::Store(_)
    ));
    assert!(player.server.reach().is_away());
}

#[tokio::test]
async fn a_version_the_store_has_no_more_is_not_served_while_it_says_so() {
    let (bench, dir) = (Bench::s3("").await, tempfile::tempdir().unwrap());
    let old = noise(MIB);
    let a = listed(&bench, "a.mp4", &old).await;
    let player = player(&bench, dir.path(), 8 * MIB).await;
    player.keep(&a).await;
    bench.drop_in("a.mp4", &noise(MIB + 1));
    let (status, _, from_cache) = player.read(&a).await;
    assert_eq!((status, from_cache), (StatusCode::FOUND, false));
    bench.store.delete("a.mp4").await.unwrap();
    assert!(!player.read(&a).await.2, "it was removed");
    bench.go_away();
    assert!(player.read(&a).await.1 == old, "what was listed last holds");
}

#[tokio::test]
async fn the_least_recently_opened_goes_and_the_bound_holds() {
    let (bench, dir) = (Bench::s3("").await, tempfile::tempdir().unwrap());
    let a = listed(&bench, "a.mp4", &noise(MIB)).await;
    let b = listed(&bench, "b.mp4", &noise(MIB)).await;
    let c = listed(&bench, "c.mp4", &noise(MIB)).await;
    let large = listed(&bench, "large.mp4", &noise(3 * MIB)).await;
    let player = player(&bench, dir.path(), 2 * MIB + MIB / 2).await;
    player.keep(&a).await;
    player.keep(&b).await;
    assert!(player.read(&a).await.2, "opened after b");
    // What does not fit drops nothing, and what follows it is kept.
    player.want(&[&large, &c]);
    until("c is kept", || player.cache.has(&c)).await;
    assert!(player.cache.has(&a) && !player.cache.has(&b) && !player.cache.has(&large));
    let report = player.cache.report();
    assert!(report.bytes <= report.max_bytes, "{report:?}");
    // What is wanted stays: there is no room for b, which is tried before what is smaller.
    let small = listed(&bench, "small.mp4", &noise(1_000)).await;
    player.want(&[&c, &a, &b, &small]);
    until("the small one is kept", || player.cache.has(&small)).await;
    assert!(player.cache.has(&a) && player.cache.has(&c));
}

#[tokio::test]
async fn a_part_is_continued_in_the_same_boot_only() {
    for same_boot in [true, false] {
        let (bench, dir) = (Bench::s3("").await, tempfile::tempdir().unwrap());
        let content = noise(6 * MIB);
        let a = listed(&bench, "a.mp4", &content).await;
        let first = player(&bench, dir.path(), 8 * MIB).await;
        first.want(&[&a]);
        let held = || {
            files(&dir, "part")
                .first()
                .map_or(0, |part| part.metadata().unwrap().len())
        };
        until("some of it", || held() >= MIB as u64).await;
        drop(first);
        // Tells what was there before from what is read anew.
        let part = files(&dir, "part").remove(0);
        let mut marked = fs::read(&part).unwrap();
        marked[0] = !content[0];
        make(&part, &marked);
        if !same_boot {
            let json = files(&dir, "json").remove(0);
            let mut meta: serde_json::Value =
                serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
            meta["boot_id"] = "another".into();
            make(&json, meta.to_string().as_bytes());
        }
        let second = player(&bench, dir.path(), 8 * MIB).await;
        second.keep(&a).await;
        let kept = second.read(&a).await.1;
        assert_eq!(kept[0] != content[0], same_boot, "continued: {same_boot}");
        assert!(kept[1..] == content[1..]);
    }
}

#[tokio::test]
async fn whatever_a_crash_leaves_the_object_is_kept_in_the_end() {
    let (bench, dir) = (Bench::s3("").await, tempfile::tempdir().unwrap());
    let content = noise(MIB);
    let a = listed(&bench, "a.mp4", &content).await;
    player(&bench, dir.path(), 8 * MIB).await.keep(&a).await;
    let media = files(&dir, "media").remove(0);
    let (json, part) = (media.with_extension("json"), media.with_extension("part"));
    let described = fs::read(&json).unwrap();
    for (case, meta, part_bytes, media_bytes) in [
        ("described only", Some(&described[..]), None, None),
        (
            "a part without a description",
            None,
            Some(&content[..9]),
            None,
        ),
        (
            "an object without a description",
            None,
            None,
            Some(&content[..]),
        ),
        (
            "a torn description",
            Some(&described[..20]),
            None,
            Some(&content[..]),
        ),
        (
            "an object that is too short",
            Some(&described[..]),
            None,
            Some(&content[..9]),
        ),
        (
            "both",
            Some(&described[..]),
            Some(&content[..9]),
            Some(&content[..]),
        ),
        (
            "a part that is too long",
            Some(&described[..]),
            Some(&[&content[..], b"x"].concat()[..]),
            None,
        ),
    ] {
        for (path, bytes) in [(&json, meta), (&part, part_bytes), (&media, media_bytes)] {
            match bytes {
                Some(bytes) => make(path, bytes),
                None => drop(fs::remove_file(path)),
            }
        }
        let player = player(&bench, dir.path(), 8 * MIB).await;
        player.keep(&a).await;
        let (_, body, from_cache) = player.read(&a).await;
        assert!(from_cache && body == content, "{case}");
    }
}

#[tokio::test]
async fn two_processes_share_what_one_has_fetched() {
    let (bench, dir) = (Bench::s3("").await, tempfile::tempdir().unwrap());
    let content = noise(3 * MIB);
    let a = listed(&bench, "a.mp4", &content).await;
    let one = player(&bench, dir.path(), 8 * MIB).await;
    let other = player(&bench, dir.path(), 8 * MIB).await;
    one.want(&[&a]);
    other.want(&[&a]);
    until("it is kept", || one.cache.has(&a) || other.cache.has(&a)).await;
    for player in [&one, &other] {
        let (_, body, from_cache) = player.read(&a).await;
        assert!(from_cache && body == content);
    }
    assert!(files(&dir, "part").is_empty());
    assert_eq!(files(&dir, "media").len(), 1);
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_costs_nothing_but_itself() {
    let (bench, dir) = (Bench::s3("").await, tempfile::tempdir().unwrap());
    let in_the_way = dir.path().join("file");
    make(&in_the_way, b"x");
    let a = listed(&bench, "a.mp4", &noise(MIB)).await;
    let player = player(&bench, &in_the_way, 8 * MIB).await;
    player.want(&[&a]);
    assert_eq!(player.read(&a).await.0, StatusCode::FOUND);
    assert!(!player.server.reach().is_away());
    assert!(!player.cache.has(&a));
}
