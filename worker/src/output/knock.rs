//! Asks whether a destination could be connected to again, without connecting to it.
//!
//! While a destination is waited for, a try costs an FFmpeg and a session; a knock costs a TCP
//! connection. So the waits between tries may grow, and the destination is back soon after it can
//! be. A host's name may take long to resolve, and the system's resolver only blocks: each knock has
//! a short-lived thread of its own, of which a destination has one at a time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
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

/// Where to knock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// Name or address.
    pub host: String,
    /// Of TCP.
    pub port: u16,
    /// The server can be greeted in plain RTMP.
    pub speaks_rtmp: bool,
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
        let knock = match self.speaks_rtmp {
            true => knock,
            false => Knock::Connect,
        };
        let mut addresses = addresses.take(4);
        addresses.any(|address| answers_at(&address, knock).is_ok())
    }
}

fn answers_at(address: &SocketAddr, knock: Knock) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(address, PATIENCE)?;
    if knock == Knock::Greet {
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&RTMP_GREETING)?;
        stream.read_exact(&mut [0])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn door(port: u16) -> Door {
        Door {
            host: "127.0.0.1".to_owned(),
            port,
            speaks_rtmp: true,
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
    async fn a_name_without_an_address_does_not_answer() {
        let nowhere = Door {
            host: "no-such-host.invalid".to_owned(),
            ..door(1935)
        };
        assert!(!nowhere.answers(Knock::Connect).await);
    }
}
