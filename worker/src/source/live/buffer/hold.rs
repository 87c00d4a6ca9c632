//! A feed that is about to take the air by a transition: what the transition begins with stays.

use super::{Inner, LiveBuffer, MOST_BYTES, MOST_KEPT_MS, keyframe_ms};
use crate::flv::Packet;

/// What a feed has in hand.
#[derive(Debug, Clone, Default)]
pub struct LiveHand {
    /// In force before the first packet.
    pub headers: Vec<Packet>,
    /// In their order.
    pub packets: Vec<Packet>,
    /// The feed is there, so more will come.
    pub more: bool,
}

impl LiveBuffer {
    /// Off air: nothing is dropped until it takes the air or is let go.
    pub fn hold(&self) {
        let mut inner = self.lock();
        if inner.on_air {
            return;
        }
        inner.keep_fresh(self.depth);
        let first = inner.packets.iter().enumerate();
        let first = first.filter_map(|(at, packet)| Some((at, keyframe_ms(packet)?)));
        if let Some((at, ms)) = first.take(1).next() {
            inner.drop_before(at, ms);
        }
        inner.held = true;
    }

    /// It is as if it had never been held.
    pub fn let_go(&self) {
        let mut inner = self.lock();
        if std::mem::take(&mut inner.held) && !inner.on_air {
            inner.keep_fresh(self.depth);
        }
    }

    /// Everything in hand that can be given out.
    pub fn in_hand(&self) -> LiveHand {
        let inner = self.lock();
        let video = inner.video_header.clone().map(Packet::VideoHeader);
        let audio = inner.audio_header.clone().map(Packet::AudioHeader);
        LiveHand {
            headers: video.into_iter().chain(audio).collect(),
            packets: inner.packets.iter().take(inner.closed()).cloned().collect(),
            more: inner.has_feed,
        }
    }

    /// Drops `these`, if they are what it holds first; whether they were.
    pub fn drop_first(&self, these: &[Packet]) -> bool {
        let mut inner = self.lock();
        let first = inner.packets.iter().take(these.len().min(inner.closed()));
        if !first.eq(these) {
            return false;
        }
        for _ in these {
            inner.pop();
        }
        true
    }
}

impl Inner {
    /// It stays as it is, unless that has become too much.
    pub(super) fn is_held(&mut self) -> bool {
        self.held &= self.held_ms() <= MOST_KEPT_MS && self.bytes <= MOST_BYTES;
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{begun, front_ms, media};

    #[test]
    fn what_a_transition_begins_with_stays_until_the_feed_takes_the_air() {
        let (buffer, now) = begun();
        buffer.push_all(media(0, 1_520), now);
        buffer.hold();
        buffer.push_all(media(1_520, 4_000), now);
        assert_eq!(front_ms(&buffer), Some(1_000));
        let hand = buffer.in_hand();
        let taken = &hand.packets[..hand.packets.len() / 2];
        assert!(hand.more && hand.headers.len() == 2);
        buffer.take_the_air();
        assert_eq!(front_ms(&buffer), Some(1_000), "taken as it was planned");
        assert!(buffer.drop_first(taken));
        assert!(!buffer.drop_first(taken), "they are gone");
    }

    #[test]
    fn what_is_let_go_or_held_for_too_long_is_fresh_again() {
        let (buffer, now) = begun();
        buffer.push_all(media(0, 1_520), now);
        buffer.hold();
        buffer.push_all(media(1_520, 3_520), now);
        buffer.let_go();
        assert_eq!(front_ms(&buffer), Some(3_000));
        buffer.hold();
        buffer.push_all(media(3_520, 16_000), now);
        assert_eq!(front_ms(&buffer), Some(15_000));
    }

    #[test]
    fn a_feed_that_ends_while_it_is_held_is_gone() {
        let (buffer, now) = begun();
        buffer.push_all(media(0, 1_520), now);
        buffer.hold();
        buffer.end();
        assert!(buffer.in_hand().packets.is_empty());
    }
}
