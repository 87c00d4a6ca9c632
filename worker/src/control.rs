//! The control socket: status, events and commands over HTTP on a unix socket.

pub mod command;

pub use command::{Command, ControlPort, FormatChanged, NothingToSkip, Take};
