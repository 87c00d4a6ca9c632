//! An OBS for tests: it greets as its version does, and answers what it is asked by a table.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::connection::{Connection, ObsError};

/// What it answers to a request's type and data: the data, or the code of its refusal.
pub(super) type Answers = fn(&str, &Value) -> Result<Value, u64>;

/// The first message of that version of obs-websocket.
pub(super) fn hello(websocket: &str) -> Value {
    let mut data = json!({"obsWebSocketVersion": websocket, "rpcVersion": 1});
    // Since 5.6 it tells OBS's own version too.
    if websocket >= "5.6" {
        data["obsStudioVersion"] = "32.0.1".into();
    }
    json!({"op": 0, "d": data})
}

/// A connection to one that says `hello` and answers so; or closes with that code instead.
pub(super) async fn obs(
    hello: Value,
    answers: Result<Answers, u16>,
) -> Result<Connection, ObsError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("ws://{}", listener.local_addr().expect("a bound socket"));
    tokio::spawn(serve(listener, hello, answers));
    Connection::open(&url, None).await
}

/// Ends with the connection, and with the test's runtime at the latest.
async fn serve(listener: TcpListener, hello: Value, answers: Result<Answers, u16>) {
    let (stream, _) = listener.accept().await.expect("a connection");
    let mut socket = accept_async(stream).await.expect("a handshake");
    let said = |value: Value| Message::text(value.to_string());
    socket.send(said(hello)).await.expect("sent");
    let identify = socket.next().await.expect("it identifies itself");
    assert!(identify.expect("a message").is_text());
    let answers = match answers {
        Ok(answers) => answers,
        Err(code) => {
            let frame = CloseFrame {
                code: code.into(),
                reason: "".into(),
            };
            drop(socket.close(Some(frame)).await);
            return;
        }
    };
    let known = json!({"op": 2, "d": {"negotiatedRpcVersion": 1}});
    socket.send(said(known)).await.expect("sent");
    while let Some(Ok(Message::Text(text))) = socket.next().await {
        let asked: Value = serde_json::from_str(&text).expect("JSON");
        let asked = &asked["d"];
        let kind = asked["requestType"].as_str().expect("its type");
        let mut answer = json!({"requestId": asked["requestId"], "requestType": kind});
        match answers(kind, &asked["requestData"]) {
            Ok(data) => {
                answer["requestStatus"] = json!({"result": true, "code": 100});
                if !data.is_null() {
                    answer["responseData"] = data;
                }
            }
            Err(code) => {
                answer["requestStatus"] = json!({"result": false, "code": code, "comment": "no"});
            }
        }
        if socket
            .send(said(json!({"op": 7, "d": answer})))
            .await
            .is_err()
        {
            return;
        }
    }
}
