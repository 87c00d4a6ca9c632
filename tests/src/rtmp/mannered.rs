//! A socket that is read as the manners of the moment allow.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Manners, Orders};

/// How often a socket that is not read freely is looked at.
const TICK: Duration = Duration::from_millis(20);

/// See [`Manners`].
pub(super) struct Mannered {
    socket: TcpStream,
    told: watch::Receiver<Orders>,
    tick: Interval,
    /// Bytes that may still be read before the next tick.
    allowance: usize,
}

// === impl Mannered ===

impl Mannered {
    pub(super) fn new(socket: TcpStream, told: watch::Receiver<Orders>) -> Self {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            socket,
            told,
            tick,
            allowance: 0,
        }
    }

    /// What may be read now. Looked at again with each tick.
    fn allowed(&mut self, cx: &mut Context<'_>) -> usize {
        let manners = self.told.borrow().manners;
        let per_tick = match manners {
            Manners::Stall => 0,
            Manners::Slow(per_second) => (per_second / 50).max(1) as usize,
            Manners::Polite | Manners::Refuse | Manners::RejectKey => usize::MAX,
        };
        // Polled to the end, so that this task is woken by the next tick.
        while self.tick.poll_tick(cx).is_ready() {
            self.allowance = per_tick;
        }
        self.allowance = self.allowance.min(per_tick);
        match per_tick {
            usize::MAX => usize::MAX,
            _ => self.allowance,
        }
    }
}

impl AsyncRead for Mannered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let allowed = self.allowed(cx).min(buffer.remaining());
        if allowed == 0 {
            return Poll::Pending;
        }
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(allowed));
        std::task::ready!(Pin::new(&mut self.socket).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buffer.advance(read);
        self.allowance = self.allowance.saturating_sub(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Mannered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
