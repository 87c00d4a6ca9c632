//! Sixty days on air. Most of the time is passed in pictures of ten seconds; every six hours
//! three ordinary clips are joined under a viewer's eyes.

use super::clip::Clip;
use super::*;

const DAYS: i64 = 60;
const MS_PER_DAY: i64 = 86_400_000;

#[test]
fn sixty_days_without_drift_or_overflow() {
    let hours = Clip {
        rate: (1, 10),
        gop: 1,
        sound: None,
        ..Clip::new((1, 10), 2157)
    };
    let slate = Clip {
        gop: 60,
        ..Clip::new((30_000, 1001), 60)
    };
    let file = Clip {
        b_frames: 3,
        origin_ms: 77,
        ..Clip::new((30_000, 1001), 151)
    };
    let trailer = Clip {
        b_frames: 1,
        ..Clip::new((24_000, 1001), 100)
    };
    let mut timeline = Timeline::new(clip::silence());
    let mut out = Vec::new();
    let mut ideal_ms = 0.0;
    let mut rounds = 0;
    while timeline.video_end_ms() < DAYS * MS_PER_DAY {
        // Six hours of silence are a million frames; sound is put forward instead.
        let hours_end_ms = timeline.video_end_ms() + hours.pictures as i64 * 10_000;
        timeline.sound = SoundTrack::new(clip::silence());
        timeline.sound.start_no_later_than(hours_end_ms);
        timeline.join(hours.shape());
        for packet in hours.packets(0) {
            timeline.push(packet, &mut out);
            out.clear();
        }
        let mut stage = Stage {
            timeline,
            ..Stage::new()
        };
        stage.air_ms = stage.timeline.video_end_ms();
        for clip in [&slate, &file, &trailer] {
            stage.play(clip, None);
        }
        (timeline, _) = stage.finish();
        for clip in [&hours, &slate, &file, &trailer] {
            ideal_ms += clip.pictures as f64 * clip.frame_ms();
        }
        rounds += 1;
        let drift_ms = timeline.video_end_ms() as f64 - ideal_ms;
        assert!(
            drift_ms.abs() <= 1.0,
            "{drift_ms} ms off after {rounds} rounds"
        );
    }
    assert!(timeline.video_end_ms() > 1 << 32);
    assert_eq!(timeline.counters().joins, 4 * rounds);
    assert_eq!(timeline.counters().jumps, 0);
}
