//! Workers by their arguments, which name their job: what is left to know one by when its files in `RUNTIME_DIR`
//! were taken from under it. A session's runtime directory is removed with the session, and a worker outlives
//! that; it cannot be talked to then, and its lease is a file that has no name any more, so nothing else would
//! keep another from being started.
//!
//! A worker works in the `STATE_DIR` of its controller. One that works in another is somebody else's, in the same
//! `RUNTIME_DIR` by mistake, or in a container whose directories only have the same names: neither is touched.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Pid, getsid};
use serde::Deserialize;
use storage::layout::Layout;
use storage::model::StreamId;
use supervise::watch::Watched;

/// Every process that was started with a job of this `RUNTIME_DIR` and works in this `STATE_DIR`, by stream.
pub(crate) fn workers(layout: &Layout) -> BTreeMap<StreamId, Vec<Watched>> {
    let mut workers = BTreeMap::<_, Vec<_>>::new();
    let Ok(state_dir) = fs::metadata(&layout.state_dir) else {
        return workers;
    };
    for pid in processes() {
        let own_stream = || {
            let id = stream_of(pid, &layout.runtime_dir)?;
            works_in(pid, &layout.state_dir, &state_dir).then_some(id)
        };
        let Some(id) = own_stream() else { continue };
        if let Ok(watched) = Watched::open(pid)
            // Asked again with the process pinned: the number may be another's by now.
            && own_stream().as_ref() == Some(&id)
            && !watched.has_exited()
        {
            workers.entry(id).or_default().push(watched);
        }
    }
    workers
}

/// The numbers of workers that run in this very `RUNTIME_DIR` for another `STATE_DIR`.
pub(crate) fn strangers(layout: &Layout) -> Vec<i32> {
    let directories = fs::metadata(&layout.state_dir).and_then(|state_dir| {
        let runtime_dir = fs::metadata(&layout.runtime_dir)?;
        Ok((state_dir, runtime_dir))
    });
    let Ok((state_dir, runtime_dir)) = directories else {
        return Vec::new();
    };
    let is_stranger = |pid: i32| {
        let id = stream_of(pid, &layout.runtime_dir)?;
        let beneath = layout.runtime_dir.strip_prefix("/").ok()?;
        let seen_by_it = Path::new(&format!("/proc/{pid}/root")).join(beneath);
        let is_here = is_same(&fs::metadata(seen_by_it).ok()?, &runtime_dir);
        // One whose STATE_DIR was put aside for another of that name is not.
        let is_theirs = job_state_dir(layout, &id).is_none_or(|dir| dir != layout.state_dir);
        let works_elsewhere = !works_in(pid, &layout.state_dir, &state_dir);
        (is_here && is_theirs && works_elsewhere).then_some(pid)
    };
    processes().filter_map(is_stranger).collect()
}

/// Which `STATE_DIR` the job of a stream names, if that is still there.
fn job_state_dir(layout: &Layout, id: &StreamId) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Job {
        state_dir: PathBuf,
    }
    let text = fs::read(layout.job(id)).ok()?;
    let job: Job = serde_json::from_slice(&text).ok()?;
    Some(job.state_dir)
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Whose worker it is. What a worker starts has its arguments until it executes, but not a session of its own.
fn stream_of(pid: i32, runtime_dir: &Path) -> Option<StreamId> {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let id = job_stream(&arguments, runtime_dir)?;
    let leads = getsid(Some(Pid::from_raw(pid))).ok()? == Pid::from_raw(pid);
    leads.then_some(id)
}

/// Also one that works in what was `state_dir` before that was removed.
fn works_in(pid: i32, state_dir: &Path, now: &Metadata) -> bool {
    let place = format!("/proc/{pid}/cwd");
    let is_here = fs::metadata(&place).is_ok_and(|place| is_same(&place, now));
    is_here || {
        let removed = format!("{} (deleted)", state_dir.display());
        fs::read_link(&place).is_ok_and(|place| place.as_os_str() == removed.as_str())
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
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
    use serde_json::json;
    use supervise::{Child, Group, Output, Spec};

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

    struct Installation(Layout);

    impl Installation {
        fn new(base: &Path, state: &str) -> Self {
            let at = |name: &str| -> PathBuf { base.join(name) };
            let layout = Layout {
                state_dir: at(state),
                runtime_dir: at("run"),
                cache_dir: at("cache"),
            };
            layout.create().unwrap();
            Self(layout)
        }

        /// A process with the arguments of a worker.
        fn worker(&self, group: Group) -> Child {
            let job = self.0.runtime_dir.join("main.job.json");
            let names = json!({ "state_dir": self.0.state_dir });
            storage::atomic::write_volatile(&job, names.to_string().as_bytes()).unwrap();
            let script = Spec::new("sh").args(["-c", "sleep 60; :", "--job"]);
            let spec = script.arg(job).stderr(Output::Null).group(group);
            supervise::spawn(spec.cwd(&self.0.state_dir)).unwrap()
        }

        fn found(&self) -> Vec<i32> {
            let all = workers(&self.0).into_values().flatten();
            all.map(|watched| watched.pid()).collect()
        }
    }

    #[tokio::test]
    async fn a_worker_is_known_by_where_it_works_and_a_stranger_is_told() {
        let base = tempfile::tempdir().unwrap();
        let [ours, theirs] = ["ours", "theirs"].map(|it| Installation::new(base.path(), it));
        let worker = ours.worker(Group::OwnSession);
        let _not_yet_executed = ours.worker(Group::OwnGroup);
        let pid = worker.pid().as_raw();
        assert_eq!((ours.found(), strangers(&ours.0)), (vec![pid], vec![]));
        assert_eq!((theirs.found(), strangers(&theirs.0)), (vec![], vec![pid]));

        // Put aside or removed, and there anew.
        fs::remove_dir_all(&ours.0.state_dir).unwrap();
        let again = Installation::new(base.path(), "ours");
        assert_eq!(again.found(), [pid], "it worked here before");
        assert_eq!(strangers(&again.0), [0; 0]);
    }
}
