//! From the source on air, through the timeline, into the batch.

use std::sync::Arc;

use tokio::time::Instant;

use super::Playout;
use crate::director::Air;
use crate::flv::Packet;
use crate::timeline::{Pacer, Timeline};

impl Playout {
    /// Moves the next packet of the source on air into the batch, if it is due.
    pub(super) fn release_one(&mut self, now: Instant) -> bool {
        if let Some(packet) = self.transit.clip.front() {
            let due = is_due(&self.timeline, &mut self.pacer, packet, now);
            if due {
                self.release_of_clip();
            }
            return due;
        }
        match self.air {
            Air::Nothing => false,
            Air::Slate(_) => {
                let packet = match self.slate_packet.take() {
                    Some(packet) => packet,
                    None => self.slate_source.pop(),
                };
                if !is_due(&self.timeline, &mut self.pacer, &packet, now) {
                    self.slate_packet = Some(packet);
                    return false;
                }
                let before_ms = self.released_ms;
                self.push(packet);
                self.slate_ms += (self.released_ms - before_ms).max(0).unsigned_abs();
                true
            }
            Air::Live => self.release_live(now),
            Air::Current => {
                let Some(item) = &mut self.current else {
                    return false;
                };
                let queue = Arc::clone(item.source.queue());
                let (timeline, pacer) = (&self.timeline, &mut self.pacer);
                let due = queue.with_front(|packet| is_due(timeline, pacer, packet, now));
                let Some(packet) = due.filter(|due| *due).and_then(|_| queue.pop()) else {
                    return false;
                };
                item.note(&packet);
                let last = queue.end().is_some() && !queue.has_video_left();
                self.push(packet);
                if last {
                    self.flush_sound();
                }
                true
            }
        }
    }

    /// Moves the next packet of a clip into the batch.
    fn release_of_clip(&mut self) {
        let Some(packet) = self.transit.clip.pop_front() else {
            return;
        };
        let before_ms = self.released_ms;
        if let (Air::Current, Some(item)) = (self.air, &mut self.current) {
            item.note_clip(&packet);
        }
        self.push(packet);
        if matches!(self.air, Air::Slate(_)) {
            self.slate_ms += (self.released_ms - before_ms).max(0).unsigned_abs();
        }
    }

    pub(super) fn push(&mut self, packet: Packet) {
        let first = self.batch.len();
        self.timeline.push(packet, &mut self.batch);
        let newest_ms = self.batch[first..].iter().filter_map(Packet::dts_ms).max();
        self.released_ms = self.released_ms.max(newest_ms.unwrap_or(i64::MIN));
    }

    /// Releases the sound that belongs under the last picture released: it stands behind that
    /// picture in decode order, and would be lost by a cut here.
    pub(super) fn flush_sound(&mut self) {
        let (Some(item), Some(shift_ms)) = (&mut self.current, self.timeline.shift_ms()) else {
            return;
        };
        self.timeline.close();
        let end_ms = self.timeline.video_end_ms();
        let within = |packet: &Packet| packet.dts_ms().is_none_or(|ms| ms + shift_ms < end_ms);
        while item.source.queue().with_front(within) == Some(true)
            && let Some(packet) = item.source.queue().pop()
        {
            // Pictures that stand between, and do not go out now, do when the item comes back.
            item.note(&packet);
            self.timeline.push(packet, &mut self.batch);
        }
        if item.source.queue().end().is_some() && !item.source.queue().has_video_left() {
            // What is left is sound without a picture.
            while item.source.queue().pop().is_some() {}
        }
    }
}

/// Whether `packet` is to be given to the timeline now. The first one ever sets the pace.
pub(super) fn is_due(
    timeline: &Timeline,
    pacer: &mut Pacer,
    packet: &Packet,
    now: Instant,
) -> bool {
    let Some(at_ms) = timeline.release_at(packet) else {
        return true;
    };
    let due_ms = pacer.due_until(now).unwrap_or_else(|| {
        pacer.start(now, at_ms);
        at_ms
    });
    at_ms <= due_ms
}
