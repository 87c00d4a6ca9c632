//! The log in the hands of a thread of its own: whoever logs never waits for a disk, so a stream goes on
//! though the disk under its log hangs. What is too much meanwhile is left out, and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::rotate::Rotating;

/// Lines that may wait for the disk.
const WAITING: usize = 1024;
/// How often it is looked whether the log is where it should be.
const LOOK_EVERY: Duration = Duration::from_secs(1);

enum Order {
    Line(Box<[u8]>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

/// Clones write to the same log.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    orders: SyncSender<Order>,
    left_out: Arc<AtomicU64>,
}

// === impl Writer ===

impl Writer {
    /// Has a thread write to `out` until the process ends.
    pub(super) fn start(out: Rotating) -> Self {
        let (orders, to_do) = sync_channel(WAITING);
        let left_out = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&left_out);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_down(out, &to_do, &counter))
            .expect("a worker that starts is given a thread");
        Self { orders, left_out }
    }

    /// Has one line written. Never waits.
    pub(super) fn write(&self, line: &[u8]) {
        if self.orders.try_send(Order::Line(line.into())).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns when every line before this is written, or after `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let (done, written) = sync_channel(1);
        // Where not even this is taken, the disk hangs.
        if self.orders.try_send(Order::Flush(done)).is_ok() {
            let _written_or_not = written.recv_timeout(limit);
        }
    }
}

fn write_down(mut out: Rotating, to_do: &Receiver<Order>, left_out: &AtomicU64) {
    let mut look_at = Instant::now() + LOOK_EVERY;
    loop {
        match to_do.recv_timeout(look_at.saturating_duration_since(Instant::now())) {
            Ok(Order::Line(line)) => {
                out.write(&line);
                let lines = left_out.swap(0, Ordering::Relaxed);
                if lines > 0 {
                    tracing::warn!(
                        lines,
                        "the disk was too slow for the log: lines are missing"
                    );
                }
            }
            // Whoever waited may have lost patience.
            Ok(Order::Flush(done)) => drop(done.send(())),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if Instant::now() >= look_at {
            look_at = Instant::now() + LOOK_EVERY;
            if out.look() {
                tracing::warn!(
                    "the log was removed or moved away, and is begun anew: up to here it is where it went, its last \
                     second included"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::OwnedFd;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_log_that_takes_nothing_holds_up_nobody_and_is_whole_up_to_what_was_left_out() {
        let (mut reader, stuck) = std::io::pipe().expect("a pipe");
        let out = Rotating::new(Some(File::from(OwnedFd::from(stuck))), Path::new("/"), 0);
        let writer = Writer::start(out);
        // A pipe takes 64 KiB.
        let line = |number: usize| format!("{number:0>1023}\n");
        let lines = WAITING + 200;
        for number in 0..lines {
            writer.write(line(number).as_bytes());
        }
        writer.flush(Duration::ZERO);
        let left_out = writer.left_out.load(Ordering::Relaxed);
        assert!((1..=200).contains(&left_out), "{left_out}");
        for number in 0..WAITING {
            let mut read = vec![0; 1024];
            reader.read_exact(&mut read).expect("a line");
            assert_eq!(read, line(number).as_bytes());
        }
    }

    #[test]
    fn what_was_logged_is_written_before_the_end() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let path = dir.path().join("main.log");
        let file = File::options().append(true).create(true).open(&path);
        let out = Rotating::new(Some(file.expect("a fresh directory")), &path, 1 << 20);
        let writer = Writer::start(out);
        for _ in 0..WAITING / 2 {
            writer.write(b"line\n");
        }
        writer.flush(Duration::from_secs(30));
        let written = std::fs::read_to_string(&path).expect("there");
        assert_eq!(written.lines().count(), WAITING / 2);
    }
}
