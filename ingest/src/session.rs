//! The server's half of one RTMP connection: bytes in, answers and events out; no I/O.
//!
//! ```text
//! Greeting ──connect, createStream──► Greeting ──publish──► Asked ──accept──► Publishing ──► Done
//!                                                             └────refuse────────────────────► Done
//! ```
//! `rml_rtmp`'s own `ServerSession` cannot refuse a stream the way platforms do (it answers
//! `_error`, they answer `onStatus` with `NetStream.Publish.BadName`), so this is built on the
//! crate's handshake and chunk writer. What a peer sends is read by [`chunk`] and [`crate::amf`]: the
//! crate's own readers mix up chunk streams that are interleaved, and panic, overflow the stack or
//! grow without bound at the word of a peer that nobody has let in yet.

use bytes::Bytes;
use rml_rtmp::chunk_io::ChunkSerializer;
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::messages::{PeerBandwidthLimitType, RtmpMessage};
use rml_rtmp::rml_amf0::Amf0Value;
use rml_rtmp::time::RtmpTimestamp;

use crate::amf::Command;
use crate::chunk::{self, Message};
use crate::error::Error;
use crate::tag::Track;

/// What nginx-rtmp uses; FFmpeg answers with the same size for its own chunks.
const CHUNK_BYTES: u32 = 4096;
/// Bytes after which each side acknowledges.
const WINDOW_BYTES: u32 = 2_500_000;
/// `connect`, `createStream` and `publish` with everything real encoders add are below 2 KiB.
const MOST_BEFORE_ACCEPTED: usize = 64 << 10;
/// The same of one command at any time.
const MOST_COMMAND_BYTES: usize = 64 << 10;

/// What a publisher did.
#[derive(Debug)]
pub(crate) enum Event {
    /// It asks to publish; answer with [`Session::accept`] or [`Session::refuse`].
    Publish { app: String, key: String },
    /// A message with media or metadata.
    Media {
        track: Track,
        dts_ms: u32,
        body: Bytes,
    },
    /// It said that it is done.
    Unpublished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    Greeting,
    Asked,
    Publishing,
    Done,
}

/// One connection.
pub(crate) struct Session {
    handshake: Option<Handshake>,
    phase: Phase,
    app: String,
    reader: chunk::Reader,
    writer: ChunkSerializer,
    /// To be sent to the publisher.
    outgoing: Vec<u8>,
    /// What was read since the handshake, until somebody is accepted.
    opening: Vec<u8>,
    received: u64,
    acknowledged: u64,
}

// === impl Session ===

impl Session {
    pub(crate) fn new() -> Self {
        Self {
            handshake: Some(Handshake::new(PeerType::Server)),
            phase: Phase::Greeting,
            app: String::new(),
            reader: chunk::Reader::new(),
            writer: ChunkSerializer::new(),
            outgoing: Vec::new(),
            opening: Vec::new(),
            received: 0,
            acknowledged: 0,
        }
    }

    /// A session that another one has brought to its `publish`: what that one read since the
    /// handshake is read again, and what it answered is not sent again.
    pub(crate) fn resume(opening: &[u8]) -> Result<(Self, Vec<Event>), Error> {
        let mut session = Self {
            handshake: None,
            ..Self::new()
        };
        let events = session.feed(opening)?;
        session.outgoing.clear();
        Ok((session, events))
    }

    /// What is to be sent; whoever sends a part of it removes that part.
    pub(crate) fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.outgoing
    }

    /// What was read since the handshake, for [`Session::resume`].
    pub(crate) fn take_opening(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.opening)
    }

    /// Reads what the publisher sent.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, Error> {
        let remaining;
        let mut input = bytes;
        if let Some(handshake) = &mut self.handshake {
            match handshake.process_bytes(bytes)? {
                HandshakeProcessResult::InProgress { response_bytes } => {
                    self.outgoing.extend(response_bytes);
                    return Ok(Vec::new());
                }
                HandshakeProcessResult::Completed {
                    response_bytes,
                    remaining_bytes,
                } => {
                    self.outgoing.extend(response_bytes);
                    self.handshake = None;
                    remaining = remaining_bytes;
                    input = &remaining;
                }
            }
        }
        if self.phase < Phase::Publishing {
            self.opening.extend_from_slice(input);
            if self.opening.len() > MOST_BEFORE_ACCEPTED {
                return Err(Error::TooMuchBeforePublish);
            }
        }
        self.acknowledge(input.len())?;
        self.reader.feed(input);
        let mut events = Vec::new();
        while let Some(message) = self.reader.next()? {
            events.extend(self.message(message)?);
        }
        Ok(events)
    }

    /// Lets the publisher begin.
    pub(crate) fn accept(&mut self) -> Result<(), Error> {
        self.phase = Phase::Publishing;
        self.opening = Vec::new();
        self.on_status("status", "NetStream.Publish.Start", "Start publishing")
    }

    /// Refuses the stream, as a platform does with a key it does not know.
    pub(crate) fn refuse(&mut self, why: &str) -> Result<(), Error> {
        self.phase = Phase::Done;
        self.on_status("error", "NetStream.Publish.BadName", why)
    }

    fn acknowledge(&mut self, read: usize) -> Result<(), Error> {
        self.received += read as u64;
        if self.received - self.acknowledged >= u64::from(WINDOW_BYTES) {
            self.acknowledged = self.received;
            // The counter on the wire is 32 bits and wraps.
            let sequence_number = (self.received & u64::from(u32::MAX)) as u32;
            self.send(RtmpMessage::Acknowledgement { sequence_number }, 0)?;
        }
        Ok(())
    }

    fn message(&mut self, message: Message) -> Result<Option<Event>, Error> {
        match (message.kind, &message.body[..]) {
            (8, _) => self.media(Track::Audio, message),
            (9, _) => self.media(Track::Video, message),
            (18, _) => self.media(Track::Script, message),
            (1, body) => {
                if let Ok(size) = body.try_into() {
                    // The first bit is reserved.
                    let size = u32::from_be_bytes(size) & (u32::MAX >> 1);
                    self.reader.set_chunk_size(size)?;
                }
                Ok(None)
            }
            (2, body) => {
                if let Ok(stream) = body.try_into() {
                    self.reader.abort(u32::from_be_bytes(stream));
                }
                Ok(None)
            }
            // What is marked as AMF 3 is AMF 0 behind a zero, or without one.
            (20, body) | (17, [0, body @ ..] | body) => self.command(body),
            // Acknowledgements, windows, pings.
            _ => Ok(None),
        }
    }

    fn media(&self, track: Track, message: Message) -> Result<Option<Event>, Error> {
        match self.phase {
            Phase::Publishing => Ok(Some(Event::Media {
                track,
                dts_ms: message.timestamp_ms,
                body: message.body,
            })),
            // What was on its way when it was refused, or after it said goodbye.
            Phase::Done => Ok(None),
            Phase::Greeting | Phase::Asked => Err(Error::MediaBeforePublish),
        }
    }

    fn command(&mut self, body: &[u8]) -> Result<Option<Event>, Error> {
        if body.len() > MOST_COMMAND_BYTES {
            return Err(Error::CommandTooLong(body.len()));
        }
        let Command {
            name,
            transaction,
            object,
            arguments,
        } = Command::parse(body)?;
        match (name.as_str(), self.phase) {
            ("connect", Phase::Greeting) => {
                self.answer_connect(transaction)?;
                if let Amf0Value::Object(mut fields) = object {
                    self.app = text(fields.remove("app"));
                }
                Ok(None)
            }
            ("createStream", _) => {
                let stream = vec![Amf0Value::Number(1.0)];
                self.result(transaction, Amf0Value::Null, stream)?;
                Ok(None)
            }
            ("publish", Phase::Greeting) => {
                self.phase = Phase::Asked;
                Ok(Some(Event::Publish {
                    app: self.app.clone(),
                    key: text(arguments.into_iter().next()),
                }))
            }
            ("publish", _) => Err(Error::SecondPublish),
            ("FCUnpublish" | "deleteStream", Phase::Publishing) => {
                self.phase = Phase::Done;
                Ok(Some(Event::Unpublished))
            }
            // `releaseStream` and `FCPublish` among them: nobody waits for an answer to those.
            _ => Ok(None),
        }
    }

    fn answer_connect(&mut self, transaction: f64) -> Result<(), Error> {
        let window = RtmpMessage::WindowAcknowledgement { size: WINDOW_BYTES };
        self.send(window, 0)?;
        let bandwidth = RtmpMessage::SetPeerBandwidth {
            size: WINDOW_BYTES,
            limit_type: PeerBandwidthLimitType::Dynamic,
        };
        self.send(bandwidth, 0)?;
        let chunk_size = self
            .writer
            .set_max_chunk_size(CHUNK_BYTES, RtmpTimestamp::new(0))?;
        self.outgoing.extend(chunk_size.bytes);
        let server = object(&[("fmsVer", "FMS/3,0,1,123")]);
        let info = object(&[
            ("level", "status"),
            ("code", "NetConnection.Connect.Success"),
            ("description", "Connection succeeded."),
        ]);
        self.result(transaction, server, vec![info])
    }

    fn result(
        &mut self,
        transaction: f64,
        first: Amf0Value,
        rest: Vec<Amf0Value>,
    ) -> Result<(), Error> {
        let message = RtmpMessage::Amf0Command {
            command_name: "_result".to_owned(),
            transaction_id: transaction,
            command_object: first,
            additional_arguments: rest,
        };
        self.send(message, 0)
    }

    fn on_status(&mut self, level: &str, code: &str, description: &str) -> Result<(), Error> {
        let info = object(&[
            ("level", level),
            ("code", code),
            ("description", description),
        ]);
        let message = RtmpMessage::Amf0Command {
            command_name: "onStatus".to_owned(),
            transaction_id: 0.0,
            command_object: Amf0Value::Null,
            additional_arguments: vec![info],
        };
        self.send(message, 1)
    }

    fn send(&mut self, message: RtmpMessage, stream: u32) -> Result<(), Error> {
        let payload = message.into_message_payload(RtmpTimestamp::new(0), stream)?;
        let packet = self.writer.serialize(&payload, false, false)?;
        self.outgoing.extend(packet.bytes);
        Ok(())
    }
}

fn object(fields: &[(&str, &str)]) -> Amf0Value {
    let named = |(name, value): &(&str, &str)| {
        let value = Amf0Value::Utf8String((*value).to_owned());
        ((*name).to_owned(), value)
    };
    Amf0Value::Object(fields.iter().map(named).collect())
}

fn text(value: Option<Amf0Value>) -> String {
    match value {
        Some(Amf0Value::Utf8String(text)) => text,
        _ => String::new(),
    }
}
