//! Telling systemd (`sd_notify`): ready, stopping, alive. Without systemd all of it does nothing.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// The service manager's socket, if there is one.
#[derive(Debug)]
pub(super) struct Notify {
    socket: Option<UnixDatagram>,
    /// Twice per `WatchdogSec`, as systemd advises.
    alive_every: Option<Duration>,
}

/// When to say [`Notify::alive`].
#[derive(Debug)]
pub(super) struct Watchdog(Option<Interval>);

// === impl Notify ===

impl Notify {
    /// From `NOTIFY_SOCKET` and `WATCHDOG_USEC`.
    pub(super) fn from_environment() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|name| {
            connect(&name)
                .inspect_err(|error| tracing::warn!(%error, "cannot reach the service manager"))
                .ok()
        });
        let alive_every = std::env::var("WATCHDOG_USEC")
            .ok()
            .and_then(|text| text.parse().ok())
            .filter(|micros| *micros > 0)
            .map(|micros| Duration::from_micros(micros) / 2);
        Self {
            alive_every: alive_every.filter(|_| socket.is_some()),
            socket,
        }
    }

    /// Up, and every stream looked after.
    pub(super) fn ready(&self) {
        self.send("READY=1");
    }

    /// On the way out.
    pub(super) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// The runtime still turns.
    pub(super) fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// When [`Self::alive`] is due.
    pub(super) fn watchdog(&self) -> Watchdog {
        Watchdog(self.alive_every.map(|period| {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        }))
    }

    fn send(&self, state: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(state.as_bytes())
        {
            tracing::warn!(%error, state, "cannot tell the service manager");
        }
    }
}

fn connect(name: &OsString) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match name.as_bytes().strip_prefix(b"@") {
        Some(abstract_name) => {
            socket.connect_addr(&SocketAddr::from_abstract_name(abstract_name)?)?;
        }
        None => socket.connect(name)?,
    }
    Ok(socket)
}

// === impl Watchdog ===

impl Watchdog {
    /// Returns when a sign of life is due; never without a watchdog.
    pub(super) async fn due(&mut self) {
        match &mut self.0 {
            Some(ticks) => {
                ticks.tick().await;
            }
            None => std::future::pending().await,
        }
    }
}
