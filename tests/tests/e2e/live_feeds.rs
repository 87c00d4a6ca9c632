//! What a feed may do while it is on air: its clock jumps, its sound comes late or stops, it changes its size,
//! it comes slower than it plays.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use e2e::encoder::{Encoder, Media};
use e2e::flv::Track;
use e2e::media::{self, Clip};
use e2e::pressure::Pressure;
use e2e::rtmp::Message;
use e2e::viewer::Report;
use e2e::wait;

use crate::live_stage::{Stage, feed};

/// The feed once more, in another size.
fn other_size() -> PathBuf {
    let clip = Clip {
        name: "other-size.flv",
        seconds: 12.0,
        size: (854, 480),
        b_frames: 0,
        gop: 30,
        ..Clip::default()
    };
    clip.file()
}

/// Media from the keyframe at this second on, for so many seconds, moved to `at_ms`.
fn piece(media: &[Media], from_s: u32, length_s: u32, at_ms: u32) -> Vec<Media> {
    let begin = media
        .iter()
        .filter(|one| one.is_keyframe())
        .find(|one| one.ms >= from_s * 1_000)
        .expect("a keyframe")
        .ms;
    let within =
        |one: &&Media| !one.is_header() && (begin..begin + length_s * 1_000).contains(&one.ms);
    let moved = |one: &Media| Media {
        ms: one.ms - begin + at_ms,
        ..one.clone()
    };
    media.iter().filter(within).map(moved).collect()
}

#[test]
fn late_sound_a_clock_that_jumps_and_another_size_are_one_session() {
    let stage = Stage::new();
    let (feed, other) = (Media::of(&feed()), Media::of(&other_size()));
    let headers = |media: &[Media]| -> Vec<Media> {
        media
            .iter()
            .filter(|one| one.is_header())
            .cloned()
            .collect()
    };
    let mut encoder = Encoder::connect(&stage.ingest, &stage.key);
    // Sound begins after three seconds.
    let (video, audio): (Vec<_>, Vec<_>) = headers(&feed).into_iter().partition(Media::is_video);
    video.iter().for_each(|header| encoder.send(header));
    let mut mute = piece(&feed, 0, 3, 0);
    mute.retain(Media::is_video);
    encoder.play(&mute);
    stage.wait_kind("live");
    audio.iter().for_each(|header| encoder.send(header));
    encoder.play(&piece(&feed, 3, 2, 3_000));
    // Forward by minutes, and back.
    encoder.play(&piece(&feed, 5, 2, 400_000));
    encoder.play(&piece(&feed, 7, 2, 1_000));
    let status = stage.controller.status("main");
    assert_eq!(status["on_air"]["kind"], "live", "{status:#}");
    // Somebody turns the phone, in the middle of the feed.
    headers(&other)
        .iter()
        .for_each(|header| encoder.send(header));
    encoder.play(&piece(&other, 0, 8, 3_100));
    let input = stage.wait_input("the other size is told", |input| input["copied"] == false);
    assert!(
        input["media"].as_str().unwrap_or("").contains("854x480"),
        "{input:#}"
    );
    let is_seen = |log: &str| log.contains("the feed has changed its shape");
    assert!(is_seen(&stage.controller.worker_log()));
    stage.wait_kind("live");
    drop(encoder);
    stage.wait_kind("programme");
    wait::observe(Duration::from_secs(1));
    stage.controller.stop("main");
    let report = Report::of(&stage.receiver.only_connection().messages);
    report.assert_seamless(media::FPS);
}

/// Whether a picture says no more than that it is the one before it.
fn repeats(message: &Message) -> bool {
    message.tag.track == Track::Video && message.tag.bytes < 150
}

#[test]
fn a_transcoded_feed_goes_on_although_its_clock_jumps_and_its_sound_stops() {
    let stage = Stage::new();
    let other = Media::of(&other_size());
    let mut encoder = Encoder::connect(&stage.ingest, &stage.key);
    let headers = other.iter().filter(|one| one.is_header());
    headers.for_each(|header| encoder.send(header));
    let mut mute = piece(&other, 7, 5, 7_500);
    mute.retain(Media::is_video);
    let pieces = [
        piece(&other, 0, 5, 0),
        // Forward by minutes, back, and on without sound.
        piece(&other, 0, 3, 400_000),
        piece(&other, 3, 4, 3_500),
        mute,
    ];
    let begun = Pressure::now();
    let sender = thread::spawn(move || pieces.iter().for_each(|piece| encoder.play(piece)));
    stage.wait_kind("live");
    let on_air = Instant::now();
    let mut away = Duration::ZERO;
    while !sender.is_finished() {
        let before = Instant::now();
        wait::observe(Duration::from_millis(100));
        if stage.kind() != "live" {
            away += before.elapsed();
        }
    }
    let until = Instant::now();
    let allowed = begun.allows(Duration::from_secs(1));
    // A machine that cannot transcode at the time's own speed has no such feed on air.
    let starved = stage.controller.worker_log().contains("live_slow");
    assert!(away <= allowed || starved, "it was off air for {away:?}");
    stage.wait_kind("programme");
    stage.controller.stop("main");
    stage.assert_seamless();

    let connection = stage.receiver.only_connection();
    let seen = connection.frames().filter(|message| {
        message.tag.track == Track::Video && (on_air..until).contains(&message.arrived)
    });
    let stood_still: Vec<bool> = seen.map(repeats).collect();
    let still = stood_still.iter().filter(|still| **still).count();
    let all = stood_still.len();
    assert!(still * 5 < all, "{still} of {all} pictures stood still");
}

#[test]
fn a_feed_slower_than_it_plays_has_no_air_until_it_keeps_up() {
    let stage = Stage::new();
    let feed = Media::of(&feed());
    let mut encoder = Encoder::connect(&stage.ingest, &stage.key);
    let headers = feed.iter().filter(|one| one.is_header());
    headers.for_each(|header| encoder.send(header));
    let quick = piece(&feed, 0, 3, 0);
    let slow = piece(&feed, 3, 5, 3_000);
    let again = piece(&feed, 0, 19, 8_000);
    let sender = thread::spawn(move || {
        encoder.play(&quick);
        encoder.play_at(2, &slow);
        encoder.play(&again);
    });
    stage.wait_kind("live");
    stage.wait_input("it is told", |input| input["error"]["type"] == "live_slow");
    stage.wait_kind("programme");
    assert!(!sender.is_finished(), "it is still there");
    stage.wait_kind("live");
    stage.wait_input("it is told no more", |input| input["error"].is_null());
    sender.join().expect("an encoder");
    stage.controller.stop("main");
    stage.assert_seamless();
}
