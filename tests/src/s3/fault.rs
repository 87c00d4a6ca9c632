//! What can go wrong between a bucket and its reader.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::CONTENT_RANGE;
use tokio::sync::Semaphore;

/// An answer's body, spoiled or not.
pub(super) type FaultyBody = UnsyncBoxBody<Bytes, s3s::StdError>;

/// A fault of the way between bucket and reader.
#[derive(Debug, Clone)]
pub enum Fault {
    /// An error answer: 403, 404, 500, 503.
    Status(u16),
    /// The refusal of a request whose clock is wrong.
    Skewed,
    /// The refusal of an address that was first used longer ago than this.
    Expired(Duration),
    /// The answer comes this much later.
    Late(Duration),
    /// The connection breaks after this many bytes of the body.
    Cut(u64),
    /// Nothing behind this offset of the object comes, until the faults are cleared.
    Stall(u64, Gate),
    /// The body comes at this many bytes per second.
    Slow(u64),
}

/// Opens once.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Semaphore>);

impl Fault {
    /// Stands still where a body reaches this offset of the object, however often it is asked for.
    pub fn stall_after(bytes: u64) -> Self {
        Self::Stall(bytes, Gate(Arc::new(Semaphore::new(0))))
    }

    /// Whether it strikes a request whose address was first used this long ago.
    pub(super) fn strikes(&self, age: Duration) -> bool {
        match self {
            Self::Expired(life) => age >= *life,
            _ => true,
        }
    }

    pub(super) fn release(&self) {
        if let Self::Stall(_, gate) = self {
            gate.0.close();
        }
    }

    /// The answer that stands for the server's own, if this fault replaces it.
    pub(super) fn replacement(&self) -> Option<Response<FaultyBody>> {
        let (status, code) = match self {
            Self::Status(403) | Self::Expired(_) => (403, "AccessDenied"),
            Self::Status(404) => (404, "NoSuchKey"),
            Self::Status(503) => (503, "SlowDown"),
            Self::Status(status) => (*status, "InternalError"),
            Self::Skewed => (403, "RequestTimeTooSkewed"),
            Self::Late(_) | Self::Cut(_) | Self::Stall(..) | Self::Slow(_) => return None,
        };
        let xml = format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>injected</Message></Error>"
        );
        let body = Full::new(Bytes::from(xml)).map_err(|never| match never {});
        let response = Response::builder()
            .status(status)
            .header("content-type", "application/xml")
            .body(body.boxed_unsync());
        Some(response.expect("a status the tests use"))
    }
}

/// Spoils the body of a real answer.
pub(super) fn apply(response: s3s::HttpResponse, fault: Option<Fault>) -> Response<FaultyBody> {
    let offset = offset(&response);
    response.map(|body| match fault {
        None | Some(Fault::Status(_) | Fault::Skewed | Fault::Expired(_) | Fault::Late(_)) => {
            body.boxed_unsync()
        }
        Some(fault) => {
            let chunks = body.into_data_stream().boxed();
            let spoiled = stream::unfold(
                Spoiled {
                    offset,
                    chunks,
                    sent: 0,
                    fault,
                },
                Spoiled::next,
            );
            StreamBody::new(spoiled).boxed_unsync()
        }
    })
}

/// Where in the object the body begins.
fn offset(response: &s3s::HttpResponse) -> u64 {
    let range = response.headers().get(CONTENT_RANGE);
    range
        .and_then(|value| {
            value
                .to_str()
                .ok()?
                .strip_prefix("bytes ")?
                .split('-')
                .next()?
                .parse()
                .ok()
        })
        .unwrap_or(0)
}

struct Spoiled {
    offset: u64,
    chunks: BoxStream<'static, Result<Bytes, s3s::StdError>>,
    sent: u64,
    fault: Fault,
}

impl Spoiled {
    async fn next(mut self) -> Option<(Result<Frame<Bytes>, s3s::StdError>, Self)> {
        match &self.fault {
            Fault::Cut(after) if self.sent >= *after => {
                let broken = io::Error::from(io::ErrorKind::ConnectionReset);
                return Some((Err(broken.into()), self));
            }
            Fault::Stall(after, gate) if self.offset + self.sent >= *after => {
                // Never granted: ends, with an error, when the gate is closed for good.
                drop(gate.0.acquire().await);
            }
            _ => {}
        }
        let chunk = match self.chunks.next().await? {
            Ok(chunk) => chunk,
            Err(error) => return Some((Err(error), self)),
        };
        let chunk = match &self.fault {
            Fault::Cut(after) => {
                let room = usize::try_from(after.saturating_sub(self.sent)).unwrap_or(usize::MAX);
                chunk.slice(..chunk.len().min(room))
            }
            Fault::Slow(per_second) => {
                let span = chunk.len() as f64 / *per_second as f64;
                tokio::time::sleep(Duration::from_secs_f64(span)).await;
                chunk
            }
            _ => chunk,
        };
        self.sent += chunk.len() as u64;
        Some((Ok(Frame::data(chunk)), self))
    }
}
