//! Processor time and memory of a process and everything it started, out of `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// All processes at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Processes(BTreeMap<u32, Process>);

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    parent: u32,
    /// In ticks since boot: tells a process from a later one with its number.
    started: u64,
    /// In ticks.
    cpu: u64,
    resident_pages: u64,
}

/// What a family used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Usage {
    /// 100 is one core; unknown at the first look.
    pub(super) cpu_percent: Option<f64>,
    pub(super) memory_bytes: u64,
}

// === impl Processes ===

impl Processes {
    /// Reads `/proc`. Processes that end meanwhile are left out.
    pub(super) fn look() -> Self {
        let Ok(entries) = fs::read_dir("/proc") else {
            return Self::default();
        };
        let pids =
            entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let read = pids.filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, Process::parse(&stat)?))
        });
        Self(read.collect())
    }

    /// What `root` and its descendants use, since `before` where the processor is concerned.
    pub(super) fn usage(&self, root: u32, before: Option<(&Self, Duration)>) -> Usage {
        let family = self.family(root);
        let pages: u64 = family
            .iter()
            .map(|(_, process)| process.resident_pages)
            .sum();
        let cpu_percent = before.map(|(before, elapsed)| {
            let ticks: u64 = family
                .iter()
                .map(|(pid, now)| {
                    let then = before.0.get(pid).filter(|then| then.started == now.started);
                    now.cpu.saturating_sub(then.map_or(0, |then| then.cpu))
                })
                .sum();
            let seconds = ticks as f64 / ticks_per_second();
            100.0 * seconds / elapsed.as_secs_f64().max(0.001)
        });
        Usage {
            cpu_percent,
            memory_bytes: pages * page_bytes(),
        }
    }

    fn family(&self, root: u32) -> Vec<(u32, Process)> {
        let mut family: Vec<_> = self
            .0
            .get(&root)
            .map(|process| (root, *process))
            .into_iter()
            .collect();
        let mut next = 0;
        while let Some((parent, _)) = family.get(next).copied() {
            let children = self
                .0
                .iter()
                .filter(|(_, process)| process.parent == parent);
            family.extend(children.map(|(pid, process)| (*pid, *process)));
            next += 1;
        }
        family
    }
}

// === impl Process ===

impl Process {
    /// A line of `/proc/PID/stat`, see proc_pid_stat(5).
    fn parse(stat: &str) -> Option<Self> {
        // The name is in parentheses and may hold anything, parentheses and blanks too.
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Numbered from 1 in the manual, and the first two are before the rest.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(field(4)?).ok()?,
            cpu: field(14)? + field(15)?,
            started: field(22)?,
            resident_pages: field(24)?,
        })
    }
}

fn ticks_per_second() -> f64 {
    system(nix::unistd::SysconfVar::CLK_TCK, 100) as f64
}

fn page_bytes() -> u64 {
    system(nix::unistd::SysconfVar::PAGE_SIZE, 4096)
}

fn system(variable: nix::unistd::SysconfVar, usual: u64) -> u64 {
    let value = nix::unistd::sysconf(variable).ok().flatten();
    value
        .and_then(|value| u64::try_from(value).ok())
        .unwrap_or(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(parent: u32, cpu: u64) -> Process {
        Process {
            parent,
            started: u64::from(parent) + 1,
            cpu,
            resident_pages: 10,
        }
    }

    #[test]
    fn a_line_of_stat_is_read_whatever_the_name() {
        let stat = "77 (a) b (c) S 5 77 77 0 -1 4194560 9 9 9 9 100 20 7 7 20 0 1 0 4242 1000 512 18446744073709551615 1";
        let read = Process::parse(stat).unwrap();
        assert_eq!(
            (read.parent, read.cpu, read.started, read.resident_pages),
            (5, 120, 4242, 512)
        );
    }

    #[test]
    fn a_family_is_counted_with_those_that_came_meanwhile() {
        let before = Processes(BTreeMap::from([(1, process(0, 9)), (5, process(1, 100))]));
        let now = Processes(BTreeMap::from([
            (1, process(0, 900)),
            (5, process(1, 150)),
            (6, process(5, 30)),
            (7, process(6, 20)),
            (8, process(1, 500)),
        ]));
        let usage = now.usage(5, Some((&before, Duration::from_secs(10))));
        let percent = usage.cpu_percent.unwrap();
        let wanted = 100.0 * 100.0 / ticks_per_second() / 10.0;
        assert!((percent - wanted).abs() < 0.01, "{percent}");
        assert_eq!(usage.memory_bytes, 30 * page_bytes());
        assert_eq!(now.usage(5, None).cpu_percent, None);
    }

    #[test]
    fn this_process_is_found_with_its_memory() {
        let usage = Processes::look().usage(std::process::id(), None);
        assert!(usage.memory_bytes > 1_000_000, "{usage:?}");
    }
}
