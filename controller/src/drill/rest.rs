//! What an operator does with the drill's controller: calls of its REST API.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// A stop may take its whole ladder of signals.
const PATIENCE: Duration = Duration::from_secs(15);
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// One call; its answer, whatever its status.
///
/// # Errors
/// When nobody answers.
pub async fn call(
    address: SocketAddr,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> anyhow::Result<(StatusCode, Value)> {
    timeout(PATIENCE, exchange(address, method, path, body))
        .await
        .with_context(|| format!("{path}: no answer within {} s", PATIENCE.as_secs()))?
        .with_context(|| format!("calling {path}"))
}

/// `GET path`, answered 200.
///
/// # Errors
/// When it is answered anything else, or nobody answers.
pub async fn get(address: SocketAddr, path: &str) -> anyhow::Result<Value> {
    expect_ok(path, call(address, Method::GET, path, None).await?)
}

/// `POST path`, answered 2xx.
///
/// # Errors
/// When it is answered anything else, or nobody answers.
pub async fn post(address: SocketAddr, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
    expect_ok(path, call(address, Method::POST, path, body).await?)
}

fn expect_ok(path: &str, (status, answer): (StatusCode, Value)) -> anyhow::Result<Value> {
    if !status.is_success() {
        bail!("{path} was answered {status}: {answer}");
    }
    Ok(answer)
}

async fn exchange(
    address: SocketAddr,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> anyhow::Result<(StatusCode, Value)> {
    let socket = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    // Ends with this call; what it fails with, the call fails with.
    let _connection = AbortOnDropHandle::new(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address.to_string())
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES)
        .collect()
        .await
        .map_err(anyhow::Error::from_boxed)?
        .to_bytes();
    Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
}
