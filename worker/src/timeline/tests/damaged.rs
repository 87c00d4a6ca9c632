//! Sources that are not what they should be.

use super::clip::{Clip, Sound};
use super::*;
use crate::flv::AudioPacket;

const PAL: (i64, i64) = (25, 1);

fn shift(packets: &mut [Packet], by_ms: i64) {
    for packet in packets {
        match packet {
            Packet::Video(video) => {
                video.dts_ms += by_ms;
                video.pts_ms += by_ms;
            }
            Packet::Audio(audio) => audio.ts_ms += by_ms,
            Packet::VideoHeader(_) | Packet::AudioHeader(_) => {}
        }
    }
}

/// Position of the nth picture in file order.
fn picture(packets: &[Packet], nth: usize) -> usize {
    let mut pictures = packets
        .iter()
        .enumerate()
        .filter(|(_, packet)| matches!(packet, Packet::Video(_)));
    pictures.nth(nth).map(|(at, _)| at).unwrap()
}

fn sound_of(stage: &Stage, clip: u32) -> usize {
    stage.viewer.sounds.get(&clip).copied().unwrap_or(0)
}

#[test]
fn a_clock_that_jumps_inside_a_source_is_joined_to_itself() {
    for by_ms in [90_000, -90_000, -300, i64::from(i32::MAX)] {
        for (b_frames, at_picture) in [(0, 48), (2, 48), (0, 55), (2, 55)] {
            let clip = Clip {
                b_frames,
                gop: 12,
                origin_ms: 100_000,
                ..Clip::new(PAL, 100)
            };
            let mut packets = clip.packets(0);
            let from = picture(&packets, at_picture);
            shift(&mut packets[from..], by_ms);
            let mut stage = Stage::new();
            stage.viewer.expect(&clip);
            // The viewer knows each packet by the time it had before the jump: that picture and
            // sound stay together is what it checks.
            stage.play_packets(clip.shape(), packets, None);
            let sounds = sound_of(&stage, 0);
            let (timeline, viewer) = stage.finish();
            let case = format!("{by_ms} ms at picture {at_picture}, {b_frames} B-frames");
            assert_eq!(
                (timeline.counters().jumps, viewer.pictures),
                (1, 100),
                "{case}"
            );
            assert!(sounds >= 184, "{sounds} of 187 frames, {case}");
        }
    }
}

#[test]
fn a_keyframe_at_a_time_already_shown_begins_anew() {
    let clip = Clip {
        gop: 12,
        ..Clip::new(PAL, 100)
    };
    let mut packets = clip.packets(0);
    let from = picture(&packets, 48);
    shift(&mut packets[from..], -40);
    let mut stage = Stage::new();
    stage.viewer.expect(&clip);
    stage.play_packets(clip.shape(), packets, None);
    let (timeline, _) = stage.finish();
    assert_eq!(
        (timeline.counters().jumps, timeline.video_end_ms()),
        (1, 4_000)
    );
}

#[test]
fn sound_of_the_clock_before_a_jump_is_not_played_on_the_one_after_it() {
    for by_ms in [90_000, -90_000] {
        let clip = Clip {
            origin_ms: 100_000,
            ..Clip::new(PAL, 100)
        };
        let mut packets = clip.packets(0);
        let from = picture(&packets, 50);
        let late = packets
            .iter()
            .skip(from)
            .filter(|packet| !packet.is_video());
        let late: Vec<Packet> = late.take(3).cloned().collect();
        shift(&mut packets[from..], by_ms);
        packets.retain(|packet| {
            let own_ms = packet.dts_ms().map(|ms| ms - by_ms);
            packet.is_video() || !late.iter().any(|late| late.dts_ms() == own_ms)
        });
        packets.splice(from + 1..from + 1, late);
        let mut stage = Stage::new();
        stage.viewer.expect(&clip);
        stage.play_packets(clip.shape(), packets, None);
        assert_eq!(sound_of(&stage, 0), 187 - 3, "{by_ms}");
        let (timeline, viewer) = stage.finish();
        assert_eq!((timeline.counters().jumps, viewer.silent_frames), (1, 3));
    }
}

#[test]
fn sound_that_jumps_before_the_picture_does_is_not_believed() {
    let clip = Clip::new(PAL, 100);
    let mut packets = clip.packets(0);
    let from = picture(&packets, 50);
    let stray = packets
        .iter()
        .skip(from)
        .position(|packet| matches!(packet, Packet::Audio(_)));
    let stray = from + stray.unwrap();
    shift(&mut packets[stray..=stray], 3_600_000);
    let mut stage = Stage::new();
    stage.viewer.expect(&clip);
    stage.play_packets(clip.shape(), packets, None);
    assert_eq!(sound_of(&stage, 0), 186);
    let (timeline, viewer) = stage.finish();
    assert_eq!((timeline.counters().jumps, viewer.silent_frames), (0, 1));
}

#[test]
fn decode_times_that_stand_still_or_step_back_are_squeezed() {
    let clip = Clip::new(PAL, 50);
    let mut packets = clip.packets(0);
    for nth in [10, 11, 20] {
        let at = picture(&packets, nth);
        if let Packet::Video(video) = &mut packets[at] {
            video.dts_ms -= 45;
        }
    }
    let mut stage = Stage::new();
    stage.viewer.expect(&clip);
    stage.play_packets(clip.shape(), packets, None);
    let (timeline, viewer) = stage.finish();
    assert_eq!((timeline.counters().jumps, viewer.pictures), (0, 50));
}

#[test]
fn five_minutes_without_sound_are_filled_as_they_pass() {
    let clip = Clip::new(PAL, 25 * 310);
    let mut packets = clip.packets(0);
    packets.retain(
        |packet| !matches!(packet, Packet::Audio(audio) if (5_000..305_000).contains(&audio.ts_ms)),
    );
    let mut stage = Stage::new();
    stage.viewer.expect(&clip);
    let mut most = 0;
    stage.timeline.join(clip.shape());
    for packet in packets {
        let before = stage.viewer.silent_frames;
        stage.push(packet);
        most = most.max(stage.viewer.silent_frames - before);
    }
    assert!(most <= 6, "{most} silent frames at once");
    let silent = stage.finish().1.silent_frames;
    assert!((14_060..=14_064).contains(&silent), "{silent}");
}

#[test]
fn a_hole_that_nobody_asked_to_fill_is_filled_a_second_behind() {
    let clip = Clip {
        sound: None,
        ..Clip::new(PAL, 250)
    };
    let mut timeline = Timeline::new(clip::silence());
    timeline.join(clip.shape());
    let mut out = Vec::new();
    for packet in clip.packets(0) {
        timeline.push(packet, &mut out);
        assert!(timeline.video_end_ms() - timeline.audio_end_ms() <= 1_000 + 40);
    }
}

#[test]
fn silence_comes_a_second_at_a_time() {
    let stills = Clip {
        sound: None,
        ..Clip::new((1, 10), 20)
    };
    let mut timeline = Timeline::new(clip::silence());
    timeline.join(stills.shape());
    for packet in stills.packets(0) {
        let mut out = Vec::new();
        timeline.push(packet, &mut out);
        timeline.fill_silence(timeline.video_end_ms(), &mut out);
        assert!(out.len() <= 2 + 2 * 47, "{} packets at once", out.len());
    }
}

#[test]
fn a_source_without_sound_or_whose_sound_ends_early_is_silent() {
    let mut stage = Stage::new();
    let mute = Clip {
        sound: None,
        ..Clip::new(PAL, 50)
    };
    let short = Sound {
        rate_hz: 44_100,
        offset_ms: 0,
        frames: 20,
    };
    let cut_short = Clip {
        sound: Some(short),
        ..Clip::new(PAL, 50)
    };
    for clip in [&mute, &cut_short, &mute, &Clip::new(PAL, 50)] {
        stage.play(clip, None);
    }
    assert!(sound_of(&stage, 1) >= 19);
    assert!(sound_of(&stage, 3) >= 92);
    let (timeline, _) = stage.finish();
    assert!((timeline.video_end_ms() - timeline.audio_end_ms()).abs() <= 22);
}

#[test]
fn sound_that_outlives_its_picture_ends_with_it() {
    let mut stage = Stage::new();
    let mut long = Clip::new(PAL, 50);
    long.sound = Some(Sound {
        rate_hz: 48_000,
        offset_ms: 0,
        frames: 300,
    });
    stage.play(&long, None);
    assert_eq!(stage.timeline.video_end_ms(), 2_000);
    assert_eq!(sound_of(&stage, 0), 94);
    stage.play(&Clip::new(PAL, 50), None);
    assert_eq!(sound_of(&stage, 1), 93);
}

#[test]
fn sound_before_the_first_keyframe_in_the_file_is_kept() {
    let clip = Clip::new(PAL, 100);
    let packets = clip.packets(0);
    let first = picture(&packets, 0);
    let (mut early, mut late) = (packets[..first].to_vec(), Vec::new());
    // All sound of the first 1.5 s stands before the first picture.
    for packet in packets[first..].iter().cloned() {
        match packet {
            Packet::Audio(AudioPacket { ts_ms, .. }) if ts_ms < 1_500 => early.push(packet),
            _ => late.push(packet),
        }
    }
    early.append(&mut late);
    let mut timeline = Timeline::new(clip::silence());
    let mut viewer = Viewer::default();
    viewer.expect(&clip);
    timeline.join(clip.shape());
    let mut out = Vec::new();
    for packet in early {
        timeline.push(packet, &mut out);
        viewer.watch(&mut out);
    }
    assert_eq!((viewer.sounds[&0], viewer.silent_frames), (187, 0));
}

#[test]
fn sound_without_a_picture_is_held_for_two_seconds_and_no_longer() {
    let mut timeline = Timeline::new(clip::silence());
    let clip = Clip::new(PAL, 25 * 60);
    timeline.join(clip.shape());
    let mut out = Vec::new();
    for packet in clip
        .packets(0)
        .into_iter()
        .filter(|packet| !packet.is_video())
    {
        assert_eq!(timeline.release_at(&packet), None);
        timeline.push(packet, &mut out);
    }
    assert!(out.is_empty());
    assert_eq!(timeline.shift_ms(), None);
    let held = 2_812 - timeline.counters().dropped_sounds;
    assert!((93..=95).contains(&held), "{held}");
}

#[test]
fn leading_pictures_of_an_open_gop_are_not_shown() {
    let mut stage = Stage::new();
    stage.play(&Clip::new(PAL, 25), None);
    let clip = Clip {
        b_frames: 2,
        ..Clip::new(PAL, 25)
    };
    stage.viewer.expect(&clip);
    let mut packets = clip.packets(1);
    // Without its first picture, and with the anchor after it as a keyframe: I3 b1 b2, as if cut
    // out of a longer file.
    packets.remove(picture(&packets, 0));
    let anchor = picture(&packets, 0);
    if let Packet::Video(anchor) = &mut packets[anchor] {
        anchor.keyframe = true;
    }
    stage.play_packets(clip.shape(), packets, None);
    let (timeline, viewer) = stage.finish();
    assert_eq!(
        (viewer.pictures, timeline.counters().dropped_pictures),
        (25 + 22, 2)
    );
}

#[test]
fn a_wrong_nominal_frame_duration_is_noticed() {
    let mut stage = Stage::new();
    let clip = Clip::new((50, 1), 100);
    stage.viewer.expect(&clip);
    stage.play_packets(SourceShape { frame_us: 40_000 }, clip.packets(0), None);
    assert_eq!(stage.timeline.video_end_ms(), 2_000);
}

#[test]
fn frames_of_he_aac_are_as_long_as_they_say() {
    let clip = Clip {
        sound: None,
        ..Clip::new(PAL, 50)
    };
    let mut packets = clip.packets(0);
    let he_aac = Bytes::from_static(&[0x2b, 0x11, 0x88, 0x00]);
    packets.insert(1, Packet::AudioHeader(he_aac.clone()));
    let sounds = (0..40).map(|n| (n * 128_000 / 3_000, n));
    packets.extend(sounds.map(|(ts_ms, _)| {
        Packet::Audio(AudioPacket {
            ts_ms,
            payload: Bytes::from_static(b"he-aac"),
        })
    }));
    packets.sort_by_key(|packet| packet.dts_ms());
    let mut timeline = Timeline::new(clip::silence());
    timeline.join(clip.shape());
    let mut out = Vec::new();
    for packet in packets {
        timeline.push(packet, &mut out);
    }
    assert_eq!(timeline.counters().silent_frames, 0);
    // Silence after it has a header of its own, once.
    timeline.fill_silence(timeline.video_end_ms() + 100, &mut out);
    let headers: Vec<_> = out
        .iter()
        .filter(|packet| matches!(packet, Packet::AudioHeader(_)))
        .collect();
    let ours = Packet::AudioHeader(clip::silence().header);
    assert_eq!(headers, [&Packet::AudioHeader(he_aac), &ours]);
}

#[test]
fn air_time_begins_at_the_first_decode_time_and_maps_back() {
    let mut timeline = Timeline::new(clip::silence());
    let clip = Clip {
        b_frames: 2,
        origin_ms: 3_600_000,
        ..Clip::new(PAL, 50)
    };
    let mut out = Vec::new();
    // Nothing is on air before a join.
    timeline.push(clip.packets(0)[5].clone(), &mut out);
    assert!(out.is_empty());
    timeline.join(clip.shape());
    for packet in clip.packets(0) {
        timeline.push(packet, &mut out);
    }
    assert!(
        matches!(&out[..2], [Packet::VideoHeader(_), Packet::Video(first)] if (first.dts_ms, first.pts_ms) == (0, 40))
    );
    assert_eq!(timeline.shift_ms(), Some(-3_600_000));
    assert_eq!(timeline.source_time_ms(1_500), Some(3_601_500));
    assert_eq!(timeline.video_end_ms(), 2_040);
}
