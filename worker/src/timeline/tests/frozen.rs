//! A timeline that was frozen goes on as if it had not been.

use super::clip::{Clip, silence};
use crate::flv::Packet;
use crate::timeline::Timeline;

fn thawed(timeline: &Timeline) -> Timeline {
    let mut bytes = Vec::new();
    ciborium::into_writer(timeline, &mut bytes).expect("written");
    ciborium::from_reader(&bytes[..]).expect("read")
}

#[test]
fn frozen_before_any_packet_it_goes_on_the_same() {
    let clips = [
        Clip::new((30_000, 1_001), 40),
        Clip {
            b_frames: 3,
            ..Clip::new((25, 1), 40)
        },
    ];
    let play = |frozen_at: Option<usize>| {
        let mut timeline = Timeline::new(silence());
        let mut out: Vec<Packet> = Vec::new();
        let mut count = 0;
        for (number, clip) in clips.iter().enumerate() {
            timeline.join(clip.shape());
            for packet in clip.packets(number as u32) {
                if frozen_at == Some(count) {
                    timeline = thawed(&timeline);
                }
                count += 1;
                timeline.push(packet, &mut out);
            }
        }
        (out, timeline.counters(), count)
    };
    let (whole, counters, count) = play(None);
    for frozen_at in 0..count {
        let (out, counted, _) = play(Some(frozen_at));
        assert_eq!((out, counted), (whole.clone(), counters), "{frozen_at}");
    }
}
