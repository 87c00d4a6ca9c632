//! What a viewer gets around a splice, whatever both sources are like.

use bytes::Bytes;
use proptest::prelude::*;
use storage::model::live::TransitionKind;

use super::*;
use crate::flv::{AudioPacket, Packet, VideoPacket};
use crate::timeline::{Silence, SourceShape, Timeline};

/// AAC-LC, 48 kHz, stereo; and 44.1 kHz.
const AAC_48: &[u8] = &[0x11, 0x90];
const AAC_44: &[u8] = &[0x12, 0x10];

/// A source with closed groups.
#[derive(Debug, Clone, Copy)]
struct Clip {
    fps: i64,
    /// Pictures in a group.
    group: i64,
    /// Two pictures in three are reordered.
    reordered: bool,
    /// When its sound begins, ms; `None`: it has none.
    sound_ms: Option<i64>,
    /// When its picture begins, ms.
    begin_ms: i64,
    pictures: i64,
}

impl Clip {
    fn ms(&self, picture: i64) -> i64 {
        self.begin_ms + (picture * 1_000 + self.fps / 2) / self.fps
    }

    /// In decode order, the sound between.
    fn packets(&self, name: u8) -> Vec<Packet> {
        let mut packets = Vec::new();
        for first in (0..self.pictures).step_by(self.group as usize) {
            let count = self.group.min(self.pictures - first);
            let mut shown: Vec<i64> = (0..count).collect();
            if self.reordered {
                // 0, 3, 1, 2, 6, 4, 5, ...; what is left at the end comes in order.
                shown = vec![0];
                let mut at = 1;
                while at < count {
                    let last = (at + 2).min(count - 1);
                    shown.push(last);
                    shown.extend(at..last);
                    at = last + 1;
                }
            }
            for (at, shown) in shown.into_iter().enumerate() {
                let delay = i64::from(self.reordered);
                packets.push(Packet::Video(VideoPacket {
                    dts_ms: self.ms(first + at as i64),
                    pts_ms: self.ms(first + shown + delay),
                    keyframe: at == 0,
                    payload: Bytes::copy_from_slice(&[name, b'v', at as u8]),
                }));
            }
        }
        let end_ms = self.ms(self.pictures);
        let frames = (0..).map(|frame| self.sound_ms.unwrap_or(end_ms) + frame * 64 / 3);
        let sound = frames.take_while(|ms| *ms < end_ms).map(|ts_ms| {
            Packet::Audio(AudioPacket {
                ts_ms,
                payload: Bytes::copy_from_slice(&[name, b'a']),
            })
        });
        packets.extend(sound);
        packets.sort_by_key(Packet::dts_ms);
        packets
    }

    fn headers(&self, name: u8) -> Vec<Packet> {
        let video = Packet::VideoHeader(Bytes::copy_from_slice(&[name]));
        let sound = self
            .sound_ms
            .map(|_| Packet::AudioHeader(Bytes::from_static(AAC_48)));
        [video].into_iter().chain(sound).collect()
    }

    fn in_hand(&self, name: u8) -> InHand {
        InHand {
            headers: self.headers(name),
            packets: self.packets(name),
            more: false,
        }
    }

    fn shape(&self) -> SourceShape {
        SourceShape {
            frame_us: 1_000_000 / self.fps as u64,
        }
    }
}

/// What FFmpeg writes for a plan.
fn rendered(plan: &Plan) -> Vec<Packet> {
    let mut packets = vec![
        Packet::VideoHeader(Bytes::from_static(b"clip")),
        Packet::AudioHeader(Bytes::from_static(b"encoder's")),
    ];
    if let Some(picture) = plan.recipe.picture {
        packets.extend((0..picture.total).map(|at| {
            Packet::Video(VideoPacket {
                dts_ms: at as i64,
                pts_ms: at as i64,
                keyframe: at == 0,
                payload: Bytes::from_static(b"mixed"),
            })
        }));
    }
    if let Some(sound) = plan.recipe.sound {
        let frames = 1 + sound.run_up() + sound.frames;
        packets.extend((0..frames).map(|at| {
            Packet::Audio(AudioPacket {
                ts_ms: at as i64,
                payload: Bytes::from_static(b"faded"),
            })
        }));
    }
    packets
}

/// Airs the old source up to the splice, the clip, and what is left of the new one.
fn aired(old: &Clip, new: &Clip, plan: &Plan) -> (Vec<Packet>, u64) {
    let mut timeline = Timeline::new(Silence {
        header: Bytes::from_static(AAC_48),
        frame: Bytes::from_static(b"silence"),
        rate_hz: 48_000,
        frame_samples: 1_024,
    });
    let mut out = Vec::new();
    timeline.join(old.shape());
    let mut rest = Vec::new();
    let mut spliced = false;
    for packet in old.headers(b'o').into_iter().chain(old.packets(b'o')) {
        spliced |= packet
            .video()
            .is_some_and(|video| video.dts_ms == plan.splice_ms);
        match spliced {
            false => timeline.push(packet, &mut out),
            true => rest.push(packet),
        }
    }
    timeline.close();
    rest.into_iter()
        .for_each(|packet| timeline.push(packet, &mut out));
    let before = timeline.counters();
    timeline.join(new.shape());
    let clip = plan.clip(rendered(plan)).expect("it is what was asked for");
    let behind = new.packets(b'n').split_off(plan.taken.len());
    for packet in new.headers(b'n').into_iter().chain(clip).chain(behind) {
        timeline.push(packet, &mut out);
    }
    let after = timeline.counters();
    assert_eq!(
        (after.joins, after.jumps),
        (before.joins + 1, 0),
        "{after:?}"
    );
    (out, after.silent_frames - before.silent_frames)
}

fn clip() -> impl Strategy<Value = Clip> {
    let shape = (
        prop_oneof![Just(25_i64), Just(30)],
        10_i64..70,
        any::<bool>(),
    );
    let sound = prop_oneof![4 => (-40_i64..40).prop_map(Some), 1 => Just(None)];
    (shape, sound, 0_i64..100_000).prop_map(|((fps, group, reordered), sound, begin_ms)| Clip {
        fps,
        group,
        reordered,
        sound_ms: sound.map(|ms| (begin_ms + ms).max(0)),
        begin_ms,
        pictures: 8 * fps,
    })
}

const KINDS: [TransitionKind; 3] = [
    TransitionKind::Fade,
    TransitionKind::Dip,
    TransitionKind::Crossfade,
];

fn wanted(kind: TransitionKind, length_ms: i64) -> Wanted {
    Wanted { kind, length_ms }
}

fn outgoing(old: &Clip, not_before_ms: i64) -> Outgoing {
    let mut hand = old.in_hand(b'o');
    let keyframe = hand.packets.iter().position(Packet::is_video);
    hand.packets.drain(..keyframe.expect("it has pictures"));
    let released = hand
        .packets
        .iter()
        .filter(|p| p.dts_ms() < Some(not_before_ms - 500));
    Outgoing {
        released: released.count(),
        not_before_ms,
        hand,
    }
}

proptest! {
    /// No picture is missing or stands still, decode times increase, the sound has no hole.
    #[test]
    fn a_splice_is_seamless(
        clips in (clip(), clip()),
        kind in 0_usize..3,
        length_ms in 100_i64..=1_000,
        after_ms in 600_i64..5_000,
    ) {
        let (old, new) = clips;
        let kind = KINDS[kind];
        let plan = Plan::make(
            wanted(kind, length_ms),
            &outgoing(&old, old.begin_ms + after_ms),
            &new.in_hand(b'n'),
        );
        let plan = match plan {
            Ok(plan) => plan,
            Err(unfit) => {
                let silent = old.sound_ms.is_none() && new.sound_ms.is_none();
                prop_assert!(silent && kind == TransitionKind::Fade, "{unfit:?}");
                return Ok(());
            }
        };
        prop_assert!(plan.splice_ms >= old.begin_ms + after_ms);
        let (out, silent_frames) = aired(&old, &new, &plan);
        let pictures: Vec<_> = out.iter().filter_map(Packet::video).collect();
        let mut shown: Vec<_> = pictures.iter().map(|video| video.pts_ms).collect();
        shown.sort_unstable();
        let frame_ms = 1_000 / old.fps.min(new.fps) + 2;
        for pair in shown.windows(2) {
            prop_assert!((1..=frame_ms).contains(&(pair[1] - pair[0])), "{pair:?}");
        }
        for pair in pictures.windows(2) {
            prop_assert!(pair[1].dts_ms > pair[0].dts_ms);
        }
        prop_assert!(pictures.iter().all(|video| video.pts_ms >= video.dts_ms));
        if old.sound_ms.is_some() && new.sound_ms.is_some_and(|ms| ms <= new.begin_ms) {
            let sounds: Vec<_> = out.iter().filter_map(|packet| match packet {
                Packet::Audio(sound) => Some(sound.ts_ms),
                _ => None,
            }).collect();
            for pair in sounds.windows(2) {
                prop_assert!((10..=32).contains(&(pair[1] - pair[0])), "{pair:?}");
            }
            prop_assert_eq!(silent_frames, 0);
        }
    }
}

const PLAIN: Clip = Clip {
    fps: 30,
    group: 30,
    reordered: true,
    sound_ms: Some(0),
    begin_ms: 0,
    pictures: 240,
};

#[test]
fn a_dip_is_as_long_as_asked_for_and_ends_at_a_keyframe() {
    let old = outgoing(&PLAIN, 2_000);
    let plan = Plan::make(wanted(TransitionKind::Dip, 500), &old, &PLAIN.in_hand(b'n')).unwrap();
    let picture = plan.recipe.picture.unwrap();
    assert_eq!((picture.mixed, picture.total), (15, 30));
    assert_eq!(plan.recipe.sound.unwrap().frames, 23);
    assert_eq!(plan.taken.iter().filter(|p| p.is_video()).count(), 30);
    let clip = plan.clip(rendered(&plan)).unwrap();
    let header = Packet::VideoHeader(Bytes::from_static(b"n"));
    assert_eq!(
        clip.last(),
        Some(&header),
        "what follows needs its own again"
    );
}

#[test]
fn a_fade_of_the_sound_leaves_the_picture_as_it_is() {
    let old = outgoing(&PLAIN, 2_000);
    let plan = Plan::make(
        wanted(TransitionKind::Fade, 500),
        &old,
        &PLAIN.in_hand(b'n'),
    )
    .unwrap();
    let clip = plan.clip(rendered(&plan)).unwrap();
    let own: Vec<_> = plan.taken.iter().filter(|p| p.is_video()).collect();
    assert!(own.len() > 10);
    assert_eq!(
        clip.iter().filter(|p| p.is_video()).collect::<Vec<_>>(),
        own
    );
}

#[test]
fn what_is_not_in_hand_yet_is_waited_for_and_what_never_comes_is_not() {
    let dip = wanted(TransitionKind::Dip, 500);
    let old = outgoing(&PLAIN, 2_000);
    let mut new = PLAIN.in_hand(b'n');
    new.packets.truncate(40);
    new.more = true;
    assert_eq!(Plan::make(dip, &old, &new).unwrap_err(), Unfit::NotYet);
    new.more = false;
    let apart = Unfit::Never(Never::KeyframesApart);
    assert_eq!(Plan::make(dip, &old, &new).unwrap_err(), apart);
    let long = Clip {
        group: 240,
        ..PLAIN
    };
    let mut long = long.in_hand(b'n');
    long.more = true;
    assert_eq!(
        Plan::make(dip, &old, &long).unwrap_err(),
        apart,
        "more than 4 s"
    );

    let late = outgoing(&PLAIN, 9_000);
    let left = Unfit::Never(Never::NothingLeft);
    assert_eq!(
        Plan::make(dip, &late, &PLAIN.in_hand(b'n')).unwrap_err(),
        left
    );
    let mut headless = outgoing(&PLAIN, 2_000);
    headless.hand.packets.remove(0);
    let lost = Unfit::Never(Never::NoKeyframe);
    assert_eq!(
        Plan::make(dip, &headless, &PLAIN.in_hand(b'n')).unwrap_err(),
        lost
    );
}

#[test]
fn what_cannot_be_rendered_into_is_said() {
    let dip = wanted(TransitionKind::Dip, 500);
    let old = outgoing(&PLAIN, 2_000);
    let mut other = PLAIN.in_hand(b'n');
    other.headers[1] = Packet::AudioHeader(Bytes::from_static(AAC_44));
    let unlike = Unfit::Never(Never::OtherSound);
    assert_eq!(Plan::make(dip, &old, &other).unwrap_err(), unlike);

    let mut open = PLAIN.in_hand(b'n');
    let second = open
        .packets
        .iter()
        .rposition(|p| p.video().is_some_and(|v| v.keyframe && v.pts_ms < 1_100));
    let second = second.unwrap();
    let end_ms = open.packets[second].video().unwrap().pts_ms;
    let next = open.packets[second + 1..]
        .iter_mut()
        .find_map(|packet| match packet {
            Packet::Video(video) => Some(video),
            _ => None,
        });
    next.unwrap().pts_ms = end_ms - 33;
    let unlike = Unfit::Never(Never::OpenGroups);
    assert_eq!(Plan::make(dip, &old, &open).unwrap_err(), unlike);
}

#[test]
fn less_than_was_asked_for_is_no_clip() {
    let old = outgoing(&PLAIN, 2_000);
    let plan = Plan::make(wanted(TransitionKind::Dip, 500), &old, &PLAIN.in_hand(b'n')).unwrap();
    let without = |left_out: usize| {
        let mut packets = rendered(&plan);
        packets.remove(left_out);
        plan.clip(packets)
    };
    assert_eq!(
        without(5),
        Err(Misfit::Pictures {
            found: 29,
            wanted: 30
        })
    );
    assert!(without(0).is_err(), "no header");
    let last = rendered(&plan).len() - 1;
    assert_eq!(
        without(last),
        Err(Misfit::Sounds {
            found: 22,
            wanted: 23
        })
    );
    assert!(plan.clip(Vec::new()).is_err());
}
