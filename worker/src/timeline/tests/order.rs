//! Packets of no meaning in any order: what goes out keeps its order all the same.

use super::*;
use proptest::prelude::*;

/// What can be done to a timeline.
#[derive(Debug, Clone)]
enum Act {
    Join { frame_us: u64 },
    Close,
    Push(Packet),
    Fill { ahead_ms: i64 },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let time = prop_oneof![4 => -100_i64..3_000, 1 => -(1_i64 << 40)..1 << 40];
    let header = prop_oneof![
        Just(Bytes::from_static(&[0x11, 0x90])),
        // HE-AAC in frames of 256 ms, and no header at all.
        Just(Bytes::from_static(&[0x2d, 0x15, 0x88, 0x00])),
        Just(Bytes::from_static(b"?")),
    ];
    let payload = Bytes::from_static(b"media");
    let (picture, sound) = (payload.clone(), payload);
    let act = prop_oneof![
        1 => any::<u64>().prop_map(|frame_us| Act::Join { frame_us }),
        1 => Just(Act::Join { frame_us: 33_367 }),
        1 => Just(Act::Close),
        2 => header.prop_map(|header| Act::Push(Packet::AudioHeader(header))),
        2 => (-1_000_i64..100_000).prop_map(|ahead_ms| Act::Fill { ahead_ms }),
        8 => (time.clone(), 0..200_i64, any::<bool>()).prop_map(move |(dts_ms, depth_ms, keyframe)| {
            let (pts_ms, payload) = (dts_ms + depth_ms, picture.clone());
            Act::Push(Packet::Video(VideoPacket { dts_ms, pts_ms, keyframe, payload }))
        }),
        8 => time.prop_map(move |ts_ms| {
            Act::Push(Packet::Audio(AudioPacket { ts_ms, payload: sound.clone() }))
        }),
    ];
    prop::collection::vec(act, 0..100)
}

proptest! {
    #[test]
    fn whatever_comes_in_what_goes_out_is_in_order(acts in acts()) {
        let mut timeline = Timeline::new(clip::silence());
        let (mut last_dts_ms, mut last_sound_ms) = (None, None);
        for act in acts {
            let mut out = Vec::new();
            match act {
                Act::Join { frame_us } => timeline.join(SourceShape { frame_us }),
                Act::Close => timeline.close(),
                Act::Push(packet) => timeline.push(packet, &mut out),
                Act::Fill { ahead_ms } => {
                    timeline.fill_silence(timeline.video_end_ms() + ahead_ms, &mut out);
                }
            }
            prop_assert!(out.len() < 1_000, "{} packets at once", out.len());
            for packet in out {
                match packet {
                    Packet::Video(video) => {
                        prop_assert!(last_dts_ms < Some(video.dts_ms));
                        prop_assert!(video.pts_ms >= video.dts_ms);
                        last_dts_ms = Some(video.dts_ms);
                    }
                    Packet::Audio(audio) => {
                        prop_assert!(last_sound_ms < Some(audio.ts_ms));
                        last_sound_ms = Some(audio.ts_ms);
                    }
                    Packet::VideoHeader(_) | Packet::AudioHeader(_) => {}
                }
            }
        }
    }
}
