//! Secrets that must not leak: planted, and looked for everywhere an outsider could look.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::process;
use crate::s3;

/// A stream key.
pub const STREAM_KEY: &str = "canary-key-9f3Kd0+Qx/7";
/// Another one.
pub const OTHER_STREAM_KEY: &str = "canary-other-77aa-b2c4-d6e8";
/// The API token.
pub const API_TOKEN: &str = "canary-token-5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b";

/// What to look for: each secret, and what makes a signed URL one.
fn needles() -> Vec<String> {
    let plain = [
        STREAM_KEY,
        OTHER_STREAM_KEY,
        API_TOKEN,
        s3::SECRET_ACCESS_KEY,
        s3::ACCESS_KEY_ID,
        "X-Amz-Signature=",
        "X-Amz-Credential=",
    ];
    let mut all: Vec<String> = plain.map(str::to_owned).to_vec();
    // As a URL would carry it.
    all.push(STREAM_KEY.replace('+', "%2B").replace('/', "%2F"));
    all
}

/// Which secrets stand in these bytes.
pub fn found_in(bytes: &[u8]) -> Vec<String> {
    let mut found = needles();
    found.retain(|needle| {
        let needle = needle.as_bytes();
        bytes.windows(needle.len()).any(|window| window == needle)
    });
    found
}

/// Panics when a secret stands in `bytes`.
pub fn assert_clean(what: &str, bytes: &[u8]) {
    let found = found_in(bytes);
    assert!(found.is_empty(), "{what} holds secrets: {found:?}");
}

/// Panics when a secret stands in any file below `directory`.
pub fn assert_files_clean(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            assert_files_clean(&path);
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap_or_default();
            assert_clean(&path.display().to_string(), &bytes);
        }
    }
}

/// Looks at the arguments and environments of a controller's whole family, many times a second.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    leaks: Mutex<BTreeSet<String>>,
    names: Mutex<BTreeSet<String>>,
}

impl Watch {
    /// Watches `controller`, everything that names `mark`, and their descendants. The controller's
    /// own environment is not looked at: that is where the operator put the secrets.
    pub fn start(controller: i32, mark: PathBuf) -> Self {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            while !for_thread.stop.load(Ordering::Relaxed) {
                for_thread.look(controller, &mark);
                std::thread::sleep(Duration::from_millis(15));
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// Stops; panics on any leak. Gives the names of the programs that were seen.
    pub fn finish(mut self) -> BTreeSet<String> {
        self.stop();
        let leaks = self
            .shared
            .leaks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        assert!(leaks.is_empty(), "secrets in processes: {leaks:#?}");
        let names = self
            .shared
            .names
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        names.clone()
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn look(&self, controller: i32, mark: &Path) {
        let family = process::family(Some(controller), mark);
        let own = family.iter().find(|p| p.pid == controller);
        let own_arguments = own.map(|p| p.arguments.clone());
        for process in family {
            let mut found = found_in(&process.arguments);
            // Between fork and exec a child still shows its parent's image.
            if Some(&process.arguments) != own_arguments.as_ref() {
                found.extend(found_in(&process.environment()));
            }
            let mut leaks = self.leaks.lock().unwrap_or_else(PoisonError::into_inner);
            for secret in found {
                let name = &process.name;
                leaks.insert(format!("{secret} in {name}: {}", process.command_line()));
            }
            let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
            names.insert(process.name);
        }
    }
}
