//! The unix socket file: made for its owner alone, removed with its listener, made again when somebody else
//! removed it: whoever is on air must stay within reach.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::unix::SocketAddr;
use tokio::time::timeout;

/// How often the file is looked for while nobody connects. A controller is told to worry after 6 s.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A listening control socket.
#[derive(Debug)]
pub struct ControlSocket {
    listener: Mutex<UnixListener>,
    file: SocketFile,
}

/// Takes connections at a socket, also when its file has to be made again.
#[derive(Debug)]
pub(super) struct Door {
    socket: Arc<ControlSocket>,
    listener: tokio::net::UnixListener,
}

/// Removes the file when dropped.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another worker of this stream is running.
    #[error("another worker answers on {}: stop that stream first", path.display())]
    Answered {
        /// The socket's.
        path: PathBuf,
    },
    /// Something that is not a socket has its name.
    #[error("{} is in the way and is not a socket: move it away", path.display())]
    InTheWay {
        /// The file's.
        path: PathBuf,
    },
    /// It cannot be made.
    #[error("cannot listen on {}; check that RUNTIME_DIR exists and can be written", path.display())]
    Refused {
        /// The socket's.
        path: PathBuf,
        /// From the system.
        source: io::Error,
    },
}

impl ControlSocket {
    /// Listens at `path`, for this user alone. What a crashed worker left there is removed, but
    /// only when nobody answers on it. The process's umask must keep others out (077), or the
    /// socket would be open to them for the instant before its mode is set.
    ///
    /// # Errors
    /// When another worker is there, or the file cannot be made.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        remove_stale(path)?;
        let listener = listen(path).map_err(|source| SocketError::Refused {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self::of(listener, path))
    }

    fn of(listener: UnixListener, path: &Path) -> Self {
        Self {
            listener: Mutex::new(listener),
            file: SocketFile {
                path: path.to_owned(),
            },
        }
    }

    /// The socket at `path` that an earlier image of this process listened at.
    pub fn resume(listener: OwnedFd, path: &Path) -> Self {
        Self::of(listener.into(), path)
    }

    /// For the next image of this process: it stays open, and whoever connects meanwhile waits.
    ///
    /// # Errors
    /// When the process has too many descriptors.
    pub fn hand_over(&self) -> io::Result<OwnedFd> {
        Ok(self.copy()?.into())
    }

    fn copy(&self) -> io::Result<UnixListener> {
        let listener = self.listener.lock();
        listener.unwrap_or_else(PoisonError::into_inner).try_clone()
    }

    /// Makes the file again if there is none, and its directory. Where that cannot be done (a session's
    /// runtime directory, once the session is over), the next controller knows the worker by its arguments.
    fn renew(&self) -> io::Result<Option<tokio::net::UnixListener>> {
        let path = &self.file.path;
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => return Ok(None),
        }
        if let Some(directory) = path.parent() {
            match DirBuilder::new().mode(0o750).create(directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = listen(path)?;
        tracing::warn!(path = %path.display(), "the control socket was removed, and is made again");
        tokio::net::UnixListener::from_std(self.copy()?).map(Some)
    }
}

// === impl Door ===

impl Door {
    pub(super) fn of(socket: Arc<ControlSocket>) -> io::Result<Self> {
        let listener = tokio::net::UnixListener::from_std(socket.copy()?)?;
        Ok(Self { socket, listener })
    }
}

impl Listener for Door {
    type Io = tokio::net::UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            if let Ok(accepted) = timeout(LOOK_EVERY, Listener::accept(&mut self.listener)).await {
                return accepted;
            }
            match self.socket.renew() {
                Ok(Some(listener)) => self.listener = listener,
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "the control socket cannot be made again"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let refused = |source| SocketError::Refused {
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(error)),
        Ok(there) if !there.file_type().is_socket() => {
            let path = path.to_owned();
            return Err(SocketError::InTheWay { path });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(refused)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(refused(error)),
        Ok(_) => {
            let path = path.to_owned();
            Err(SocketError::Answered { path })
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "the control socket stays behind");
        }
    }
}
