//! A TCP proxy that breaks what goes through it, on request.
//!
//! One thread serves all connections. What it does to a publisher is done by a peer whose kernel is
//! healthy: a machine or a network that is gone is [`crate::far`]'s part.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{RcvBuf, TcpMaxSeg};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::served::Served;

/// As in [`crate::rtmp`]: a stall is to be felt soon.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// Segments of an ordinary line: with the loopback's of 64 KiB a window opens, and acknowledgements come, seconds
/// apart.
const SEGMENT_BYTES: u32 = 1400;
/// Read at once.
const CHUNK: usize = 4096;

/// What is done to connections, running ones included unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: all that comes is passed on.
    None,
    /// Nothing is read from either side.
    Freeze,
    /// So many bytes per second are read from the publisher.
    Throttle(u32),
    /// New connections are answered with bytes that are no protocol.
    Garbage,
    /// A connection is closed once the publisher has sent so much.
    CloseAfter(usize),
}

#[derive(Debug, Clone, Copy)]
struct Orders {
    fault: Fault,
    /// Connections that were accepted under an earlier number are reset.
    reset: u64,
    /// The same for those to which no more is to be said.
    half_closed: u64,
}

/// The proxy; ends with its connections when dropped.
pub struct Proxy {
    address: SocketAddr,
    orders: watch::Sender<Orders>,
    _server: Served,
}

impl Proxy {
    /// Passes everything on to `server`.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the proxy's port");
        setsockopt(&listener, RcvBuf, &RECEIVE_BUFFER).expect("setting the receive buffer");
        setsockopt(&listener, TcpMaxSeg, &SEGMENT_BYTES).expect("setting the size of segments");
        let address = listener.local_addr().expect("a bound socket's address");
        let (orders, told) = watch::channel(Orders {
            fault: Fault::None,
            reset: 0,
            half_closed: 0,
        });
        let served = Served::by(listener, move |socket| pass(socket, server, told.clone()));
        Self {
            address,
            orders,
            _server: served,
        }
    }

    /// `scheme://ADDRESS/live`, without a stream key.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/live", self.address)
    }

    /// From now on.
    pub fn fault(&self, fault: Fault) {
        self.orders.send_modify(|orders| orders.fault = fault);
    }

    /// Ends running connections with a reset.
    pub fn reset(&self) {
        self.orders.send_modify(|orders| orders.reset += 1);
    }

    /// Tells publishers of running connections that nothing more will be said, and reads on.
    pub fn half_close(&self) {
        self.orders.send_modify(|orders| orders.half_closed += 1);
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.address)
    }
}

/// One connection, to its end by either side or by order.
async fn pass(mut publisher: TcpStream, server: SocketAddr, told: watch::Receiver<Orders>) {
    let accepted = *told.borrow();
    if accepted.fault == Fault::Garbage {
        // The publisher may have gone; garbage needs no reader.
        drop(publisher.write_all(&[b'x'; 2048]).await);
        drop(publisher.read(&mut [0; CHUNK]).await);
        return;
    }
    let Ok(mut upstream) = TcpStream::connect(server).await else {
        return;
    };
    let mut orders = told.clone();
    let is_reset = {
        let (from_publisher, to_publisher) = publisher.split();
        let (from_server, to_server) = upstream.split();
        tokio::select! {
            _ = up(from_publisher, to_server, told.clone()) => false,
            _ = down(from_server, to_publisher, told.clone(), accepted.half_closed) => false,
            _ = orders.wait_for(|orders| orders.reset != accepted.reset) => true,
        }
    };
    if is_reset {
        drop(publisher.set_zero_linger());
    }
}

async fn up(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut told: watch::Receiver<Orders>,
) -> io::Result<()> {
    let mut buffer = [0; CHUNK];
    let mut total = 0;
    loop {
        let fault = told.borrow_and_update().fault;
        let read = tokio::select! {
            biased;
            _ = told.changed() => continue,
            read = from.read(&mut buffer), if fault != Fault::Freeze => read?,
        };
        if read == 0 {
            return Ok(());
        }
        total += read;
        if matches!(fault, Fault::CloseAfter(limit) if total > limit) {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
        if let Fault::Throttle(per_second) = fault {
            let pause = Duration::from_secs_f64(read as f64 / f64::from(per_second));
            tokio::time::sleep(pause).await;
        }
    }
}

async fn down(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut told: watch::Receiver<Orders>,
    half_closed: u64,
) -> io::Result<()> {
    let mut buffer = [0; CHUNK];
    loop {
        let orders = *told.borrow_and_update();
        if orders.half_closed != half_closed {
            to.shutdown().await?;
            // The other direction goes on.
            return std::future::pending().await;
        }
        let read = tokio::select! {
            biased;
            _ = told.changed() => continue,
            read = from.read(&mut buffer), if orders.fault != Fault::Freeze => read?,
        };
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
    }
}
