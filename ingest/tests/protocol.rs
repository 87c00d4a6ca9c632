//! The protocol against a client of the same library, byte by byte over an in-memory pipe.

#![expect(
    clippy::unwrap_used,
    reason = "a test: a panic with its place is what is wanted"
)]

use std::time::Duration;

use ingest::receiver::Log;
use ingest::{Error, Request, accept};
use rml_rtmp::chunk_io::{ChunkDeserializer, ChunkSerializer};
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::messages::RtmpMessage;
use rml_rtmp::rml_amf0::Amf0Value;
use rml_rtmp::time::RtmpTimestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

const PATIENCE: Duration = Duration::from_secs(30);
const KEYFRAME: &[u8] = &[0x17, 1, 0, 0, 0, 1, 2, 3];

/// An encoder that says what it is told to.
struct Client {
    stream: DuplexStream,
    writer: ChunkSerializer,
    reader: ChunkDeserializer,
}

impl Client {
    async fn greet(mut stream: DuplexStream) -> Self {
        let mut handshake = Handshake::new(PeerType::Client);
        let hello = handshake.generate_outbound_p0_and_p1().unwrap();
        stream.write_all(&hello).await.unwrap();
        let mut reader = ChunkDeserializer::new();
        let mut buffer = [0; 4096];
        loop {
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0, "the server hung up in the handshake");
            match handshake.process_bytes(&buffer[..read]).unwrap() {
                HandshakeProcessResult::InProgress { response_bytes } => {
                    stream.write_all(&response_bytes).await.unwrap();
                }
                HandshakeProcessResult::Completed {
                    response_bytes,
                    remaining_bytes,
                } => {
                    stream.write_all(&response_bytes).await.unwrap();
                    assert!(reader.get_next_message(&remaining_bytes).unwrap().is_none());
                    let writer = ChunkSerializer::new();
                    return Self {
                        stream,
                        writer,
                        reader,
                    };
                }
            }
        }
    }

    async fn say(&mut self, message: RtmpMessage) {
        let payload = message
            .into_message_payload(RtmpTimestamp::new(40), 1)
            .unwrap();
        let packet = self.writer.serialize(&payload, false, false).unwrap();
        self.stream.write_all(&packet.bytes).await.unwrap();
    }

    async fn command(&mut self, name: &str, object: Amf0Value, arguments: &[&str]) {
        let text = |text: &&str| Amf0Value::Utf8String((*text).to_owned());
        self.say(RtmpMessage::Amf0Command {
            command_name: name.to_owned(),
            transaction_id: 1.0,
            command_object: object,
            additional_arguments: arguments.iter().map(text).collect(),
        })
        .await;
    }

    async fn ask(&mut self, app: &str, key: &str) {
        let app = Amf0Value::Utf8String(app.to_owned());
        let object = Amf0Value::Object([("app".to_owned(), app)].into());
        self.command("connect", object, &[]).await;
        self.command("releaseStream", Amf0Value::Null, &[key]).await;
        self.command("FCPublish", Amf0Value::Null, &[key]).await;
        self.command("createStream", Amf0Value::Null, &[]).await;
        self.command("publish", Amf0Value::Null, &[key, "live"])
            .await;
    }

    async fn picture(&mut self) {
        let data = KEYFRAME.into();
        self.say(RtmpMessage::VideoData { data }).await;
    }

    /// The code of the next `onStatus`; `None` at the end of the connection.
    async fn status(&mut self) -> Option<String> {
        let mut buffer = [0; 4096];
        let mut read = 0;
        loop {
            while let Some(payload) = self.reader.get_next_message(&buffer[..read]).unwrap() {
                read = 0;
                match payload.to_rtmp_message().unwrap() {
                    RtmpMessage::SetChunkSize { size } => {
                        self.reader.set_max_chunk_size(size as usize).unwrap();
                    }
                    RtmpMessage::Amf0Command {
                        command_name,
                        mut additional_arguments,
                        ..
                    } if command_name == "onStatus" => {
                        return match additional_arguments.pop() {
                            Some(Amf0Value::Object(mut info)) => match info.remove("code") {
                                Some(Amf0Value::Utf8String(code)) => Some(code),
                                other => panic!("no code: {other:?}"),
                            },
                            other => panic!("no info: {other:?}"),
                        };
                    }
                    _ => {}
                }
            }
            read = self.stream.read(&mut buffer).await.unwrap();
            if read == 0 {
                return None;
            }
        }
    }
}

fn pipe() -> (DuplexStream, DuplexStream) {
    duplex(64 << 10)
}

/// A client that has asked to publish, and the server's view of it.
async fn asked(app: &str, key: &str) -> (Client, Request<DuplexStream>) {
    let (here, there) = pipe();
    let client = async {
        let mut client = Client::greet(here).await;
        client.ask(app, key).await;
        client
    };
    let (client, request) = tokio::join!(client, accept(there, PATIENCE));
    (client, request.expect("a request"))
}

#[tokio::test]
async fn media_flows_once_the_key_was_accepted_and_ends_with_a_goodbye() {
    let (mut client, request) = asked("live", "secret-key").await;
    assert_eq!((request.app(), request.key()), ("live", "secret-key"));
    assert!(!format!("{request:?}").contains("secret"), "{request:?}");
    let mut publisher = request.accept().await.unwrap();
    assert_eq!(
        client.status().await.as_deref(),
        Some("NetStream.Publish.Start")
    );
    client.picture().await;
    let media = publisher.next().await.unwrap().expect("a picture");
    assert_eq!((&media.body[..], media.dts_ms), (KEYFRAME, 40));
    client
        .command("FCUnpublish", Amf0Value::Null, &["secret-key"])
        .await;
    client.command("deleteStream", Amf0Value::Null, &[]).await;
    drop(client);
    assert!(publisher.next().await.unwrap().is_none());
    assert!(publisher.next().await.unwrap().is_none(), "still over");
}

#[tokio::test]
async fn a_refused_peer_is_told_and_let_go() {
    let (mut client, request) = asked("live", "wrong").await;
    let told = async {
        let status = client.status().await;
        drop(client);
        status
    };
    let (told, refused) = tokio::join!(told, request.refuse("no such key"));
    assert_eq!(told.as_deref(), Some("NetStream.Publish.BadName"));
    refused.unwrap();
}

#[tokio::test]
async fn media_before_the_answer_ends_the_connection() {
    let (here, there) = pipe();
    let eager = async {
        let mut client = Client::greet(here).await;
        client.picture().await;
        client
    };
    let (_client, request) = tokio::join!(eager, accept(there, PATIENCE));
    assert!(
        matches!(request, Err(Error::MediaBeforePublish)),
        "{request:?}"
    );
}

#[tokio::test]
async fn a_publisher_that_vanishes_is_told_from_one_that_says_goodbye() {
    let (client, request) = asked("live", "key").await;
    let mut publisher = request.accept().await.unwrap();
    drop(client);
    assert!(matches!(publisher.next().await, Err(Error::Left)));
}

#[tokio::test(start_paused = true)]
async fn whoever_says_nothing_is_not_waited_for() {
    let (_here, there) = pipe();
    let request = accept(there, PATIENCE).await;
    assert!(matches!(request, Err(Error::TimedOut(_))), "{request:?}");
}

#[tokio::test]
async fn what_is_not_rtmp_or_has_no_end_is_refused() {
    let (mut here, there) = pipe();
    here.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let request = accept(there, PATIENCE).await;
    assert!(matches!(request, Err(Error::Handshake(_))), "{request:?}");

    let (here, there) = pipe();
    let endless = async {
        let mut client = Client::greet(here).await;
        let text = "x".repeat(60_000);
        loop {
            let size = RtmpMessage::SetChunkSize { size: 65_536 };
            if client.reader.get_max_chunk_size() == 128 {
                client.say(size).await;
                client
                    .writer
                    .set_max_chunk_size(65_536, RtmpTimestamp::new(0))
                    .unwrap();
                client.reader.set_max_chunk_size(65_536).unwrap();
            }
            client.command("FCPublish", Amf0Value::Null, &[&text]).await;
        }
    };
    tokio::select! {
        request = accept(there, PATIENCE) => {
            assert!(matches!(request, Err(Error::TooMuchBeforePublish)), "{request:?}");
        }
        () = endless => {}
    }
}

#[tokio::test]
async fn another_process_can_take_a_connection_over_before_it_is_answered() {
    let (mut client, request) = asked("live", "key").await;
    let (stream, opening) = request.into_parts();
    let request = Request::resume(stream, &opening).await.unwrap();
    assert_eq!((request.app(), request.key()), ("live", "key"));
    let mut publisher = request.accept().await.unwrap();
    assert_eq!(
        client.status().await.as_deref(),
        Some("NetStream.Publish.Start")
    );
    client.picture().await;
    assert!(publisher.next().await.unwrap().is_some());
}

#[tokio::test]
async fn the_log_notes_a_connection_from_its_key_to_its_end() {
    let log = Log::default();
    let (here, there) = pipe();
    let entry = log.open();
    let publishes = async {
        let mut client = Client::greet(here).await;
        client.ask("live", "key").await;
        client.status().await;
        client.picture().await;
        client.command("deleteStream", Amf0Value::Null, &[]).await;
    };
    tokio::join!(publishes, entry.follow(there, |_| Ok(())));
    log.look(|all| {
        let only = &all[0];
        assert!(only.unpublished && only.closed.is_some() && only.error.is_none());
        assert!(only.messages[0].tag.is_keyframe());
        assert_eq!((only.app.as_str(), only.key.as_str()), ("live", "key"));
    });

    let (here, there) = pipe();
    let entry = log.open();
    let refused = async {
        let mut client = Client::greet(here).await;
        client.ask("live", "wrong").await;
        client.status().await
    };
    let (status, ()) = tokio::join!(refused, entry.follow(there, |_| Err("no".to_owned())));
    assert_eq!(status.as_deref(), Some("NetStream.Publish.BadName"));
    assert!(log.look(|all| all[1].closed.is_some() && !all[1].unpublished));
}
