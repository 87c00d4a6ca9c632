//! Packets to FLV, one writer per connection. Pure.
//!
//! A payload is handed on as the slice it is: a tag is written as pieces (fixed bytes, payload,
//! length) for a vectored write.

use super::packet::Packet;
use super::tag;
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// What `onMetaData` says of the picture. FFmpeg passes it on to the platform, and knows the frame
/// rate from nowhere else when it is told not to measure it (`-fpsprobesize 0`; measuring it, with
/// or without this tag, holds back the first 1.3 s of a connection).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames per second.
    pub fps: f64,
}

/// Writes one connection's FLV.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FlvWriter {
    origin_ms: i64,
    /// Where the last packet stood: headers have no time and take this one.
    last_ms: i64,
    /// Fixed bytes of tags are carved from this, some hundreds per allocation.
    #[serde(skip)]
    carving: BytesMut,
}

impl FlvWriter {
    /// A writer whose connection counts its time from `origin_ms` on the packets' clock: the decode
    /// time of the keyframe it begins with. Sound from before that is left out.
    pub fn new(origin_ms: i64) -> Self {
        Self {
            origin_ms,
            last_ms: 0,
            carving: BytesMut::new(),
        }
    }

    /// What a connection begins with.
    pub fn file_header(&mut self, metadata: &Metadata, out: &mut Vec<Bytes>) {
        // Flags: sound and picture follow.
        self.carving.put_slice(b"FLV\x01\x05\0\0\0\x09\0\0\0\0");
        let body = on_meta_data(metadata);
        self.put_tag_header(tag::TYPE_SCRIPT, body.len(), 0);
        self.carving.put_slice(&body);
        self.put_trailer(body.len());
        out.push(self.carving.split().freeze());
    }

    /// Appends one packet in pieces; the payload itself is not copied.
    pub fn write(&mut self, packet: &Packet, out: &mut Vec<Bytes>) {
        if let Packet::Audio(audio) = packet
            && audio.ts_ms < self.origin_ms
        {
            return;
        }
        let payload = match packet {
            Packet::VideoHeader(payload) => {
                self.put_video(tag::FRAME_KEY, tag::KIND_HEADER, 0, payload.len());
                payload
            }
            Packet::AudioHeader(payload) => {
                self.put_audio(tag::KIND_HEADER, payload.len());
                payload
            }
            Packet::Video(video) => {
                self.last_ms = self.rebased(video.dts_ms);
                let frame = if video.keyframe {
                    tag::FRAME_KEY
                } else {
                    tag::FRAME_INTER
                };
                let offset_ms = self.rebased(video.pts_ms) - self.last_ms;
                self.put_video(frame, tag::KIND_MEDIA, offset_ms, video.payload.len());
                &video.payload
            }
            Packet::Audio(audio) => {
                self.last_ms = self.rebased(audio.ts_ms);
                self.put_audio(tag::KIND_MEDIA, audio.payload.len());
                &audio.payload
            }
        };
        out.push(self.carving.split().freeze());
        out.push(payload.clone());
        let body_bytes = payload.len() + if packet.is_video() { 5 } else { 2 };
        self.put_trailer(body_bytes);
        out.push(self.carving.split().freeze());
    }

    fn rebased(&self, air_ms: i64) -> i64 {
        (air_ms - self.origin_ms).max(0)
    }

    fn put_video(&mut self, frame: u8, kind: u8, offset_ms: i64, payload_bytes: usize) {
        self.put_tag_header(tag::TYPE_VIDEO, payload_bytes + 5, self.last_ms);
        self.carving.put_u8((frame << 4) | tag::CODEC_AVC);
        self.carving.put_u8(kind);
        // 24 signed bits; a picture 2 h 19 min late is not worth an error.
        self.carving
            .put_int(offset_ms.clamp(-(1 << 23), (1 << 23) - 1), 3);
    }

    fn put_audio(&mut self, kind: u8, payload_bytes: usize) {
        self.put_tag_header(tag::TYPE_AUDIO, payload_bytes + 2, self.last_ms);
        self.carving.put_u8(tag::AAC_FLAGS);
        self.carving.put_u8(kind);
    }

    fn put_tag_header(&mut self, kind: u8, body_bytes: usize, at_ms: i64) {
        if self.carving.capacity() < 64 {
            self.carving.reserve(CARVING_BYTES);
        }
        // 31 bits, as FFmpeg itself writes: 2^31 ms becomes 0.
        let [t3, t2, t1, t0] = ((at_ms & 0x7fff_ffff) as u32).to_be_bytes();
        self.carving.put_u8(kind);
        self.carving.put_uint(body_bytes as u64, 3);
        self.carving.put_slice(&[t2, t1, t0, t3, 0, 0, 0]);
    }

    fn put_trailer(&mut self, body_bytes: usize) {
        self.carving
            .put_u32((tag::HEADER_BYTES + body_bytes) as u32);
    }
}

/// One allocation of fixed bytes: about 190 tags, 2–3 s.
const CARVING_BYTES: usize = 4096;

/// The body of the script tag: AMF0 `"onMetaData"` and an ECMA array of numbers.
fn on_meta_data(metadata: &Metadata) -> Vec<u8> {
    let numbers = [
        ("width", f64::from(metadata.width)),
        ("height", f64::from(metadata.height)),
        ("framerate", metadata.fps),
        ("videocodecid", f64::from(tag::CODEC_AVC)),
        ("audiocodecid", f64::from(tag::CODEC_AAC)),
    ];
    let mut body = Vec::with_capacity(160);
    body.put_u8(2);
    put_name(&mut body, "onMetaData");
    body.put_u8(8);
    body.put_u32(numbers.len() as u32);
    for (name, value) in numbers {
        put_name(&mut body, name);
        body.put_u8(0);
        body.put_f64(value);
    }
    body.put_slice(&[0, 0, 9]);
    body
}

fn put_name(body: &mut Vec<u8>, name: &str) {
    body.put_u16(name.len() as u16);
    body.put_slice(name.as_bytes());
}
