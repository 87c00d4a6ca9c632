//! nginx with its RTMP module, on ports of its own.

use std::net::TcpListener;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use supervise::{CaptureLimits, Child, Output, Spec};

use super::stage::PATIENCE;

/// A running server.
pub(crate) struct Nginx {
    dir: tempfile::TempDir,
    rtmp_port: u16,
    http_port: u16,
    child: Child,
}

impl Nginx {
    /// Answers once it runs. Application `live` takes everybody, `guarded` nobody.
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temp dir");
        let (rtmp_port, http_port) = (free_port(), free_port());
        let mut server = Self {
            child: supervise::spawn(Spec::new("true")).expect("runs"),
            dir,
            rtmp_port,
            http_port,
        };
        server.configure();
        server.run().await;
        server
    }

    pub(crate) fn url(&self, application: &str) -> String {
        format!("rtmp://127.0.0.1:{}/{application}", self.rtmp_port)
    }

    /// As after a crash: the port is refused.
    pub(crate) async fn crash(&mut self) {
        self.child.kill_now();
        self.child.wait().await;
    }

    /// Starts it again on the same ports.
    pub(crate) async fn run(&mut self) {
        let spec = Spec::new("nginx")
            .arg("-p")
            .arg(self.dir.path())
            .arg("-c")
            .arg(self.config())
            .stderr(Output::Null);
        self.child = supervise::spawn(spec).expect("nginx is installed");
        let began = std::time::Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", self.rtmp_port))
            .await
            .is_err()
        {
            assert!(began.elapsed() < PATIENCE, "nginx does not listen");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// It neither reads nor answers, and its connections stay open.
    pub(crate) fn freeze(&self) {
        kill(self.child.pid(), Signal::SIGSTOP).expect("it runs");
    }

    pub(crate) fn thaw(&self) {
        kill(self.child.pid(), Signal::SIGCONT).expect("it runs");
    }

    /// What it says of its streams and clients.
    pub(crate) async fn statistics(&self) -> String {
        let url = format!("http://127.0.0.1:{}/stat", self.http_port);
        let spec = Spec::new("curl").args(["-s", &url]).stdout(Output::Piped);
        let limits = CaptureLimits {
            timeout: PATIENCE,
            max_bytes: 1 << 20,
        };
        let said = supervise::capture(spec, limits).await.expect("it answers");
        String::from_utf8_lossy(&said.stdout).into_owned()
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("nginx.conf")
    }

    fn configure(&self) {
        let Self {
            rtmp_port,
            http_port,
            ..
        } = self;
        let text = format!(
            "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
             daemon off; master_process off; pid pid; error_log stderr error;
             events {{ worker_connections 64; }}
             rtmp {{ access_log off; server {{ listen 127.0.0.1:{rtmp_port};
               application live {{ live on; }}
               application guarded {{ live on; on_publish http://127.0.0.1:{http_port}/no; }}
             }} }}
             http {{ access_log off;
               client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c;
               uwsgi_temp_path d; scgi_temp_path e;
               server {{ listen 127.0.0.1:{http_port};
                 location /no {{ return 403; }}
                 location /stat {{ rtmp_stat all; }} }} }}"
        );
        storage::atomic::write(&self.config(), text.as_bytes()).expect("a temp dir");
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}
