//! A control group of the test's own: what a machine can run out of, for a few processes only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::wait;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Memory.
    Memory,
    /// Processes and threads.
    Processes,
    /// Time on the processors.
    Processor,
}

/// The two ways in which Linux counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// A tree for each resource.
    One,
    /// One tree for all.
    Two,
}

/// The group; removed when dropped, which its processes must not outlive.
#[derive(Debug)]
pub struct Group {
    directory: PathBuf,
    version: Version,
}

impl Resource {
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "pids",
            Self::Processor => "cpu",
        }
    }
}

impl Group {
    /// Makes one.
    ///
    /// # Errors
    /// Why it cannot be had here.
    pub fn of(resource: Resource) -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let root = Path::new("/sys/fs/cgroup");
        let name = resource.name();
        let controllers = fs::read_to_string(root.join("cgroup.subtree_control"));
        let (tree, version) = match controllers {
            Ok(all) if all.split_whitespace().any(|one| one == name) => (root.into(), Version::Two),
            _ if root.join(name).join("cgroup.procs").exists() => (root.join(name), Version::One),
            _ => return Err(format!("no control groups for {name}")),
        };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = tree.join(format!("e2e-{}-{name}-{number}", std::process::id()));
        fs::create_dir(&directory)
            .map_err(|error| format!("no control group may be made: {error}"))?;
        Ok(Self { directory, version })
    }

    /// Moves a process here, with what it will start.
    pub fn add(&self, pid: i32) {
        self.write("cgroup.procs", &pid.to_string());
    }

    /// Limits its memory.
    pub fn limit_memory(&self, bytes: u64) {
        self.write(
            self.either("memory.limit_in_bytes", "memory.max"),
            &bytes.to_string(),
        );
    }

    /// Has somebody in the group fill twice the `bytes` it may have, until the kernel kills for it: first `victim`,
    /// which is moved here, then who asked.
    pub fn exhaust_memory(&self, victim: i32, bytes: u64) {
        self.add(victim);
        fs::write(format!("/proc/{victim}/oom_score_adj"), "1000").expect("root's right");
        // Files in memory count for the group and not for who writes them, who is a small victim then.
        let filler = tempfile::NamedTempFile::new_in("/dev/shm").expect("files in memory");
        let script = r#"echo $$ >"$1" && exec dd if=/dev/zero of="$2" bs=1048576 count="$3""#;
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]);
        command
            .arg(self.directory.join("cgroup.procs"))
            .arg(filler.path());
        command.arg(((bytes * 2) >> 20).to_string());
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let _killed = command.status().expect("starting sh");
    }

    /// How often the kernel has killed in it for want of memory.
    pub fn killed_for_memory(&self) -> u64 {
        let text = self.read(self.either("memory.oom_control", "memory.events"));
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// No further process or thread can be started in it.
    pub fn forbid_processes(&self) {
        let present = self.read("pids.current");
        self.write("pids.max", present.trim());
    }

    /// As many as the machine has.
    pub fn allow_processes(&self) {
        self.write("pids.max", "max");
    }

    /// Lets it run for this long in each second, all of it together.
    pub fn limit_processor(&self, of_a_second: Duration) {
        const SECOND_US: u64 = 1_000_000;
        // The kernel takes no less than a millisecond.
        let quota = of_a_second.as_micros().max(1_000);
        match self.version {
            Version::One => {
                self.write("cpu.cfs_period_us", &SECOND_US.to_string());
                self.write("cpu.cfs_quota_us", &quota.to_string());
            }
            Version::Two => self.write("cpu.max", &format!("{quota} {SECOND_US}")),
        }
    }

    /// In how many of these seconds it was held up.
    pub fn held_up(&self) -> u64 {
        let text = self.read("cpu.stat");
        let count = text
            .lines()
            .find_map(|line| line.strip_prefix("nr_throttled "));
        count.and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// Lets it run as it likes.
    pub fn free_processor(&self) {
        match self.version {
            Version::One => self.write("cpu.cfs_quota_us", "-1"),
            Version::Two => self.write("cpu.max", "max"),
        }
    }

    fn either(&self, one: &'static str, two: &'static str) -> &'static str {
        match self.version {
            Version::One => one,
            Version::Two => two,
        }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.join(name)).unwrap_or_default()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.directory.join(name);
        fs::write(&path, text)
            .unwrap_or_else(|error| panic!("{text} to {}: {error}", path.display()));
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What was killed a moment ago still counts; what stays is an empty group.
        let _removed = wait::within(Duration::from_secs(5), || {
            fs::remove_dir(&self.directory).ok()
        });
    }
}
