//! A platform of the drill: receives whatever is published to it and notes all of it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ingest::receiver::Log;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Platform {
    address: SocketAddr,
    log: Log,
    rejects: Arc<AtomicBool>,
    _task: AbortOnDropHandle<()>,
}

// === impl Platform ===

impl Platform {
    /// On a free port of the loopback.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let log = Log::default();
        let rejects = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(serve(listener, log.clone(), Arc::clone(&rejects)));
        Ok(Self {
            address,
            log,
            rejects,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has received.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Refuses every key from now on, or none.
    pub fn reject_keys(&self, reject: bool) {
        self.rejects.store(reject, Ordering::Relaxed);
    }
}

async fn serve(listener: TcpListener, log: Log, rejects: Arc<AtomicBool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                let rejects = Arc::clone(&rejects);
                let judge = move |_: &str| match rejects.load(Ordering::Relaxed) {
                    true => Err("unknown stream key".to_owned()),
                    false => Ok(()),
                };
                connections.spawn(log.open().follow(socket, judge));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
