//! The control socket: status, events and commands over HTTP on a unix socket.
