//! Who goes first where cores are short.
//!
//! ```text
//!  -10  those who pass things on: the controller, and workers that are on air (a few per cent of a core)
//!    0  who works on what is on air, or is getting ready for it: FFmpeg that sends, decodes, encodes in time;
//!       workers that are starting
//!   +5  what is read ahead with an encoder, and what only looks
//! ```
//! Without the first step an answer of the API, or a packet on its way, waits for its turn behind every
//! FFmpeg that is being loaded. The service manager grants it (`Nice=` and `LimitNICE=` of the unit), or root
//! may take it; without it, all are equal but the last.

use std::{fs, io};

use rustix::process::{Pid, getpriority_process, setpriority_process};

use crate::command::Priority;

/// Of those who pass things on. Nine times the share of a usual process.
const OURS: i32 = -10;
/// Of most processes.
const USUAL: i32 = 0;
/// A third of the share of a usual process.
const BACKGROUND: i32 = 5;

/// Puts this process before those of usual priority, if it may and nobody has given it another. To the
/// kernel a priority is a thread's: those that are there have it from now on, and those that they start.
pub fn lead() {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten();
    let ids = threads.filter_map(|thread| thread.ok()?.file_name().to_str()?.parse().ok());
    for thread in ids.filter_map(Pid::from_raw) {
        if getpriority_process(Some(thread)) == Ok(USUAL) {
            // Without the right to it, it goes on as it is.
            let _as_before = setpriority_process(Some(thread), OURS);
        }
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
