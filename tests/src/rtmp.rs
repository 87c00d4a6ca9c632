//! An RTMP server that notes each message with its arrival, and misbehaves on request.
//!
//! One thread serves all connections; nothing else of the test can delay it, so an arrival time is
//! the kernel's hand-over and not the moment when a test happened to look.

mod mannered;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use ingest::receiver::Log;
pub use ingest::receiver::{Connection, Message};
use nix::sys::socket::{setsockopt, sockopt::RcvBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

use self::mannered::Mannered;
use crate::served::Served;
use crate::wait;

/// Small, so that a stall is felt by the publisher after tenths of a second and not after the
/// megabytes that a kernel likes to keep for loopback.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// How the receiver treats its publishers, running ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// Takes everything at once.
    Polite,
    /// Closes a new connection as soon as it is accepted.
    Refuse,
    /// Answers `publish` with `NetStream.Publish.BadName`.
    RejectKey,
    /// Reads nothing.
    Stall,
    /// Reads this many bytes per second.
    Slow(u32),
}

/// What the server's thread is told.
#[derive(Debug, Clone, Copy)]
struct Orders {
    manners: Manners,
    /// Connections that were accepted under an earlier number are ended.
    dropped: u64,
}

/// The server; ends with its connections when dropped.
pub struct Receiver {
    address: SocketAddr,
    log: Log,
    orders: watch::Sender<Orders>,
    _server: Served,
}

impl Receiver {
    /// A polite receiver on a free port of the loopback.
    pub fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("a literal address"))
    }

    /// A polite receiver at `address`, which nothing else may hold.
    pub fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("the receiver's port");
        // Inherited by accepted sockets, before their window is offered.
        setsockopt(&listener, RcvBuf, &RECEIVE_BUFFER).expect("setting the receive buffer");
        let address = listener.local_addr().expect("a bound socket's address");
        let log = Log::default();
        let (orders, told) = watch::channel(Orders {
            manners: Manners::Polite,
            dropped: 0,
        });
        let of_thread = log.clone();
        let server = Served::by(listener, move |socket| {
            receive(socket, of_thread.clone(), told.clone())
        });
        Self {
            address,
            log,
            orders,
            _server: server,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `rtmp://ADDRESS/live`, without a stream key.
    pub fn url(&self) -> String {
        format!("rtmp://{}/live", self.address)
    }

    /// Changes how publishers are treated, from now on.
    pub fn behave(&self, manners: Manners) {
        self.orders.send_modify(|orders| orders.manners = manners);
    }

    /// Ends every running connection.
    pub fn drop_connections(&self) {
        self.orders.send_modify(|orders| orders.dropped += 1);
    }

    /// Looks at the connections so far.
    pub fn look<T>(&self, look: impl FnOnce(&[Connection]) -> T) -> T {
        self.log.look(look)
    }

    /// A copy of the connections so far.
    pub fn connections(&self) -> Vec<Connection> {
        self.look(<[Connection]>::to_vec)
    }

    /// The only connection; panics when there were none or several.
    pub fn only_connection(&self) -> Connection {
        let mut all = self.connections();
        assert_eq!(all.len(), 1, "one connection for the whole session");
        all.remove(0)
    }

    /// Connections that brought pictures or sound.
    pub fn media_connections(&self) -> usize {
        self.look(|all| all.iter().filter(|c| c.has_media()).count())
    }

    /// Waits for the first picture or sound of connection `number` (from 0).
    pub fn wait_for_media(&self, number: usize, limit: Duration) -> Instant {
        wait::until(&format!("media in connection {number}"), limit, || {
            self.look(|all| Some(all.get(number)?.frames().next()?.arrived))
        })
    }

    /// Waits until the newest connection holds `span_ms` of media.
    pub fn wait_for_span(&self, span_ms: i64, limit: Duration) {
        wait::until(&format!("{span_ms} ms of media"), limit, || {
            self.look(|all| {
                let connection = all.last()?;
                let first = connection.frames().next()?.tag.dts_ms;
                let last = connection.messages.last()?.tag.dts_ms;
                (last - first >= span_ms).then_some(())
            })
        });
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver({})", self.address)
    }
}

async fn receive(socket: TcpStream, log: Log, told: watch::Receiver<Orders>) {
    if told.borrow().manners == Manners::Refuse {
        // In the log as closed at once.
        drop(log.open());
        return;
    }
    drop(socket.set_nodelay(true));
    // Who only looks whether somebody listens is no publisher.
    let spoken = socket.peek(&mut [0]).await;
    if matches!(spoken, Ok(0)) {
        return;
    }
    let entry = log.open();
    let accepted = told.borrow().dropped;
    let mut dropped = told.clone();
    let judge = |key: &str| match told.borrow().manners {
        // Some servers repeat the key in their answer; what the publisher logs must not.
        Manners::RejectKey => Err(format!("Unexpected stream {key}")),
        _ => Ok(()),
    };
    tokio::select! {
        () = entry.follow(Mannered::new(socket, told.clone()), judge) => {}
        _ = dropped.wait_for(|orders| orders.dropped != accepted) => {}
    }
}
