//! What the peer has acknowledged, read from the socket of the FFmpeg that publishes to it.
//!
//! FFmpeg does not tell, and taking data is no proof of delivery: its kernel's buffer takes seconds
//! of it for a peer that is gone. So a copy of FFmpeg's own socket is asked (`TCP_INFO`). The copy
//! lives for one question only: while it exists, the connection would outlive FFmpeg.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

/// `TCP_SYN_SENT` of the kernel's `tcp_states.h`.
const SYN_SENT: u8 = 2;

/// A socket's account of what was sent through it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The peer has answered to our wish to connect.
    pub established: bool,
    /// Bytes the peer has acknowledged.
    pub acked_bytes: u64,
    /// Bytes that were written to the socket and are not acknowledged.
    pub unacked_bytes: u64,
    /// Of these, what the kernel was not allowed to send yet.
    pub unsent_bytes: u64,
    /// A full segment; less than that may wait for company.
    pub segment_bytes: u64,
    /// Bytes the peer has sent.
    pub received_bytes: u64,
    /// Bytes of the connection up to which the peer has offered to take them. A peer that is alive
    /// moves this on as it reads; one whose kernel alone still answers does not.
    pub window_end_bytes: u64,
    /// How long ago the last acknowledgement came, whatever it acknowledged.
    pub acked_ago: Duration,
    /// Smoothed round trip.
    pub round_trip: Duration,
    /// The shortest of the last minutes.
    pub least_round_trip: Duration,
    /// Segments sent again.
    pub retransmits: u64,
}

/// Asks for the delivery of one process.
#[derive(Debug)]
pub struct DeliveryProbe {
    process: Pid,
    pidfd: Option<OwnedFd>,
    /// Its descriptor of the connection, once found.
    socket: Option<i32>,
    /// What [`Self::abandon`] was told last; an earlier image of this process may have said something else.
    abandoned: Option<bool>,
}

impl DeliveryProbe {
    /// For the process `pid`, a child that was not waited for yet.
    pub fn new(pid: supervise::Pid) -> Self {
        let process = Pid::from_raw(pid.as_raw()).expect("a child's number is above zero");
        Self {
            process,
            pidfd: rustix::process::pidfd_open(process, PidfdFlags::empty()).ok(),
            socket: None,
            abandoned: None,
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
        self.abandoned = None;
        found.map(|(_, delivery)| delivery)
    }

    /// Whether the kernel is to forget what is unsent when the process ends, however it ends. Else it would go
    /// on delivering for minutes, and the peer would have a publisher that is gone beside the next one.
    pub fn abandon(&mut self, at_once: bool) {
        if self.abandoned == Some(at_once) {
            return;
        }
        let Some(copy) = self.socket.and_then(|number| self.copy(number)) else {
            return;
        };
        let linger = libc::linger {
            l_onoff: at_once.into(),
            l_linger: 0,
        };
        // One that is closed already has nothing unsent.
        let _closed = setsockopt(&copy, sockopt::Linger, &linger);
        self.abandoned = Some(at_once);
    }

    fn copy(&self, number: i32) -> Option<OwnedFd> {
        let flags = PidfdGetfdFlags::empty();
        rustix::process::pidfd_getfd(self.pidfd.as_ref()?, number, flags).ok()
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
        let copy = self.copy(number)?;
        let info = tcp_info(std::os::fd::AsFd::as_fd(&copy))?;
        Some(account(&info))
    }
}

fn account(info: &libc::tcp_info) -> Delivery {
    // What was sent again is counted twice, and the first byte of all is the connection's own.
    let sent = info.tcpi_bytes_sent.saturating_sub(info.tcpi_bytes_retrans);
    let in_flight = match info.tcpi_unacked {
        0 => 0,
        _ => sent.saturating_sub(info.tcpi_bytes_acked).max(1),
    };
    Delivery {
        established: info.tcpi_state != SYN_SENT,
        acked_bytes: info.tcpi_bytes_acked,
        unacked_bytes: in_flight + u64::from(info.tcpi_notsent_bytes),
        unsent_bytes: info.tcpi_notsent_bytes.into(),
        segment_bytes: info.tcpi_snd_mss.into(),
        received_bytes: info.tcpi_bytes_received,
        window_end_bytes: info.tcpi_bytes_acked + u64::from(info.tcpi_snd_wnd),
        acked_ago: Duration::from_millis(info.tcpi_last_ack_recv.into()),
        round_trip: Duration::from_micros(info.tcpi_rtt.into()),
        least_round_trip: Duration::from_micros(info.tcpi_min_rtt.into()),
        retransmits: info.tcpi_total_retrans.into(),
    }
}

/// `TCP_INFO` of a socket; `None` when it is not a TCP socket or the kernel is older than 5.4.
fn tcp_info(socket: BorrowedFd<'_>) -> Option<libc::tcp_info> {
    let needed = std::mem::offset_of!(libc::tcp_info, tcpi_snd_wnd) + size_of::<u32>();
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
        assert!(delivery.established && delivery.window_end_bytes > delivery.acked_bytes);
        assert_eq!((delivery.unacked_bytes, delivery.unsent_bytes), (0, 0));
        assert!(delivery.segment_bytes > 0 && delivery.least_round_trip < Duration::from_secs(5));
    }

    #[test]
    fn what_is_not_a_connection_is_none() {
        let file = std::fs::File::open("/dev/null").expect("there");
        assert!(tcp_info(std::os::fd::AsFd::as_fd(&file)).is_none());
    }
}
