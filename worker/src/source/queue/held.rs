//! What is in a queue, and what that is enough for. No locks, no waiting.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Head, HeadKind, QueueBounds, READY_MS, SourceEnd, Tracks};
use crate::flv::Packet;

/// What a queue holds and knows of its source.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Held {
    pub(super) packets: VecDeque<Packet>,
    pub(super) bytes: usize,
    /// Pictures among `packets`.
    pub(super) pictures: usize,
    /// Largest decode time ever pushed.
    pub(super) newest_ms: Option<i64>,
    /// Decode time of the last packet popped.
    pub(super) popped_ms: Option<i64>,
    pub(super) tracks: Option<Tracks>,
    pub(super) video_header: bool,
    pub(super) audio_header: bool,
    /// Above the bound was reached, and three quarters of it not yet again.
    pub(super) full: bool,
    /// It ran dry although something came: it is to be as full as this, ms, before it may go on.
    #[serde(default)]
    pub(super) fill_ms: Option<i64>,
    /// The reader has room, and waits for FFmpeg.
    #[serde(skip)]
    pub(super) waits_since: Option<Instant>,
    pub(super) end: Option<SourceEnd>,
}

// === impl Held ===

impl Held {
    pub(super) fn push(&mut self, packet: Packet) {
        match &packet {
            Packet::VideoHeader(_) => self.video_header = true,
            Packet::AudioHeader(_) => self.audio_header = true,
            Packet::Video(_) => self.pictures += 1,
            Packet::Audio(_) => {}
        }
        self.newest_ms = self.newest_ms.max(packet.dts_ms());
        self.bytes += packet.payload_bytes();
        self.packets.push_back(packet);
    }

    pub(super) fn pop(&mut self) -> Option<Packet> {
        let packet = self.packets.pop_front()?;
        self.bytes -= packet.payload_bytes();
        if matches!(packet, Packet::Video(_)) {
            self.pictures -= 1;
        }
        self.popped_ms = packet.dts_ms().or(self.popped_ms);
        Some(packet)
    }

    pub(super) fn oldest_ms(&self) -> Option<i64> {
        self.packets.iter().find_map(Packet::dts_ms)
    }

    pub(super) fn buffered_ms(&self) -> i64 {
        match (self.oldest_ms(), self.newest_ms) {
            (Some(oldest), Some(newest)) => (newest - oldest).max(0),
            _ => 0,
        }
    }

    pub(super) fn bounds(&self, usual: QueueBounds) -> QueueBounds {
        self.fill_ms.map_or(usual, |media_ms| QueueBounds {
            bytes: usual.bytes * 4,
            media_ms,
        })
    }

    pub(super) fn is_above(&self, bounds: QueueBounds) -> bool {
        let bounds = self.bounds(bounds);
        self.bytes >= bounds.bytes || self.buffered_ms() >= bounds.media_ms
    }

    pub(super) fn has_room(&self, bounds: QueueBounds) -> bool {
        let bounds = self.bounds(bounds);
        self.bytes < bounds.bytes / 4 * 3 && self.buffered_ms() < bounds.media_ms / 4 * 3
    }

    pub(super) fn is_ready(&self) -> bool {
        let Some(tracks) = self.tracks else {
            return false;
        };
        let keyframe = self.packets.iter().any(is_keyframe);
        if !keyframe || !self.video_header {
            return false;
        }
        // A full or ended queue gets no more: a sound that has not begun by then begins late.
        let all = self.full || self.end.is_some();
        let begins = (self.audio_header || !tracks.audio) && self.buffered_ms() >= READY_MS;
        all || (begins && self.fill_ms.is_none())
    }

    pub(super) fn header_head(&self) -> Head {
        let ms = self.oldest_ms().or(self.popped_ms).unwrap_or(0);
        Head {
            kind: HeadKind::Header,
            dts_ms: ms,
            pts_ms: ms,
        }
    }
}

pub(super) fn head_of(packet: &Packet) -> Option<Head> {
    match packet {
        Packet::VideoHeader(_) | Packet::AudioHeader(_) => None,
        Packet::Video(video) => Some(Head {
            kind: HeadKind::Video {
                keyframe: video.keyframe,
            },
            dts_ms: video.dts_ms,
            pts_ms: video.pts_ms,
        }),
        Packet::Audio(audio) => Some(Head {
            kind: HeadKind::Audio,
            dts_ms: audio.ts_ms,
            pts_ms: audio.ts_ms,
        }),
    }
}

pub(super) fn is_keyframe(packet: &Packet) -> bool {
    matches!(packet, Packet::Video(video) if video.keyframe)
}
