//! What both sources of a transition have in hand.

use std::time::Duration;

use tokio::time::Instant;

use crate::director::{Air, Target};
use crate::flv::Packet;
use crate::playout::Playout;
use crate::source::{Slate, SlateSource};
use crate::transition::{InHand, Outgoing};

/// For small pictures, and for large ones.
const RENDER_TIME: Duration = Duration::from_millis(1_000);
const LONG_RENDER_TIME: Duration = Duration::from_millis(2_000);
/// Pixels a second from which on they are large: more than 1280x720 at 30.
const LARGE: u64 = 30_000_000;
/// What is played of the slate, for a plan: two of its groups and a second.
const SLATE_MS: i64 = 6_000;

impl Playout {
    /// What has the air, from its last keyframe on.
    pub(super) fn outgoing(&self, now: Instant) -> Option<Outgoing> {
        if !self.transit.clip.is_empty() {
            return None;
        }
        let shift_ms = self.timeline.shift_ms()?;
        let (group, hand) = match self.air {
            Air::Nothing => return None,
            Air::Current => {
                let item = self.current.as_ref()?;
                let (packets, more) = item.source.queue().in_hand();
                let headers = item.headers().collect();
                let hand = InHand {
                    headers,
                    packets,
                    more,
                };
                (item.group().to_vec(), hand)
            }
            Air::Live => {
                let hand = self.live.on_air()?.buffer().in_hand();
                let hand = InHand {
                    headers: hand.headers,
                    packets: hand.packets,
                    more: hand.more,
                };
                (self.live.group().to_vec(), hand)
            }
            Air::Slate(_) => {
                let (source, given_out) = self.slate_source.from_loop_start();
                let released = given_out - usize::from(self.slate_packet.is_some());
                let mut hand = played(source, SLATE_MS);
                hand.headers = headers_of(self.slate_source.slate());
                let rest = hand.packets.split_off(released.min(hand.packets.len()));
                (std::mem::replace(&mut hand.packets, rest), hand)
            }
        };
        let released = group.len();
        let mut hand = hand;
        hand.packets.splice(0..0, group);
        let render_time = self.render_time().as_millis() as i64;
        Some(Outgoing {
            hand,
            released,
            not_before_ms: self.pacer.due_until(now)? - shift_ms + render_time,
        })
    }

    /// What is to take the air.
    pub(super) fn incoming(&self, to: Target) -> Option<InHand> {
        let item = match to {
            Target::Live => {
                let hand = self.live.wanted()?.buffer().in_hand();
                return Some(InHand {
                    headers: hand.headers,
                    packets: hand.packets,
                    more: hand.more,
                });
            }
            Target::Slate(cause) => {
                return Some(played(SlateSource::new(&self.slate_for(cause)), SLATE_MS));
            }
            Target::Current => self.current.as_ref()?,
            Target::Next => self.next.as_ref()?,
        };
        let (packets, more) = item.source.queue().in_hand();
        Some(InHand {
            headers: item.headers().collect(),
            packets,
            more,
        })
    }

    /// What FFmpeg is given to render a clip before it is to go out.
    pub(in crate::playout) fn render_time(&self) -> Duration {
        let pixels = u64::from(self.format.width) * u64::from(self.format.height);
        match pixels * u64::from(self.format.fps) > LARGE {
            true => LONG_RENDER_TIME,
            false => RENDER_TIME,
        }
    }
}

/// So much of the slate.
fn played(mut source: SlateSource, ms: i64) -> InHand {
    let (mut packets, mut first_ms) = (Vec::new(), None);
    loop {
        let packet = source.pop();
        let at_ms = packet.dts_ms();
        packets.push(packet);
        if let Some(at_ms) = at_ms
            && at_ms - *first_ms.get_or_insert(at_ms) > ms
        {
            return InHand {
                headers: Vec::new(),
                packets,
                more: false,
            };
        }
    }
}

fn headers_of(slate: &Slate) -> Vec<Packet> {
    vec![
        Packet::VideoHeader(slate.video_header().clone()),
        Packet::AudioHeader(slate.audio_header().clone()),
    ]
}
