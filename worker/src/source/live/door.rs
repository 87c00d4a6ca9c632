//! Where the controller hands publishers over: a unix socket beside the control socket.

use std::io;
use std::path::Path;

use ingest::Request;
use ingest::handoff::{self, Answer, Handoff};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep, timeout};

use super::publisher::Arrival;
use super::{Order, Switchboard, lock};

/// After an `accept` that failed: out of descriptors, which others may give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);
/// What was read of the connection holds its `publish`: going on with it takes no time.
const RESUME_LIMIT: Duration = Duration::from_secs(1);

/// Knows the inputs.
#[derive(Debug, Clone)]
pub struct Door(Switchboard);

// === impl Door ===

impl Door {
    pub(super) fn new(switchboard: Switchboard) -> Self {
        Self(switchboard)
    }

    /// Listens at `path`, for this user alone: the process's umask keeps others out.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn bind(path: &Path) -> io::Result<UnixListener> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        UnixListener::bind(path)
    }

    /// Lets publishers in until it is dropped.
    pub async fn stand_open(self, listener: UnixListener) {
        let mut guests = JoinSet::new();
        loop {
            while guests.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((socket, _)) => {
                    guests.spawn(self.clone().receive(socket));
                }
                Err(error) => {
                    tracing::warn!(%error, "no publisher can be handed over");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn receive(self, socket: UnixStream) {
        if let Err(error) = self.try_receive(socket).await {
            tracing::warn!(%error, "a publisher was not handed over");
        }
    }

    async fn try_receive(self, socket: UnixStream) -> io::Result<()> {
        let mut socket = socket.into_std()?;
        let (handoff, mut socket) = blocking(move || {
            let handoff = handoff::receive(&mut socket)?;
            Ok((handoff, socket))
        })
        .await?;
        let answer = self.let_in(handoff).await;
        blocking(move || handoff::answer(&mut socket, &answer)).await
    }

    async fn let_in(&self, handoff: Handoff) -> Answer {
        let Handoff {
            header,
            opening,
            connection,
        } = handoff;
        let request = async {
            connection.set_nonblocking(true)?;
            let connection = TcpStream::from_std(connection)?;
            let resumed = timeout(RESUME_LIMIT, Request::resume(connection, &opening)).await;
            resumed.map_err(io::Error::other)?.map_err(io::Error::other)
        };
        let request = match request.await {
            Ok(request) => request,
            Err(error) => return refused("ingest_handoff", &error.to_string()),
        };
        let Some(orders) = lock(&self.0).get(&header.input).cloned() else {
            return turned_away(
                request,
                "no_live_input",
                "the stream has no such live input",
            );
        };
        let (answer, answered) = oneshot::channel();
        let arrival = Arrival {
            request,
            key_id: header.key_id,
            from: header.from,
            answer,
        };
        if orders
            .try_send(Order::Publisher(Box::new(arrival)))
            .is_err()
        {
            return refused("ingest_busy", "too many publishers at once");
        }
        match answered.await {
            Ok(answer) => answer,
            Err(_) => refused("stopping", "the stream is being stopped"),
        }
    }
}

/// Refuses without waiting until the peer has read why.
pub(super) fn turned_away(request: Request<TcpStream>, code: &str, message: &str) -> Answer {
    let why = message.to_owned();
    tokio::spawn(async move {
        // It may have left already.
        drop(request.refuse(&why).await);
    });
    refused(code, message)
}

fn refused(code: &str, message: &str) -> Answer {
    Answer::Refused {
        code: code.to_owned(),
        message: message.to_owned(),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
