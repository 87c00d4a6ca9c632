use proptest::prelude::*;
use rml_rtmp::chunk_io::ChunkSerializer;
use rml_rtmp::messages::MessagePayload;
use rml_rtmp::time::RtmpTimestamp;

use super::*;

const VIDEO: u8 = 9;
const AUDIO: u8 = 8;

/// A header that says everything.
fn full(stream: u8, time: u32, length: u32, kind: u8) -> Vec<u8> {
    let mut head = vec![stream];
    head.extend(&time.min(EXTENDED).to_be_bytes()[1..]);
    head.extend(&length.to_be_bytes()[1..]);
    head.extend([kind, 1, 0, 0, 0]);
    if time >= EXTENDED {
        head.extend(time.to_be_bytes());
    }
    head
}

fn read(reader: &mut Reader) -> Vec<(u8, u32, usize)> {
    let next = || reader.next().expect("no broken chunks");
    std::iter::from_fn(next)
        .map(|message| (message.kind, message.timestamp_ms, message.body.len()))
        .collect()
}

#[test]
fn sound_between_the_chunks_of_a_picture_leaves_both_whole() {
    let mut reader = Reader::new();
    reader.feed(&full(6, 40, 300, VIDEO));
    reader.feed(&[1; 128]);
    reader.feed(&full(4, 41, 5, AUDIO));
    reader.feed(&[2; 5]);
    reader.feed(&[0xc6]);
    reader.feed(&[1; 128]);
    reader.feed(&[0x84, 0, 0, 23]);
    reader.feed(&[2; 5]);
    reader.feed(&[0xc6]);
    reader.feed(&[1; 44]);
    let expected = [(AUDIO, 41, 5), (AUDIO, 64, 5), (VIDEO, 40, 300)];
    assert_eq!(read(&mut reader), expected);
    assert_eq!(reader.held, 0);
}

#[test]
fn times_go_on_where_they_were_and_wrap_after_49_days() {
    let mut reader = Reader::new();
    reader.feed(&full(6, u32::MAX - 9, 1, VIDEO));
    reader.feed(&[1]);
    // Without a header: as much later as its predecessor's own time, which is the letter of it.
    reader.feed(&[0x46, 0, 0, 40, 0, 0, 1, VIDEO, 1]);
    reader.feed(&[0xc6, 1]);
    reader.feed(&[0x86, 0xff, 0xff, 0xff, 1, 0, 0, 0, 1]);
    let times: Vec<u32> = read(&mut reader).iter().map(|(_, time, _)| *time).collect();
    assert_eq!(times, [u32::MAX - 9, 30, 70, 70 + (1 << 24)]);
}

#[test]
fn an_extended_time_is_repeated_on_every_chunk_and_counts_once() {
    let mut reader = Reader::new();
    reader.feed(&full(6, 0x0100_0000, 130, VIDEO));
    reader.feed(&[1; 128]);
    reader.feed(&[0xc6, 1, 0, 0, 0, 1, 1]);
    assert_eq!(read(&mut reader), [(VIDEO, 0x0100_0000, 130)]);
}

#[test]
fn an_unfinished_message_gives_way_to_an_abort_and_to_another() {
    let mut reader = Reader::new();
    reader.feed(&full(6, 0, 300, VIDEO));
    reader.feed(&[1; 128]);
    assert_eq!(read(&mut reader), []);
    reader.abort(6);
    reader.feed(&full(6, 1, 300, VIDEO));
    reader.feed(&[1; 128]);
    reader.feed(&full(6, 2, 4, VIDEO));
    reader.feed(&[1; 4]);
    assert_eq!(read(&mut reader), [(VIDEO, 2, 4)]);
    assert_eq!(reader.held, 0);
}

#[test]
fn what_nobody_needs_is_refused() {
    let mut reader = Reader::new();
    reader.feed(&[0xc6]);
    assert_eq!(reader.next(), Err(ChunkError::NeverBegun(6)));
    for size in [0, MOST_CHUNK_BYTES + 1] {
        assert_eq!(reader.set_chunk_size(size), Err(ChunkError::Size(size)));
    }

    let mut reader = Reader::new();
    for stream in 2..=62 {
        reader.feed(&full(stream, 0, 300, VIDEO));
        reader.feed(&[1; 128]);
    }
    assert_eq!(reader.next(), Ok(None));
    for stream in 0..=9 {
        reader.feed(&[&[0, stream][..], &full(0, 0, 300, VIDEO)[1..]].concat());
        reader.feed(&[1; 128]);
    }
    assert_eq!(reader.next(), Err(ChunkError::TooManyStreams));

    let mut reader = Reader::new();
    reader.set_chunk_size(MOST_CHUNK_BYTES).expect("allowed");
    let broken = (2..=62).find_map(|stream| {
        reader.feed(&full(stream, 0, EXTENDED, VIDEO));
        reader.feed(&vec![1; MOST_CHUNK_BYTES as usize]);
        reader.next().err()
    });
    assert_eq!(broken, Some(ChunkError::TooMuchHeld));
}

proptest! {
    #[test]
    fn what_a_writer_cuts_up_comes_out_as_it_went_in(
        messages in prop::collection::vec((0_u32..200_000, 1_usize..600, 8_u8..10), 1..20),
        chunk_bytes in 1_u32..300,
        cuts in prop::collection::vec(1_usize..400, 1..20),
    ) {
        let mut writer = ChunkSerializer::new();
        let size = writer.set_max_chunk_size(chunk_bytes, RtmpTimestamp::new(0)).unwrap();
        let mut reader = Reader::new();
        reader.feed(&size.bytes);
        prop_assert_eq!(read(&mut reader).len(), 1);
        reader.set_chunk_size(chunk_bytes).unwrap();
        let mut bytes = Vec::new();
        let mut clock = 0;
        let mut expected = Vec::new();
        for (step, length, kind) in messages {
            clock += step;
            expected.push((kind, clock, length));
            let payload = MessagePayload {
                timestamp: RtmpTimestamp::new(clock),
                type_id: kind,
                message_stream_id: 1,
                data: vec![7; length].into(),
            };
            bytes.extend(writer.serialize(&payload, false, false).unwrap().bytes);
        }
        let mut found = Vec::new();
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at(rest.len().min(*cut));
            reader.feed(now);
            found.extend(read(&mut reader));
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn whatever_comes_is_read_or_refused_within_bounds(
        bytes in prop::collection::vec(prop_oneof![0_u8..4, 0xc0_u8..0xc4, any::<u8>()], 0..2000),
    ) {
        let mut reader = Reader::new();
        reader.feed(&bytes);
        while let Ok(Some(message)) = reader.next() {
            prop_assert!(message.body.len() <= bytes.len());
        }
        prop_assert!(reader.held <= bytes.len());
    }
}
