//! Asks whether a destination could be connected to again, without connecting to it.
//!
//! While a destination is waited for, a try costs an FFmpeg and a session; a knock costs a TCP
//! connection, or over SRT two packets. So the waits between tries may grow, and the destination is back soon after it can
//! be. A host's name may take long to resolve, and the system's resolver only blocks: each knock has
//! a short-lived thread of its own, of which a destination has one at a time.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use tokio::sync::oneshot;

/// For each address of the host, and for the answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Version and the client's first 1536 bytes (Adobe's RTMP specification, 5.2): all zeros will do.
const RTMP_GREETING: [u8; 1537] = {
    let mut greeting = [0; 1537];
    greeting[0] = 3;
    greeting
};

/// What the answer to [`SRT_GREETING`] is addressed to.
const SRT_SOCKET: [u8; 4] = *b"STRM";
/// A caller's first packet, *induction* (draft-sharabayko-srt-01, 3.2.1 and 4.3.1.1): who listens answers it with a
/// cookie, and forgets it.
const SRT_GREETING: [u8; 64] = {
    let mut greeting = [0; 64];
    // A control packet of the type handshake, to the socket 0.
    greeting[0] = 0x80;
    // Version 4; extension field 2; a sequence number; packets of 1500 bytes, 8192 of them in flight; induction.
    greeting[19] = 4;
    greeting[23] = 2;
    greeting[27] = 1;
    (greeting[30], greeting[31]) = (0x05, 0xdc);
    greeting[34] = 0x20;
    greeting[39] = 1;
    (greeting[40], greeting[41]) = (SRT_SOCKET[0], SRT_SOCKET[1]);
    (greeting[42], greeting[43]) = (SRT_SOCKET[2], SRT_SOCKET[3]);
    greeting
};

/// Where to knock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// Name or address.
    pub host: String,
    /// Of TCP, or of UDP where SRT is spoken.
    pub port: u16,
    /// How whoever is there can be greeted.
    pub greeting: Greeting,
}

/// How to greet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting {
    /// In plain RTMP.
    Rtmp,
    /// In SRT, which has no other way to knock either.
    Srt,
    /// By connecting alone.
    None,
}

/// What counts as an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knock {
    /// A TCP connection: the machine or the network was gone.
    Connect,
    /// The server's first word: a machine that accepts connections was not enough before.
    Greet,
}

impl Door {
    /// Whether there is an answer now; a server that cannot be greeted here answers by connecting.
    pub async fn answers(&self, knock: Knock) -> bool {
        let (door, (answer_to, answer)) = (self.clone(), oneshot::channel());
        let thread = std::thread::Builder::new().name("knock".to_owned());
        let started = thread.spawn(move || {
            // Whoever asked may have stopped waiting.
            let _unread = answer_to.send(door.answers_now(knock));
        });
        // Without a thread left nothing can be connected either.
        started.is_ok() && answer.await.unwrap_or(false)
    }

    fn answers_now(&self, knock: Knock) -> bool {
        let Ok(addresses) = (self.host.as_str(), self.port).to_socket_addrs() else {
            return false;
        };
        let answers_at = |address: SocketAddr| match (self.greeting, knock) {
            (Greeting::Srt, _) => answers_srt(address),
            (Greeting::Rtmp, Knock::Greet) => accepts(address, true),
            (Greeting::Rtmp | Greeting::None, _) => accepts(address, false),
        };
        let mut addresses = addresses.take(4);
        addresses.any(|address| answers_at(address).is_ok())
    }
}

fn accepts(address: SocketAddr, greet: bool) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    if greet {
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&RTMP_GREETING)?;
        stream.read_exact(&mut [0])?;
    }
    Ok(())
}

fn answers_srt(address: SocketAddr) -> io::Result<()> {
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)?;
    // Only packets of this peer, and its machine's word that nobody is there.
    socket.connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(&SRT_GREETING)?;
    let mut answer = SRT_GREETING;
    let length = socket.recv(&mut answer)?;
    let is_handshake = length == answer.len() && answer.starts_with(&[0x80, 0, 0, 0]);
    match is_handshake && answer[12..16] == SRT_SOCKET {
        true => Ok(()),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn door(port: u16) -> Door {
        Door {
            host: "127.0.0.1".to_owned(),
            port,
            greeting: Greeting::Rtmp,
        }
    }

    #[tokio::test]
    async fn a_machine_that_accepts_is_not_a_server_that_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let door = door(listener.local_addr().expect("bound").port());
        assert!(door.answers(Knock::Connect).await);
        assert!(!door.answers(Knock::Greet).await, "nobody reads");
        drop(listener);
        assert!(!door.answers(Knock::Connect).await);
    }

    #[tokio::test]
    async fn a_server_that_answers_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let door = door(listener.local_addr().expect("bound").port());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a knock");
            let mut greeting = [1; 1537];
            stream.read_exact(&mut greeting).expect("a greeting");
            stream.write_all(&greeting).expect("an answer");
            greeting
        });
        assert!(door.answers(Knock::Greet).await);
        assert_eq!(server.join().expect("no panic"), RTMP_GREETING);
    }

    #[tokio::test]
    async fn whoever_listens_over_srt_is_found_and_nobody_else() {
        let listener = tokio::net::UdpSocket::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let door = Door {
            greeting: Greeting::Srt,
            ..door(listener.local_addr().expect("bound").port())
        };
        // What libsrt 1.5 answered to it, but for who sent that and from where.
        let mut answer = SRT_GREETING;
        answer[12..16].copy_from_slice(&SRT_SOCKET);
        (answer[19], answer[44]) = (5, 0xba);
        let mut for_another = answer;
        for_another[12] += 1;
        for (answer, is_answer) in [
            (&answer[..], true),
            (&for_another, false),
            (&answer[..32], false),
            (b"HTTP/1.1 400", false),
        ] {
            let server = async {
                let mut greeting = [0; 100];
                let (length, from) = listener.recv_from(&mut greeting).await.expect("a greeting");
                assert_eq!(greeting[..length], SRT_GREETING);
                listener.send_to(answer, from).await.expect("it is there");
            };
            let (answered, ()) = tokio::join!(door.answers(Knock::Connect), server);
            assert_eq!(answered, is_answer, "{answer:x?}");
        }
        assert!(!door.answers(Knock::Greet).await, "it says nothing");
        drop(listener);
        assert!(!door.answers(Knock::Greet).await);
    }

    #[tokio::test]
    async fn a_name_without_an_address_does_not_answer() {
        let nowhere = Door {
            host: "no-such-host.invalid".to_owned(),
            ..door(1935)
        };
        assert!(!nowhere.answers(Knock::Connect).await);
    }
}
