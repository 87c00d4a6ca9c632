use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::flv::{AudioPacket, VideoPacket};

const BOTH: Tracks = Tracks {
    video: true,
    audio: true,
};

fn video(dts_ms: i64, keyframe: bool) -> Packet {
    Packet::Video(VideoPacket {
        dts_ms,
        pts_ms: dts_ms + 40,
        keyframe,
        payload: Bytes::from_static(&[0; 100]),
    })
}

fn audio(ts_ms: i64) -> Packet {
    Packet::Audio(AudioPacket {
        ts_ms,
        payload: Bytes::from_static(&[0; 10]),
    })
}

fn headers() -> [Packet; 2] {
    [
        Packet::VideoHeader(Bytes::from_static(b"avcC")),
        Packet::AudioHeader(Bytes::from_static(b"asc")),
    ]
}

fn queue(bytes: usize, media_ms: i64) -> SourceQueue {
    let queue = SourceQueue::new(QueueBounds { bytes, media_ms });
    queue.set_tracks(BOTH);
    queue
}

#[test]
fn ready_needs_headers_a_keyframe_and_half_a_second() {
    let queue = queue(1 << 20, 4_000);
    queue.push_all(headers());
    assert!(!queue.is_ready());
    queue.push_all([video(0, true), audio(0)]);
    assert!(!queue.is_ready(), "nothing behind the first picture yet");
    queue.push_all([video(499, false)]);
    assert!(!queue.is_ready());
    queue.push_all([video(500, false)]);
    assert!(queue.is_ready());
}

#[test]
fn pictures_without_a_keyframe_are_not_ready() {
    let queue = queue(1 << 20, 4_000);
    queue.push_all(headers());
    queue.push_all((0..20).map(|n| video(n * 40, false)));
    assert!(!queue.is_ready());
}

#[test]
fn a_short_file_is_ready_at_its_end() {
    let queue = queue(1 << 20, 4_000);
    queue.push_all(headers());
    queue.push_all([video(0, true)]);
    assert!(!queue.is_ready());
    queue.finish(SourceEnd::Complete);
    assert!(queue.is_ready());
    assert_eq!(queue.end(), Some(SourceEnd::Complete));
}

#[test]
fn sound_that_begins_late_does_not_hold_back_a_full_queue() {
    let queue = queue(1 << 20, 1_000);
    queue.push_all([headers()[0].clone(), video(0, true), video(900, false)]);
    assert!(!queue.is_ready(), "the audio header may still come");
    queue.push_all([video(1_000, false)]);
    assert!(queue.is_ready());
}

#[test]
fn a_header_is_due_with_the_packet_it_goes_with() {
    let queue = queue(1 << 20, 4_000);
    queue.push_all([headers()[0].clone(), video(120, true)]);
    let head = queue.peek().unwrap();
    assert_eq!((head.kind, head.dts_ms), (HeadKind::Header, 120));
    queue.pop();
    let head = queue.peek().unwrap();
    assert_eq!(head.kind, HeadKind::Video { keyframe: true });
    assert_eq!((head.dts_ms, head.pts_ms), (120, 160));
}

#[test]
fn skipping_keeps_headers_and_drops_the_rest() {
    let queue = queue(1 << 20, 4_000);
    queue.push_all([
        video(0, false),
        headers()[0].clone(),
        audio(10),
        video(40, false),
    ]);
    assert!(!queue.skip_to_keyframe());
    queue.push_all([video(80, true), audio(90)]);
    assert!(queue.skip_to_keyframe());
    assert_eq!(queue.first_keyframe_pts_ms(), Some(120));
    let left: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
    assert_eq!(left, [headers()[0].clone(), video(80, true), audio(90)]);
    assert_eq!(queue.lock().bytes, 0, "bytes are counted back to nothing");
}

#[test]
fn a_picture_may_come_until_the_end() {
    let queue = queue(1 << 20, 4_000);
    assert!(queue.has_video_left());
    queue.push_all([video(0, true), audio(0), audio(21)]);
    queue.finish(SourceEnd::Complete);
    assert!(queue.has_video_left());
    queue.pop();
    assert!(!queue.has_video_left(), "only sound is left");
}

#[test]
fn only_the_first_end_counts() {
    let queue = queue(1 << 20, 4_000);
    let short = SourceEnd::Short {
        media_s: 1.0,
        expected_s: 9.0,
    };
    queue.finish(short.clone());
    queue.finish(SourceEnd::Complete);
    assert_eq!(queue.end(), Some(short));
}

#[tokio::test(start_paused = true)]
async fn the_reader_waits_above_the_bound_until_three_quarters() {
    let queue = Arc::new(queue(1 << 20, 1_000));
    queue.room().await;
    queue.push_all((0..=10).map(|n| video(n * 100, n == 0)));
    let reader = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.room().await }
    });
    // Oldest 200: 800 ms are left, which is not below 750.
    for _ in 0..2 {
        queue.pop();
        tokio::task::yield_now().await;
        assert!(!reader.is_finished());
    }
    queue.pop();
    tokio::time::timeout(Duration::from_secs(1), reader)
        .await
        .expect("there is room below three quarters")
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn bytes_bound_the_queue_too() {
    let queue = queue(1_000, 1_000_000);
    queue.push_all((0..10).map(|n| video(n, n == 0)));
    let waiting = tokio::time::timeout(Duration::from_secs(1), queue.room()).await;
    assert!(waiting.is_err(), "1000 bytes of 1000 are in hand");
    while queue.pop().is_some() {}
    queue.room().await;
}

#[tokio::test(start_paused = true)]
async fn playout_is_woken_by_readiness_and_by_the_end_not_by_every_packet() {
    let queue = queue(1 << 20, 4_000);
    let quiet = async |queue: &SourceQueue| {
        let woken = tokio::time::timeout(Duration::from_secs(1), queue.changed()).await;
        woken.is_err()
    };
    queue.push_all(headers());
    queue.changed().await;
    queue.push_all([video(0, true), audio(0)]);
    assert!(quiet(&queue).await);
    queue.push_all([video(600, false)]);
    queue.changed().await;
    queue.push_all([video(640, false)]);
    assert!(quiet(&queue).await);
    queue.finish(SourceEnd::Complete);
    queue.changed().await;
}

#[test]
fn it_is_quiet_while_the_reader_has_room_and_gets_nothing() {
    let queue = queue(1 << 20, 4_000);
    let now = Instant::now();
    let later = now + Duration::from_secs(3);
    assert_eq!(queue.quiet(later), Duration::ZERO, "nobody reads");
    queue.waits(now);
    assert_eq!(queue.quiet(later), Duration::from_secs(3));
    queue.push_all([]);
    assert_eq!(queue.quiet(later), Duration::ZERO, "half a packet came");
    queue.waits(now);
    queue.finish(SourceEnd::Complete);
    assert_eq!(queue.quiet(later), Duration::ZERO, "no more is to come");
}

#[test]
fn one_that_ran_dry_although_something_came_goes_on_when_it_is_full_of_more_each_time() {
    let queue = queue(1 << 20, 4_000);
    queue.push_all(headers());
    let mut at_ms = 0;
    for fill_ms in [4_000, 8_000, 16_000, 16_000] {
        while queue.pop().is_some() {}
        queue.fill_up();
        assert_eq!(queue.fill_ms(), Some(fill_ms));
        let begin_ms = at_ms;
        while at_ms < begin_ms + fill_ms {
            queue.push_all([video(at_ms, true)]);
            assert!(
                queue.is_filling() && !queue.is_ready(),
                "{at_ms} of {fill_ms}"
            );
            at_ms += 500;
        }
        queue.push_all([video(at_ms, true)]);
        assert!(queue.is_ready() && !queue.is_filling());
        at_ms += 500;
    }
    while queue.pop().is_some() {}
    queue.fill_up();
    queue.push_all([video(at_ms, true)]);
    queue.finish(SourceEnd::Complete);
    assert!(queue.is_ready(), "there is no more");
}
