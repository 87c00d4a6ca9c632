use super::*;

fn slate(fps: u64, pictures: usize, sound: usize) -> Arc<Slate> {
    let coded = |n| Coded {
        keyframe: n == 0,
        payload: Bytes::from(vec![n as u8]),
    };
    Arc::new(Slate {
        fps,
        video_header: Bytes::from_static(b"v"),
        audio_header: Bytes::from_static(b"a"),
        silence_frame: Bytes::from_static(b"silence"),
        pictures: (0..pictures).map(coded).collect(),
        sound: (0..sound).map(|n| Bytes::from(vec![n as u8])).collect(),
    })
}

/// Times of the first `count` packets of pictures and of sound.
fn times(slate: &Arc<Slate>, count: usize) -> (Vec<i64>, Vec<i64>) {
    let mut source = SlateSource::new(slate);
    let (mut pictures, mut sound) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let head = source.peek();
        let packet = source.pop();
        assert_eq!(packet.dts_ms().unwrap_or(0), head.dts_ms);
        match packet {
            Packet::Video(video) => pictures.push(video.pts_ms),
            Packet::Audio(audio) => sound.push(audio.ts_ms),
            Packet::VideoHeader(_) | Packet::AudioHeader(_) => {}
        }
    }
    (pictures, sound)
}

#[test]
fn headers_come_first_then_a_keyframe() {
    let mut source = SlateSource::new(&slate(30, 60, 0));
    assert_eq!(source.pop(), Packet::VideoHeader(Bytes::from_static(b"v")));
    assert_eq!(source.pop(), Packet::AudioHeader(Bytes::from_static(b"a")));
    assert!(matches!(source.pop(), Packet::Video(video) if video.keyframe && video.dts_ms == 0));
    assert!(matches!(source.pop(), Packet::Audio(audio) if audio.ts_ms == 0));
}

#[test]
fn the_picture_loops_without_a_seam() {
    let (pictures, _) = times(&slate(30, 60, 0), 100_000);
    let steps: Vec<i64> = pictures.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.iter().all(|step| (33..=34).contains(step)));
    let last = pictures.len() as i64 - 1;
    assert_eq!(
        pictures[last as usize],
        (last * 1_000 + 15) / 30,
        "no drift"
    );
}

#[test]
fn every_loop_begins_with_its_keyframe() {
    let mut source = SlateSource::new(&slate(25, 50, 0));
    let mut pictures = 0;
    while pictures < 500 {
        if let Packet::Video(video) = source.pop() {
            assert_eq!(video.keyframe, pictures % 50 == 0);
            assert_eq!(video.payload[0] as usize, pictures % 50);
            pictures += 1;
        }
    }
}

#[test]
fn silence_has_no_seam_and_keeps_up_with_the_picture() {
    let (pictures, sound) = times(&slate(30, 60, 0), 100_000);
    let mut steps = sound.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(steps.all(|step| (21..=22).contains(&step)));
    let apart = pictures.last().unwrap() - sound.last().unwrap();
    assert!(apart.abs() <= 34, "{apart}");
}

#[test]
fn a_clips_sound_begins_again_with_its_picture() {
    for (fps, pictures) in [(30, 61), (25, 250), (24, 100), (29, 33)] {
        let frames = loop_frames(pictures, fps);
        let slate = slate(fps, pictures as usize, frames);
        let (_, sound) = times(&slate, 50_000);
        for (n, pair) in sound.windows(2).enumerate() {
            let step = pair[1] - pair[0];
            assert!((10..=33).contains(&step), "{fps} fps, frame {n}: {step} ms");
        }
    }
}

#[test]
fn a_year_of_slate_does_not_overflow() {
    let mut source = SlateSource::new(&slate(60, 120, 0));
    let year_s = 366 * 24 * 3_600;
    source.headers = 2;
    source.pictures = year_s * 60;
    source.frames = year_s * 48_000 / 1_024;
    assert_eq!(source.picture_ms(), i64::try_from(year_s).unwrap() * 1_000);
    assert!((source.picture_ms() - source.frame_ms()).abs() <= 22);
}

#[test]
fn the_loop_it_is_in_can_be_had_from_its_beginning() {
    for sound in [0, 94] {
        let mut source = SlateSource::new(&slate(30, 60, sound));
        for popped in 0..700 {
            let (mut start, given_out) = source.from_loop_start();
            let first = start.clone().pop();
            let is_keyframe = matches!(first, Packet::Video(video) if video.keyframe);
            assert!(is_keyframe && given_out < 200, "{popped} of {sound}");
            for _ in 0..given_out {
                start.pop();
            }
            if popped > 2 {
                assert_eq!(start.pop(), source.clone().pop(), "{popped} of {sound}");
            }
            source.pop();
        }
    }
}

#[test]
fn the_loop_it_is_in_is_found_at_once_after_weeks() {
    for sound in [0, 94] {
        let mut source = SlateSource::new(&slate(30, 60, sound));
        let month_s = 31 * 24 * 3_600;
        source.headers = 2;
        source.pictures = month_s * 30 + 17;
        source.frames = match sound {
            0 => month_s * 48_000 / 1_024 + 25,
            _ => month_s / 2 * 94 + 25,
        };
        let (mut start, given_out) = source.from_loop_start();
        assert_eq!(start.picture_ms(), i64::try_from(month_s).unwrap() * 1_000);
        assert!((0..22).contains(&(start.frame_ms() - start.picture_ms())));
        for _ in 0..given_out {
            start.pop();
        }
        assert_eq!(start.pop(), source.clone().pop());
    }
}
