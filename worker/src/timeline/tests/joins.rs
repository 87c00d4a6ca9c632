//! Any sequence of sources, cut anywhere.

use super::clip::{Clip, Sound};
use super::*;
use proptest::prelude::*;

const RATES: [(i64, i64); 7] = [
    (24, 1),
    (24_000, 1001),
    (25, 1),
    (30_000, 1001),
    (30, 1),
    (50, 1),
    (60, 1),
];

fn clips() -> impl Strategy<Value = Vec<(Clip, Option<usize>)>> {
    let sound = (
        prop_oneof![Just(48_000), Just(44_100)],
        -500_i64..500,
        0_usize..150,
    )
        .prop_map(|(rate_hz, offset_ms, frames)| Sound {
            rate_hz,
            offset_ms,
            frames,
        });
    let clip = (
        prop::sample::select(&RATES[..]),
        0_usize..5,
        prop::sample::select(vec![1, 12, 48, 250]),
        1_usize..120,
        prop_oneof![Just(0), -1000..100_000_i64],
        prop::option::weighted(0.9, sound),
    )
        .prop_map(|(rate, b_frames, gop, pictures, origin_ms, sound)| Clip {
            rate,
            b_frames,
            gop,
            pictures,
            origin_ms,
            sound,
        });
    prop::collection::vec((clip, prop::option::of(3_usize..200)), 2..12)
}

proptest! {
    #[test]
    fn no_viewer_ever_notices_a_join(clips in clips()) {
        let mut stage = Stage::new();
        for (clip, cut_after) in &clips {
            stage.play(clip, *cut_after);
        }
        let (timeline, viewer) = stage.finish();
        prop_assert_eq!(timeline.counters().joins, clips.len() as u64);
        prop_assert_eq!(timeline.counters().jumps, 0);
        prop_assert_eq!(timeline.counters().silent_frames, viewer.silent_frames);
    }
}

#[test]
fn whole_clips_lose_no_picture_and_no_sound_but_their_tails() {
    let mut stage = Stage::new();
    for (number, b_frames) in [0, 3, 0, 2, 4, 1, 0].into_iter().enumerate() {
        let clip = Clip {
            b_frames,
            ..Clip::new(RATES[number], 90)
        };
        let frames = clip.sound.as_ref().map_or(0, |sound| sound.frames);
        stage.play(&clip, None);
        assert!(
            stage.viewer.sounds[&(number as u32)] + 1 >= frames,
            "clip {number}"
        );
    }
    let (timeline, viewer) = stage.finish();
    assert_eq!(viewer.pictures, 7 * 90);
    assert_eq!(timeline.counters().dropped_pictures, 0);
    assert!(viewer.silent_frames <= 7);
}

#[test]
fn a_thousand_joins() {
    let mut stage = Stage::new();
    for number in 0..1_000_usize {
        let mut clip = Clip::new(RATES[number % 7], 5 + number % 40);
        clip.b_frames = number % 5;
        clip.gop = 12;
        if let Some(sound) = &mut clip.sound {
            sound.rate_hz = if number % 3 == 0 { 44_100 } else { 48_000 };
            sound.offset_ms = (number as i64 * 37) % 200 - 100;
        }
        stage.play(&clip, (number % 2 == 0).then_some(number % 60));
    }
    let (timeline, viewer) = stage.finish();
    assert_eq!(timeline.counters().joins, 1_000);
    assert!(viewer.longest_step_over_ms <= 1.0);
}
