//! Servers a feed is pulled from: each serves one file in real time, as a camera or a studio would.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::nginx::{Nginx, free_address};
use crate::process::{self, Child};
use crate::wait;

/// Debian's own: only it finds the packaged bindings.
const PYTHON: &str = "/usr/bin/python3";
const START_LIMIT: Duration = Duration::from_secs(20);

/// What a reader of [`Upstream::rtsp`] and [`Upstream::srt`] has to know; the user is `reader`.
pub const PASSWORD: &str = "CANARY pass%word";

/// GStreamer's RTSP server, for whoever knows the password. Each reader sees the file from its beginning.
const RTSP_SERVER: &str = r#"
import sys, gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
if len(sys.argv) > 1:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch('( filesrc location="%s" ! qtdemux name=d '
        'd.video_0 ! queue ! rtph264pay name=pay0 pt=96 config-interval=-1 '
        'd.audio_0 ! queue ! rtpmp4gpay name=pay1 pt=97 )' % sys.argv[2])
    role, permissions = GstRtspServer.RTSPToken(), GstRtspServer.RTSPPermissions()
    role.set_string("media.factory.role", "reader")
    permissions.add_permission_for_role("reader", "media.factory.access", True)
    permissions.add_permission_for_role("reader", "media.factory.construct", True)
    factory.set_permissions(permissions)
    known = GstRtspServer.RTSPAuth()
    known.add_basic(GstRtspServer.RTSPAuth.make_basic("reader", sys.argv[3]), role)
    server.set_auth(known)
    server.get_mount_points().add_factory("/feed", factory)
    server.attach(None)
    GLib.MainLoop().run()
"#;

/// What a feed is served by.
#[derive(Debug)]
enum By {
    /// GStreamer, by RTSP.
    Rtsp,
    /// FFmpeg, by SRT: it waits for one reader, and ends with it.
    Srt,
    /// FFmpeg writes a playlist, nginx serves it.
    Hls(Box<Nginx>),
}

/// A server with its feed; both end when dropped.
#[derive(Debug)]
pub struct Upstream {
    by: By,
    address: SocketAddr,
    file: PathBuf,
    directory: TempDir,
    process: Option<Child>,
}

// === impl Upstream ===

impl Upstream {
    /// An RTSP server of an MP4; `None` when GStreamer's is not installed.
    pub fn rtsp(file: &Path) -> Option<Self> {
        let there = process::run(PYTHON, &["-c", RTSP_SERVER], START_LIMIT);
        let there = there.is_ok_and(|output| output.status.success());
        there.then(|| Self::of(By::Rtsp, file))
    }

    /// An SRT server.
    pub fn srt(file: &Path) -> Self {
        Self::of(By::Srt, file)
    }

    /// An HLS server; `None` when nginx is not installed.
    pub fn hls(file: &Path) -> Option<Self> {
        let nginx = Nginx::start()?;
        Some(Self::of(By::Hls(Box::new(nginx)), file))
    }

    /// Serves nothing yet.
    fn of(by: By, file: &Path) -> Self {
        Self {
            by,
            address: free_address(),
            file: file.to_owned(),
            directory: tempfile::tempdir().expect("a temporary directory"),
            process: None,
        }
    }

    /// What a live input is configured with.
    pub fn url(&self) -> String {
        match &self.by {
            By::Rtsp => format!("rtsp://{}/feed", self.address),
            By::Srt => format!("srt://{}", self.address),
            By::Hls(nginx) => format!("{}/feed.m3u8", nginx.folder().1),
        }
    }

    /// Begins the feed.
    pub fn begin(&mut self) {
        let mut command = match &self.by {
            By::Rtsp => {
                let script = self.directory.path().join("rtsp.py");
                fs::write(&script, RTSP_SERVER).expect("written");
                let mut command = process::command(PYTHON);
                command.arg(script).arg(self.address.port().to_string());
                command.arg(&self.file).arg(PASSWORD);
                command
            }
            By::Srt => {
                let secret = PASSWORD.replace('%', "%25").replace(' ', "%20");
                let url = format!("srt://{}?mode=listener&passphrase={secret}", self.address);
                self.ffmpeg(&["-f", "mpegts", &url])
            }
            By::Hls(nginx) => {
                let playlist = nginx.folder().0.join("feed.m3u8").display().to_string();
                // As most servers are set: segments of several seconds.
                let segments = ["-f", "hls", "-hls_time", "4", "-hls_list_size", "5"];
                let kept = ["-hls_flags", "delete_segments+temp_file", &playlist];
                self.ffmpeg(&[&segments[..], &kept].concat())
            }
        };
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(Child::spawn(&mut command));
        if matches!(self.by, By::Rtsp) {
            wait::until("the RTSP server listens", START_LIMIT, || {
                TcpStream::connect(self.address).ok()
            });
        }
    }

    /// Ends the feed without a farewell.
    pub fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// The feed stands still, and its connection stays; or it goes on.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    fn ffmpeg(&self, output: &[&str]) -> std::process::Command {
        let mut command = process::command("ffmpeg");
        command.args(["-v", "error", "-re", "-stream_loop", "-1", "-i"]);
        command.arg(&self.file).args(["-c", "copy"]).args(output);
        command
    }
}
