use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::flv::{AudioPacket, VideoPacket};

const FRAME_MS: i64 = 40;

fn picture(number: i64, keyframe: bool, bytes: usize) -> Packet {
    Packet::Video(VideoPacket {
        dts_ms: number * FRAME_MS,
        pts_ms: number * FRAME_MS,
        keyframe,
        payload: Bytes::from(vec![0; bytes]),
    })
}

fn sound(ts_ms: i64) -> Packet {
    Packet::Audio(AudioPacket {
        ts_ms,
        payload: Bytes::from_static(b"aac"),
    })
}

fn header(version: u8) -> Packet {
    Packet::VideoHeader(Bytes::copy_from_slice(&[version]))
}

fn headers(version: u8) -> Headers {
    let mut headers = Headers::default();
    headers.follow(&header(version));
    headers
}

fn take_all(queue: &Queue) -> Vec<Packet> {
    let entries = queue.take_while(|_| true);
    entries.into_iter().map(|entry| entry.packet).collect()
}

/// Groups of ten pictures; sound between them.
fn play(queue: &Queue, pictures: std::ops::Range<i64>, bytes: usize) {
    for number in pictures {
        let keyframe = number % 10 == 0;
        queue.push(&[
            picture(number, keyframe, bytes),
            sound(number * FRAME_MS + 10),
        ]);
    }
}

fn numbers(packets: &[Packet]) -> Vec<i64> {
    let pictures = packets.iter().filter(|packet| packet.is_video());
    let times = pictures.filter_map(Packet::dts_ms);
    times.map(|dts_ms| dts_ms / FRAME_MS).collect()
}

#[tokio::test]
async fn a_connection_begins_at_the_newest_keyframe_at_once() {
    let queue = Queue::new(headers(1));
    play(&queue, 3..25, 100);
    queue.flow();
    let beginning = queue.keyframe().await;
    assert_eq!(beginning.headers, headers(1));
    assert_eq!(beginning.origin_ms, 20 * FRAME_MS);
    assert_eq!(numbers(&take_all(&queue)), (20..25).collect::<Vec<_>>());
    assert_eq!(queue.dropped_frames(), 0, "nobody was to get them");
}

#[tokio::test]
async fn headers_that_passed_while_nobody_took_are_in_force_at_the_beginning() {
    let queue = Queue::new(headers(1));
    play(&queue, 0..15, 100);
    queue.push(&[header(2)]);
    play(&queue, 20..24, 100);
    queue.flow();
    assert_eq!(queue.keyframe().await.headers, headers(2));
    assert_eq!(numbers(&take_all(&queue)), [20, 21, 22, 23]);
}

#[tokio::test]
async fn a_connection_waits_for_a_keyframe_when_there_is_none() {
    let queue = Queue::new(Headers::default());
    queue.flow();
    let waiting = queue.clone();
    let waiter = tokio::spawn(async move { waiting.keyframe().await });
    play(&queue, 5..12, 100);
    let beginning = waiter.await.expect("no panic");
    assert_eq!(beginning.origin_ms, 10 * FRAME_MS);
    assert_eq!(queue.dropped_frames(), 0);
}

#[test]
fn above_five_seconds_the_oldest_pictures_go_up_to_the_next_keyframe() {
    let queue = Queue::new(headers(1));
    queue.flow();
    play(&queue, 0..125, 10);
    assert_eq!(queue.dropped_frames(), 0, "just below five seconds");
    play(&queue, 125..126, 10);
    assert_eq!(queue.dropped_frames(), 10);
    let left = numbers(&take_all(&queue));
    assert_eq!((left[0], left[left.len() - 1]), (10, 125));
}

#[test]
fn above_eight_megabytes_as_well() {
    let queue = Queue::new(headers(1));
    queue.flow();
    play(&queue, 0..20, 512 * 1024);
    assert_eq!(numbers(&take_all(&queue))[0], 10);
    assert_eq!(queue.dropped_frames(), 10);
}

#[test]
fn without_a_keyframe_to_go_on_with_everything_goes_until_one_comes() {
    let queue = Queue::new(headers(1));
    queue.flow();
    queue.push(&[picture(0, true, 10)]);
    for number in 1..150 {
        queue.push(&[picture(number, false, 10)]);
    }
    assert!(queue.is_empty());
    queue.push(&[picture(150, true, 10)]);
    assert_eq!(queue.dropped_frames(), 150);
    assert_eq!(numbers(&take_all(&queue)), [150]);
}

#[test]
fn a_header_that_was_dropped_is_told_with_what_follows() {
    let queue = Queue::new(headers(1));
    queue.flow();
    play(&queue, 0..5, 10);
    queue.push(&[header(2)]);
    play(&queue, 10..140, 10);
    let taken = take_all(&queue);
    assert!(queue.dropped_frames() > 0);
    assert_eq!(taken[0], header(2));
    let again = queue.take_while(|_| true);
    assert!(again.is_empty(), "it is told once");
}

#[tokio::test]
async fn a_queue_nobody_takes_from_is_overdue_and_a_feed_that_comes_late_is_not() {
    let (queue, now) = (Queue::new(headers(1)), Instant::now());
    queue.flow();
    let thirteen_s_ago = |_| now - Duration::from_secs(13);
    assert_eq!(queue.overdue(thirteen_s_ago, now), Duration::ZERO);
    play(&queue, 0..2, 100);
    let late = queue.overdue(thirteen_s_ago, now);
    assert!(
        late < Duration::from_millis(100),
        "late by itself: {late:?}"
    );
    play(&queue, 2..101, 100);
    let waits = queue.overdue(
        |dts_ms| now - Duration::from_millis(4_000 - dts_ms as u64),
        now,
    );
    assert_eq!(waits, Duration::from_secs(4));
}

#[test]
fn the_first_keyframe_after_a_mark_is_the_join() {
    let queue = Queue::new(headers(1));
    queue.flow();
    play(&queue, 0..5, 10);
    queue.mark_join();
    play(&queue, 5..25, 10);
    let joins: Vec<_> = queue
        .take_while(|_| true)
        .into_iter()
        .filter(|entry| entry.joins)
        .filter_map(|entry| entry.packet.dts_ms())
        .collect();
    assert_eq!(joins, [10 * FRAME_MS]);
}

#[tokio::test]
async fn after_a_failure_only_the_newest_pictures_are_held() {
    let queue = Queue::new(headers(1));
    queue.flow();
    play(&queue, 0..35, 10);
    queue.hold();
    play(&queue, 35..47, 10);
    queue.flow();
    assert_eq!(queue.keyframe().await.origin_ms, 40 * FRAME_MS);
    assert_eq!(queue.dropped_frames(), 0);
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Push { pictures: u8, bytes: usize },
    Header(u8),
    Take(u8),
    Begin,
    Hold,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (1u8..80, 1usize..200_000)
            .prop_map(|(pictures, bytes)| Action::Push { pictures, bytes }),
        1 => any::<u8>().prop_map(Action::Header),
        3 => (1u8..100).prop_map(Action::Take),
        1 => Just(Action::Begin),
        1 => Just(Action::Hold),
    ]
}

proptest! {
    /// Whatever is pushed and taken in whatever order: the bounds hold, times never go back, after
    /// every hole comes a keyframe, and the taker always knows the headers of what it takes.
    #[test]
    fn any_history_can_be_decoded(actions in prop::collection::vec(action(), 1..60)) {
        let mut backlog = Backlog::new(headers(0));
        backlog.mode = Mode::Flowing;
        let (mut next, mut version) = (0i64, 0u8);
        let mut in_force = std::collections::BTreeMap::new();
        let (mut last, mut known, mut fresh) = (-1i64, None, true);
        for action in actions {
            match action {
                Action::Push { pictures, bytes } => for _ in 0..pictures {
                    in_force.insert(next, version);
                    backlog.push(picture(next, next % 10 == 0, bytes));
                    next += 1;
                },
                Action::Header(other) => {
                    version = other;
                    backlog.push(header(other));
                }
                Action::Hold => { backlog.hold(); known = None; fresh = true; }
                Action::Begin => {
                    backlog.mode = Mode::Flowing;
                    if let Some(beginning) = backlog.begin() {
                        known = beginning.headers.video;
                        fresh = true;
                    } else {
                        known = None;
                    }
                }
                Action::Take(count) => {
                    if known.is_none() { continue }
                    let mut left = count;
                    let taken = backlog.take_while(|_| { left = left.saturating_sub(1); left > 0 });
                    for entry in taken {
                        match &entry.packet {
                            Packet::VideoHeader(header) => known = Some(header.clone()),
                            packet => {
                                let number = packet.dts_ms().expect("a picture") / FRAME_MS;
                                prop_assert!(number > last);
                                if fresh || number != last + 1 {
                                    prop_assert!(entry.is_keyframe());
                                }
                                prop_assert_eq!(known.as_deref(), Some(&[in_force[&number]][..]));
                                (last, fresh) = (number, false);
                            }
                        }
                    }
                }
            }
            prop_assert!(!backlog.is_full());
            let bytes: usize = backlog.entries.iter().map(Entry::size).sum();
            prop_assert_eq!(bytes, backlog.bytes);
        }
    }
}
