//! A feed begins anew while what it left before is still aired: a picture that was given out is shown with those
//! that come before it, or they would be a hole.

use std::collections::VecDeque;

use super::Inner;
use crate::flv::Packet;

impl Inner {
    /// Empty, but for what the picture given out last needs.
    pub(super) fn begin_anew(&mut self) {
        let rest = match self.rest.is_empty() && self.on_air {
            true => self.shown_before_what_was_given(),
            false => std::mem::take(&mut self.rest),
        };
        self.clear();
        self.rest = rest;
    }

    /// Pictures in the order of decoding, with the sound between them.
    fn shown_before_what_was_given(&mut self) -> VecDeque<Packet> {
        let Some(given_ms) = self.given_ms else {
            return VecDeque::new();
        };
        let ends = |packet: &Packet| match packet {
            Packet::Video(video) => video.keyframe || video.pts_ms > given_ms,
            Packet::VideoHeader(_) => true,
            Packet::Audio(_) | Packet::AudioHeader(_) => false,
        };
        let closed = self.closed();
        let mut packets = std::mem::take(&mut self.packets);
        let end = packets.iter().take(closed).position(ends);
        packets.truncate(end.unwrap_or(closed));
        let pictures = packets.iter().rposition(Packet::is_video);
        packets.truncate(pictures.map_or(0, |last| last + 1));
        packets
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{begun, front_ms, media, reordered, standing};

    #[test]
    fn a_feed_that_begins_anew_leaves_no_picture_without_those_shown_before_it() {
        let (buffer, now) = begun();
        let frames = [(0, 1), (1, 4), (2, 2), (3, 3), (4, 7), (5, 5), (6, 6)];
        buffer.push_all(reordered(frames), now);
        buffer.take_the_air();
        buffer.pop();
        buffer.pop();
        buffer.end();
        // Whoever comes next does so before this was aired, and once more.
        for _ in 0..2 {
            buffer.begin();
            buffer.push_all(media(0, 200), now);
            let standing = standing(&buffer, now);
            assert!(standing.carrying && !standing.ready && buffer.has_picture_left());
        }
        for decoded in [80, 120] {
            assert_eq!(front_ms(&buffer), Some(decoded));
            buffer.pop();
        }
        assert_eq!(front_ms(&buffer), Some(0), "the new feed's");
    }

    #[test]
    fn nothing_is_kept_of_a_feed_in_order_or_off_air() {
        let (buffer, now) = begun();
        buffer.push_all(media(0, 400), now);
        buffer.begin();
        assert_eq!(front_ms(&buffer), None, "off air");
        buffer.push_all(media(0, 400), now);
        buffer.take_the_air();
        buffer.pop();
        buffer.restart();
        assert_eq!(front_ms(&buffer), None, "each is whole");
    }
}
