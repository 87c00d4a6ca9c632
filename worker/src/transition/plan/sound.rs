//! How the sounds of two sources meet: which frames are rendered, and when they are heard. Pure.

use programme::format::AUDIO_RATE_HZ;

use super::{Arrival, Departure, InHand, Never, Outgoing, Replaced, Unfit, later};
use crate::ffmpeg::transition::{FRAME_SAMPLES, Lead, Sound};
use crate::flv::{AudioPacket, Packet};

/// Half an AAC frame at the rate every stream has, ms.
const HALF_FRAME_MS: i64 = 11;
/// Frames of the old sound that are encoded again for the encoder to settle.
const RUN_UP: usize = 4;

/// How both sounds meet.
pub(super) struct Meeting {
    pub(super) sound: Sound,
    pub(super) old: Vec<Packet>,
    pub(super) new: Vec<Packet>,
    pub(super) times: Vec<i64>,
    pub(super) replaced: Option<Replaced>,
    /// Index behind the last frame of the new source that is replaced.
    pub(super) until: usize,
}

// === impl Meeting ===

impl Meeting {
    /// `None`: neither has a sound.
    pub(super) fn arrange(
        length_ms: i64,
        old: &Outgoing,
        departure: &Departure,
        new: &InHand,
        arrival: &Arrival,
    ) -> Result<Option<Self>, Unfit> {
        let (old_has, new_has) = (old.hand.has_sound()?, new.has_sound()?);
        if !old_has && !new_has {
            return Ok(None);
        }
        let wanted = frames_in(length_ms).max(2);
        let (old_sound, lead, offset_ms) = match old_has {
            true => old_frames(old, departure, wanted),
            false => (Vec::new(), None, 0),
        };
        // Where the old sound ends, on the new source's clock.
        let begin_ms = arrival.first_ms + offset_ms;
        let grid = |frame: usize| begin_ms + ms_of(frame);
        let all: Vec<_> = new.packets.iter().enumerate().filter_map(sound).collect();
        let first = all
            .iter()
            .position(|(_, sound)| sound.ts_ms + HALF_FRAME_MS > begin_ms);
        let (Some(first), true) = (first, new_has) else {
            if new_has {
                return Err(later(new.more, Never::NoSound));
            }
            return Ok(Some(Self {
                sound: Sound {
                    old: lead,
                    new: false,
                    frames: wanted,
                },
                old: old_sound,
                new: Vec::new(),
                times: (0..wanted).map(grid).collect(),
                replaced: None,
                until: arrival.from + pictures_until(new, arrival, begin_ms + length_ms),
            }));
        };
        let frames = match all[first..]
            .iter()
            .filter(|(at, _)| *at < arrival.until)
            .count()
        {
            there if there >= wanted => wanted,
            _ if arrival.until == new.packets.len() => return Err(later(new.more, Never::NoSound)),
            fewer => fewer,
        };
        if frames == 0 {
            return Err(Unfit::Never(Never::NoSound));
        }
        let heard = &all[first..first + frames];
        let shift_ms = begin_ms - heard[0].1.ts_ms;
        // From the grid of the old sound to that of the new one, a little with each frame.
        let count = frames as i64;
        let eased = |(frame, (_, sound)): (usize, &(usize, &AudioPacket))| {
            sound.ts_ms + shift_ms * (count - frame as i64) / count
        };
        let read = all[first..].iter().take(frames + 2);
        Ok(Some(Self {
            sound: Sound {
                old: lead,
                new: true,
                frames,
            },
            old: old_sound,
            new: read
                .map(|(_, sound)| Packet::Audio((*sound).clone()))
                .collect(),
            times: heard.iter().enumerate().map(eased).collect(),
            replaced: Some(Replaced {
                before: first,
                frames,
            }),
            until: heard.last().map_or(arrival.until, |(at, _)| at + 1),
        }))
    }
}

/// The old sound around the splice, what of it is not heard, and how far behind the end of the
/// picture its first frame begins that is not released there.
fn old_frames(
    old: &Outgoing,
    departure: &Departure,
    wanted: usize,
) -> (Vec<Packet>, Option<Lead>, i64) {
    let all: Vec<_> = old
        .hand
        .packets
        .iter()
        .enumerate()
        .filter_map(sound)
        .collect();
    // Rather one too many: a frame that is out already is left out by the timeline.
    let unreleased =
        |(_, sound): &(usize, &AudioPacket)| sound.ts_ms + HALF_FRAME_MS > departure.end_ms - 2;
    let Some(first) = all.iter().position(unreleased) else {
        return (Vec::new(), None, 0);
    };
    let unheard = usize::from(first > 0);
    let run_up = (first - unheard).min(RUN_UP);
    let from = first - run_up - unheard;
    let offset_ms = all[first].1.ts_ms - departure.end_ms;
    let read = all[from..].iter().take(unheard + run_up + wanted + 2);
    (
        read.map(|(_, sound)| Packet::Audio((*sound).clone()))
            .collect(),
        Some(Lead { unheard, run_up }),
        offset_ms,
    )
}

/// Packets from the first keyframe up to the first picture that presents no earlier than `until_ms`.
fn pictures_until(new: &InHand, arrival: &Arrival, until_ms: i64) -> usize {
    let packets = new.packets[arrival.from..].iter();
    let mut packets = packets.enumerate().skip(1);
    let behind =
        packets.find(|(_, packet)| packet.video().is_some_and(|video| video.dts_ms >= until_ms));
    behind.map_or(new.packets.len() - arrival.from, |(at, _)| at)
}

/// AAC frames in so much time, to the nearest.
fn frames_in(ms: i64) -> usize {
    let samples = ms.max(0).unsigned_abs() as usize * AUDIO_RATE_HZ as usize / 1_000;
    (samples + FRAME_SAMPLES / 2) / FRAME_SAMPLES
}

fn ms_of(frames: usize) -> i64 {
    let samples = (frames * FRAME_SAMPLES) as i64;
    samples * 1_000 / i64::from(AUDIO_RATE_HZ)
}

fn sound((at, packet): (usize, &Packet)) -> Option<(usize, &AudioPacket)> {
    match packet {
        Packet::Audio(sound) => Some((at, sound)),
        Packet::VideoHeader(_) | Packet::AudioHeader(_) | Packet::Video(_) => None,
    }
}
