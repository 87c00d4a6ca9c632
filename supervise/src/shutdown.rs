//! The first SIGINT or SIGTERM asks for a graceful end, the second for an immediate one.

use std::io;
use std::sync::{Arc, OnceLock};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// The wish to end, shared by everyone who has to act on it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown {
    wish: Wish,
    /// Ends with the last clone.
    _listener: Arc<AbortOnDropHandle<()>>,
}

/// What was asked for first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// SIGINT: a person at a terminal.
    Interrupt,
    /// SIGTERM: a service manager.
    Terminate,
    /// The program itself, see [`Shutdown::request`].
    Request,
}

#[derive(Debug, Clone, Default)]
struct Wish {
    cause: Arc<OnceLock<Cause>>,
    graceful: CancellationToken,
    immediate: CancellationToken,
}

// === impl Shutdown ===

impl Shutdown {
    /// Takes SIGINT and SIGTERM over from the default action.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn install() -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let wish = Wish::default();
        let told = wish.clone();
        let listener = tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(()) = interrupt.recv() => told.tell(Cause::Interrupt),
                    Some(()) = terminate.recv() => told.tell(Cause::Terminate),
                    else => return,
                }
            }
        });
        Ok(Self {
            wish,
            _listener: Arc::new(AbortOnDropHandle::new(listener)),
        })
    }

    /// Cancelled by the first signal.
    pub fn token(&self) -> CancellationToken {
        self.wish.graceful.clone()
    }

    /// Returns at the first signal with what it was.
    pub async fn requested(&self) -> Cause {
        self.wish.graceful.cancelled().await;
        *self
            .wish
            .cause
            .get()
            .expect("the cause is set before the token is cancelled")
    }

    /// Returns at the second signal: whatever is still being tidied up is to be left.
    pub async fn immediate(&self) {
        self.wish.immediate.cancelled().await;
    }

    /// Asks for a graceful end from inside the program; never for an immediate one.
    pub fn request(&self) {
        self.wish.ask(Cause::Request);
    }
}

impl Wish {
    fn tell(&self, cause: Cause) {
        if self.graceful.is_cancelled() {
            self.immediate.cancel();
        } else {
            self.ask(cause);
        }
    }

    fn ask(&self, cause: Cause) {
        self.cause.get_or_init(|| cause);
        self.graceful.cancel();
    }
}
