//! nginx with its RTMP module: the platform as far as a publisher can tell.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::http;
use crate::process::{self, Child};
use crate::wait;

/// Where Debian and Ubuntu put the module.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";

/// A running server; ends when dropped.
#[derive(Debug)]
pub struct Nginx {
    // Dropped in this order: the server before its directory.
    _server: Child,
    directory: TempDir,
    rtmp: SocketAddr,
    http: SocketAddr,
}

impl Nginx {
    /// Starts it; each published stream is recorded. `None` when it is not installed.
    pub fn start() -> Option<Self> {
        if !Path::new(MODULE).exists() {
            return None;
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (rtmp, http) = (free_address(), free_address());
        let config = directory.path().join("nginx.conf");
        fs::write(&config, configuration(directory.path(), rtmp, http)).expect("its configuration");
        for name in ["recordings", "files"] {
            fs::create_dir(directory.path().join(name)).expect("a directory");
        }
        let mut command = process::command("nginx");
        command
            .arg("-p")
            .arg(directory.path())
            .arg("-c")
            .arg(&config);
        command.arg("-e").arg(directory.path().join("error.log"));
        let server = Child::spawn(&mut command);
        let nginx = Self {
            _server: server,
            directory,
            rtmp,
            http,
        };
        wait::until("nginx answers", Duration::from_secs(5), || {
            nginx.statistics().map(drop)
        });
        Some(nginx)
    }

    /// `rtmp://ADDRESS/live`, without a stream key.
    pub fn url(&self) -> String {
        format!("rtmp://{}/live", self.rtmp)
    }

    /// A folder it serves, and the address it is served at.
    pub fn folder(&self) -> (PathBuf, String) {
        let folder = self.directory.path().join("files");
        (folder, format!("http://{}/files", self.http))
    }

    /// The XML of its statistics page.
    fn statistics(&self) -> Option<String> {
        let limit = Duration::from_secs(2);
        let answer = http::request(self.http, "GET", "/stat", &[], &[], limit).ok()?;
        (answer.status == 200).then(|| answer.text())
    }

    /// Bytes received for the application, as its statistics page says.
    pub fn bytes_in(&self) -> u64 {
        let page = self.statistics().unwrap_or_default();
        let text = page.split("<bytes_in>").nth(1).unwrap_or_default();
        let number = text.split('<').next().unwrap_or_default();
        number.parse().unwrap_or(0)
    }

    /// Publishers that connected since it started.
    pub fn publishers(&self) -> usize {
        let path = self.directory.path().join("rtmp.log");
        // Written when a session ends; those that run are in the recordings.
        let log = fs::read_to_string(path).unwrap_or_default();
        log.lines().filter(|line| line.contains("PUBLISH")).count()
    }

    /// What was recorded: one file per publisher, oldest first.
    pub fn recordings(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.directory.path().join("recordings"));
        let mut files: Vec<PathBuf> = entries
            .expect("made at the start")
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        files.sort();
        files
    }
}

/// An address that was free a moment ago, for servers that cannot choose one themselves.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket's address")
}

fn configuration(directory: &Path, rtmp: SocketAddr, http: SocketAddr) -> String {
    // One process: a master that is killed would leave its worker behind.
    let mut text = format!("load_module {MODULE};\ndaemon off;\nmaster_process off;\n");
    let dir = directory.display();
    write!(
        text,
        "pid {dir}/nginx.pid;
events {{ worker_connections 64; }}
rtmp {{
  access_log {dir}/rtmp.log;
  server {{
    listen {rtmp};
    application live {{
      live on;
      record all;
      record_unique on;
      record_path {dir}/recordings;
    }}
  }}
}}
http {{
  access_log off;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  server {{
    listen {http};
    location = /stat {{ rtmp_stat all; }}
    location /files/ {{ root {dir}; }}
  }}
}}
"
    )
    .expect("writing to a String");
    text
}
