//! The messages of obs-websocket 5 (RPC version 1), as far as they are used here. Pure.
//!
//! They are read as JSON by name, and what is not known is passed over: no typed client fits all of OBS
//! 28 to 32 (docs/generated/protocol.md of obs-websocket, "Message Types").

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use storage::secret::Secret;

/// The RPC version spoken here; every obs-websocket 5 has it.
pub(super) const RPC_VERSION: u64 = 1;
/// Bits of `EventSubscription`, the same in all of obs-websocket 5.
const GENERAL: u64 = 1;
const CONFIG: u64 = 1 << 1;
const SCENES: u64 = 1 << 2;
const OUTPUTS: u64 = 1 << 6;
const SCENE_ITEMS: u64 = 1 << 7;
const MEDIA_INPUTS: u64 = 1 << 8;
/// Not among *all*.
const INPUT_ACTIVE: u64 = 1 << 17;
/// Where the events come from that [`event`] knows.
pub(super) const SUBSCRIPTIONS: u64 =
    GENERAL | CONFIG | SCENES | OUTPUTS | SCENE_ITEMS | MEDIA_INPUTS | INPUT_ACTIVE;
/// Close code of a wrong password.
pub(super) const CLOSE_AUTHENTICATION_FAILED: u16 = 4009;
/// Close code of an RPC version that is not spoken there.
pub(super) const CLOSE_UNSUPPORTED_RPC: u16 = 4010;

/// A message of OBS.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Incoming {
    /// The first: who it is, and whether it wants a password.
    Hello {
        /// Of obs-websocket.
        version: String,
        /// Absent: no password is wanted.
        challenge: Option<Challenge>,
    },
    /// The password was right.
    Identified,
    /// Something happened.
    Event(Event),
    /// The answer to the request of this number.
    Answer {
        /// As it was asked.
        id: String,
        /// The data, or why not.
        result: Result<Value, Refusal>,
    },
    /// Nothing of interest.
    Other,
}

/// What the password is hashed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    challenge: String,
    salt: String,
}

/// A request that was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("OBS refused {request}: {comment} (code {code})")]
pub(super) struct Refusal {
    /// The request's type.
    pub(super) request: String,
    /// `RequestStatus` of the protocol.
    pub(super) code: u64,
    /// In OBS's words; may be empty.
    pub(super) comment: String,
}

/// What happened in OBS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// An owner source may have come or gone: look again.
    SourcesChanged,
    /// Another collection of scenes was opened.
    OtherScenes,
    /// OBS began or ended to stream.
    Streaming {
        /// It pushes, or tries to.
        active: bool,
    },
    /// OBS is being closed by hand.
    Exiting,
}

impl Refusal {
    /// Not ready to answer now, as OBS 30 and newer say while they start, end, or open other scenes.
    pub(super) const NOT_READY: u64 = 207;
    /// What is to be made is there.
    pub(super) const ALREADY_EXISTS: u64 = 601;
    /// What is asked about is not there.
    pub(super) const NOT_FOUND: u64 = 600;
    /// An output that is to be started runs.
    pub(super) const OUTPUT_RUNNING: u64 = 500;
    /// An output that is to be stopped does not run.
    pub(super) const OUTPUT_NOT_RUNNING: u64 = 501;
}

/// Reads one text message.
///
/// # Errors
/// What is not JSON, or lacks what every message has.
pub(super) fn read(text: &str) -> Result<Incoming, String> {
    let message: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let data = &message["d"];
    let text_of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(match message["op"].as_u64().ok_or("it has no \"op\"")? {
        0 => Incoming::Hello {
            version: text_of(&data["obsWebSocketVersion"]),
            challenge: data.get("authentication").map(|wanted| Challenge {
                challenge: text_of(&wanted["challenge"]),
                salt: text_of(&wanted["salt"]),
            }),
        },
        2 => Incoming::Identified,
        5 => event(data).map_or(Incoming::Other, Incoming::Event),
        7 => {
            let status = &data["requestStatus"];
            Incoming::Answer {
                id: text_of(&data["requestId"]),
                result: match status["result"].as_bool() {
                    Some(true) => Ok(data["responseData"].clone()),
                    _ => Err(Refusal {
                        request: text_of(&data["requestType"]),
                        code: status["code"].as_u64().unwrap_or_default(),
                        comment: text_of(&status["comment"]),
                    }),
                },
            }
        }
        _ => Incoming::Other,
    })
}

fn event(data: &Value) -> Option<Event> {
    match data["eventType"].as_str()? {
        "SceneItemEnableStateChanged"
        | "InputActiveStateChanged"
        | "SceneItemCreated"
        | "SceneItemRemoved"
        | "CurrentProgramSceneChanged"
        | "MediaInputPlaybackStarted"
        | "MediaInputPlaybackEnded" => Some(Event::SourcesChanged),
        "CurrentSceneCollectionChanged" => Some(Event::OtherScenes),
        "StreamStateChanged" => Some(Event::Streaming {
            active: data["eventData"]["outputActive"].as_bool()?,
        }),
        "ExitStarted" => Some(Event::Exiting),
        _ => None,
    }
}

/// Says who we are.
pub(super) fn identify(authentication: Option<String>) -> String {
    let mut data = json!({"rpcVersion": RPC_VERSION, "eventSubscriptions": SUBSCRIPTIONS});
    if let Some(authentication) = authentication {
        data["authentication"] = authentication.into();
    }
    json!({"op": 1, "d": data}).to_string()
}

/// Asks for something.
pub(super) fn request(id: &str, kind: &str, data: &Value) -> String {
    let mut asked = json!({"requestType": kind, "requestId": id});
    if !data.is_null() {
        asked["requestData"] = data.clone();
    }
    json!({"op": 6, "d": asked}).to_string()
}

impl Challenge {
    /// The proof that the password is known ("Creating an authentication string").
    pub(super) fn answer(&self, password: &Secret) -> String {
        let secret = BASE64.encode(Sha256::digest(format!(
            "{}{}",
            password.expose(),
            self.salt
        )));
        BASE64.encode(Sha256::digest(format!("{secret}{}", self.challenge)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_is_answered_with_the_proof_of_the_password() {
        // The example of the protocol's own text.
        let hello = r#"{"op":0,"d":{"obsWebSocketVersion":"5.1.0","rpcVersion":1,"authentication":{
            "challenge":"+IxH4CnCiqpX1rM9scsNynZzbOe4KhDeYcTNS3PDaeY=",
            "salt":"lM1GncleQOaCu9lT1yeUZhFYnqhsLLP1G5lAGo3ixaI="}}}"#;
        let Incoming::Hello {
            version,
            challenge: Some(challenge),
        } = read(hello).expect("JSON")
        else {
            panic!("it is a greeting that wants a password");
        };
        assert_eq!(version, "5.1.0");
        assert_eq!(
            challenge.answer(&Secret::new("supersecretpassword")),
            "1Ct943GAT+6YQUUX47Ia/ncufilbe6+oD6lY+5kaCu4="
        );
    }

    #[test]
    fn answers_and_refusals_are_told_apart() {
        let done = r#"{"op":7,"d":{"requestId":"4","requestType":"GetVersion",
            "requestStatus":{"result":true,"code":100},"responseData":{"obsVersion":"29.0.2"}}}"#;
        let Ok(Incoming::Answer {
            id,
            result: Ok(data),
        }) = read(done)
        else {
            panic!("it was done");
        };
        assert_eq!((id.as_str(), &data["obsVersion"]), ("4", &"29.0.2".into()));
        let refused = r#"{"op":7,"d":{"requestId":"5","requestType":"CreateScene",
            "requestStatus":{"result":false,"code":601,"comment":"A scene exists"}}}"#;
        let Ok(Incoming::Answer {
            result: Err(refusal),
            ..
        }) = read(refused)
        else {
            panic!("it was refused");
        };
        assert_eq!(refusal.code, Refusal::ALREADY_EXISTS);
        assert_eq!(
            refusal.to_string(),
            "OBS refused CreateScene: A scene exists (code 601)"
        );
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        for text in [
            r#"{"op":5,"d":{"eventType":"VendorEvent","eventData":{}}}"#,
            r#"{"op":9,"d":{}}"#,
            r#"{"op":5,"d":{}}"#,
        ] {
            assert_eq!(read(text), Ok(Incoming::Other), "{text}");
        }
        for text in ["", "[]", "{}", r#"{"op":"0"}"#] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn events_of_interest() {
        let state = r#"{"op":5,"d":{"eventType":"StreamStateChanged","eventData":{"outputActive":true,
            "outputState":"OBS_WEBSOCKET_OUTPUT_STARTED"}}}"#;
        assert_eq!(
            read(state),
            Ok(Incoming::Event(Event::Streaming { active: true }))
        );
        let enabled = r#"{"op":5,"d":{"eventType":"SceneItemEnableStateChanged","eventData":{
            "sceneName":"Owner Live","sceneItemId":1,"sceneItemEnabled":true}}}"#;
        assert_eq!(read(enabled), Ok(Incoming::Event(Event::SourcesChanged)));
        let scenes = r#"{"op":5,"d":{"eventType":"CurrentSceneCollectionChanged","eventIntent":2,
            "eventData":{"sceneCollectionName":"Other"}}}"#;
        assert_eq!(read(scenes), Ok(Incoming::Event(Event::OtherScenes)));
    }
}
