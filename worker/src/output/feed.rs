//! What one FFmpeg run is given: FLV from a keyframe on, on its own clock. Pure.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use crate::flv::Headers;
use crate::flv::{FlvWriter, Metadata, Packet, VideoPacket};

/// How changed parameter sets are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParameterSets {
    /// By a new sequence header, which FFmpeg's FLV muxer passes on.
    Header,
    /// In front of each keyframe: what FFmpeg makes MPEG-TS of knows only the first header.
    InBand,
}

/// FLV under way to one FFmpeg.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Feed {
    writer: FlvWriter,
    sets: ParameterSets,
    /// In force, as units with their lengths; only when they go in band.
    #[serde(with = "crate::handover::blob::option")]
    in_band: Option<Bytes>,
    origin_ms: i64,
    last_ms: i64,
    #[serde(with = "crate::handover::blob::list")]
    pieces: Vec<Bytes>,
    #[serde(with = "crate::handover::blob::list")]
    queued: VecDeque<Bytes>,
}

impl Feed {
    /// Begins with what `headers` say, at zero for `origin_ms`, which is the decode time of the
    /// keyframe that is to be added first.
    pub fn new(
        metadata: &Metadata,
        headers: &Headers,
        sets: ParameterSets,
        origin_ms: i64,
    ) -> Self {
        let mut feed = Self {
            writer: FlvWriter::new(origin_ms),
            sets,
            in_band: None,
            origin_ms,
            last_ms: origin_ms,
            pieces: Vec::new(),
            queued: VecDeque::new(),
        };
        feed.writer.file_header(metadata, &mut feed.pieces);
        for header in headers.packets() {
            feed.writer.write(&header, &mut feed.pieces);
        }
        if let (ParameterSets::InBand, Some(header)) = (sets, &headers.video) {
            feed.in_band = parameter_sets(header);
        }
        feed
    }

    /// Adds a packet; sound from before the first picture is left out.
    pub fn add(&mut self, packet: &Packet) {
        if packet
            .dts_ms()
            .is_some_and(|dts_ms| dts_ms < self.origin_ms)
        {
            return;
        }
        self.last_ms = packet.dts_ms().unwrap_or(self.last_ms).max(self.last_ms);
        match (self.sets, packet) {
            (ParameterSets::InBand, Packet::VideoHeader(header)) => {
                self.in_band = parameter_sets(header);
            }
            (ParameterSets::InBand, Packet::Video(video)) if video.keyframe => {
                let video = Packet::Video(self.with_sets(video));
                self.writer.write(&video, &mut self.pieces);
            }
            _ => self.writer.write(packet, &mut self.pieces),
        }
    }

    /// What FFmpeg has not taken yet.
    pub fn untaken(&mut self) -> &mut VecDeque<Bytes> {
        self.queued.extend(self.pieces.drain(..));
        &mut self.queued
    }

    /// How much that is.
    pub fn untaken_bytes(&self) -> u64 {
        let pieces = self.pieces.iter().chain(&self.queued);
        pieces.map(|piece| piece.len() as u64).sum()
    }

    /// Whether FFmpeg has taken everything.
    pub fn is_taken(&self) -> bool {
        self.pieces.is_empty() && self.queued.is_empty()
    }

    /// Media time added.
    pub fn media_ms(&self) -> u64 {
        u64::try_from(self.last_ms - self.origin_ms).unwrap_or(0)
    }

    fn with_sets(&self, video: &VideoPacket) -> VideoPacket {
        let sets = self.in_band.as_deref().unwrap_or_default();
        let mut payload = BytesMut::with_capacity(sets.len() + video.payload.len());
        payload.put_slice(sets);
        payload.put_slice(&video.payload);
        VideoPacket {
            payload: payload.freeze(),
            ..video.clone()
        }
    }
}

/// The parameter sets of an `AVCDecoderConfigurationRecord` with their lengths in four bytes;
/// `None` when it is broken, or its pictures state lengths in fewer bytes.
fn parameter_sets(header: &[u8]) -> Option<Bytes> {
    let (fixed, mut rest) = header.split_at_checked(5)?;
    if fixed[4] & 3 != 3 {
        return None;
    }
    let mut sets = BytesMut::new();
    for count_mask in [0x1f, 0xff] {
        let (count, after) = rest.split_first()?;
        rest = after;
        for _ in 0..count & count_mask {
            let (length, after) = rest.split_first_chunk::<2>()?;
            let (set, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            sets.put_u32(set.len() as u32);
            sets.put_slice(set);
            rest = after;
        }
    }
    Some(sets.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flv::{AudioPacket, FlvReader};

    const HEADER: &[u8] = b"\x01\x64\x00\x1f\xff\xe1\x00\x02\x67\x42\x01\x00\x01\x68";

    fn headers() -> Headers {
        Headers {
            video: Some(Bytes::from_static(HEADER)),
            audio: Some(Bytes::from_static(&[0x11, 0x90])),
        }
    }

    fn metadata() -> Metadata {
        Metadata {
            width: 1280,
            height: 720,
            fps: 30.0,
        }
    }

    fn video(dts_ms: i64, keyframe: bool) -> Packet {
        Packet::Video(VideoPacket {
            dts_ms,
            pts_ms: dts_ms + 66,
            keyframe,
            payload: Bytes::from_static(b"\0\0\0\x01\x65"),
        })
    }

    fn audio(ts_ms: i64) -> Packet {
        Packet::Audio(AudioPacket {
            ts_ms,
            payload: Bytes::from_static(b"aac"),
        })
    }

    fn read(feed: &mut Feed) -> Vec<Packet> {
        let bytes: Vec<u8> = feed.untaken().iter().flatten().copied().collect();
        let mut reader = FlvReader::new();
        reader.push(bytes.into());
        std::iter::from_fn(|| reader.next_packet().expect("FLV")).collect()
    }

    #[test]
    fn a_connection_begins_with_headers_and_its_own_zero() {
        let origin_ms = 40 * 86_400_000;
        let mut feed = Feed::new(&metadata(), &headers(), ParameterSets::Header, origin_ms);
        for packet in [
            audio(origin_ms - 21),
            video(origin_ms, true),
            audio(origin_ms + 1),
            video(origin_ms + 33, false),
        ] {
            feed.add(&packet);
        }
        assert_eq!(feed.media_ms(), 33);
        let packets = read(&mut feed);
        assert_eq!(packets[0], Packet::VideoHeader(Bytes::from_static(HEADER)));
        let times: Vec<_> = packets.iter().filter_map(Packet::dts_ms).collect();
        assert_eq!(times, [0, 1, 33]);
        assert!(
            matches!(&packets[2], Packet::Video(first) if first.keyframe && first.pts_ms == 66)
        );
    }

    #[test]
    fn in_band_sets_stand_before_each_keyframe_and_change_with_the_header() {
        let mut feed = Feed::new(&metadata(), &headers(), ParameterSets::InBand, 0);
        feed.add(&video(0, true));
        let other = HEADER
            .iter()
            .map(|byte| if *byte == 0x42 { 0x43 } else { *byte });
        feed.add(&Packet::VideoHeader(other.collect()));
        feed.add(&video(33, false));
        feed.add(&video(66, true));
        let packets = read(&mut feed);
        let header_count = packets
            .iter()
            .filter(|p| matches!(p, Packet::VideoHeader(_)));
        assert_eq!(header_count.count(), 1, "FFmpeg is told the first only");
        let pictures: Vec<_> = packets
            .iter()
            .filter_map(|packet| match packet {
                Packet::Video(video) => Some(&video.payload[..]),
                _ => None,
            })
            .collect();
        let with = |set: u8| {
            [
                b"\0\0\0\x02\x67",
                &[set][..],
                b"\0\0\0\x01\x68\0\0\0\x01\x65",
            ]
            .concat()
        };
        assert_eq!(
            pictures,
            [&with(0x42)[..], b"\0\0\0\x01\x65", &with(0x43)[..]]
        );
    }

    #[test]
    fn a_broken_header_has_no_sets() {
        for end in 0..HEADER.len() {
            assert_eq!(parameter_sets(&HEADER[..end]), None, "{end}");
        }
        assert!(parameter_sets(HEADER).is_some());
    }
}
