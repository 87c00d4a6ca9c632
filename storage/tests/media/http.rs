//! A client that does exactly what it is told.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub(crate) async fn send(request: Request<Body>) -> Answer {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await.unwrap();
    let (parts, body) = answer.into_parts();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

pub(crate) async fn get(url: &str) -> Answer {
    send(Request::get(url).body(Body::empty()).unwrap()).await
}

pub(crate) async fn head(url: &str) -> Answer {
    send(Request::head(url).body(Body::empty()).unwrap()).await
}

pub(crate) async fn get_range(url: &str, range: &str) -> Answer {
    let request = Request::get(url).header("range", range);
    send(request.body(Body::empty()).unwrap()).await
}

pub(crate) async fn put(url: &str, content_type: &str, body: impl Into<Body>) -> Answer {
    let request = Request::builder()
        .method(Method::PUT)
        .uri(url)
        .header("content-type", content_type);
    send(request.body(body.into()).unwrap()).await
}

/// Asks until the answer is not 200 any more, for at most ten seconds.
pub(crate) async fn get_until_refused(url: &str) -> Answer {
    for _ in 0..100 {
        let answer = get(url).await;
        if answer.status != StatusCode::OK {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the address never expired");
}
