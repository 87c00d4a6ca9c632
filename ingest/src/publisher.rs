//! One publisher's connection, from its first byte to its last.
//!
//! [`accept`] brings a connection to the point where it says what it wants to publish. The
//! [`Request`] it gives is answered by whoever decides; only then is there a [`Publisher`].

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::Error;
use crate::session::{Event, Session};
use crate::tag::Track;

/// What is read at once.
const READ_BYTES: usize = 64 << 10;
/// How long a peer that is done may take to close: closed here with bytes unread, the socket would
/// be reset, and the last answer lost with it.
const FAREWELL: Duration = Duration::from_secs(1);

/// Somebody wants to publish. Dropped, the connection is closed without a word.
pub struct Request<S> {
    link: Link<S>,
    app: String,
    key: String,
}

/// Somebody publishes.
pub struct Publisher<S> {
    link: Link<S>,
    said_goodbye: bool,
}

/// A message with media or metadata, as in an FLV tag.
#[derive(Debug, Clone)]
pub struct Media {
    /// Which track.
    pub track: Track,
    /// Decode time: 32 bits that wrap.
    pub dts_ms: u32,
    /// The body of the tag.
    pub body: Bytes,
    /// When its last byte was read.
    pub arrived: Instant,
}

struct Link<S> {
    stream: S,
    session: Session,
    buffer: Box<[u8]>,
    events: VecDeque<Event>,
    arrived: Instant,
}

/// Brings a new connection to its `publish`.
///
/// # Errors
/// When the peer leaves, is slower than `patience`, or does not keep to the protocol.
pub async fn accept<S>(stream: S, patience: Duration) -> Result<Request<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let link = Link::new(stream, Session::new(), VecDeque::new());
    tokio::time::timeout(patience, link.requested())
        .await
        .map_err(|_| Error::TimedOut(patience))?
}

// === impl Request ===

impl<S: AsyncRead + AsyncWrite + Unpin> Request<S> {
    /// Goes on with a connection that another process has brought to its `publish`, see
    /// [`Request::into_parts`].
    ///
    /// # Errors
    /// When `opening` is not what such a connection began with.
    pub async fn resume(stream: S, opening: &[u8]) -> Result<Self, Error> {
        let (session, events) = Session::resume(opening)?;
        Link::new(stream, session, events.into()).requested().await
    }

    /// The connection, and what was read from it since its handshake.
    pub fn into_parts(mut self) -> (S, Vec<u8>) {
        (self.link.stream, self.link.session.take_opening())
    }

    /// Application of the URL.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// Stream key. A secret: it is not in the `Debug` text.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Lets the peer publish.
    ///
    /// # Errors
    /// When it has left.
    pub async fn accept(mut self) -> Result<Publisher<S>, Error> {
        self.link.session.accept()?;
        self.link.answer().await?;
        Ok(Publisher {
            link: self.link,
            said_goodbye: false,
        })
    }

    /// Tells the peer that it may not (`NetStream.Publish.BadName`), and why; returns when it has
    /// left, or was given the time to read that.
    ///
    /// # Errors
    /// When it has left before.
    pub async fn refuse(mut self, why: &str) -> Result<(), Error> {
        self.link.session.refuse(why)?;
        self.link.answer().await?;
        self.link.farewell().await;
        Ok(())
    }
}

impl<S> fmt::Debug for Request<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Request");
        shown.field("app", &self.app).finish_non_exhaustive()
    }
}

// === impl Publisher ===

impl<S: AsyncRead + AsyncWrite + Unpin> Publisher<S> {
    /// The next message; `None` once the publisher has said goodbye. Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Left`] when it vanished without a word, and whatever else broke.
    pub async fn next(&mut self) -> Result<Option<Media>, Error> {
        loop {
            match self.link.event().await? {
                Some(Event::Media {
                    track,
                    dts_ms,
                    body,
                }) => {
                    return Ok(Some(Media {
                        track,
                        dts_ms,
                        body,
                        arrived: self.link.arrived,
                    }));
                }
                Some(Event::Unpublished) => {
                    self.said_goodbye = true;
                    self.link.farewell().await;
                    return Ok(None);
                }
                Some(Event::Publish { .. }) => {}
                None if self.said_goodbye => return Ok(None),
                None => return Err(Error::Left),
            }
        }
    }
}

impl<S> fmt::Debug for Publisher<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Publisher")
    }
}

// === impl Link ===

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    fn new(stream: S, session: Session, events: VecDeque<Event>) -> Self {
        Self {
            stream,
            session,
            buffer: vec![0; READ_BYTES].into(),
            events,
            arrived: Instant::now(),
        }
    }

    async fn requested(mut self) -> Result<Request<S>, Error> {
        match self.event().await? {
            Some(Event::Publish { app, key }) => Ok(Request {
                link: self,
                app,
                key,
            }),
            // The session gives nothing else before it was asked to publish.
            Some(_) | None => Err(Error::Left),
        }
    }

    /// The next event; `None` when the peer has closed or reset the connection. Cancel-safe: what is
    /// read is in the session before anything else is awaited, and what is sent is taken from it as
    /// it is sent.
    async fn event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            self.answer().await?;
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            let read = match self.stream.read(&mut self.buffer).await {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
                Err(error) => return Err(error.into()),
            };
            if read == 0 {
                return Ok(None);
            }
            self.arrived = Instant::now();
            self.events.extend(self.session.feed(&self.buffer[..read])?);
        }
    }

    /// Reads until the peer has closed, or had the time to.
    async fn farewell(&mut self) {
        let closed = async { while matches!(self.event().await, Ok(Some(_))) {} };
        // Either way this side closes now.
        let _ = tokio::time::timeout(FAREWELL, closed).await;
    }

    async fn answer(&mut self) -> Result<(), Error> {
        while !self.session.outgoing().is_empty() {
            let sent = self.stream.write(self.session.outgoing()).await?;
            if sent == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            self.session.outgoing().drain(..sent);
        }
        Ok(())
    }
}
