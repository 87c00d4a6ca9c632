//! A real MediaMTX with the configuration of `deploy/`, where there is a `mediamtx` on the PATH.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::controller::repository;
use crate::nginx::free_address;
use crate::process::{self, Child};

const LIMIT: Duration = Duration::from_secs(10);
/// Until which version something has another name, or none: as the head of the file says.
const OLDER: [((u32, u32, u32), &str, &str); 4] = [
    ((1, 19, 2), "runOnOnline:", "runOnReady:"),
    ((1, 19, 2), "runOnOffline:", "runOnNotReady:"),
    ((1, 18, 2), "moq: no\n", ""),
    ((1, 10, 0), "rtspTransports:", "protocols:"),
];

/// Addresses it is going to listen at: whoever asks it has to know them before it runs.
#[derive(Debug, Clone)]
pub struct Plan {
    program: PathBuf,
    /// Of its API.
    pub api: SocketAddr,
    /// Of RTSP.
    pub rtsp: SocketAddr,
    /// Of RTMP.
    pub rtmp: SocketAddr,
    /// Of SRT.
    pub srt: SocketAddr,
}

/// A running server; ends when dropped.
#[derive(Debug)]
pub struct MediaMtx {
    process: Child,
    directory: TempDir,
}

// === impl Plan ===

impl Plan {
    /// `None` when there is no `mediamtx` on the PATH.
    pub fn new() -> Option<Self> {
        let path = env::var_os("PATH")?;
        let program = env::split_paths(&path)
            .map(|folder| folder.join("mediamtx"))
            .find(|program| program.is_file())?;
        Some(Self {
            program,
            api: free_address(),
            rtsp: free_address(),
            rtmp: free_address(),
            srt: free_address(),
        })
    }

    /// Starts it; who may publish is asked of `controller`.
    pub fn start(&self, controller: SocketAddr) -> MediaMtx {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let hook = noting_hook(directory.path());
        let shipped = fs::read_to_string(repository().join("deploy/mediamtx.yml"));
        let mut text = shipped.expect("deploy/mediamtx.yml");
        for (shipped, here) in [
            ("127.0.0.1:8080/v1", format!("{controller}/v1")),
            (
                "apiAddress: 127.0.0.1:9997",
                format!("apiAddress: {}", self.api),
            ),
            ("rtspAddress: :8554", format!("rtspAddress: {}", self.rtsp)),
            ("rtmpAddress: :1935", format!("rtmpAddress: {}", self.rtmp)),
            ("srtAddress: :8890", format!("srtAddress: {}", self.srt)),
            (
                "/opt/stream-controller/current/scripts/mtx-hook",
                hook.display().to_string(),
            ),
        ] {
            assert!(
                text.contains(shipped),
                "deploy/mediamtx.yml has no {shipped}"
            );
            text = text.replace(shipped, &here);
        }
        let version = self.version();
        for (until, today, older) in OLDER {
            if version <= until {
                text = text.replace(today, older);
            }
        }
        let config = directory.path().join("mediamtx.yml");
        fs::write(&config, text).expect("its configuration");
        let log = fs::File::create(directory.path().join("log")).expect("its log");
        let mut command = process::command(&self.program);
        command.arg(&config).current_dir(directory.path());
        command.env("CONTROLLER_URL", format!("http://{controller}"));
        command
            .stdout(log.try_clone().expect("its log"))
            .stderr(log);
        MediaMtx {
            process: Child::spawn(&mut command),
            directory,
        }
    }

    /// Of the program, which says `v1.20.1`.
    fn version(&self) -> (u32, u32, u32) {
        let output = process::run(&self.program, &["--version"], LIMIT).expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let parts = said.trim().trim_start_matches('v').split(['.', '-']);
        let numbers: Vec<u32> = parts.map_while(|part| part.parse().ok()).collect();
        match numbers[..] {
            [major, minor, patch, ..] => (major, minor, patch),
            _ => panic!("it says {said}"),
        }
    }
}

// === impl MediaMtx ===

impl MediaMtx {
    /// What it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// One line for each hook that ran: event, path, exit code.
    pub fn hooks(&self) -> Vec<String> {
        let noted = fs::read_to_string(self.directory.path().join("hooks")).unwrap_or_default();
        noted.lines().map(str::to_owned).collect()
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

/// `scripts/mtx-hook`, with a note of how it ended: MediaMTX itself does not tell.
fn noting_hook(directory: &Path) -> PathBuf {
    let hook = repository().join("scripts/mtx-hook");
    let (script, noted) = (directory.join("hook"), directory.join("hooks"));
    let text = format!(
        "#!/bin/sh\n'{}' \"$@\"\necho \"$1 $MTX_PATH $?\" >>'{}'\n",
        hook.display(),
        noted.display()
    );
    fs::write(&script, text).expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("its mode");
    script
}
