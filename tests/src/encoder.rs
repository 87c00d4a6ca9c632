//! An encoder that sends by RTMP exactly what a test wants to be sent, however wrong that is.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// So large that every message is one chunk.
const CHUNK_BYTES: u32 = 1 << 20;
const COMMAND: u8 = 20;
const SET_CHUNK_SIZE: u8 = 1;
const LIMIT: Duration = Duration::from_secs(20);

/// A message with media.
#[derive(Debug, Clone)]
pub struct Media {
    /// 9 for a picture, 8 for sound.
    pub kind: u8,
    /// Decode time.
    pub ms: u32,
    /// As in an FLV tag.
    pub body: Vec<u8>,
}

/// Somebody who was let in.
#[derive(Debug)]
pub struct Encoder {
    socket: TcpStream,
}

// === impl Media ===

impl Media {
    /// What an FLV file holds of picture and sound.
    pub fn of(file: &Path) -> Vec<Self> {
        let flv = fs::read(file).expect("a fixture");
        let mut rest = &flv[13..];
        let mut all = Vec::new();
        while rest.len() > 15 {
            let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, b| sum << 8 | u32::from(*b));
            let (kind, size) = (rest[0], number(&rest[1..4]) as usize);
            let ms = number(&rest[4..7]) | u32::from(rest[7]) << 24;
            if matches!(kind, 8 | 9) {
                let body = rest[11..11 + size].to_vec();
                all.push(Self { kind, ms, body });
            }
            rest = &rest[11 + size + 4..];
        }
        all
    }

    /// Whether it is a picture, or what one begins with.
    pub fn is_video(&self) -> bool {
        self.kind == 9
    }

    /// Whether a picture can be decoded from here on.
    pub fn is_keyframe(&self) -> bool {
        self.is_video() && self.body[0] >> 4 == 1 && !self.is_header()
    }

    /// Whether it says how to decode.
    pub fn is_header(&self) -> bool {
        self.body[1] == 0
    }
}

// === impl Encoder ===

impl Encoder {
    /// Publishes at `rtmp://ADDRESS/APP` with `key`; panics unless that is allowed.
    pub fn connect(url: &str, key: &str) -> Self {
        let (address, app) = url
            .strip_prefix("rtmp://")
            .and_then(|rest| rest.split_once('/'))
            .expect("an address and an application");
        let socket = TcpStream::connect(address).expect("somebody who listens");
        socket.set_read_timeout(Some(LIMIT)).expect("a limit");
        let mut encoder = Self { socket };
        encoder.shake_hands();
        encoder.message(2, SET_CHUNK_SIZE, 0, 0, &CHUNK_BYTES.to_be_bytes());
        let place = [text("app"), text(app)].concat();
        // The name of a property has no marker.
        let connect = [
            text("connect"),
            number(1.0),
            vec![3],
            place[1..].to_vec(),
            vec![0, 0, 9],
        ];
        encoder.message(3, COMMAND, 0, 0, &connect.concat());
        let create = [text("createStream"), number(2.0), vec![5]];
        encoder.message(3, COMMAND, 0, 0, &create.concat());
        let publish = [
            text("publish"),
            number(3.0),
            vec![5],
            text(key),
            text("live"),
        ];
        encoder.message(4, COMMAND, 0, 1, &publish.concat());
        encoder.await_words(b"Publish.Start");
        encoder
    }

    /// Sends one message; whoever listens may have hung up.
    pub fn send(&mut self, media: &Media) {
        let channel = if media.is_video() { 6 } else { 5 };
        self.message(channel, media.kind, media.ms, 1, &media.body);
    }

    /// Sends these as they are due, the first at once.
    pub fn play(&mut self, media: &[Media]) {
        self.play_at(1, media);
    }

    /// The same, so many times slower than they are due.
    pub fn play_at(&mut self, slower: u32, media: &[Media]) {
        let begun = Instant::now();
        let first_ms = media.first().map_or(0, |first| first.ms);
        for one in media {
            let due = Duration::from_millis(one.ms.saturating_sub(first_ms).into()) * slower;
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            self.send(one);
        }
    }

    /// Sends bytes that are no message.
    pub fn raw(&mut self, bytes: &[u8]) {
        // Whoever listens may have hung up in the middle of them.
        drop(self.socket.write_all(bytes));
    }

    /// Waits until it was hung up on.
    pub fn wait_closed(&mut self) {
        let mut buffer = [0; 4096];
        while matches!(self.socket.read(&mut buffer), Ok(1..)) {}
    }

    fn shake_hands(&mut self) {
        let mut hello = vec![0; 1 + 1536];
        hello[0] = 3;
        self.socket.write_all(&hello).expect("a greeting");
        let mut answer = vec![0; 1 + 2 * 1536];
        self.socket.read_exact(&mut answer).expect("an answer");
        self.socket.write_all(&answer[1..1537]).expect("an echo");
    }

    fn message(&mut self, channel: u8, kind: u8, ms: u32, stream: u32, body: &[u8]) {
        let length = u32::try_from(body.len()).expect("a short message");
        let mut bytes = vec![channel];
        let far = ms >= 0xff_ffff;
        bytes.extend(&ms.min(0xff_ffff).to_be_bytes()[1..]);
        bytes.extend(&length.to_be_bytes()[1..]);
        bytes.push(kind);
        bytes.extend(stream.to_le_bytes());
        if far {
            bytes.extend(ms.to_be_bytes());
        }
        bytes.extend(body);
        self.raw(&bytes);
    }

    fn await_words(&mut self, words: &[u8]) {
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        while !heard.windows(words.len()).any(|window| window == words) {
            match self.socket.read(&mut buffer) {
                Ok(read @ 1..) => heard.extend(&buffer[..read]),
                ended => panic!("not let in: {ended:?}, {}", heard.escape_ascii()),
            }
        }
    }
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    [&[2], &length.to_be_bytes()[..], text.as_bytes()].concat()
}

fn number(number: f64) -> Vec<u8> {
    [&[0], &number.to_be_bytes()[..]].concat()
}
