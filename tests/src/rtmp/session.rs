//! The server's half of one RTMP connection: bytes in, answers and events out; no I/O.
//!
//! `rml_rtmp`'s own `ServerSession` cannot refuse a stream the way platforms do (it answers
//! `_error`, they answer `onStatus` with `NetStream.Publish.BadName`), so this is built on the
//! crate's handshake, chunk reader and chunk writer.

use anyhow::{Context, Result};
use bytes::Bytes;
use rml_rtmp::chunk_io::{ChunkDeserializer, ChunkSerializer};
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::messages::{MessagePayload, PeerBandwidthLimitType, RtmpMessage};
use rml_rtmp::rml_amf0::Amf0Value;
use rml_rtmp::time::RtmpTimestamp;

use crate::flv::Track;

/// What nginx-rtmp uses; FFmpeg answers with the same size for its own chunks.
const CHUNK_BYTES: u32 = 4096;
/// Bytes after which each side acknowledges.
const WINDOW_BYTES: u32 = 2_500_000;

/// What a publisher did.
#[derive(Debug)]
pub(super) enum Event {
    /// It connected to an application.
    Connected { app: String },
    /// It asks to publish; answer with [`Session::accept`] or [`Session::reject`].
    Publish { key: String },
    /// A message with media or metadata.
    Media {
        track: Track,
        dts_ms: u32,
        body: Bytes,
    },
    /// It said that it is done.
    Unpublished,
}

/// One connection.
pub(super) struct Session {
    handshake: Option<Handshake>,
    reader: ChunkDeserializer,
    writer: ChunkSerializer,
    /// To be sent to the publisher.
    outgoing: Vec<u8>,
    received: u64,
    acknowledged: u64,
}

impl Session {
    pub(super) fn new() -> Self {
        Self {
            handshake: Some(Handshake::new(PeerType::Server)),
            reader: ChunkDeserializer::new(),
            writer: ChunkSerializer::new(),
            outgoing: Vec::new(),
            received: 0,
            acknowledged: 0,
        }
    }

    /// Takes what is to be sent.
    pub(super) fn take_outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outgoing)
    }

    /// Reads what the publisher sent.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>> {
        let remaining;
        let mut input = bytes;
        if let Some(handshake) = &mut self.handshake {
            match handshake.process_bytes(bytes).context("handshake")? {
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
        self.acknowledge(input.len())?;
        let mut events = Vec::new();
        while let Some(payload) = self.reader.get_next_message(input).context("chunk")? {
            input = &[];
            events.extend(self.message(payload)?);
        }
        Ok(events)
    }

    /// Lets the publisher begin.
    pub(super) fn accept(&mut self) -> Result<()> {
        self.on_status("status", "NetStream.Publish.Start", "Start publishing")
    }

    /// Refuses the stream, as a platform does with a key it does not know.
    pub(super) fn reject(&mut self, key: &str) -> Result<()> {
        // Some servers repeat the key in their answer; what the publisher logs must not.
        let description = format!("Unexpected stream {key}");
        self.on_status("error", "NetStream.Publish.BadName", &description)
    }

    fn acknowledge(&mut self, read: usize) -> Result<()> {
        self.received += read as u64;
        if self.received - self.acknowledged >= u64::from(WINDOW_BYTES) {
            self.acknowledged = self.received;
            // The counter on the wire is 32 bits and wraps.
            let sequence_number = (self.received & u64::from(u32::MAX)) as u32;
            self.send(RtmpMessage::Acknowledgement { sequence_number }, 0)?;
        }
        Ok(())
    }

    fn message(&mut self, payload: MessagePayload) -> Result<Option<Event>> {
        let dts_ms = payload.timestamp.value;
        let media = |track, body| Event::Media {
            track,
            dts_ms,
            body,
        };
        Ok(match payload.type_id {
            8 => Some(media(Track::Audio, payload.data)),
            9 => Some(media(Track::Video, payload.data)),
            18 => Some(media(Track::Script, payload.data)),
            _ => match payload.to_rtmp_message().context("message")? {
                RtmpMessage::SetChunkSize { size } => {
                    self.reader
                        .set_max_chunk_size(size as usize)
                        .context("chunk size")?;
                    None
                }
                RtmpMessage::Amf0Command {
                    command_name,
                    transaction_id,
                    command_object,
                    additional_arguments,
                } => self.command(
                    &command_name,
                    transaction_id,
                    command_object,
                    additional_arguments,
                )?,
                _ => None,
            },
        })
    }

    fn command(
        &mut self,
        name: &str,
        transaction: f64,
        object: Amf0Value,
        arguments: Vec<Amf0Value>,
    ) -> Result<Option<Event>> {
        match name {
            "connect" => {
                self.answer_connect(transaction)?;
                let app = match object {
                    Amf0Value::Object(mut fields) => text(fields.remove("app")),
                    _ => String::new(),
                };
                Ok(Some(Event::Connected { app }))
            }
            "createStream" => {
                let stream = vec![Amf0Value::Number(1.0)];
                self.result(transaction, Amf0Value::Null, stream)?;
                Ok(None)
            }
            "publish" => Ok(Some(Event::Publish {
                key: text(arguments.into_iter().next()),
            })),
            "FCUnpublish" | "deleteStream" => Ok(Some(Event::Unpublished)),
            _ => Ok(None),
        }
    }

    fn answer_connect(&mut self, transaction: f64) -> Result<()> {
        let window = RtmpMessage::WindowAcknowledgement { size: WINDOW_BYTES };
        self.send(window, 0)?;
        let bandwidth = RtmpMessage::SetPeerBandwidth {
            size: WINDOW_BYTES,
            limit_type: PeerBandwidthLimitType::Dynamic,
        };
        self.send(bandwidth, 0)?;
        let chunk_size = self
            .writer
            .set_max_chunk_size(CHUNK_BYTES, RtmpTimestamp::new(0))
            .context("chunk size")?;
        self.outgoing.extend(chunk_size.bytes);
        let server = object(&[("fmsVer", "FMS/3,0,1,123")]);
        let info = object(&[
            ("level", "status"),
            ("code", "NetConnection.Connect.Success"),
            ("description", "Connection succeeded."),
        ]);
        self.result(transaction, server, vec![info])
    }

    fn result(&mut self, transaction: f64, first: Amf0Value, rest: Vec<Amf0Value>) -> Result<()> {
        let message = RtmpMessage::Amf0Command {
            command_name: "_result".to_owned(),
            transaction_id: transaction,
            command_object: first,
            additional_arguments: rest,
        };
        self.send(message, 0)
    }

    fn on_status(&mut self, level: &str, code: &str, description: &str) -> Result<()> {
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

    fn send(&mut self, message: RtmpMessage, stream: u32) -> Result<()> {
        let payload = message
            .into_message_payload(RtmpTimestamp::new(0), stream)
            .context("encoding an answer")?;
        let packet = self
            .writer
            .serialize(&payload, false, false)
            .context("writing an answer")?;
        self.outgoing.extend(packet.bytes);
        Ok(())
    }
}

fn object(fields: &[(&str, &str)]) -> Amf0Value {
    Amf0Value::Object(
        fields
            .iter()
            .map(|(name, value)| {
                (
                    (*name).to_owned(),
                    Amf0Value::Utf8String((*value).to_owned()),
                )
            })
            .collect(),
    )
}

fn text(value: Option<Amf0Value>) -> String {
    match value {
        Some(Amf0Value::Utf8String(text)) => text,
        _ => String::new(),
    }
}
