//! The processes of the drill's own controller, each held by a pidfd before it is looked at.
//!
//! A process is taken for one of the drill's only by what the kernel says of it *after* it is held: its
//! arguments name a directory that this drill made, or its parent is such a process.

use std::fs;
use std::path::Path;

use anyhow::Context;
use supervise::watch::Watched;

/// One process.
#[derive(Debug)]
pub struct Member {
    /// Held.
    pub process: Watched,
    /// Its arguments, blank-separated.
    pub arguments: String,
    /// Its parent's number.
    pub parent: i32,
}

/// Everything alive that was started with `mark` among its arguments.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn marked(mark: &Path) -> anyhow::Result<Vec<Member>> {
    let mark = mark.to_string_lossy();
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    Ok(all()?
        .filter(|pid| *pid != own && arguments(*pid).contains(&*mark))
        .filter_map(hold)
        .filter(|member| member.arguments.contains(&*mark))
        .collect())
}

/// The running children of `parent` whose arguments contain `part`.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn children(parent: &Watched, part: &str) -> anyhow::Result<Vec<Member>> {
    let is_child = |member: &Member| member.parent == parent.pid();
    let found = all()?
        .filter(|pid| arguments(*pid).contains(part))
        .filter_map(hold)
        .filter(|member| is_child(member) && member.arguments.contains(part))
        .collect();
    // While the parent lives its number is its own, so what was found are its children.
    anyhow::ensure!(!parent.has_exited(), "the worker ended meanwhile");
    Ok(found)
}

/// Holds the worker that a status named, if it is one of `mark`.
///
/// # Errors
/// When it is gone, or is somebody else.
pub fn worker(pid: i32, mark: &Path) -> anyhow::Result<Watched> {
    let member = hold(pid).with_context(|| format!("process {pid} is gone"))?;
    let ours = member.arguments.contains(&*mark.to_string_lossy());
    anyhow::ensure!(ours, "process {pid} is none of the drill's");
    Ok(member.process)
}

/// Descriptors a process has open; `None` when it is gone.
pub fn descriptors(process: &Watched) -> Option<usize> {
    let count = fs::read_dir(format!("/proc/{}/fd", process.pid()))
        .ok()?
        .count();
    (!process.has_exited()).then_some(count)
}

/// Resident memory in KiB; `None` when it is gone.
pub fn resident_kib(process: &Watched) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/status", process.pid())).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib = line.split_whitespace().next()?.parse().ok()?;
    (!process.has_exited()).then_some(kib)
}

fn hold(pid: i32) -> Option<Member> {
    let process = Watched::open(pid).ok()?;
    let arguments = arguments(pid);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything.
    let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
    let parent = parent.parse().ok()?;
    (!process.has_exited()).then_some(Member {
        process,
        arguments,
        parent,
    })
}

fn all() -> anyhow::Result<impl Iterator<Item = i32>> {
    let entries = fs::read_dir("/proc").context("reading /proc")?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

fn arguments(pid: i32) -> String {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&raw).replace('\0', " ")
}
