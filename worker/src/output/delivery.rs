//! What the peer has acknowledged, read from the socket of the FFmpeg that publishes to it.
//!
//! FFmpeg does not tell, and taking data is no proof of delivery: its kernel's buffer takes seconds
//! of it for a peer that is gone. So a copy of FFmpeg's own socket is asked (`TCP_INFO`). The copy
//! lives for one question only: while it exists, the connection would outlive FFmpeg.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

/// A socket's account of what was sent through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Bytes the peer has acknowledged.
    pub acked_bytes: u64,
    /// Something was written to the socket and is not acknowledged.
    pub pending: bool,
}

/// Asks for the delivery of one process.
#[derive(Debug)]
pub struct DeliveryProbe {
    process: Pid,
    pidfd: Option<OwnedFd>,
    /// Its descriptor of the connection, once found.
    socket: Option<i32>,
}

impl DeliveryProbe {
    /// For the process `pid`, a child that was not waited for yet.
    pub fn new(pid: supervise::Pid) -> Self {
        let process = Pid::from_raw(pid.as_raw()).expect("a child's number is above zero");
        Self {
            process,
            pidfd: rustix::process::pidfd_open(process, PidfdFlags::empty()).ok(),
            socket: None,
        }
    }

    /// What was delivered; `None` without a TCP connection, or where the kernel does not let us
    /// look (before 5.6, or under a strict ptrace policy).
    pub fn ask(&mut self) -> Option<Delivery> {
        if let Some(delivery) = self.socket.and_then(|number| self.ask_socket(number)) {
            return Some(delivery);
        }
        let found = self
            .sockets()
            .find_map(|number| Some((number, self.ask_socket(number)?)));
        self.socket = found.map(|(number, _)| number);
        found.map(|(_, delivery)| delivery)
    }

    fn sockets(&self) -> impl Iterator<Item = i32> + use<> {
        let directory = format!("/proc/{}/fd", self.process.as_raw_nonzero());
        let entries = fs::read_dir(directory).ok().into_iter().flatten();
        entries.filter_map(|entry| {
            let entry = entry.ok()?;
            let target = fs::read_link(entry.path()).ok()?;
            let socket = target.to_str()?.starts_with("socket:");
            socket.then(|| entry.file_name().to_str()?.parse().ok())?
        })
    }

    fn ask_socket(&self, number: i32) -> Option<Delivery> {
        let pidfd = self.pidfd.as_ref()?;
        let flags = PidfdGetfdFlags::empty();
        let copy = rustix::process::pidfd_getfd(pidfd, number, flags).ok()?;
        let info = tcp_info(std::os::fd::AsFd::as_fd(&copy))?;
        Some(Delivery {
            acked_bytes: info.tcpi_bytes_acked,
            pending: info.tcpi_unacked > 0 || info.tcpi_notsent_bytes > 0,
        })
    }
}

/// `TCP_INFO` of a socket; `None` when it is not a TCP socket or the kernel is older than 4.6.
fn tcp_info(socket: BorrowedFd<'_>) -> Option<libc::tcp_info> {
    let needed = std::mem::offset_of!(libc::tcp_info, tcpi_notsent_bytes) + size_of::<u32>();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    #[expect(
        unsafe_code,
        reason = "no crate here wraps TCP_INFO with a length that may differ from the kernel's"
    )]
    // SAFETY: `tcp_info` is plain integers, for which zero is a value. The kernel writes at most
    // `length` bytes, which is the size of `info`, and sets `length` to what it wrote. Both outlive
    // the call, and `socket` is open during it.
    let (answer, info) = unsafe {
        let mut info: libc::tcp_info = std::mem::zeroed();
        let answer = libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        );
        (answer, info)
    };
    (answer == 0 && length as usize >= needed).then_some(info)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_process_is_asked_for_its_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut here = TcpStream::connect(address).expect("connects");
        let (mut there, _) = listener.accept().expect("accepts");
        here.write_all(&[7; 10_000]).expect("written");
        there.read_exact(&mut [0; 10_000]).expect("read");
        // This process has other sockets in other tests: the number is given, not searched for.
        let mut probe = DeliveryProbe::new(supervise::Pid::this());
        probe.socket = Some(here.as_raw_fd());
        let Some(delivery) = probe.ask() else {
            eprintln!("skipped: this machine does not let us look");
            return;
        };
        assert!(delivery.acked_bytes >= 10_000, "{delivery:?}");
        assert!(!delivery.pending);
    }

    #[test]
    fn what_is_not_a_connection_is_none() {
        let file = std::fs::File::open("/dev/null").expect("there");
        assert!(tcp_info(std::os::fd::AsFd::as_fd(&file)).is_none());
    }
}
