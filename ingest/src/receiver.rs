//! A platform that notes everything it is sent, with its arrival.
//!
//! A [`Log`] is shared by all connections of one platform; each is followed to its end by the task
//! that accepted it. How a platform treats its publishers is that task's business.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::Error;
use crate::publisher::{self, Publisher};
use crate::tag::Tag;

/// A publisher that was started a moment ago says so at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// One message and when it came.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    /// What it is.
    pub tag: Tag,
    /// When its last byte was read.
    pub arrived: Instant,
}

/// One publisher's connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Application of the URL.
    pub app: String,
    /// Stream key of the URL.
    pub key: String,
    /// When it was accepted.
    pub opened: Instant,
    /// When it ended.
    pub closed: Option<Instant>,
    /// The publisher said goodbye instead of vanishing.
    pub unpublished: bool,
    /// Why it ended, when the publisher broke the protocol.
    pub error: Option<String>,
    /// Everything received, in order.
    pub messages: Vec<Message>,
}

/// All connections of a platform, in the order they came. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<Connection>>>);

enum End {
    Goodbye,
    Refused,
}

/// The place of one connection in the log. Dropped, the connection has ended.
#[derive(Debug)]
pub struct Entry {
    log: Log,
    number: usize,
}

// === impl Connection ===

impl Connection {
    /// Pictures and AAC frames, without headers.
    pub fn frames(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(|m| m.tag.is_frame())
    }

    /// Whether any picture or sound came.
    pub fn has_media(&self) -> bool {
        self.frames().next().is_some()
    }
}

// === impl Log ===

impl Log {
    /// Notes that a connection was accepted.
    pub fn open(&self) -> Entry {
        let mut all = self.lock();
        all.push(Connection {
            app: String::new(),
            key: String::new(),
            opened: Instant::now(),
            closed: None,
            unpublished: false,
            error: None,
            messages: Vec::new(),
        });
        Entry {
            log: self.clone(),
            number: all.len() - 1,
        }
    }

    /// Looks at the connections so far.
    pub fn look<T>(&self, look: impl FnOnce(&[Connection]) -> T) -> T {
        look(&self.lock())
    }

    /// Forgets messages older than `before`, of which nothing is asked any more.
    pub fn forget(&self, before: Instant) {
        for connection in self.lock().iter_mut() {
            connection.messages.retain(|m| m.arrived >= before);
            connection.messages.shrink_to_fit();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        // Whoever panicked while looking has not changed anything.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Entry ===

impl Entry {
    /// Notes all that comes, to the end of the connection. `judge` is asked once, with the key, and
    /// gives the reason for a refusal.
    pub async fn follow<S>(self, stream: S, judge: impl FnOnce(&str) -> Result<(), String>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let outcome = self.serve(stream, judge).await;
        self.note(|connection| match outcome {
            Ok(End::Goodbye) => connection.unpublished = true,
            Ok(End::Refused) => {}
            // Vanishing is what publishers do that are killed.
            Err(Error::Left) => {}
            Err(error) => connection.error = Some(describe(&error)),
        });
    }

    async fn serve<S>(
        &self,
        stream: S,
        judge: impl FnOnce(&str) -> Result<(), String>,
    ) -> Result<End, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let request = publisher::accept(stream, PATIENCE).await?;
        self.note(|connection| {
            request.app().clone_into(&mut connection.app);
            request.key().clone_into(&mut connection.key);
        });
        match judge(request.key()) {
            Ok(()) => self.collect(request.accept().await?).await?,
            Err(why) => {
                request.refuse(&why).await?;
                return Ok(End::Refused);
            }
        }
        Ok(End::Goodbye)
    }

    async fn collect<S>(&self, mut publisher: Publisher<S>) -> Result<(), Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        while let Some(media) = publisher.next().await? {
            let message = Message {
                tag: Tag::parse(media.track, i64::from(media.dts_ms), &media.body),
                arrived: media.arrived,
            };
            self.note(|connection| connection.messages.push(message));
        }
        Ok(())
    }

    fn note(&self, change: impl FnOnce(&mut Connection)) {
        if let Some(connection) = self.log.lock().get_mut(self.number) {
            change(connection);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.note(|connection| connection.closed = Some(Instant::now()));
    }
}

fn describe(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
