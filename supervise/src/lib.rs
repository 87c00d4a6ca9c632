//! A child process and its life: spawn, watch, terminate, back off.
//!
//! Every process this system starts goes through [`spawn()`] or [`capture()`]; every process it signals
//! is held by a pidfd, never by a stored number.
//!
//! - [`command`]: what to run and what it inherits ([`Spec`]).
//! - `spawner`: the one thread that forks, for a death signal that means what it says.
//! - `fork`: a new process that copies nothing of this one.
//! - [`reexec`]: this process becomes another program and keeps its children.
//! - `unreaped`: children whose status was not collected.
//! - [`child`]: a running child; dropped, it is killed unless it was made to outlive its parent.
//! - [`watch`]: a process that need not be a child.
//! - [`priority`]: who goes first where cores are short.
//! - [`cgroup`]: a child's own control group, where they are delegated.
//! - [`terminate`]: TERM, TERM again, KILL.
//! - [`mod@capture`]: run to the end with bounded time and output.
//! - [`lines`]: output as bounded, printable lines, and the last of them.
//! - [`backoff`]: how long to wait before the next try; pure.
//! - [`shutdown`]: the first signal is graceful, the second immediate.

pub mod backoff;
pub mod capture;
pub mod cgroup;
pub mod child;
pub mod command;
mod fork;
pub mod lines;
pub mod priority;
pub mod reexec;
pub mod shutdown;
mod spawner;
pub mod terminate;
mod unreaped;
pub mod watch;

pub use capture::{CaptureError, CaptureLimits, Captured, capture};
pub use child::{Child, ExitReason, spawn};
pub use command::{Group, Input, Output, Priority, SpawnError, Spec, minimal_env};
pub use nix::unistd::Pid;
pub use spawner::here as spawner_here;
pub use terminate::{Grace, Terminated};
