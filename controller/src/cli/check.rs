//! `check`: would it work here, and if not, what to do; one line each.

mod programs;

use std::fmt;
use std::path::Path;

use nix::sys::statvfs::statvfs;
use storage::document::{self, Opened};
use storage::media::MediaStore;
use storage::model::{DestinationConfig, StreamConfig, StreamConfigFile, StreamId};

use super::{bytes, say};
use crate::config::Config;

/// Logs and state of weeks fit in it; below, something else is filling the disk.
const SCARCE_BYTES: u64 = 1 << 30;

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    /// It works, but perhaps not as meant.
    Warn,
    Fail,
}

/// What was looked at, and what was found.
#[derive(Debug, Default)]
struct Findings {
    failed: usize,
    warned: usize,
}

/// Looks at everything a stream needs; whether nothing of it is missing.
pub async fn run(config: &Config) -> bool {
    let mut findings = Findings::default();
    findings.ok("settings", "no mistakes");
    let streams = configuration(config, &mut findings);
    programs::check(config, &mut findings).await;
    directories(config, &mut findings);
    media(config, &mut findings).await;
    for (id, stream) in &streams {
        for destination in &stream.destinations {
            key(config, id, destination, &mut findings);
        }
    }
    findings.conclude()
}

fn configuration(config: &Config, findings: &mut Findings) -> Vec<(StreamId, StreamConfig)> {
    let path = config.layout.config_file();
    match document::read::<StreamConfigFile>(&path) {
        Ok(Opened::Loaded { value, .. }) => {
            findings.ok(
                "streams",
                format_args!("{} in {}", value.streams.len(), path.display()),
            );
            return value.streams.into_iter().collect();
        }
        Ok(Opened::Absent) => findings.warn(
            "streams",
            format_args!(
                "{} is not there yet: a stream \"main\" is made at the first start",
                path.display()
            ),
        ),
        Ok(Opened::Corrupt(corrupt)) => findings.fail(
            "streams",
            format_args!("{}: {}; {}", path.display(), corrupt.flaw, corrupt.hint()),
        ),
        Err(error) => findings.fail("streams", crate::chain(&error)),
    }
    Vec::new()
}

fn directories(config: &Config, findings: &mut Findings) {
    let layout = &config.layout;
    for (name, dir) in [
        ("STATE_DIR", &layout.state_dir),
        ("RUNTIME_DIR", &layout.runtime_dir),
        ("CACHE_DIR", &layout.cache_dir),
    ] {
        directory(name, dir, findings);
    }
}

/// One that is not there yet must be possible to make: so its nearest ancestor is looked at.
fn directory(name: &str, dir: &Path, findings: &mut Findings) {
    let Some(there) = dir.ancestors().find(|path| path.exists()) else {
        return findings.fail(
            name,
            format_args!("{}: nothing of its path exists", dir.display()),
        );
    };
    if let Err(error) = tempfile::tempfile_in(there) {
        return findings.fail(
            name,
            format_args!(
                "{} is not writable ({error}): chown it to the user that runs the controller",
                there.display()
            ),
        );
    }
    match statvfs(there) {
        Ok(disk) => {
            let free = disk.blocks_available().saturating_mul(disk.fragment_size());
            let found = format!("{} is writable, {} free", dir.display(), bytes(free));
            if free < SCARCE_BYTES {
                findings.warn(name, format_args!("{found}: make room"));
            } else {
                findings.ok(name, found);
            }
        }
        Err(error) => findings.warn(
            name,
            format_args!("{}: free space unknown ({error})", dir.display()),
        ),
    }
}

async fn media(config: &Config, findings: &mut Findings) {
    let store = match MediaStore::open(&config.storage, config.storage_keys.clone()).await {
        Ok(store) => store,
        Err(error) => return findings.fail("media", format_args!("{error}: {}", error.hint())),
    };
    match store.list("").await {
        Ok(objects) if objects.is_empty() => findings.warn(
            "media",
            "the store answers and holds nothing that can be played: the slate would be on air. \
             Upload with `stream-controller media upload FILE`",
        ),
        Ok(objects) => {
            let total = objects.iter().map(|object| object.size_bytes).sum();
            findings.ok(
                "media",
                format_args!("{} playable objects, {}", objects.len(), bytes(total)),
            );
        }
        Err(error) => findings.fail("media", format_args!("{error}: {}", error.hint())),
    }
}

fn key(config: &Config, id: &StreamId, to: &DestinationConfig, findings: &mut Findings) {
    let what = format!("{id}/{}", to.name);
    match &to.key_env {
        None => findings.ok(&what, "its address needs no key"),
        Some(name) if config.keyring.secret(name).is_some() => {
            findings.ok(&what, format_args!("{name} is set"));
        }
        Some(name) => findings.fail(
            &what,
            format_args!("{name} is not set: put the stream key into the environment file or a systemd credential"),
        ),
    }
}

// === impl Findings ===

impl Findings {
    fn ok(&mut self, what: &str, found: impl fmt::Display) {
        self.tell(Verdict::Ok, what, found);
    }

    fn warn(&mut self, what: &str, found: impl fmt::Display) {
        self.tell(Verdict::Warn, what, found);
    }

    fn fail(&mut self, what: &str, found: impl fmt::Display) {
        self.tell(Verdict::Fail, what, found);
    }

    fn tell(&mut self, verdict: Verdict, what: &str, found: impl fmt::Display) {
        let mark = match verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        self.warned += usize::from(verdict == Verdict::Warn);
        self.failed += usize::from(verdict == Verdict::Fail);
        say(format_args!("{mark:<5} {what:<16} {found}"));
    }

    fn conclude(&self) -> bool {
        match (self.failed, self.warned) {
            (0, 0) => say("all is well"),
            (0, warned) => say(format_args!("it will work; {warned} to look at")),
            (failed, _) => say(format_args!("{failed} to repair first")),
        }
        self.failed == 0
    }
}
