//! What was rendered, in the place of what it stands for. Pure.

use bytes::Bytes;

use super::plan::Plan;
use crate::flv::{AudioPacket, Packet, VideoPacket};

/// What was rendered is not what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Another number of pictures, or they do not begin with a keyframe.
    #[error("{found} pictures were rendered instead of {wanted}")]
    Pictures {
        /// In what was rendered.
        found: usize,
        /// By the plan.
        wanted: usize,
    },
    /// Too few AAC frames.
    #[error("{found} sounds were rendered instead of {wanted}")]
    Sounds {
        /// In what was rendered.
        found: usize,
        /// By the plan.
        wanted: usize,
    },
}

/// What an FFmpeg wrote, by kind.
#[derive(Default)]
struct Rendered {
    header: Option<Bytes>,
    pictures: Vec<VideoPacket>,
    sounds: Vec<Bytes>,
}

impl Plan {
    /// The packets that go out in the place of those that were taken, on the new source's clock.
    ///
    /// # Errors
    /// When something of it is missing.
    pub fn clip(&self, rendered: Vec<Packet>) -> Result<Vec<Packet>, Misfit> {
        let rendered = Rendered::of(rendered);
        let sounds = self.placed_sounds(&rendered)?;
        let pictures = match self.recipe.picture {
            Some(_) => self.placed_pictures(rendered)?,
            None => self.own_pictures(),
        };
        let headers = self
            .taken
            .iter()
            .filter(|p| matches!(p, Packet::AudioHeader(_)));
        let mut clip: Vec<_> = headers.take(1).cloned().collect();
        let mut sounds = sounds.into_iter().peekable();
        for picture in pictures {
            if picture.dts_ms().is_some() {
                let first = |sound: &AudioPacket| Some(sound.ts_ms) <= picture.dts_ms();
                while let Some(sound) = sounds.next_if(first) {
                    clip.push(Packet::Audio(sound));
                }
            }
            clip.push(picture);
        }
        clip.extend(sounds.map(Packet::Audio));
        clip.extend(self.header_after.clone().map(Packet::VideoHeader));
        Ok(clip)
    }

    fn own_pictures(&self) -> Vec<Packet> {
        let all = self.taken.iter();
        all.filter(|packet| packet.is_video()).cloned().collect()
    }

    fn placed_pictures(&self, rendered: Rendered) -> Result<Vec<Packet>, Misfit> {
        let (found, wanted) = (rendered.pictures.len(), self.pictures.len());
        let begins = rendered
            .pictures
            .first()
            .is_some_and(|first| first.keyframe);
        if found != wanted || !begins || rendered.header.is_none() {
            return Err(Misfit::Pictures { found, wanted });
        }
        let header = rendered.header.map(Packet::VideoHeader);
        let times = self.pictures.iter();
        let placed = times
            .zip(rendered.pictures)
            .map(|((dts_ms, pts_ms), picture)| {
                Packet::Video(VideoPacket {
                    dts_ms: *dts_ms,
                    pts_ms: *pts_ms,
                    ..picture
                })
            });
        Ok(header.into_iter().chain(placed).collect())
    }

    /// The rendered sounds at their times, and behind them those of the new source as they are.
    fn placed_sounds(&self, rendered: &Rendered) -> Result<Vec<AudioPacket>, Misfit> {
        // The first frame an encoder writes is its own run-up.
        let unused = 1 + self.recipe.sound.map_or(0, |sound| sound.run_up());
        let found = rendered.sounds.len().saturating_sub(unused);
        let wanted = self.sounds.len();
        if found < wanted {
            return Err(Misfit::Sounds { found, wanted });
        }
        let times = self.sounds.iter().copied();
        let payloads = rendered.sounds.iter().skip(unused).cloned();
        let placed = times.zip(payloads);
        let mut sounds: Vec<_> = placed
            .map(|(ts_ms, payload)| AudioPacket { ts_ms, payload })
            .collect();
        if let Some(replaced) = self.replaced {
            let own = self.taken.iter().filter_map(|packet| match packet {
                Packet::Audio(sound) => Some(sound.clone()),
                Packet::VideoHeader(_) | Packet::AudioHeader(_) | Packet::Video(_) => None,
            });
            sounds.extend(own.skip(replaced.before + replaced.frames));
        }
        Ok(sounds)
    }
}

impl Rendered {
    fn of(packets: Vec<Packet>) -> Self {
        let mut rendered = Self::default();
        for packet in packets {
            match packet {
                Packet::VideoHeader(header) => rendered.header = Some(header),
                Packet::Video(picture) => rendered.pictures.push(picture),
                Packet::Audio(sound) => rendered.sounds.push(sound.payload),
                // Its frames stand beside the sources' own, whose headers say the same.
                Packet::AudioHeader(_) => {}
            }
        }
        rendered
    }
}
