//! An S3 server that checks signatures, with faults that can be switched on per key.
//!
//! `s3s` verifies SigV4 (headers and signed URLs) and `s3s-fs` serves a folder: a tampered,
//! expired or unsigned request gets the 403 that a real bucket gives. In front of it stands a
//! layer that delays, cuts or replaces answers, as networks and providers do.

mod fault;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

pub use self::fault::Fault;

/// Access key id; not a secret, but must not show up anywhere either.
pub const ACCESS_KEY_ID: &str = "AKIDE2ECANARY7Q3";
/// Secret access key: a canary that must never be seen outside.
pub const SECRET_ACCESS_KEY: &str = "s3-canary-Zk1vQ9sXw0-secret";
/// The bucket.
pub const BUCKET: &str = "films";

/// One request, as the server saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// `GET`, `PUT`, ….
    pub method: String,
    /// Path below the bucket, decoded as sent.
    pub path: String,
    /// The query, signature included.
    pub query: String,
    /// Signed in the query (a signed URL) rather than in a header.
    pub by_signed_url: bool,
    /// Status answered.
    pub status: u16,
}

/// The network between the bucket and everyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// As it should be.
    Up,
    /// Every connection is reset, new ones too.
    Cut,
    /// Nothing comes and nothing is answered, in connections that are open too.
    Silent,
}

/// A running server with one bucket.
#[derive(Debug)]
pub struct Bucket {
    root: TempDir,
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// The first rule whose text the path contains applies.
    faults: Mutex<Vec<(String, Fault)>>,
    seen: Mutex<Vec<Seen>>,
    line: watch::Sender<Line>,
}

impl Bucket {
    /// Starts a server with an empty bucket.
    pub fn start() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(root.path().join(BUCKET)).expect("creating the bucket");
        let service = s3_service(root.path());
        let shared = Arc::new(Shared {
            faults: Mutex::default(),
            seen: Mutex::default(),
            line: watch::Sender::new(Line::Up),
        });
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                let address = listener.local_addr().expect("a bound socket");
                tell.send(address).expect("the test waits for it");
                tokio::select! {
                    () = serve(listener, service, for_thread) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            root,
            address: told.recv().expect("the server's address"),
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// A server whose bucket holds these files under these keys.
    pub fn with(objects: &[(&str, &Path)]) -> Self {
        let bucket = Self::start();
        for (key, file) in objects {
            bucket.put(key, file);
        }
        bucket
    }

    /// `http://ADDRESS`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.path().join(BUCKET).join(key)
    }

    /// Puts a file into the bucket, at once and whole.
    pub fn put(&self, key: &str, file: &Path) {
        let path = self.path(key);
        let folder = path.parent().expect("a key is below the bucket");
        fs::create_dir_all(folder).expect("creating a prefix");
        let half = self.root.path().join(format!("{BUCKET}.uploading"));
        fs::copy(file, &half).expect("copying a fixture");
        fs::rename(&half, &path).expect("putting a fixture");
    }

    /// Removes an object.
    pub fn delete(&self, key: &str) {
        fs::remove_file(self.path(key)).expect("removing an object");
    }

    /// What the bucket holds under `key`.
    pub fn read(&self, key: &str) -> Option<Vec<u8>> {
        fs::read(self.path(key)).ok()
    }

    /// Empties the bucket.
    pub fn empty(&self) {
        let folder = self.root.path().join(BUCKET);
        fs::remove_dir_all(&folder).expect("emptying the bucket");
        fs::create_dir(&folder).expect("making it again");
    }

    /// From now on, the network is like that.
    pub fn line(&self, line: Line) {
        self.shared.line.send_replace(line);
    }

    /// Answers every `GET` of a path that contains `text` with `fault`, until cleared. Later rules win.
    pub fn fault(&self, text: &str, fault: Fault) {
        let mut faults = self
            .shared
            .faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        faults.insert(0, (text.to_owned(), fault));
    }

    /// All is well again, stalled answers included.
    pub fn clear_faults(&self) {
        let mut faults = self
            .shared
            .faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (_, fault) in faults.drain(..) {
            fault.release();
        }
    }

    /// Requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        let seen = self
            .shared
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }

    /// `STORAGE_*` for a controller that plays from here.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("STORAGE_PROVIDER", "s3"),
            ("STORAGE_BUCKET", BUCKET),
            ("STORAGE_ENDPOINT", &self.endpoint()),
            ("STORAGE_REGION", "us-east-1"),
            ("STORAGE_ACCESS_KEY_ID", ACCESS_KEY_ID),
            ("STORAGE_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }
}

impl Shared {
    /// When an address with this query was used first.
    fn first_use(&self, query: &str) -> Instant {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let first = seen.iter().find(|seen| seen.query == query);
        first.map_or_else(Instant::now, |seen| seen.at)
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.clear_faults();
        if let Some(stop) = self.stop.take() {
            // Fails only when the server has ended already.
            let _ended = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn s3_service(root: &Path) -> S3Service {
    let files = s3s_fs::FileSystem::new(root).expect("serving a folder");
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
    builder.build()
}

async fn serve(listener: TcpListener, service: S3Service, shared: Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept().await {
        let service = service.clone();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut line = shared.line.subscribe();
            let handler =
                service_fn(move |request| answer(request, service.clone(), Arc::clone(&shared)));
            let server = auto::Builder::new(TokioExecutor::new());
            let connection = server.serve_connection(TokioIo::new(socket), handler);
            tokio::pin!(connection);
            loop {
                let now = *line.borrow_and_update();
                tokio::select! {
                    biased;
                    _ = line.changed() => {}
                    () = async {}, if now == Line::Cut => return,
                    // A connection that ends badly is the client's business, or a fault that was
                    // asked for; one that is not polled is silent.
                    _ = &mut connection, if now == Line::Up => return,
                }
            }
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    service: S3Service,
    shared: Arc<Shared>,
) -> Result<hyper::Response<fault::FaultyBody>, s3s::HttpError> {
    let uri = request.uri().clone();
    let mut seen = Seen {
        at: Instant::now(),
        method: request.method().to_string(),
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        by_signed_url: uri.query().is_some_and(|q| q.contains("X-Amz-Signature=")),
        status: 0,
    };
    let age = match seen.by_signed_url {
        true => shared.first_use(&seen.query).elapsed(),
        false => Duration::ZERO,
    };
    let fault = {
        let faults = shared.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults
            .iter()
            .find(|(text, fault)| {
                let read = request.method() == "GET" && seen.path.contains(text);
                read && fault.strikes(age)
            })
            .map(|(_, fault)| fault.clone())
    };
    if let Some(Fault::Late(by)) = &fault {
        tokio::time::sleep(*by).await;
    }
    let response = match fault.as_ref().and_then(Fault::replacement) {
        Some(replacement) => replacement,
        None => fault::apply(service.call(request.map(s3s::Body::from)).await?, fault),
    };
    seen.status = response.status().as_u16();
    let mut all = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
    all.push(seen);
    Ok(response)
}
