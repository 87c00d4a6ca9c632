//! Headers of x264 and of AAC encoders, and bytes of no meaning at all.

use super::*;
use proptest::prelude::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    digits
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

#[test]
fn picture_sizes_of_every_kind_of_sps_that_x264_writes() {
    let cases = [
        // Constrained Baseline, whole macroblocks but for the height.
        (
            "0142c01effe100196742c01ed900a02ff970110000030001000003003c0f162e4801000568cb83cb20",
            66,
            30,
            640,
            360,
        ),
        (
            "0164001fffe1001a6764001facd9405005bb0110000003001000000303c0f183196001000668ebe3cb22c0fdf8f800",
            100,
            31,
            1280,
            720,
        ),
        // Interlaced 4:2:2: cropping counts in single lines of a field.
        (
            "017a0028ffe1001b677a0028bcd94078044f536022000003000200000300783e2c5b2c01000668fba3cb22c0fef8f800",
            122,
            40,
            1918,
            1078,
        ),
        (
            "014d4028ffe1001a674d4028eca03c0227ef0110000003001000000303c1f162d96001000568fba3cb20",
            77,
            40,
            1920,
            1080,
        ),
        // 4:4:4: cropping counts in single pixels.
        (
            "01f4000dffe1001a67f4000d919b282a10f1f1f80880000003008000001e078a14cb01000868ebe3c44c000440fff8f800",
            244,
            13,
            322,
            242,
        ),
        // Grey, with the standard's scaling lists.
        (
            "0164001effe1001b6764001ef3650280bfe27016c8000003000800000301e078b16cb001000768ebe3cb3002c0fcf8f800",
            100,
            30,
            640,
            360,
        ),
    ];
    for (header, profile, level, width, height) in cases {
        let config = VideoConfig::parse(&bytes(header));
        assert_eq!(
            config,
            Ok(VideoConfig {
                profile,
                level,
                width,
                height,
                progressive: config.is_ok_and(|config| config.progressive),
            }),
            "{header}"
        );
    }
}

#[test]
fn frame_lengths_of_every_kind_of_aac() {
    // Object type, rate, channels, samples of a frame.
    let cases = [
        ("1190", 2, 48_000, 2, 1024),
        ("1210", 2, 44_100, 2, 1024),
        ("119056e500", 2, 48_000, 2, 1024),
        ("1588", 2, 8_000, 1, 1024),
        ("1194", 2, 48_000, 2, 960),
        ("11b0", 2, 48_000, 6, 1024),
        // HE-AAC and HE-AAC v2: twice the core's rate and samples.
        ("2b118800", 5, 48_000, 2, 2048),
        ("eb098800", 29, 48_000, 1, 2048),
        // AAC-LD, and a rate written out.
        ("b990", 23, 48_000, 2, 512),
        ("1780564010", 2, 44_160, 2, 1024),
    ];
    for (header, object_type, rate_hz, channels, frame_samples) in cases {
        let config = AudioConfig {
            object_type,
            rate_hz,
            channels,
            frame_samples,
        };
        assert_eq!(AudioConfig::parse(&bytes(header)), Ok(config), "{header}");
    }
}

#[test]
fn frame_durations_are_exact_to_the_nanosecond() {
    let frame_ns = |header| AudioConfig::parse(&bytes(header)).map(|config| config.frame_ns());
    assert_eq!(frame_ns("1190"), Ok(21_333_333));
    assert_eq!(frame_ns("1210"), Ok(23_219_954));
    assert_eq!(frame_ns("2b118800"), Ok(42_666_666));
}

#[test]
fn what_is_wrong_with_a_header_is_said() {
    assert_eq!(AudioConfig::parse(&[0x11]), Err(CodecError::Truncated));
    assert_eq!(
        AudioConfig::parse(&[0x16, 0x90]),
        Err(CodecError::Invalid("sample rate"))
    );
    assert_eq!(
        VideoConfig::parse(&[1, 100, 0, 31, 0xff]),
        Err(CodecError::Truncated)
    );
    let none = VideoConfig::parse(&[1, 100, 0, 31, 0xff, 0xe0, 0]);
    assert_eq!(none, Err(CodecError::Invalid("sequence parameter set")));
}

proptest! {
    #[test]
    fn nothing_that_comes_in_makes_it_panic(header in prop::collection::vec(any::<u8>(), 0..200)) {
        let _any_outcome = (AudioConfig::parse(&header), VideoConfig::parse(&header));
        // The same bytes as the SPS of an otherwise good record reach much further.
        let mut record = vec![1, 100, 0, 31, 0xff, 0xe1];
        record.extend((header.len() as u16 + 1).to_be_bytes());
        record.push(0x67);
        record.extend(&header);
        let _any_outcome = VideoConfig::parse(&record);
    }
}
