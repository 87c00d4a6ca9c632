//! A feed's clock for an encoder that fills every gap with copies: its jumps are folded away. Pure.
//!
//! As the timeline does for a feed that is copied, pictures lead: a jump is theirs, and sound that lies
//! nowhere near either track belongs to the clock before it, or to one that the pictures do not have yet.

use crate::flv::{AudioPacket, Packet, VideoPacket};

/// A clock that moves further than this between two packets has jumped, ms.
const JUMP_MS: i64 = 1_000;
/// So much backwards is none, ms: clocks of encoders tremble.
const TREMBLE_MS: i64 = 100;
/// Between the pictures at a jump, ms.
const STEP_MS: i64 = 40;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Steady {
    shift_ms: i64,
    /// Where the tracks are on the steady clock.
    video_ms: Option<i64>,
    audio_ms: Option<i64>,
}

// === impl Steady ===

impl Steady {
    /// The packet, on the steady clock; nothing when it has no place there.
    pub(super) fn place(&mut self, packet: Packet) -> Option<Packet> {
        match packet {
            Packet::Video(video) => Some(Packet::Video(self.place_video(video))),
            Packet::Audio(audio) => self.place_audio(audio).map(Packet::Audio),
            header @ (Packet::VideoHeader(_) | Packet::AudioHeader(_)) => Some(header),
        }
    }

    fn place_video(&mut self, video: VideoPacket) -> VideoPacket {
        let mut at_ms = video.dts_ms + self.shift_ms;
        if let Some(last_ms) = self.video_ms {
            // A long still picture under sound is no jump.
            let latest_ms = self.audio_ms.map_or(last_ms, |ms| ms.max(last_ms));
            if at_ms > latest_ms + JUMP_MS || at_ms < last_ms - TREMBLE_MS {
                self.shift_ms += last_ms + STEP_MS - at_ms;
                at_ms = last_ms + STEP_MS;
                self.audio_ms = None;
            }
        }
        self.video_ms = Some(at_ms);
        VideoPacket {
            dts_ms: at_ms,
            pts_ms: video.pts_ms + self.shift_ms,
            ..video
        }
    }

    fn place_audio(&mut self, audio: AudioPacket) -> Option<AudioPacket> {
        let ts_ms = audio.ts_ms + self.shift_ms;
        let mut near = [self.video_ms, self.audio_ms].into_iter().flatten();
        let begins = self.video_ms.is_none() && self.audio_ms.is_none();
        if !begins && !near.any(|ms| (ts_ms - ms).abs() <= JUMP_MS) {
            return None;
        }
        self.audio_ms = Some(ts_ms);
        Some(AudioPacket { ts_ms, ..audio })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn picture(dts_ms: i64) -> Packet {
        Packet::Video(VideoPacket {
            dts_ms,
            pts_ms: dts_ms + 80,
            keyframe: false,
            payload: Bytes::new(),
        })
    }

    fn sound(ts_ms: i64) -> Packet {
        Packet::Audio(AudioPacket {
            ts_ms,
            payload: Bytes::new(),
        })
    }

    /// Where these come to lie.
    fn placed(steady: &mut Steady, packets: impl IntoIterator<Item = Packet>) -> Vec<Option<i64>> {
        let times = packets.into_iter().map(|packet| {
            let packet = steady.place(packet)?;
            if let Packet::Video(video) = &packet {
                assert_eq!(video.pts_ms, video.dts_ms + 80, "shown as late as ever");
            }
            packet.dts_ms()
        });
        times.collect()
    }

    #[test]
    fn what_does_not_jump_stays_where_it_is() {
        let mut steady = Steady::default();
        let times = [
            picture(5_000),
            sound(4_990),
            picture(5_033),
            // Clocks tremble, and pictures fail to come.
            picture(5_020),
            picture(5_900),
            sound(5_800),
        ];
        let as_they_were: Vec<_> = times.iter().map(Packet::dts_ms).collect();
        assert_eq!(placed(&mut steady, times), as_they_were);
        // A still picture under sound.
        let still: Vec<_> = (6_000..9_000).step_by(20).map(sound).collect();
        let as_they_were: Vec<_> = still.iter().map(Packet::dts_ms).collect();
        assert_eq!(placed(&mut steady, still), as_they_were);
        assert_eq!(placed(&mut steady, [picture(9_000)]), [Some(9_000)]);
    }

    #[test]
    fn a_jump_either_way_is_one_step_for_both_tracks() {
        let mut steady = Steady::default();
        placed(&mut steady, [picture(1_000), sound(990)]);
        // The other track's turn comes later: what belongs to neither clock is left out.
        let forward = [
            sound(400_010),
            picture(400_000),
            sound(400_010),
            sound(1_010),
        ];
        let times = [None, Some(1_040), Some(1_050), None];
        assert_eq!(placed(&mut steady, forward), times);
        let back = [picture(200), sound(190), picture(240)];
        assert_eq!(
            placed(&mut steady, back),
            [Some(1_080), Some(1_070), Some(1_120)]
        );
    }
}
