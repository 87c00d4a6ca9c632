//! Who goes first where cores are short.
//!
//! ```text
//!  -10  those who pass things on: controller and workers (a few per cent of a core)
//!    0  who works on what is on air: FFmpeg that sends, decodes, encodes in time
//!   +5  what is read ahead with an encoder, and what only looks
//! ```
//! Without the first step an answer of the API, or a packet on its way, waits for its turn behind every
//! FFmpeg that is being loaded. The service manager grants it (`Nice=` of the unit), or root may take it;
//! without it, all are equal but the last.

use std::io;

use rustix::process::{getpriority_process, setpriority_process};

use crate::command::Priority;

/// Of those who pass things on. Nine times the share of a usual process.
const OURS: i32 = -10;
/// Of most processes.
const USUAL: i32 = 0;
/// A third of the share of a usual process.
const BACKGROUND: i32 = 5;

/// Puts this process before those of usual priority, if it may and nobody has given it another.
/// Threads started before keep theirs, so it is called first of all.
pub fn lead() {
    if getpriority_process(None) == Ok(USUAL) {
        // Without the right to it, it goes on as it is.
        let _as_before = setpriority_process(None, OURS);
    }
}

/// What a child does between fork and exec: system calls only.
pub(crate) fn take(priority: Priority) -> io::Result<()> {
    let own = getpriority_process(None)?;
    let usual = own.max(USUAL);
    let nice = match priority {
        Priority::Ours => return Ok(()),
        Priority::Usual => usual,
        Priority::Background => usual + BACKGROUND,
    };
    if nice != own {
        setpriority_process(None, nice)?;
    }
    Ok(())
}
