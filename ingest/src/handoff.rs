//! Handing a publisher's connection from the process that knows the keys to the one that owns the air.
//!
//! Over a unix socket, in one direction: the length of the rest (4 bytes, big endian) with the
//! connection's descriptor attached to its first byte, then a JSON line, then what was read from the
//! connection since its handshake ([`crate::Request::into_parts`]). The receiver answers with one JSON
//! line and closes. The opening holds the stream key, so it is not in any `Debug` text.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::{Deserialize, Serialize};

/// Version of the header this build writes.
pub const VERSION: u32 = 1;
/// The other side is on this machine and has nothing else to do with the socket.
const PATIENCE: Duration = Duration::from_secs(2);
/// The header and an opening, with room to spare.
const MOST_BYTES: u32 = 256 << 10;
const MOST_ANSWER_BYTES: u64 = 4 << 10;

/// What is said of the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// See [`VERSION`].
    pub v: u32,
    /// The live input it is for.
    pub input: String,
    /// Which key let it in; not the key.
    pub key_id: String,
    /// Address of the publisher.
    pub from: String,
}

/// A connection on its way.
pub struct Handoff {
    /// What is said of it.
    pub header: Header,
    /// What was read from it since its handshake.
    pub opening: Vec<u8>,
    /// The connection.
    pub connection: std::net::TcpStream,
}

/// What the receiver makes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// It is the feed of that input now.
    Taken,
    /// It was refused, and its publisher told.
    Refused {
        /// Stable, snake case.
        code: String,
        /// In words.
        message: String,
    },
}

/// Hands `handoff` to whoever listens at `socket`; blocks for up to [`PATIENCE`] a step.
///
/// # Errors
/// When nobody listens or answers. The connection is closed then.
pub fn send(socket: &Path, handoff: Handoff) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut rest = serde_json::to_vec(&handoff.header)?;
    rest.push(b'\n');
    rest.extend_from_slice(&handoff.opening);
    let length = u32::try_from(rest.len())
        .ok()
        .filter(|length| *length <= MOST_BYTES)
        .ok_or(io::ErrorKind::InvalidInput)?;
    let descriptors = [handoff.connection.as_raw_fd()];
    let sent = sendmsg::<()>(
        stream.as_raw_fd(),
        &[IoSlice::new(&length.to_be_bytes())],
        &[ControlMessage::ScmRights(&descriptors)],
        MsgFlags::empty(),
        None,
    )?;
    if sent != size_of::<u32>() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    stream.write_all(&rest)?;
    let mut answer = String::new();
    stream.take(MOST_ANSWER_BYTES).read_to_string(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

/// Takes what [`send`] sent; blocks for up to [`PATIENCE`] a step. Answer with [`answer`].
///
/// # Errors
/// When the peer sent something else, or stopped in the middle.
pub fn receive(stream: &mut UnixStream) -> io::Result<Handoff> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut length = [0; size_of::<u32>()];
    let connection = receive_descriptor(stream, &mut length)?;
    let length = u32::from_be_bytes(length);
    if length > MOST_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut rest = vec![0; length as usize];
    stream.read_exact(&mut rest)?;
    let end = rest.iter().position(|byte| *byte == b'\n');
    let end = end.ok_or(io::ErrorKind::InvalidData)?;
    Ok(Handoff {
        header: serde_json::from_slice(&rest[..end])?,
        opening: rest.split_off(end + 1),
        connection: connection.into(),
    })
}

/// Answers the peer of [`receive`].
///
/// # Errors
/// When it has left.
pub fn answer(stream: &mut UnixStream, answer: &Answer) -> io::Result<()> {
    serde_json::to_writer(&mut *stream, answer)?;
    stream.write_all(b"\n")
}

fn receive_descriptor(stream: &UnixStream, length: &mut [u8; 4]) -> io::Result<OwnedFd> {
    let mut space = cmsg_space!([std::os::fd::RawFd; 1]);
    let mut target = [IoSliceMut::new(length)];
    // Close-on-exec from its first instant: an FFmpeg that is being started must not keep it open.
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_WAITALL;
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut target, Some(&mut space), flags)?;
    if message.bytes != size_of::<u32>() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut found = None;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = part {
            for descriptor in descriptors {
                #[expect(unsafe_code, reason = "the kernel hands descriptors over as numbers")]
                // SAFETY: `recvmsg` has just made this descriptor for us, and nobody else knows it.
                let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
                found.get_or_insert(owned);
            }
        }
    }
    found.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

impl fmt::Debug for Handoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Handoff");
        shown.field("header", &self.header).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let there = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        (listener.accept().expect("accepts").0, there)
    }

    #[test]
    fn a_connection_goes_on_in_other_hands() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ingest.sock");
        let listener = UnixListener::bind(&path).expect("binds");
        let (here, mut publisher) = pair();
        let header = Header {
            v: VERSION,
            input: "studio".to_owned(),
            key_id: "0a1b".to_owned(),
            from: "127.0.0.1:9".to_owned(),
        };
        let sent = header.clone();
        let sender = std::thread::spawn(move || {
            let handoff = Handoff {
                header: sent,
                opening: b"one\ntwo".to_vec(),
                connection: here,
            };
            send(&path, handoff)
        });
        let (mut socket, _) = listener.accept().expect("accepts");
        let mut handoff = receive(&mut socket).expect("received");
        assert_eq!(handoff.header, header);
        assert_eq!(handoff.opening, b"one\ntwo");
        assert!(!format!("{handoff:?}").contains("two"));
        answer(&mut socket, &Answer::Taken).expect("answered");
        drop(socket);
        assert_eq!(
            sender.join().expect("sent").expect("answered"),
            Answer::Taken
        );
        handoff.connection.write_all(b"hello").expect("written");
        let mut heard = [0; 5];
        publisher.read_exact(&mut heard).expect("read");
        assert_eq!(&heard, b"hello");
    }

    #[test]
    fn what_is_no_handoff_is_refused() {
        for text in [
            &b""[..],
            b"\0\0\0\x02{}",
            b"\xff\xff\xff\xff",
            b"GET / HTTP/1.1\r\n",
        ] {
            let (mut here, mut there) = UnixStream::pair().expect("a pair");
            there.write_all(text).expect("written");
            drop(there);
            assert!(receive(&mut here).is_err(), "{text:?}");
        }
    }
}
