//! One connection to obs-websocket: greeted, asked one thing at a time, and listened to.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use storage::secret::Secret;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::protocol::{
    self, CLOSE_AUTHENTICATION_FAILED, CLOSE_UNSUPPORTED_RPC, Event, Incoming, Refusal,
};

/// Longest wait for one answer; OBS answers within a frame, and a stopped process never does.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(4);
/// Longest wait for a connection with everything up to the first answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);
/// OBS opens its port before it is ready, for tens of milliseconds.
const READY_TRIES: u32 = 40;
const READY_PAUSE: Duration = Duration::from_millis(50);
/// A scene list of hundreds of scenes is far below this.
const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// A greeted OBS.
#[derive(Debug)]
pub(super) struct Connection {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    events: VecDeque<Event>,
    asked: u64,
    closed: bool,
    /// What it is.
    pub(super) version: Version,
}

/// Versions of the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    /// Of OBS.
    pub(super) obs: String,
    /// Of obs-websocket.
    pub(super) websocket: String,
}

/// Why OBS is not there, or not any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum ObsError {
    /// Nobody listens, or the connection broke.
    #[error("the connection to OBS failed")]
    Lost(#[source] Box<tungstenite::Error>),
    /// It closed the connection.
    #[error("OBS closed the connection")]
    Closed,
    /// It wants a password and none is set.
    #[error("OBS wants a password and OBS_WEBSOCKET_PASSWORD is not set")]
    PasswordMissing,
    /// The password is wrong.
    #[error("OBS refused the password in OBS_WEBSOCKET_PASSWORD")]
    PasswordWrong,
    /// It speaks another protocol.
    #[error("this obs-websocket does not speak RPC version 1: OBS 28 or newer is needed")]
    TooOld,
    /// It stopped answering.
    #[error("OBS did not answer {what} within {} s", ANSWER_LIMIT.as_secs())]
    Silent {
        /// What it was asked.
        what: &'static str,
    },
    /// It said something that is not of the protocol.
    #[error("OBS said something that is not of the protocol: {0}")]
    Malformed(String),
    /// It does not do what it was asked.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

// === impl Connection ===

impl Connection {
    /// Connects, gives the password and waits until OBS answers.
    ///
    /// # Errors
    /// See [`ObsError`].
    pub(super) async fn open(url: &str, password: Option<&Secret>) -> Result<Self, ObsError> {
        let opening = Self::greet(url, password);
        let mut connection = timeout(CONNECT_LIMIT, opening)
            .await
            .unwrap_or(Err(ObsError::Silent { what: "a greeting" }))?;
        let mut tries = 0;
        loop {
            match connection.ask("GetVersion", Value::Null).await {
                Err(ObsError::Refused(refusal))
                    if refusal.code == Refusal::NOT_READY && tries < READY_TRIES =>
                {
                    tries += 1;
                    tokio::time::sleep(READY_PAUSE).await;
                }
                Err(error) => return Err(error),
                Ok(data) => {
                    connection.version.obs = text_of(&data["obsVersion"]);
                    return Ok(connection);
                }
            }
        }
    }

    async fn greet(url: &str, password: Option<&Secret>) -> Result<Self, ObsError> {
        let limits = tungstenite::protocol::WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE_BYTES));
        let (socket, _) = connect_async_with_config(url, Some(limits), true)
            .await
            .map_err(|error| ObsError::Lost(Box::new(error)))?;
        let mut connection = Self {
            socket,
            events: VecDeque::new(),
            asked: 0,
            closed: false,
            version: Version {
                obs: String::new(),
                websocket: String::new(),
            },
        };
        let Incoming::Hello { version, challenge } = connection.next().await? else {
            return Err(ObsError::Malformed("no greeting came first".to_owned()));
        };
        connection.version.websocket = version;
        let authentication = match (challenge, password) {
            (None, _) => None,
            (Some(_), None) => return Err(ObsError::PasswordMissing),
            (Some(challenge), Some(password)) => Some(challenge.answer(password)),
        };
        connection.send(protocol::identify(authentication)).await?;
        loop {
            if connection.next().await? == Incoming::Identified {
                return Ok(connection);
            }
        }
    }

    /// Asks for one thing and waits for its answer; events that come meanwhile are kept.
    ///
    /// # Errors
    /// See [`ObsError`]; after anything but a refusal the connection is of no more use.
    pub(super) async fn ask(&mut self, what: &'static str, data: Value) -> Result<Value, ObsError> {
        self.asked += 1;
        let id = self.asked.to_string();
        let asking = async {
            self.send(protocol::request(&id, what, &data)).await?;
            loop {
                match self.next().await? {
                    Incoming::Answer { id: of, result } if of == id => return Ok(result?),
                    Incoming::Event(event) => self.events.push_back(event),
                    _ => {}
                }
            }
        };
        timeout(ANSWER_LIMIT, asking)
            .await
            .unwrap_or(Err(ObsError::Silent { what }))
    }

    /// Waits for something to happen. Cancel-safe.
    ///
    /// # Errors
    /// See [`ObsError`]: the connection is over.
    pub(super) async fn event(&mut self) -> Result<Event, ObsError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            if let Incoming::Event(event) = self.next().await? {
                return Ok(event);
            }
        }
    }

    /// Whether it has said that somebody closes it.
    pub(super) fn was_closed(&self) -> bool {
        self.closed
    }

    async fn send(&mut self, text: String) -> Result<(), ObsError> {
        self.socket
            .send(Message::text(text))
            .await
            .map_err(|error| ObsError::Lost(Box::new(error)))
    }

    async fn next(&mut self) -> Result<Incoming, ObsError> {
        loop {
            let message = self.socket.next().await.ok_or(ObsError::Closed)?;
            match message.map_err(|error| ObsError::Lost(Box::new(error)))? {
                Message::Text(text) => {
                    let message = protocol::read(&text).map_err(ObsError::Malformed)?;
                    self.closed |= message == Incoming::Event(Event::Exiting);
                    return Ok(message);
                }
                Message::Close(frame) => return Err(closed(frame.map(|frame| frame.code))),
                // Pings are answered by the library.
                _ => {}
            }
        }
    }
}

fn closed(code: Option<CloseCode>) -> ObsError {
    match code.map(u16::from) {
        Some(CLOSE_AUTHENTICATION_FAILED) => ObsError::PasswordWrong,
        Some(CLOSE_UNSUPPORTED_RPC) => ObsError::TooOld,
        _ => ObsError::Closed,
    }
}

/// The text of a JSON value; empty when it is none.
pub(super) fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

// === impl ObsError ===

impl ObsError {
    /// Stable, snake case, for the status.
    pub(super) fn error_type(&self) -> &'static str {
        match self {
            Self::Lost(_) | Self::Closed => "obs_unreachable",
            Self::PasswordMissing | Self::PasswordWrong => "obs_password_wrong",
            Self::TooOld => "obs_too_old",
            Self::Silent { .. } => "obs_silent",
            Self::Malformed(_) => "obs_malformed",
            Self::Refused(_) => "obs_refused",
        }
    }

    /// What to do about it.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Lost(_) | Self::Closed => {
                "is OBS running, and its WebSocket server enabled (Tools → WebSocket Server Settings)? It is tried again"
            }
            Self::PasswordMissing | Self::PasswordWrong => {
                "copy the password from Tools → WebSocket Server Settings → Show Connect Info into OBS_WEBSOCKET_PASSWORD"
            }
            Self::TooOld => "update OBS to 28 or newer",
            Self::Silent { .. } => {
                "OBS hangs, shows a dialog that waits for an answer, or is older than 28"
            }
            Self::Malformed(_) => "is OBS_WEBSOCKET_URL the address of OBS?",
            Self::Refused(_) => "see OBS's own log",
        }
    }

    /// Whether OBS's process is probably gone or stuck, so that starting it again may help. A connection that
    /// was open and broke says nothing yet: the next try does.
    pub(super) fn is_process_trouble(&self, was_open: bool) -> bool {
        match self {
            Self::Silent { .. } => true,
            Self::Lost(_) | Self::Closed => !was_open,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use serde_json::json;

    use super::super::fake::{self, Answers, hello};
    use super::*;

    /// As versions before 5.3 do, which know no 207.
    fn at_once(kind: &str, _: &Value) -> Result<Value, u64> {
        assert_eq!(kind, "GetVersion");
        Ok(
            json!({"obsVersion": "29.0.2", "obsWebSocketVersion": "5.1.0", "rpcVersion": 1,
                  "availableRequests": ["GetVersion"], "platform": "debian"}),
        )
    }

    /// As versions from 5.3 on do while OBS starts.
    fn not_yet(kind: &str, data: &Value) -> Result<Value, u64> {
        static READY: AtomicBool = AtomicBool::new(false);
        match READY.fetch_not(Ordering::Relaxed) {
            true => at_once(kind, data),
            false => Err(Refusal::NOT_READY),
        }
    }

    #[tokio::test]
    async fn obs_28_to_32_are_greeted_alike() {
        let versions: [(&str, Answers); 6] = [
            ("5.0.0", at_once),
            ("5.1.0", at_once),
            ("5.3.5", not_yet),
            ("5.5.4", not_yet),
            ("5.6.3", not_yet),
            ("5.7.3", not_yet),
        ];
        for (websocket, answers) in versions {
            let connection = fake::obs(hello(websocket), Ok(answers)).await;
            let version = connection.expect(websocket).version;
            let (obs, websocket) = ("29.0.2".to_owned(), websocket.to_owned());
            assert_eq!(version, Version { obs, websocket });
        }
    }

    #[tokio::test]
    async fn what_it_closes_with_says_why() {
        for (code, error_type) in [
            (CLOSE_AUTHENTICATION_FAILED, "obs_password_wrong"),
            (CLOSE_UNSUPPORTED_RPC, "obs_too_old"),
            (1000, "obs_unreachable"),
        ] {
            let error = fake::obs(hello("5.1.0"), Err(code))
                .await
                .expect_err("closed");
            assert_eq!(error.error_type(), error_type, "{code}");
        }
    }
}
