//! The instant at which this worker was last alive, by itself.
//!
//! Written by a task of the runtime that plays the stream: when that hangs, the pulse stops. The
//! file is in memory (`RUNTIME_DIR`) and one write long, so it is written in place.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often.
const EVERY: Duration = Duration::from_millis(250);

/// The file and whether it could be written.
#[derive(Debug)]
pub(super) struct Pulse {
    path: PathBuf,
    file: Option<File>,
    failing: bool,
}

impl Pulse {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            failing: false,
        }
    }

    pub(super) async fn beat_until(mut self, end: CancellationToken) {
        let mut beats = tokio::time::interval(EVERY);
        beats.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while end.run_until_cancelled(beats.tick()).await.is_some() {
            match self.beat(super::boot_ms()) {
                Ok(()) => self.failing = false,
                Err(error) => {
                    // Perhaps the file is gone: the next beat makes it anew.
                    self.file = None;
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(
                            path = %self.path.display(), %error,
                            "the pulse cannot be written: should this worker be killed, its last \
                             seconds are not in the record; check RUNTIME_DIR"
                        );
                    }
                }
            }
        }
    }

    fn beat(&mut self, boot_ms: u64) -> io::Result<()> {
        let kept = self.file.take();
        // Nobody would find what is written into a file that was removed.
        let is_there = |file: &File| file.metadata().is_ok_and(|file| file.nlink() > 0);
        let file = match kept.filter(is_there) {
            Some(file) => self.file.insert(file),
            None => self.file.insert(
                OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .mode(0o600)
                    .open(&self.path)?,
            ),
        };
        // One write: a reader sees the old or the new one.
        file.write_all_at(format!("{boot_ms:020}\n").as_bytes(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_replaces_the_one_before() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let path = dir.path().join("main.pulse");
        let mut pulse = Pulse::new(path.clone());
        for boot_ms in [987_654_321_012, 5] {
            pulse.beat(boot_ms).expect("written");
            let text = std::fs::read_to_string(&path).expect("there");
            assert_eq!(text.len(), 21);
            assert_eq!(text.trim_end().parse(), Ok(boot_ms));
            std::fs::remove_file(&path).expect("it is there");
        }
    }
}
