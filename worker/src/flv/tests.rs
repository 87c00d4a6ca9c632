//! Reader and writer against each other, against damaged input, and against every way a stream can
//! be cut into chunks.

use super::tag::ForeignCodec;
use super::*;
use bytes::Bytes;
use proptest::prelude::*;

const METADATA: Metadata = Metadata {
    width: 1280,
    height: 720,
    fps: 29.97,
};

fn written(origin_ms: i64, packets: &[Packet]) -> Vec<u8> {
    let mut writer = FlvWriter::new(origin_ms);
    let mut pieces = Vec::new();
    writer.file_header(&METADATA, &mut pieces);
    for packet in packets {
        writer.write(packet, &mut pieces);
    }
    pieces.concat()
}

/// Reads everything, in chunks that end where `cuts` say.
fn read(stream: &[u8], cuts: &[usize]) -> (Vec<Packet>, Result<(), FlvError>) {
    let mut reader = FlvReader::new();
    let mut packets = Vec::new();
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    ends.push(stream.len());
    ends.sort_unstable();
    let mut start = 0;
    for end in ends {
        reader.push(Bytes::copy_from_slice(&stream[start..end]));
        start = end;
        loop {
            match reader.next_packet() {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(error) => return (packets, Err(error)),
            }
        }
    }
    (packets, Ok(()))
}

/// A file header, then this as the body of one tag.
fn one_tag(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut stream = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
    stream.push(kind);
    stream.extend(&(body.len() as u32).to_be_bytes()[1..]);
    stream.extend([0; 7]);
    stream.extend(body);
    stream.extend((11 + body.len() as u32).to_be_bytes());
    stream
}

fn payload() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 1..300).prop_map(Bytes::from)
}

/// Packets with times as a source has them: mostly forward, now and then far away.
fn packets() -> impl Strategy<Value = Vec<Packet>> {
    let step = prop_oneof![9 => -30_i64..100, 1 => 0_i64..1 << 30];
    let one = (step, 0_i64..(1 << 23), any::<bool>(), 0..8_u8, payload());
    prop::collection::vec(one, 0..40).prop_map(|steps| {
        let mut clock_ms = 0;
        let mut packets = Vec::new();
        for (step, depth_ms, keyframe, kind, payload) in steps {
            // A header has no time of its own.
            if kind > 1 {
                clock_ms = (clock_ms + step).max(0);
            }
            packets.push(match kind {
                0 => Packet::VideoHeader(payload),
                1 => Packet::AudioHeader(payload),
                2..5 => Packet::Audio(AudioPacket {
                    ts_ms: clock_ms,
                    payload,
                }),
                _ => {
                    let (dts_ms, pts_ms) = (clock_ms, clock_ms + depth_ms);
                    Packet::Video(VideoPacket {
                        dts_ms,
                        pts_ms,
                        keyframe,
                        payload,
                    })
                }
            });
        }
        packets
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(packets in packets(), cuts in prop::collection::vec(any::<usize>(), 0..20)) {
        let (back, end) = read(&written(0, &packets), &cuts);
        prop_assert_eq!(end, Ok(()));
        prop_assert_eq!(back, packets);
    }

    #[test]
    fn nothing_that_comes_in_makes_it_panic(stream in prop::collection::vec(any::<u8>(), 0..2000), headed: bool) {
        let mut input = if headed { one_tag(9, &[]) } else { Vec::new() };
        input.extend(stream);
        let _any_outcome = read(&input, &[]);
    }

    #[test]
    fn damage_is_read_alike_however_the_stream_is_cut(
        packets in packets(),
        damage in prop::collection::vec((any::<usize>(), any::<u8>()), 0..5),
        cuts in prop::collection::vec(any::<usize>(), 0..50),
    ) {
        let mut stream = written(0, &packets);
        for (at, byte) in damage {
            let len = stream.len();
            stream[at % len] = byte;
        }
        let by_byte: Vec<usize> = (0..stream.len()).collect();
        let whole = read(&stream, &[]);
        prop_assert_eq!(&whole, &read(&stream, &cuts));
        prop_assert_eq!(&whole, &read(&stream, &by_byte));
    }
}

#[test]
fn a_tag_within_one_chunk_is_a_slice_of_it() {
    let payload = Bytes::from(vec![7; 1000]);
    let packet = Packet::Audio(AudioPacket { ts_ms: 5, payload });
    let stream = Bytes::from(written(0, std::slice::from_ref(&packet)));
    let mut reader = FlvReader::new();
    reader.push(stream.clone());
    let Ok(Some(Packet::Audio(audio))) = reader.next_packet() else {
        panic!("one packet")
    };
    assert!(stream.as_ptr_range().contains(&audio.payload.as_ptr()));
}

#[test]
fn a_payload_is_handed_on_uncopied() {
    let payload = Bytes::from(vec![7; 1000]);
    let mut pieces = Vec::new();
    let packet = Packet::Audio(AudioPacket {
        ts_ms: 5,
        payload: payload.clone(),
    });
    FlvWriter::new(0).write(&packet, &mut pieces);
    assert!(
        pieces
            .iter()
            .any(|piece| piece.as_ptr() == payload.as_ptr())
    );
}

#[test]
fn a_connection_counts_from_its_own_zero() {
    let at = |ts_ms| {
        Packet::Audio(AudioPacket {
            ts_ms,
            payload: Bytes::from_static(b"x"),
        })
    };
    let origin_ms = 5_000_000_000;
    // Sound from before the keyframe that the connection begins with is left out.
    let packets = [at(origin_ms - 8), at(origin_ms), at(origin_ms + 21)];
    let (back, _) = read(&written(origin_ms, &packets), &[]);
    assert_eq!(back, [at(0), at(21)]);
}

#[test]
fn clocks_that_wrap_are_unwrapped() {
    let steps = [
        0,
        1 << 30,
        (1 << 31) - 20,
        (1 << 31) + 20,
        (1 << 32) + 5,
        (1_i64 << 33) + 7,
    ];
    let at = |ts_ms| {
        Packet::Audio(AudioPacket {
            ts_ms,
            payload: Bytes::from_static(b"x"),
        })
    };
    let mut packets = Vec::new();
    let mut clock_ms = 0;
    for target_ms in steps {
        // No farther at once than half the wrap.
        while target_ms - clock_ms > 1 << 29 {
            clock_ms += 1 << 29;
            packets.push(at(clock_ms));
        }
        clock_ms = target_ms;
        packets.push(at(clock_ms));
    }
    assert_eq!(read(&written(0, &packets), &[]).0, packets);
}

#[test]
fn a_full_32_bit_timestamp_is_read_as_31() {
    let mut stream = one_tag(8, &[0xaf, 1, 9]);
    stream[13 + 4..13 + 8].copy_from_slice(&[0, 0, 40, 0x80]);
    let (packets, _) = read(&stream, &[]);
    assert_eq!(packets[0].dts_ms(), Some(40));
}

#[test]
fn composition_offsets_are_signed_but_never_before_decoding() {
    let body = |offset: [u8; 3]| [&[0x27, 1], &offset[..], &[9]].concat();
    for (offset, pts_ms) in [
        ([0, 0, 80], 80),
        ([0xff, 0xff, 0xf0], 0),
        ([0x7f, 0xff, 0xff], 8_388_607),
    ] {
        let (packets, end) = read(&one_tag(9, &body(offset)), &[]);
        assert_eq!(end, Ok(()));
        let [Packet::Video(video)] = &packets[..] else {
            panic!("one picture")
        };
        assert_eq!(
            (video.dts_ms, video.pts_ms, video.keyframe),
            (0, pts_ms, false)
        );
    }
}

#[test]
fn what_carries_no_media_is_passed_over() {
    let none: [(u8, &[u8]); 8] = [
        (18, b"\x02\0\x0aonMetaData"),
        (9, &[]),
        (9, &[0x17, 0, 0, 0, 0]),
        (9, &[0x17, 1, 0, 0, 0]),
        (9, &[0x17, 2, 0, 0, 0]),
        (9, &[0x57, 0]),
        (8, &[]),
        (8, &[0xaf, 1]),
    ];
    for (kind, body) in none {
        assert_eq!(
            read(&one_tag(kind, body), &[]),
            (Vec::new(), Ok(())),
            "{kind} {body:?}"
        );
    }
}

#[test]
fn other_codecs_are_named() {
    let cases: [(u8, &[u8], ForeignCodec, &str); 5] = [
        (
            9,
            &[0x12, 0, 0],
            ForeignCodec::Video(2),
            "Sorenson H.263 video",
        ),
        (
            9,
            b"\x90hvc1\0",
            ForeignCodec::FourCc(*b"hvc1"),
            "HEVC video",
        ),
        (
            9,
            &[0x1c, 0, 0],
            ForeignCodec::Video(12),
            "HEVC video (non-standard number 12)",
        ),
        (8, &[0x2f, 0, 0], ForeignCodec::Audio(2), "MP3 audio"),
        (
            8,
            b"\x91Opus\0",
            ForeignCodec::FourCc(*b"Opus"),
            "enhanced-RTMP codec \"Opus\"",
        ),
    ];
    for (kind, body, codec, name) in cases {
        assert_eq!(codec.to_string(), name);
        let (packets, end) = read(&one_tag(kind, body), &[]);
        assert_eq!(
            (packets.len(), end),
            (0, Err(FlvError::UnsupportedCodec { codec }))
        );
    }
}

#[test]
fn damage_is_found_where_it_is() {
    let sound = Packet::Audio(AudioPacket {
        ts_ms: 5,
        payload: Bytes::from_static(b"sound"),
    });
    let mut stream = written(0, &[sound.clone(), sound.clone()]);
    let second = stream.len() - (11 + 7 + 4);
    stream[second] = 77;
    let (packets, end) = read(&stream, &[]);
    assert_eq!(packets, [sound]);
    let offset = second as u64;
    assert_eq!(
        end,
        Err(FlvError::Damaged {
            offset,
            what: "no such tag type"
        })
    );

    let (_, end) = read(b"<!DOCTYPE html><html>", &[]);
    assert_eq!(
        end.map_err(|error| error.to_string()),
        Err("not FLV: the stream begins with \"<!DOCTYPE htm\"".to_owned())
    );

    let mut stream = one_tag(9, &[0x17]);
    stream[13 + 1] = 0xff;
    let (_, end) = read(&stream, &[]);
    assert_eq!(
        end,
        Err(FlvError::Oversized {
            offset: 13,
            bytes: 0xff_0001
        })
    );
}

#[test]
fn a_tag_is_not_read_before_its_last_byte() {
    let stream = one_tag(8, &[0xaf, 1, 9]);
    let mut reader = FlvReader::new();
    reader.push(Bytes::copy_from_slice(&stream[..stream.len() - 2]));
    assert_eq!(reader.next_packet(), Ok(None));
    reader.push(Bytes::copy_from_slice(&stream[stream.len() - 2..]));
    assert!(matches!(reader.next_packet(), Ok(Some(Packet::Audio(_)))));
}
