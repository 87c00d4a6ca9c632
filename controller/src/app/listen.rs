//! The sockets of the API: those the service manager holds, else one of our own.
//!
//! A socket of `stream-controller.socket` outlives this process: what nobody accepts waits in it for
//! the next controller, so that a restart refuses no request. It comes as a descriptor from 3 on
//! (`LISTEN_PID`, `LISTEN_FDS`, `LISTEN_FDNAMES`), TCP or unix, one or several.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname};
use nix::sys::socket::{getsockopt, sockopt};
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;

/// Number of the first descriptor that is passed on.
const FIRST: RawFd = 3;
/// Connections that may wait to be accepted, as in the socket unit. Whoever comes when there are as many is
/// not answered, and tries again only after a second.
const BACKLOG: u32 = 4096;
/// Whoever was accepted last may still be writing its request.
const LAST_REQUESTS: Duration = Duration::from_millis(250);
/// A connection on which no request has come as a whole for so long is closed: whoever opens many of them
/// and says nothing would take the descriptors that workers are started with.
const REQUEST_PATIENCE: Duration = Duration::from_secs(60);

/// Why the API cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be listened at.
    #[error("cannot listen at {address} (CONTROLLER_BIND)")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// What the service manager passed on is no listening socket.
    #[error("cannot listen at descriptor {number}, passed on by the service manager")]
    Inherited {
        /// Which.
        number: RawFd,
        /// Why.
        source: io::Error,
    },
    /// The socket unit opens the API to the network, and nothing guards it.
    #[error(
        "stream-controller.socket listens at {0}, where everyone on the network could control the \
         streams: set CONTROLLER_API_TOKEN, or CONTROLLER_ALLOW_PUBLIC=true if something else guards it"
    )]
    Public(SocketAddr),
}

/// Sockets that are not served yet.
#[derive(Debug)]
pub(super) struct Listening {
    sockets: Vec<Socket>,
    held: bool,
    closing: CancellationToken,
}

/// Sockets that are served.
#[derive(Debug)]
pub(super) struct Api {
    servers: JoinSet<()>,
    held: bool,
    /// Cancelled: nothing more is accepted.
    full: CancellationToken,
    /// Cancelled: connections end with the answer they are at.
    closing: CancellationToken,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

// === impl Listening ===

impl Listening {
    /// The sockets the service manager holds for this process, if there are any. The first TCP
    /// address among them takes the place of `CONTROLLER_BIND`.
    ///
    /// # Errors
    /// When one cannot be used, or stands open to the network without a guard.
    pub(super) fn inherited(config: &mut Config) -> Result<Option<Self>, ListenError> {
        let count = passed_on(|name| std::env::var(name).ok());
        if count == 0 {
            return Ok(None);
        }
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let sockets = (FIRST..FIRST + count)
            .map(|number| take(number).map_err(|source| ListenError::Inherited { number, source }))
            .collect::<Result<Vec<_>, _>>()?;
        let listening = Self::of(sockets, true);
        let guarded = config.api_token.is_some() || config.allow_public;
        for address in listening.addresses() {
            if !guarded && !address.ip().is_loopback() {
                return Err(ListenError::Public(address));
            }
        }
        let set = config.bind;
        config.bind = listening.address().unwrap_or(set);
        if listening.addresses().all(|address| address != set) {
            tracing::warn!(
                controller_bind = %set,
                sockets = names,
                "CONTROLLER_BIND is not where the socket unit listens, which counts; \
                 scripts/install.sh tells it the new address"
            );
        }
        Ok(Some(listening))
    }

    /// A socket of this process's own.
    ///
    /// # Errors
    /// When the address is taken or not of this machine.
    pub(super) fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        match listen(address) {
            Ok(listener) => Ok(Self::of(vec![Socket::Tcp(listener)], false)),
            Err(source) => Err(ListenError::Bind { address, source }),
        }
    }

    fn of(sockets: Vec<Socket>, held: bool) -> Self {
        Self {
            sockets,
            held,
            closing: CancellationToken::new(),
        }
    }

    /// The first TCP address.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.addresses().next()
    }

    /// Cancelled when open connections are to end.
    pub(super) fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    /// Serves `router` at every socket.
    pub(super) fn serve(self, router: &Router) -> Api {
        let mut api = Api {
            servers: JoinSet::new(),
            held: self.held,
            full: CancellationToken::new(),
            closing: self.closing,
        };
        for socket in self.sockets {
            match socket {
                Socket::Tcp(listener) => api.serve(listener, router),
                Socket::Unix(listener) => api.serve(listener, router),
            }
        }
        api
    }

    fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().filter_map(|socket| match socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(_) => None,
        })
    }
}

// === impl Api ===

impl Api {
    /// Whether the sockets stay open after this process.
    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// Accepts nothing more, answers what was asked, and returns when that is done or after `grace`.
    pub(super) async fn close(mut self, grace: Duration) {
        self.full.cancel();
        if self.held {
            tokio::time::sleep(LAST_REQUESTS).await;
        }
        self.closing.cancel();
        let answered = async { while self.servers.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, answered).await.is_err() {
            tracing::info!("open connections were cut after {} s", grace.as_secs());
        }
    }

    fn serve<L: Listener>(&mut self, listener: L, router: &Router) {
        let (full, closing) = (self.full.clone(), self.closing.clone());
        self.servers
            .spawn(serve(listener, router.clone(), full, closing));
    }
}

/// Accepts until `full` or `closing` is cancelled; ends when every connection has, after `closing` with the
/// answer it is at.
async fn serve<L: Listener>(
    mut listener: L,
    router: Router,
    full: CancellationToken,
    closing: CancellationToken,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(REQUEST_PATIENCE);
    let service = TowerToHyperService::new(router);
    let connections = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            biased;
            () = closing.cancelled() => break,
            (stream, _) = listener.accept(), if !full.is_cancelled() => stream,
            () = full.cancelled(), if !full.is_cancelled() => continue,
        };
        let connection = http.serve_connection(TokioIo::new(stream), service.clone());
        let closing = closing.clone();
        connections.spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = closing.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection to the API has ended");
            }
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // The address of a controller that has just ended is free at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// How many descriptors were passed on to this very process, not to one that has passed its
/// environment on.
fn passed_on(variable: impl Fn(&str) -> Option<String>) -> RawFd {
    let number = |name| variable(name).and_then(|text| text.parse::<u32>().ok());
    if number("LISTEN_PID") != Some(std::process::id()) {
        return 0;
    }
    number("LISTEN_FDS")
        .and_then(|count| RawFd::try_from(count).ok())
        .unwrap_or(0)
}

/// Takes over descriptor `number`, once.
#[expect(
    unsafe_code,
    reason = "descriptors are passed on by number; proof below"
)]
fn take(number: RawFd) -> io::Result<Socket> {
    // SAFETY: the number is one of LISTEN_FDS, which name this process by its pid: the service
    // manager opened it before this program ran, nothing else here knows of it, and this is called
    // once for each.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    if !getsockopt(&fd, sockopt::AcceptConn)? {
        return Err(io::Error::other("it does not listen"));
    }
    match getsockname::<SockaddrStorage>(fd.as_raw_fd())?.family() {
        Some(AddressFamily::Inet | AddressFamily::Inet6) => {
            let listener = std::net::TcpListener::from(fd);
            listener.set_nonblocking(true)?;
            Ok(Socket::Tcp(TcpListener::from_std(listener)?))
        }
        Some(AddressFamily::Unix) => {
            let listener = std::os::unix::net::UnixListener::from(fd);
            listener.set_nonblocking(true)?;
            Ok(Socket::Unix(UnixListener::from_std(listener)?))
        }
        _ => Err(io::Error::other("it is neither a TCP nor a unix socket")),
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_finish_a_request_is_not_waited_for() {
        let listening = Listening::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listening.address().unwrap();
        let router = Router::new().route("/", get(async || "here"));
        let _api = listening.serve(&router);
        let began = Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        stream.write_all(&request[..20]).await.unwrap();
        let mut rest = Vec::new();
        // Closed, or reset: it had said something.
        let _closed = stream.read_to_end(&mut rest).await;
        assert!(rest.ends_with(b"here") || String::from_utf8_lossy(&rest).contains("408"));
        assert!(began.elapsed() >= REQUEST_PATIENCE, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn what_was_asked_is_answered_before_the_end() {
        let listening = Listening::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listening.address().unwrap();
        let (asked, is_asked) = tokio::sync::oneshot::channel();
        let (go_on, may_go_on) = tokio::sync::oneshot::channel::<()>();
        let ends = std::sync::Arc::new(std::sync::Mutex::new(Some((asked, may_go_on))));
        let answer = async move || {
            let (asked, may_go_on) = ends.lock().unwrap().take().unwrap();
            asked.send(()).unwrap();
            may_go_on.await.unwrap();
            "here"
        };
        let api = listening.serve(&Router::new().route("/", get(answer)));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request).await.unwrap();
        is_asked.await.unwrap();
        let closing = tokio::spawn(api.close(Duration::from_secs(20)));
        // Nobody is let in any more.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        go_on.send(()).unwrap();
        let mut answered = Vec::new();
        stream.read_to_end(&mut answered).await.unwrap();
        assert!(answered.ends_with(b"here"));
        closing.await.unwrap();
    }

    #[test]
    fn only_what_was_passed_on_to_this_process_counts() {
        let own = std::process::id().to_string();
        let count = |pid: &str, count: &str| {
            let (pid, count) = (pid.to_owned(), count.to_owned());
            passed_on(move |name| match name {
                "LISTEN_PID" => Some(pid.clone()),
                "LISTEN_FDS" => Some(count.clone()),
                _ => None,
            })
        };
        assert_eq!(count(&own, "2"), 2);
        assert_eq!(count("1", "2"), 0, "a parent's");
        assert_eq!(count(&own, "x"), 0);
        assert_eq!(passed_on(|_| None), 0);
    }
}
