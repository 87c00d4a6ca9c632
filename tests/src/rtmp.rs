//! An RTMP server that notes each message with its arrival, and misbehaves on request.
//!
//! One thread accepts, one per connection reads; nothing else of the test can delay them, so an
//! arrival time is the kernel's hand-over and not the moment when a test happened to look.

mod session;

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt, io};

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt::RcvBuf};

use self::session::{Event, Session};
use crate::flv::{Recorder, Tag, Track};
use crate::wait;

/// Small, so that a stall is felt by the publisher after tenths of a second and not after the
/// megabytes that a kernel likes to keep for loopback.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// How long a read waits before the manners are looked at again.
const READ_WAIT: Duration = Duration::from_millis(20);

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
    /// Why the receiver ended it, when the publisher broke the protocol.
    pub error: Option<String>,
    /// Everything received, in order.
    pub messages: Vec<Message>,
}

impl Connection {
    fn new() -> Self {
        Self {
            app: String::new(),
            key: String::new(),
            opened: Instant::now(),
            closed: None,
            unpublished: false,
            error: None,
            messages: Vec::new(),
        }
    }

    /// Pictures and AAC frames, without headers.
    pub fn frames(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(|m| m.tag.is_frame())
    }

    /// Whether any picture or sound came.
    pub fn has_media(&self) -> bool {
        self.frames().next().is_some()
    }
}

/// The server; ends with its connections when dropped.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    manners: Mutex<Manners>,
    log: Mutex<Vec<Connection>>,
    sockets: Mutex<Vec<TcpStream>>,
    recordings: Option<PathBuf>,
    closing: AtomicBool,
}

impl Receiver {
    /// A polite receiver on a free port of the loopback.
    pub fn start() -> Self {
        Self::bind("127.0.0.1:0".parse().expect("a literal address"), None)
    }

    /// A polite receiver at `address`, which nothing else may hold.
    pub fn start_at(address: SocketAddr) -> Self {
        Self::bind(address, None)
    }

    /// A polite receiver that also writes each connection to `dir/<number>.flv`.
    pub fn recording_to(dir: PathBuf) -> Self {
        Self::bind("127.0.0.1:0".parse().expect("a literal address"), Some(dir))
    }

    fn bind(address: SocketAddr, recordings: Option<PathBuf>) -> Self {
        let listener = TcpListener::bind(address).expect("the receiver's port");
        // Inherited by accepted sockets, before their window is offered.
        setsockopt(&listener, RcvBuf, &RECEIVE_BUFFER).expect("setting the receive buffer");
        let shared = Arc::new(Shared {
            manners: Mutex::new(Manners::Polite),
            log: Mutex::new(Vec::new()),
            sockets: Mutex::new(Vec::new()),
            recordings,
            closing: AtomicBool::new(false),
        });
        let address = listener.local_addr().expect("a bound socket's address");
        let for_thread = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || accept(&listener, &for_thread));
        Self {
            address,
            shared,
            acceptor: Some(acceptor),
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
        *lock(&self.shared.manners) = manners;
    }

    /// Ends every running connection.
    pub fn drop_connections(&self) {
        for socket in lock(&self.shared.sockets).drain(..) {
            // One that has ended already is what was wanted.
            drop(socket.shutdown(Shutdown::Both));
        }
    }

    /// Looks at the connections so far.
    pub fn look<T>(&self, look: impl FnOnce(&[Connection]) -> T) -> T {
        look(&lock(&self.shared.log))
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

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.drop_connections();
        // Wakes the blocking accept; it fails only when the acceptor is gone already.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver({})", self.address)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    while let Ok((socket, _)) = listener.accept() {
        if shared.closing.load(Ordering::SeqCst) {
            break;
        }
        let number = {
            let mut log = lock(&shared.log);
            log.push(Connection::new());
            log.len() - 1
        };
        if *lock(&shared.manners) == Manners::Refuse {
            lock(&shared.log)[number].closed = Some(Instant::now());
            continue;
        }
        lock(&shared.sockets).extend(socket.try_clone());
        let shared = Arc::clone(shared);
        threads.push(std::thread::spawn(move || {
            let result = serve(&socket, number, &shared);
            drop(socket.shutdown(Shutdown::Both));
            let mut log = lock(&shared.log);
            log[number].closed = Some(Instant::now());
            log[number].error = result.err().map(|error| format!("{error:#}"));
        }));
    }
    for thread in threads {
        drop(thread.join());
    }
}

fn serve(mut socket: &TcpStream, number: usize, shared: &Shared) -> Result<()> {
    socket.set_read_timeout(Some(READ_WAIT))?;
    socket.set_nodelay(true)?;
    let mut session = Session::new();
    let mut recorder = match &shared.recordings {
        Some(dir) => Some(Recorder::create(&dir.join(format!("{number}.flv")))?),
        None => None,
    };
    let mut buffer = vec![0; RECEIVE_BUFFER];
    while !shared.closing.load(Ordering::SeqCst) {
        let Some(read) = read_mannered(socket, &mut buffer, shared)? else {
            continue;
        };
        if read == 0 {
            break;
        }
        let arrived = Instant::now();
        for event in session.feed(&buffer[..read])? {
            note(event, arrived, number, shared, &mut session, &mut recorder)?;
        }
        let answer = session.take_outgoing();
        io::Write::write_all(&mut socket, &answer).context("answering")?;
    }
    Ok(())
}

/// Reads as the manners allow; `None` when nothing came, or nothing was wanted.
fn read_mannered(
    mut socket: &TcpStream,
    buffer: &mut [u8],
    shared: &Shared,
) -> Result<Option<usize>> {
    let manners = *lock(&shared.manners);
    let most = match manners {
        Manners::Stall => 0,
        Manners::Slow(per_second) => (per_second / 50).max(1) as usize,
        _ => buffer.len(),
    };
    if most < buffer.len() {
        std::thread::sleep(READ_WAIT);
    }
    if most == 0 {
        return Ok(None);
    }
    let room = most.min(buffer.len());
    match io::Read::read(&mut socket, &mut buffer[..room]) {
        Ok(read) => Ok(Some(read)),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ok(None),
            // The publisher vanished: an end like any other.
            io::ErrorKind::ConnectionReset => Ok(Some(0)),
            _ => Err(error).context("reading"),
        },
    }
}

fn note(
    event: Event,
    arrived: Instant,
    number: usize,
    shared: &Shared,
    session: &mut Session,
    recorder: &mut Option<Recorder>,
) -> Result<()> {
    match event {
        Event::Connected { app } => lock(&shared.log)[number].app = app,
        Event::Unpublished => lock(&shared.log)[number].unpublished = true,
        Event::Publish { key } => {
            if *lock(&shared.manners) == Manners::RejectKey {
                session.reject(&key)?;
            } else {
                session.accept()?;
            }
            lock(&shared.log)[number].key = key;
        }
        Event::Media {
            track,
            dts_ms,
            body,
        } => {
            if let Some(recorder) = recorder {
                recorder.write(track, dts_ms, strip_set_data_frame(track, &body))?;
            }
            let tag = Tag::parse(track, i64::from(dts_ms), &body);
            lock(&shared.log)[number]
                .messages
                .push(Message { tag, arrived });
        }
    }
    Ok(())
}

/// `@setDataFrame` is a command to the server; the file holds what follows it.
fn strip_set_data_frame(track: Track, body: &[u8]) -> &[u8] {
    const COMMAND: &[u8] = b"\x02\0\x0d@setDataFrame";
    match track {
        Track::Script => body.strip_prefix(COMMAND).unwrap_or(body),
        _ => body,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panicking test must not hide its own message behind a poisoned lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
