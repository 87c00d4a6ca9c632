//! Where to splice, and what to render, from what two sources have in hand. Pure.

mod sound;

use bytes::Bytes;
use programme::format::{AUDIO_CHANNELS, AUDIO_RATE_HZ};
use storage::model::live::TransitionKind;

use crate::ffmpeg::transition::{Course, FRAME_SAMPLES, Picture, Recipe};
use crate::flv::{AudioConfig, Packet, VideoPacket};
use sound::Meeting;

/// Keyframes further apart than this are not waited for, ms.
const MOST_GROUP_MS: i64 = 4_000;
/// Old pictures that are read beyond those that are shown: decoding them may need later ones.
const REORDERED: usize = 8;

/// What the owner of the stream asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Not a cut.
    pub kind: TransitionKind,
    /// At most a second.
    pub length_ms: i64,
}

/// What there is of a source.
#[derive(Debug, Clone, Default)]
pub struct InHand {
    /// In force before the first packet.
    pub headers: Vec<Packet>,
    /// In their order; of the old source from a keyframe on.
    pub packets: Vec<Packet>,
    /// More is still to come, without anything being released.
    pub more: bool,
}

/// What has the air.
#[derive(Debug, Clone, Default)]
pub struct Outgoing {
    /// From its last keyframe on.
    pub hand: InHand,
    /// How many of these packets were released.
    pub released: usize,
    /// Decode time on its own clock before which the clip will not be there.
    pub not_before_ms: i64,
}

/// See [`Plan::make`].
#[derive(Debug, Clone)]
pub struct Plan {
    /// Decode time, on the old source's clock, of the first picture of it that is not released.
    pub splice_ms: i64,
    /// What the clip stands for: the new source goes on behind these packets.
    pub taken: Vec<Packet>,
    pub(super) recipe: Recipe,
    /// What FFmpeg reads of the old and of the new source.
    pub(super) read: [Vec<Packet>; 2],
    /// In force behind `taken`; `None` when its pictures go out as they are.
    pub(super) header_after: Option<Bytes>,
    /// Decode and presentation times of the pictures that are rendered.
    pub(super) pictures: Vec<(i64, i64)>,
    /// Times of the AAC frames that are rendered.
    pub(super) sounds: Vec<i64>,
    /// Of them those that stand for frames of the new source, which are left out from the first of
    /// these on.
    pub(super) replaced: Option<Replaced>,
}

/// Which sounds of the new source the clip has instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replaced {
    /// Sounds before that are not aired.
    pub(super) before: usize,
    /// Those that are rendered.
    pub(super) frames: usize,
}

/// Why nothing can be rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// With what is still to come it may be possible.
    NotYet,
    /// It will not be.
    Never(Never),
}

/// Why nothing can be rendered, ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Never {
    /// The new source's second keyframe is too far away.
    #[error("the keyframes of what takes the air are more than 4 s apart, or it is shorter")]
    KeyframesApart,
    /// Pictures before the new source's keyframe refer to those that are rendered anew.
    #[error("what takes the air has open groups of pictures")]
    OpenGroups,
    /// The sound is none that our encoder makes.
    #[error("the sound is not AAC-LC with 48000 Hz and two channels")]
    OtherSound,
    /// A fade of what is not there.
    #[error("there is no sound to be faded")]
    NoSound,
    /// The old source ends before.
    #[error("what is on air has too little left")]
    NothingLeft,
    /// The old source's last keyframe is not in hand any more.
    #[error("the last keyframe of what is on air is too long ago")]
    NoKeyframe,
}

/// What of the new source takes part.
struct Arrival {
    /// Index of the first keyframe.
    from: usize,
    /// Index of the first packet that goes out as it is.
    until: usize,
    first_ms: i64,
    pictures: Vec<(i64, i64)>,
}

/// What of the old source takes part.
struct Departure {
    /// Index of the first picture that is not released.
    at: usize,
    splice_ms: i64,
    /// Presentation time of the first picture that is not released.
    end_ms: i64,
    /// Pictures before `at`.
    before: usize,
}

// === impl Plan ===

impl Plan {
    /// What to render, and where to splice it in.
    ///
    /// # Errors
    /// When that is impossible, or not yet possible.
    pub fn make(wanted: Wanted, old: &Outgoing, new: &InHand) -> Result<Self, Unfit> {
        let picture = wanted.kind != TransitionKind::Fade;
        let course = match wanted.kind {
            TransitionKind::Crossfade => Course::Together,
            TransitionKind::Cut | TransitionKind::Fade | TransitionKind::Dip => Course::InTurn,
        };
        let mut arrival = Arrival::find(new, wanted.length_ms, picture)?;
        let departure = Departure::find(old)?;
        let meeting = Meeting::arrange(wanted.length_ms, old, &departure, new, &arrival)?;
        if !picture {
            let Some(meeting) = &meeting else {
                return Err(Unfit::Never(Never::NoSound));
            };
            arrival.until = meeting.until;
        }
        if !new.packets[arrival.until..].iter().any(is_picture) {
            return Err(later(new.more, Never::KeyframesApart));
        }
        let mixed = arrival.pictures_within(wanted.length_ms);
        let recipe = Recipe {
            course,
            picture: picture.then_some(Picture {
                skipped: departure.before,
                mixed,
                total: arrival.pictures.len(),
            }),
            sound: meeting.as_ref().map(|meeting| meeting.sound),
        };
        let mut read = [Vec::new(), Vec::new()];
        if picture {
            read = [departure.pictures(old, mixed), arrival.read(new)];
        }
        let taken = new.packets[..arrival.until].to_vec();
        let header_after = picture
            .then(|| last_header(new.headers.iter().chain(&taken)))
            .flatten();
        let (mut sounds, mut replaced) = (Vec::new(), None);
        if let Some(meeting) = meeting {
            let [read_old, read_new] = &mut read;
            merge_in(read_old, meeting.old);
            merge_in(read_new, meeting.new);
            (sounds, replaced) = (meeting.times, meeting.replaced);
        }
        for (source, read) in [&old.hand, new].into_iter().zip(&mut read) {
            let headers = source.headers_at_keyframe().into_iter();
            read.splice(0..0, headers.filter(|header| picture || !header.is_video()));
        }
        Ok(Self {
            splice_ms: departure.splice_ms,
            taken,
            recipe,
            read,
            header_after,
            pictures: if picture {
                arrival.pictures
            } else {
                Vec::new()
            },
            sounds,
            replaced,
        })
    }
}

// === impl InHand ===

impl InHand {
    /// Headers in force at the first keyframe.
    fn headers_at_keyframe(&self) -> Vec<Packet> {
        let keyframe = self.packets.iter().position(is_keyframe).unwrap_or(0);
        let all = || self.headers.iter().chain(&self.packets[..keyframe]);
        let video = all().rfind(|packet| matches!(packet, Packet::VideoHeader(_)));
        // Sound may begin behind the first picture.
        let mut sound = self.headers.iter().chain(&self.packets);
        let sound = sound.find(|packet| matches!(packet, Packet::AudioHeader(_)));
        video.into_iter().chain(sound).cloned().collect()
    }

    /// Whether there is a sound, and our encoder makes its like.
    fn has_sound(&self) -> Result<bool, Unfit> {
        let mut headers = self.headers.iter().chain(&self.packets);
        let Some(header) = headers.find_map(audio_header) else {
            return Ok(false);
        };
        let fits = AudioConfig::parse(header).is_ok_and(|config| {
            config.object_type == 2
                && config.rate_hz == AUDIO_RATE_HZ
                && u32::from(config.channels) == AUDIO_CHANNELS
                && config.frame_samples as usize == FRAME_SAMPLES
        });
        let changes =
            headers.any(|packet| audio_header(packet).is_some_and(|other| other != header));
        match fits && !changes {
            true => Ok(true),
            false => Err(Unfit::Never(Never::OtherSound)),
        }
    }
}

// === impl Outgoing ===

impl Outgoing {
    /// A header that is not the one in force.
    fn begins_anew(&self, packet: &Packet) -> bool {
        matches!(packet, Packet::VideoHeader(_)) && !self.hand.headers.contains(packet)
    }
}

// === impl Arrival ===

impl Arrival {
    fn find(new: &InHand, length_ms: i64, whole_groups: bool) -> Result<Self, Unfit> {
        let apart = || later(new.more, Never::KeyframesApart);
        let packets = &new.packets;
        let from = packets.iter().position(is_keyframe).ok_or_else(apart)?;
        let first_ms = packets[from].video().map_or(0, |first| first.pts_ms);
        let mut arrival = Self {
            from,
            until: packets.len(),
            first_ms,
            pictures: Vec::new(),
        };
        if whole_groups {
            let ends = |(_, packet): &(usize, &Packet)| {
                let video = packet.video();
                video.is_some_and(|video| video.keyframe && video.pts_ms >= first_ms + length_ms)
            };
            let mut behind = packets.iter().enumerate().skip(from + 1);
            let Some((until, end)) = behind.find(ends) else {
                let newest_ms = packets.iter().filter_map(Packet::dts_ms).max();
                let too_far = newest_ms.is_some_and(|ms| ms - first_ms > MOST_GROUP_MS);
                return Err(later(new.more && !too_far, Never::KeyframesApart));
            };
            let end_ms = end.video().map_or(0, |end| end.pts_ms);
            match behind.find_map(|(_, packet)| packet.video()) {
                Some(next) if next.pts_ms < end_ms => return Err(Unfit::Never(Never::OpenGroups)),
                None if new.more => return Err(Unfit::NotYet),
                Some(_) | None => arrival.until = until,
            }
        }
        let shown = arrival.shown(new);
        let decode = shown.iter().map(|video| video.dts_ms);
        let mut present: Vec<_> = shown.iter().map(|video| video.pts_ms).collect();
        present.sort_unstable();
        arrival.pictures = decode.zip(present).collect();
        Ok(arrival)
    }

    /// Pictures that go out, in decode order: not those that present before the keyframe.
    fn shown<'a>(&self, new: &'a InHand) -> Vec<&'a VideoPacket> {
        let pictures = new.packets[self.from..self.until].iter();
        let pictures = pictures.filter_map(Packet::video);
        pictures
            .filter(|video| video.pts_ms >= self.first_ms)
            .collect()
    }

    fn read(&self, new: &InHand) -> Vec<Packet> {
        let goes_out = |packet: &&Packet| match packet {
            Packet::Video(video) => video.pts_ms >= self.first_ms,
            Packet::VideoHeader(_) => true,
            Packet::Audio(_) | Packet::AudioHeader(_) => false,
        };
        let packets = new.packets[self.from..self.until].iter();
        packets.filter(goes_out).cloned().collect()
    }

    fn pictures_within(&self, length_ms: i64) -> usize {
        let within = |(_, ms): &&(i64, i64)| *ms < self.first_ms + length_ms;
        self.pictures.iter().filter(within).count().max(2)
    }
}

// === impl Departure ===

impl Departure {
    /// The first clean point that is late enough.
    fn find(old: &Outgoing) -> Result<Self, Unfit> {
        let packets = &old.hand.packets;
        if !packets.first().is_some_and(is_keyframe) {
            return Err(later(old.hand.more, Never::NoKeyframe));
        }
        let (mut before, mut newest_ms) = (0, i64::MIN);
        for (at, packet) in packets.iter().enumerate() {
            if old.begins_anew(packet) {
                // Soon all that is in hand belongs to the new sequence.
                return Err(later(true, Never::NoKeyframe));
            }
            let Some(video) = packet.video() else {
                continue;
            };
            let due = at >= old.released && video.dts_ms >= old.not_before_ms;
            if due && video.pts_ms > newest_ms {
                let behind = pictures(&packets[at..]).map(|video| video.pts_ms);
                let end_ms = behind.filter(|ms| *ms > newest_ms).min();
                return Ok(Self {
                    at,
                    splice_ms: video.dts_ms,
                    end_ms: end_ms.unwrap_or(video.pts_ms),
                    before,
                });
            }
            before += 1;
            newest_ms = newest_ms.max(video.pts_ms);
        }
        Err(later(old.hand.more, Never::NothingLeft))
    }

    /// Pictures from the keyframe on, as many behind the splice as are shown, as far as they are in
    /// hand and in one sequence.
    fn pictures(&self, old: &Outgoing, mixed: usize) -> Vec<Packet> {
        let packets = &old.hand.packets;
        let one_sequence = |packet: &&Packet| !old.begins_anew(packet);
        let behind = packets[self.at..].iter().take_while(one_sequence);
        let behind = behind
            .filter(|packet| is_picture(packet))
            .take(mixed + REORDERED);
        let before = packets[..self.at]
            .iter()
            .filter(|packet| is_picture(packet));
        before.chain(behind).cloned().collect()
    }
}

/// Puts `sound` between the pictures by its times.
fn merge_in(packets: &mut Vec<Packet>, sound: Vec<Packet>) {
    let pictures = std::mem::take(packets);
    let mut sound = sound.into_iter().peekable();
    for picture in pictures {
        if picture.dts_ms().is_some() {
            while let Some(next) = sound.next_if(|next| next.dts_ms() <= picture.dts_ms()) {
                packets.push(next);
            }
        }
        packets.push(picture);
    }
    packets.extend(sound);
}

fn later(more: bool, never: Never) -> Unfit {
    match more {
        true => Unfit::NotYet,
        false => Unfit::Never(never),
    }
}

fn last_header<'a>(packets: impl DoubleEndedIterator<Item = &'a Packet>) -> Option<Bytes> {
    packets.rev().find_map(|packet| match packet {
        Packet::VideoHeader(header) => Some(header.clone()),
        Packet::AudioHeader(_) | Packet::Video(_) | Packet::Audio(_) => None,
    })
}

fn audio_header(packet: &Packet) -> Option<&Bytes> {
    match packet {
        Packet::AudioHeader(header) => Some(header),
        Packet::VideoHeader(_) | Packet::Video(_) | Packet::Audio(_) => None,
    }
}

fn pictures(packets: &[Packet]) -> impl Iterator<Item = &VideoPacket> {
    packets.iter().filter_map(Packet::video)
}

fn is_picture(packet: &Packet) -> bool {
    matches!(packet, Packet::Video(_))
}

fn is_keyframe(packet: &Packet) -> bool {
    packet.video().is_some_and(|video| video.keyframe)
}
