//! A way from a publisher to its platform that can go wrong in every manner TCP knows.
//!
//! One task owns the listener and all connections; it is told what to do through a `watch`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, SockFilter, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use tokio_util::task::AbortOnDropHandle;

/// What the kernel may hold back of what nobody reads: a stall is to be felt within tenths of a second.
const RECEIVE_BUFFER: usize = 8 << 10;
/// How finely a throttled way is doled out.
const TICK: Duration = Duration::from_millis(20);
/// Segments of an ordinary line: with the loopback's of 64 KiB a sender's kernel would take a megabyte
/// ahead, and a slow line would not be felt for as long as that lasts.
const SEGMENT_BYTES: u32 = 1400;
const BACKLOG: i32 = 16;

/// How the way behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Everything passes at once.
    Open,
    /// Nobody listens: connections are refused. Running ones are reset.
    Refused,
    /// What arrives is neither acknowledged nor answered, as behind a dead line. Connections that were
    /// running then are reset when this is over: their state on the way is lost.
    HalfOpen,
    /// Connections are accepted and nothing is read from any. Those of that time are reset when this is
    /// over: stale media is not to reach the platform behind newer one.
    Stalled,
    /// So many bytes per second.
    Slow(usize),
}

/// What the task is told.
#[derive(Debug, Clone, Copy)]
struct Orders {
    way: Way,
    /// Connections accepted under an earlier number are reset.
    reset: u64,
}

/// A listening address that leads to a platform. Everything ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    orders: watch::Sender<Orders>,
    /// Keeps the port ours while nobody listens at it.
    reserved: Socket,
    _task: AbortOnDropHandle<()>,
}

// === impl Proxy ===

impl Proxy {
    /// An open way to `platform`, on a free port of the loopback.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn to(platform: SocketAddr) -> io::Result<Self> {
        let reserved = bound((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = reserved
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("a bound TCP socket without an address"))?;
        let (orders, told) = watch::channel(Orders {
            way: Way::Open,
            reset: 0,
        });
        let listener = listen(address)?;
        let task = tokio::spawn(serve(Some(listener), address, platform, told));
        Ok(Self {
            address,
            orders,
            reserved,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// Where the publisher connects to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether [`Way::HalfOpen`] can be had: some kernels refuse it to all but root.
    pub fn can_be_deaf(&self) -> bool {
        let socket = SockRef::from(&self.reserved);
        deaf(&socket, true).is_ok() && deaf(&socket, false).is_ok()
    }

    /// Changes how the way behaves, for running connections too.
    pub fn set(&self, way: Way) {
        self.orders.send_modify(|orders| {
            let ends_all =
                way == Way::Refused || matches!(orders.way, Way::HalfOpen | Way::Stalled);
            orders.reset += u64::from(ends_all);
            orders.way = way;
        });
    }

    /// Resets every running connection.
    pub fn reset(&self) {
        self.orders.send_modify(|orders| orders.reset += 1);
    }
}

async fn serve(
    mut listener: Option<TcpListener>,
    address: SocketAddr,
    platform: SocketAddr,
    mut told: watch::Receiver<Orders>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(socket) = next(listener.as_ref()) => {
                connections.spawn(carry(socket, platform, told.clone()));
            }
            Some(_) = connections.join_next() => {}
            changed = told.changed() => {
                if changed.is_err() {
                    return;
                }
                let way = told.borrow_and_update().way;
                if let Err(error) = prepare(&mut listener, address, way) {
                    tracing::warn!(%address, %error, ?way, "the drill cannot change a way");
                }
            }
        }
    }
}

/// The next connection; never comes while nobody listens.
async fn next(listener: Option<&TcpListener>) -> Option<TcpStream> {
    match listener {
        Some(listener) => match listener.accept().await {
            Ok((socket, _)) => Some(socket),
            Err(_) => {
                // Out of descriptors, or a peer that left at once: not to be spun on.
                sleep(TICK).await;
                None
            }
        },
        None => std::future::pending().await,
    }
}

fn prepare(listener: &mut Option<TcpListener>, address: SocketAddr, way: Way) -> io::Result<()> {
    if way == Way::Refused {
        *listener = None;
        return Ok(());
    }
    if listener.is_none() {
        *listener = Some(listen(address)?);
    }
    if let Some(listener) = listener {
        deaf(&SockRef::from(&*listener), way == Way::HalfOpen)?;
    }
    Ok(())
}

/// Lets the kernel drop everything that arrives at a socket before TCP sees it, or no longer.
fn deaf(socket: &SockRef<'_>, deaf: bool) -> io::Result<()> {
    /// `ret #0`: keep nothing of the packet.
    const RETURN: u16 = 0x06;
    if deaf {
        return socket.attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)]);
    }
    match socket.detach_filter() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// One connection, to its end.
async fn carry(socket: TcpStream, platform: SocketAddr, mut told: watch::Receiver<Orders>) {
    let born = told.borrow().reset;
    // Without it small pieces wait for acknowledgements that a slow way delays.
    let _ = socket.set_nodelay(true);
    let Ok(onward) = TcpStream::connect(platform).await else {
        return;
    };
    let _ = onward.set_nodelay(true);
    let own = SockRef::from(&socket);
    let orders = told.clone();
    let lost = async {
        let stirred = |orders: &Orders| orders.reset != born || orders.way == Way::HalfOpen;
        let over = match told.wait_for(stirred).await {
            Ok(orders) => orders.reset != born,
            Err(_) => true,
        };
        // From now on it is as good as lost; the reset follows when the line is back.
        if !over && deaf(&own, true).is_ok() {
            // The drill has ended if it fails.
            let _ = told.wait_for(|orders| orders.reset != born).await;
        }
        // With no time to linger a close is a reset.
        let _ = own.set_linger(Some(Duration::ZERO));
    };
    tokio::select! {
        () = pump(&socket, &onward, orders.clone()) => {}
        () = pump(&onward, &socket, orders) => {}
        () = lost => {}
    }
}

/// Moves bytes as the way allows, until one end is closed.
///
/// Both ends are borrowed, not split: a half that is dropped says goodbye, and a reset must not.
async fn pump(from: &TcpStream, to: &TcpStream, mut told: watch::Receiver<Orders>) {
    let mut buffer = vec![0; RECEIVE_BUFFER];
    let mut tick = interval(TICK);
    loop {
        let way = told.borrow_and_update().way;
        let room = match way {
            Way::Open => buffer.len(),
            Way::Slow(per_second) => {
                tick.tick().await;
                (per_second / 50).clamp(1, buffer.len())
            }
            Way::Stalled | Way::HalfOpen | Way::Refused => {
                if told.changed().await.is_err() {
                    return;
                }
                continue;
            }
        };
        let read = tokio::select! {
            read = read(from, &mut buffer[..room]) => read,
            changed = told.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        match read {
            Ok(0) | Err(_) => return,
            Ok(read) => {
                if write_all(to, &buffer[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn read(from: &TcpStream, into: &mut [u8]) -> io::Result<usize> {
    loop {
        from.readable().await?;
        match from.try_read(into) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}

async fn write_all(to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(address)?;
    // Inherited by accepted sockets, before their window is offered.
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_tcp_mss(SEGMENT_BYTES)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    /// A platform that says back what it hears.
    async fn echo() -> (SocketAddr, AbortOnDropHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = socket.into_split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        (address, AbortOnDropHandle::new(task))
    }

    /// How long nothing is waited for.
    const SILENCE: Duration = Duration::from_millis(500);

    async fn says_back(socket: &mut TcpStream, within: Duration) -> bool {
        let mut byte = [0];
        let said = async {
            socket.write_all(b"x").await?;
            socket.read_exact(&mut byte).await
        };
        timeout(within, said).await.is_ok_and(|said| said.is_ok())
    }

    #[tokio::test]
    async fn a_way_is_open_refused_and_open_again_at_the_same_address() {
        let (platform, _echo) = echo().await;
        let proxy = Proxy::to(platform).unwrap();
        let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(says_back(&mut socket, SOON).await);

        proxy.set(Way::Refused);
        let mut rest = [0; 8];
        let ended = timeout(SOON, socket.read(&mut rest)).await.unwrap();
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

        proxy.set(Way::Open);
        let again = async {
            loop {
                match TcpStream::connect(proxy.address()).await {
                    Ok(socket) => return socket,
                    Err(_) => sleep(TICK).await,
                }
            }
        };
        let mut socket = timeout(SOON, again).await.unwrap();
        assert!(says_back(&mut socket, SOON).await);
        proxy.reset();
        let ended = timeout(SOON, socket.read(&mut rest)).await.unwrap();
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_stalled_way_takes_nothing_until_it_is_over() {
        let (platform, _echo) = echo().await;
        let proxy = Proxy::to(platform).unwrap();
        let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(says_back(&mut socket, SOON).await);
        proxy.set(Way::Stalled);
        assert!(!says_back(&mut socket, SILENCE).await);
        proxy.set(Way::Open);
        let mut rest = [0; 8];
        let ended = timeout(SOON, socket.read(&mut rest)).await.unwrap();
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn behind_a_half_open_way_nothing_is_acknowledged() {
        let (platform, _echo) = echo().await;
        let proxy = Proxy::to(platform).unwrap();
        let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(says_back(&mut socket, SOON).await);
        proxy.set(Way::HalfOpen);
        // Until the task has heard of it.
        while says_back(&mut socket, SILENCE).await {}
        let connect = timeout(
            Duration::from_millis(300),
            TcpStream::connect(proxy.address()),
        );
        assert!(connect.await.is_err(), "not even a new connection");

        proxy.set(Way::Open);
        let mut rest = [0; 8];
        let ended = timeout(SOON, socket.read(&mut rest)).await.unwrap();
        assert!(ended.is_err(), "what was running is lost: {ended:?}");
    }
}
