//! The unix socket file: made for its owner alone, removed with its listener.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A listening control socket.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    _file: SocketFile,
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
        let refused = |source| SocketError::Refused {
            path: path.to_owned(),
            source,
        };
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(refused)?;
        let file = SocketFile {
            path: path.to_owned(),
        };
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        Ok(Self {
            listener,
            _file: file,
        })
    }

    /// The socket at `path` that an earlier image of this process listened at.
    pub fn resume(listener: OwnedFd, path: &Path) -> Self {
        Self {
            listener: listener.into(),
            _file: SocketFile {
                path: path.to_owned(),
            },
        }
    }

    /// For the next image of this process: it stays open, and whoever connects meanwhile waits.
    ///
    /// # Errors
    /// When the process has too many descriptors.
    pub fn hand_over(&self) -> io::Result<OwnedFd> {
        Ok(self.listener.try_clone()?.into())
    }

    pub(super) fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        tokio::net::UnixListener::from_std(self.listener.try_clone()?)
    }
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
