//! Workers whose files in `RUNTIME_DIR` were taken from under them: a session's runtime directory is removed
//! with the session, and a worker outlives that.
//!
//! Such a worker cannot be talked to, and its lease is a file that has no name any more, so nothing here
//! would keep another from starting. What still tells whose it is are its arguments, which name its job; a
//! process is taken for it by what they are after it was pinned.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use storage::model::StreamId;
use supervise::watch::Watched;

/// Every process of this user that was started with a job of `runtime_dir`, with its stream.
pub(super) fn workers(runtime_dir: &Path) -> Vec<(StreamId, Watched)> {
    let own = nix::unistd::geteuid().as_raw();
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .filter_map(Result::ok)
        .filter(|entry| entry.metadata().is_ok_and(|process| process.uid() == own))
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| {
            let id = stream_of(pid, runtime_dir)?;
            let watched = Watched::open(pid).ok()?;
            let is_it = stream_of(pid, runtime_dir).as_ref() == Some(&id);
            (is_it && !watched.has_exited()).then_some((id, watched))
        })
        .collect()
}

fn stream_of(pid: i32, runtime_dir: &Path) -> Option<StreamId> {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    job_stream(&arguments, runtime_dir)
}

/// The stream that `--job RUNTIME_DIR/<id>.job.json` names among NUL-separated arguments.
fn job_stream(arguments: &[u8], runtime_dir: &Path) -> Option<StreamId> {
    let mut arguments = arguments.split(|byte| *byte == 0);
    arguments.find(|argument| *argument == b"--job")?;
    let job = Path::new(str::from_utf8(arguments.next()?).ok()?);
    let id = job.file_name()?.to_str()?.strip_suffix(".job.json")?;
    (job.parent() == Some(runtime_dir)).then(|| id.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_job_of_this_directory_makes_a_worker() {
        let of = |text: &str| {
            let found = job_stream(text.replace(' ', "\0").as_bytes(), Path::new("/run/sc"));
            found.map(|id| id.to_string())
        };
        assert_eq!(
            of("w --job /run/sc/main.job.json ").as_deref(),
            Some("main")
        );
        let resumed = "stream-worker --resume 9 --previous 8 --job /run/sc/a-b.job.json ";
        assert_eq!(of(resumed).as_deref(), Some("a-b"));
        for other in [
            "w --job /run/other/main.job.json ",
            "w --job /run/sc/deeper/main.job.json ",
            "vi /run/sc/main.job.json ",
            "w --job /run/sc/main.json ",
            "w --job",
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
