use super::*;
use crate::flv::{AudioPacket, VideoPacket};

const DEPTH: Depth = Depth { jitter_ms: 300 };
const DRY: Duration = Duration::from_millis(400);

/// 25 pictures a second from `from_ms`, a keyframe each second, sound beside them.
pub(super) fn media(from_ms: i64, until_ms: i64) -> Vec<Packet> {
    let mut packets = Vec::new();
    for ms in (from_ms..until_ms).step_by(40) {
        packets.push(Packet::Video(VideoPacket {
            dts_ms: ms,
            pts_ms: ms,
            keyframe: ms % 1_000 == 0,
            payload: Bytes::from_static(b"picture"),
        }));
        packets.push(Packet::Audio(AudioPacket {
            ts_ms: ms + 20,
            payload: Bytes::from_static(b"sound"),
        }));
    }
    packets
}

pub(super) fn begun() -> (LiveBuffer, Instant) {
    let buffer = LiveBuffer::new(DEPTH);
    let now = Instant::now();
    buffer.begin();
    let headers = [
        Packet::VideoHeader(Bytes::from_static(b"v")),
        Packet::AudioHeader(Bytes::from_static(b"a")),
    ];
    buffer.push_all(headers, now);
    (buffer, now)
}

pub(super) fn standing(buffer: &LiveBuffer, now: Instant) -> Standing {
    buffer.standing(Duration::ZERO, DRY, now)
}

pub(super) fn front_ms(buffer: &LiveBuffer) -> Option<i64> {
    buffer.with_front(|packet| packet.dts_ms()).flatten()
}

#[test]
fn a_feed_is_ready_with_a_keyframe_and_what_jitter_needs_behind_it() {
    let (buffer, now) = begun();
    buffer.push_all(media(200, 1_000), now);
    assert!(!standing(&buffer, now).ready, "no keyframe");
    buffer.push_all(media(1_000, 1_280), now);
    assert!(!standing(&buffer, now).ready, "260 ms");
    buffer.push_all(media(1_280, 1_320), now);
    assert!(standing(&buffer, now).ready);
    assert!(!standing(&buffer, now + SILENT_AFTER).ready, "silent");
}

#[test]
fn off_air_a_cut_begins_with_the_newest_keyframe_that_has_enough_behind_it() {
    let (buffer, now) = begun();
    buffer.push_all(media(0, 3_200), now);
    assert_eq!(front_ms(&buffer), Some(2_000), "3 s has only 200 ms");
    buffer.push_all(media(3_200, 3_400), now);
    assert_eq!(front_ms(&buffer), Some(3_000));
    let headers = buffer.take_the_air();
    assert!(matches!(
        headers[..],
        [Packet::VideoHeader(_), Packet::AudioHeader(_)]
    ));
}

#[test]
fn on_air_the_oldest_whole_gop_goes_when_too_much_waits() {
    let (buffer, now) = begun();
    buffer.push_all(media(0, 400), now);
    buffer.take_the_air();
    buffer.push_all(media(400, 4_300), now);
    assert_eq!(front_ms(&buffer), Some(0));
    buffer.push_all(media(4_300, 5_000), now);
    assert_eq!(front_ms(&buffer), Some(1_000));
}

#[test]
fn on_air_a_feed_without_keyframes_is_bounded_and_goes_on_with_the_next_one() {
    let (buffer, now) = begun();
    buffer.push_all(media(0, 400), now);
    buffer.take_the_air();
    let picture = |ms: i64, keyframe| {
        Packet::Video(VideoPacket {
            dts_ms: ms,
            pts_ms: ms,
            keyframe,
            payload: Bytes::from(vec![0; 1 << 20]),
        })
    };
    for at in 0..100 {
        buffer.push_all([picture(440 + at, false)], now);
        assert!(buffer.lock().bytes <= MOST_BYTES + (1 << 20));
    }
    assert_eq!(
        front_ms(&buffer),
        None,
        "nothing refers to what was dropped"
    );
    buffer.push_all([picture(600, true), picture(640, false)], now);
    assert_eq!(front_ms(&buffer), Some(600));
}

#[test]
fn what_a_feed_left_is_aired_to_its_end() {
    let (buffer, now) = begun();
    buffer.push_all(media(0, 400), now);
    buffer.take_the_air();
    buffer.end();
    assert!(standing(&buffer, now).carrying && standing(&buffer, now).feed.is_none());
    while buffer.pop().is_some() {}
    assert!(!standing(&buffer, now).carrying);
}

#[test]
fn a_feed_that_is_silent_for_too_long_carries_no_more() {
    let (buffer, now) = begun();
    buffer.push_all(media(0, 400), now);
    buffer.take_the_air();
    while buffer.pop().is_some() {}
    assert!(buffer.standing(DRY / 2, DRY, now).carrying);
    assert!(!buffer.standing(DRY, DRY, now).carrying);
}

#[test]
fn sound_alone_is_a_picture_that_is_lost() {
    let (buffer, now) = begun();
    buffer.push_all(media(0, 400), now);
    buffer.take_the_air();
    while buffer.pop().is_some() {}
    let sound = media(400, 440)
        .into_iter()
        .filter(|packet| !packet.is_video());
    buffer.push_all(sound, now + BLIND_AFTER);
    assert!(!standing(&buffer, now + BLIND_AFTER).carrying);
}

/// Pictures as an encoder with two B-frames sends them: decoded at, shown at, in frames of 40 ms.
pub(super) fn reordered(frames: impl IntoIterator<Item = (i64, i64)>) -> Vec<Packet> {
    let picture = |(decoded, shown)| {
        Packet::Video(VideoPacket {
            dts_ms: decoded * 40,
            pts_ms: shown * 40,
            keyframe: decoded == 0,
            payload: Bytes::from_static(b"picture"),
        })
    };
    frames.into_iter().map(picture).collect()
}

#[test]
fn a_picture_is_given_out_only_with_those_shown_before_it() {
    let (buffer, now) = begun();
    buffer.push_all(reordered([(0, 1), (1, 4), (2, 2), (3, 3)]), now);
    buffer.take_the_air();
    assert_eq!(front_ms(&buffer), Some(0));
    buffer.pop();
    assert_eq!(
        front_ms(&buffer),
        None,
        "5 may be followed by what is shown before 4"
    );
    buffer.push_all(reordered([(4, 7)]), now);
    for decoded in [40, 80, 120] {
        assert_eq!(front_ms(&buffer), Some(decoded));
        buffer.pop();
    }
    buffer.push_all(media(160, 200).into_iter().filter(|p| !p.is_video()), now);
    assert!(buffer.has_picture_left() && front_ms(&buffer).is_none());
    buffer.end();
    assert!(!buffer.has_picture_left());
    assert_eq!(front_ms(&buffer), Some(180), "its sound is kept");
}

#[test]
fn reordered_pictures_have_the_same_jitter_behind_them() {
    let (buffer, now) = begun();
    let frames = (0..4).flat_map(|group| {
        let at = 3 * group;
        [(at, at + 3), (at + 1, at + 1), (at + 2, at + 2)]
    });
    let frames: Vec<_> = frames.collect();
    buffer.push_all(reordered(frames[..9].iter().copied()), now);
    assert!(!standing(&buffer, now).ready, "200 ms can be given out");
    buffer.push_all(reordered(frames[9..].iter().copied()), now);
    assert!(standing(&buffer, now).ready, "320 ms can");
}

#[test]
fn a_picture_without_sound_is_ready_after_a_second() {
    let buffer = LiveBuffer::new(DEPTH);
    let now = Instant::now();
    buffer.begin();
    buffer.push_all([Packet::VideoHeader(Bytes::from_static(b"v"))], now);
    let silent = |from, until| media(from, until).into_iter().filter(Packet::is_video);
    buffer.push_all(silent(0, 900), now);
    assert!(!standing(&buffer, now).ready);
    buffer.push_all(silent(900, 1_080), now);
    assert!(standing(&buffer, now).ready);
}
